//! Runs the commands of a block in one shell, as a reader would paste them.

use std::env;
use std::fmt::Write;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::block::Block;
use crate::cluster::Cluster;
use crate::commands::{Command, End};
use crate::exceptions;
use crate::harness::{PATIENCE, binary, copy_folder, repo, runtime_library};
use crate::site::{Condition, Site};

/// How long the commands of one block may take together.
const LONGEST: Duration = Duration::from_secs(180);

/// What stands before every block: a command that does not end by itself is ended when it has said
/// something, or has not for a while.
const PRELUDE: &str = r#"
set -u -o pipefail
until_it_speaks() {
    ("${@:2}") >"$DOCS_OUT/$1.out" 2>"$DOCS_OUT/$1.err" &
    local looks=0
    until [ -s "$DOCS_OUT/$1.out" ]; do
        if ! kill -0 $! 2>/dev/null; then wait $!; return; fi
        looks=$((looks + 1))
        if [ $looks -gt 600 ]; then return 124; fi
        sleep 0.05
    done
}
"#;

/// What a page's commands find around them: a copy, because some write.
const CHECKOUT: [&str; 4] = ["config", "docs", "k8s", "models"];

/// The shell of one page.
pub struct Shell {
    checkout: TempDir,
    healthy: Site,
    cluster: Cluster,
}

/// One run of a block.
struct Run<'a> {
    block: &'a Block,
    out: TempDir,
}

// === impl Shell ===

impl Shell {
    pub fn new() -> Self {
        let checkout = tempfile::tempdir().unwrap();
        for folder in CHECKOUT {
            copy_folder(&repo().join(folder), &checkout.path().join(folder));
        }
        fs::copy(repo().join("Makefile"), checkout.path().join("Makefile")).unwrap();
        Self {
            checkout,
            healthy: Site::new(Condition::Healthy),
            cluster: Cluster::start(),
        }
    }

    /// Runs a block and returns what was wrong.
    pub fn run(&mut self, block: &Block) -> Vec<String> {
        let Some(name) = &block.site else {
            return self.run_on(block, &self.healthy);
        };
        match Condition::read(name) {
            Some(condition) => self.run_on(block, &Site::new(condition)),
            None => vec![format!("{}: there is no server {name:?}", block.place)],
        }
    }

    fn run_on(&self, block: &Block, site: &Site) -> Vec<String> {
        let run = Run {
            block,
            out: tempfile::tempdir().unwrap(),
        };
        let is_run = |command: &&Command| !exceptions::covers(&command.text);
        if block.commands.iter().filter(is_run).count() == 0 {
            return Vec::new();
        }
        let text = block.commands.iter().map(|command| command.text.as_str());
        let all = text.collect::<Vec<_>>().join("\n");
        if all.contains("kubectl") {
            self.cluster.has_logged(&site.both().log());
        }
        let url = if all.contains("impetus ") {
            format!("http://127.0.0.1:{}", site.both().port)
        } else {
            String::new()
        };
        let script = run.script(site);
        let mut process = Process::new("bash");
        process
            .args(["-c", &script])
            .current_dir(self.checkout.path())
            .env("DOCS_URL", url)
            .env("KUBECONFIG", self.cluster.config());
        run.finish(&mut process)
    }
}

// === impl Run ===

