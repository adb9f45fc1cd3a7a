//! A real PostgreSQL for tests: a cluster of its own in a temporary folder, on a free port of
//! 127.0.0.1, which can be stopped, killed and started again, and is gone when it is dropped.
//!
//! The programs come from the `PATH`, from where packages put them, or from what
//! `scripts/install-postgresql.sh` fetched. PostgreSQL refuses to run as root: for root it runs as
//! the user `nobody`.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "several test programs include it, and each uses some of it"
)]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use tempfile::TempDir;

/// A running server, or one that was killed.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    data: PathBuf,
    programs: PathBuf,
    port: u16,
    child: Option<Child>,
}

/// No step is meant to take this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// So often it is started after it was killed; each attempt takes some ten milliseconds.
const ATTEMPTS: u32 = 200;

/// The user `nobody`, as which it runs when the tests are root.
const NOBODY: u32 = 65_534;

const READY: &str = "database system is ready to accept connections";

// === impl Postgres ===

impl Postgres {
    pub const USER: &str = "impetus";
    pub const PASSWORD: &str = "a pass/word: %40'";
    pub const DATABASE: &str = "impetus";

    /// Starts a server with an empty database that belongs to an ordinary user.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("data");
        Self::start_in(folder, data)
    }

    /// Starts a server that keeps its data in a new folder of this one, which may be small.
    pub fn with_data_dir_on(path: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::start_in(folder, path.join("postgresql"))
    }

    /// Returns how a client reaches it, with a password.
    pub fn url(&self) -> String {
        let password: String = Self::PASSWORD
            .bytes()
            .map(|byte| format!("%{byte:02X}"))
            .collect();
        self.url_with(&format!("{}:{password}", Self::USER), Self::DATABASE)
    }

    /// Returns how another client reaches it.
    pub fn url_with(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns its process while it runs; all others are children of that.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Stops every process of the server where it is: connections stay open and nobody answers.
    pub fn stop(&self) {
        self.signal("-STOP");
    }

    /// Lets the processes go on.
    pub fn cont(&self) {
        self.signal("-CONT");
    }

    /// Ends every process of the server at once, as a machine does that loses its power.
    pub fn kill(&mut self) {
        self.signal("-KILL");
        if let Some(mut child) = self.child.take() {
            child.wait().expect("it was started here");
        }
    }

    /// Ends the server as an operator does who wants it to come back: connections are cut, and
    /// everything is written.
    pub fn end_in_order(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let mut command = Command::new("kill");
        let asked = command.arg("-INT").arg(child.id().to_string()).status();
        assert!(asked.is_ok_and(|status| status.success()), "it runs");
        child.wait().expect("it was started here");
    }

    /// Starts the server again if it has ended by itself.
    pub fn start_unless_running(&mut self) {
        let ended = |child: &mut Child| child.try_wait().expect("it was started here").is_some();
        if self.child.as_mut().is_none_or(ended) {
            self.child = None;
            self.start_again();
        }
    }

    /// Has it speak TLS with this certificate and this key from now on.
    pub fn use_tls(&mut self, certificate: &Path, key: &Path) {
        let mut lines = String::from("ssl = on\n");
        for (name, from) in [("ssl_cert_file", certificate), ("ssl_key_file", key)] {
            let own = self.data.join(name);
            fs::copy(from, &own).expect("it can be read");
            // A key that others may read is refused.
            fs::set_permissions(&own, Permissions::from_mode(0o600)).expect("it is ours");
            if is_run_by_nobody(self.folder.path()) {
                chown(&own, Some(NOBODY), Some(NOBODY)).expect("root may");
            }
            lines.push_str(&format!("{name} = '{name}'\n"));
        }
        let file = self.data.join("postgresql.conf");
        let before = fs::read_to_string(&file).expect("initdb made it");
        fs::write(&file, before + &lines).expect("it is ours");
        self.end_in_order();
        self.start_again();
    }

    /// Starts it again after it has ended, on the same port, with the data it had.
    pub fn start_again(&mut self) {
        // A process that was just being made when the others were killed ends by itself, and until
        // then the data are taken.
        for _ in 0..ATTEMPTS {
            match self.try_start() {
                Ok(()) => return,
                Err(said) if said.contains("pre-existing shared memory block") => {}
                Err(said) => panic!("postgres is not ready: {said}"),
            }
        }
        panic!("the data are still taken by a server that was killed");
    }

    fn try_start(&mut self) -> Result<(), String> {
        assert!(self.child.is_none(), "it runs");
        let mut command = self.command("postgres");
        command
            .arg("-D")
            .arg(&self.data)
            .args(["-p", &self.port.to_string()])
            .arg("-k")
            .arg(self.folder.path())
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=on"])
            .args(["-c", "shared_buffers=32MB", "-c", "max_connections=60"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("postgres starts");
        let lines = lines_of(&mut child);
        let mut seen = Vec::new();
        loop {
            match lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(READY) => {
                    self.child = Some(child);
                    return Ok(());
                }
                Ok(line) => seen.push(line),
                Err(error) => {
                    // Has ended already, or hangs.
                    let _ended = child.kill();
                    child.wait().expect("it was started here");
                    return Err(format!("{error}: {seen:#?}"));
                }
            }
        }
    }

    /// Executes SQL as the superuser and returns what it prints: a row a line, columns with `|`
    /// between them.
    pub fn psql(&self, sql: &str) -> String {
        self.psql_in(Self::DATABASE, sql)
    }

    /// The same in another database.
    pub fn psql_in(&self, database: &str, sql: &str) -> String {
        let output = self
            .command("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .arg("-h")
            .arg(self.folder.path())
            .args(["-p", &self.port.to_string(), "-U", "postgres"])
            .args(["-d", database, "-c", sql])
            .stdin(Stdio::null())
            .output()
            .expect("psql starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {errors}");
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    fn start_in(folder: TempDir, data: PathBuf) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let mut server = Self {
            folder,
            data,
            programs: programs(),
            port,
            child: None,
        };
        fs::create_dir_all(&server.data).expect("a folder for the data");
        if is_root(server.folder.path()) {
            for path in [server.folder.path(), &server.data] {
                chown(path, Some(NOBODY), Some(NOBODY)).expect("root may");
            }
        }
        server.initialise();
        server.start_again();
        let (user, database) = (Self::USER, Self::DATABASE);
        let password = Self::PASSWORD.replace('\'', "''");
        server.psql_in(
            "postgres",
            &format!("CREATE ROLE {user} LOGIN PASSWORD '{password}'"),
        );
        server.psql_in(
            "postgres",
            &format!("CREATE DATABASE {database} OWNER {user}"),
        );
        server
    }

    fn initialise(&self) {
        let output = self
            .command("initdb")
            .args([
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C",
                "-U",
                "postgres",
            ])
            .args(["--auth-local=trust", "--auth-host=scram-sha-256", "-D"])
            .arg(&self.data)
            .output()
            .expect("initdb starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "initdb: {errors}");
    }

    /// Returns a command that runs as a user whom PostgreSQL accepts.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.folder.path()).env("LC_ALL", "C");
        if is_run_by_nobody(self.folder.path()) {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    fn signal(&self, signal: &str) {
        let Some(child) = &self.child else { return };
        let mut command = Command::new("kill");
        command.arg(signal).arg(child.id().to_string());
        command.args(children_of(child.id()).iter().map(u32::to_string));
        // One that has ended meanwhile is no failure.
        let _status = command.stderr(Stdio::null()).status();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns the lines that the server prints; they are read as long as it runs.
fn lines_of(child: &mut Child) -> Receiver<String> {
    let stderr = child.stderr.take().expect("it is piped");
    let (sender, lines) = sync_channel(1_000);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            // Nobody asks for them once it is ready.
            let _unread = sender.try_send(line);
        }
    });
    lines
}

/// Returns the processes that a process has started.
fn children_of(parent: u32) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let child = |name: String| {
        let pid: u32 = name.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name of the program is in parentheses and may have any in it.
        let (_, fields) = stat.rsplit_once(") ")?;
        let of: u32 = fields.split(' ').nth(1)?.parse().ok()?;
        (of == parent).then_some(pid)
    };
    processes
        .flatten()
        .filter_map(|entry| child(entry.file_name().into_string().ok()?))
        .collect()
}

fn is_run_by_nobody(folder: &Path) -> bool {
    fs::metadata(folder).expect("it is there").uid() == NOBODY
}

fn is_root(own: &Path) -> bool {
    fs::metadata(own).expect("it is there").uid() == 0
}

/// Returns the folder of `postgres`, `initdb` and `psql`.
fn programs() -> PathBuf {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test looks for a program, no configuration"
    )]
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path)
        .filter_map(|folder| fs::canonicalize(folder.join("postgres")).ok())
        .filter_map(|program| Some(program.parent()?.to_owned()));
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join(".test/postgresql/bin"));
    let has_all = |folder: &PathBuf| {
        ["postgres", "initdb", "psql"]
            .iter()
            .all(|program| folder.join(program).exists())
    };
    on_path
        .chain(installed())
        .chain(fetched)
        .find(has_all)
        .expect("no postgres: run scripts/install-postgresql.sh")
}

/// Returns where packages put programs that are not on the `PATH`.
fn installed() -> impl Iterator<Item = PathBuf> {
    ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"]
        .into_iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
}