impl Run<'_> {
    /// Writes the script: each command with files of its own for what it says.
    fn script(&self, site: &Site) -> String {
        let mut script = PRELUDE.to_owned();
        for (number, command) in self.commands() {
            let text = site.localize(&command.text);
            let line = if command.end == End::Never {
                format!("until_it_speaks {number} {text}\n")
            } else {
                format!("{{ {text}\n}} >\"$DOCS_OUT/{number}.out\" 2>\"$DOCS_OUT/{number}.err\"\n")
            };
            script.push_str(&line);
            writeln!(script, "echo $? >\"$DOCS_OUT/{number}.code\"").unwrap();
        }
        script
    }

    fn commands(&self) -> impl Iterator<Item = (usize, &Command)> {
        let commands = self.block.commands.iter().enumerate();
        commands.filter(|(_, command)| !exceptions::covers(&command.text))
    }

    /// Runs the script and looks at what became of each command.
    fn finish(&self, process: &mut Process) -> Vec<String> {
        let stand_ins = repo().join("tests/documents/stand-ins");
        let folders = std::iter::once(stand_ins).chain(folders());
        let child = process
            .env("PATH", env::join_paths(folders).unwrap())
            .env("DOCS_OUT", self.out.path())
            .env("DOCS_IMPETUS", binary())
            .env("DOCS_KUBECTL", program("kubectl"))
            .env("DOCS_CURL", program("curl"))
            .env("DOCS_MAKE", program("make"))
            .env("IMPETUS_RUNTIME__LIBRARY", runtime_library())
            .env("KUBECACHEDIR", self.out.path().join("kubectl"))
            .env("NO_PROXY", "localhost,127.0.0.1")
            .env_remove("MAKEFLAGS")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let in_time = wait_and_end(child);
        let mut wrong: Vec<String> = self
            .commands()
            .filter_map(|(number, command)| self.complaint(number, command))
            .collect();
        if !in_time {
            wrong.push(format!(
                "{}: took longer than {LONGEST:?}",
                self.block.place
            ));
        }
        wrong.extend(self.shown_complaint());
        wrong
    }

    fn complaint(&self, number: usize, command: &Command) -> Option<String> {
        let said = self.read(number, "err");
        let code = self.read(number, "code").trim().parse::<i32>().ok();
        let statuses: Vec<u16> = said
            .lines()
            .filter_map(|line| line.strip_prefix("http status "))
            .filter_map(|status| status.parse().ok())
            .collect();
        let is_right = match command.end {
            End::Well | End::Never => {
                code == Some(0) && statuses.iter().all(|status| *status < 400)
            }
            End::Status(wanted) => code == Some(0) && statuses.last() == Some(&wanted),
            End::Code(wanted) => code == Some(wanted),
        };
        (!is_right).then(|| {
            format!(
                "{}, line {}: {}\n  wanted {:?}, ended with {code:?}\n{}{}",
                self.block.place,
                command.line,
                command.text,
                command.end,
                self.read(number, "out"),
                said
            )
        })
    }

    /// Compares what the page shows with what the last command answered.
    fn shown_complaint(&self) -> Option<String> {
        let shown = self.block.shown.as_ref()?;
        let (number, command) = self.commands().last()?;
        let answer = self.read(number, "out");
        let why = shown.complaint(&answer)?;
        Some(format!(
            "{}, line {}: {}\n  {why}\n{answer}",
            self.block.place, command.line, command.text
        ))
    }

    fn read(&self, number: usize, what: &str) -> String {
        let file = self.out.path().join(format!("{number}.{what}"));
        fs::read(file).map_or_else(
            |_| String::new(),
            |said| String::from_utf8_lossy(&said).into_owned(),
        )
    }
}

/// Waits for the shell, and ends whatever it has left behind.
fn wait_and_end(mut child: Child) -> bool {
    let deadline = Instant::now() + LONGEST;
    let mut in_time = true;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            in_time = false;
            break;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    // Nobody may be left in it, which is as well.
    let _ = rustix::process::kill_process_group(group, Signal::KILL);
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "the shell did not end");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    in_time
}

/// Returns the folders in which the reader's shell would look for a program.
#[expect(
    clippy::disallowed_methods,
    reason = "nobody configures this but the system"
)]
fn folders() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).collect()
}

/// Returns a program: the one the tests fetched, or the system's.
fn program(name: &str) -> PathBuf {
    let fetched = repo().join(".test/bin");
    std::iter::once(fetched)
        .chain(folders())
        .map(|folder| folder.join(name))
        .find(|file| Path::is_file(file))
        .unwrap_or_else(|| {
            panic!("{name} is missing: commands of the documentation are run with it")
        })
}
