//! A real MLflow server for tests, with everything that it keeps in a temporary folder, on a free port
//! of 127.0.0.1. It is gone when it is dropped, and also when the test is killed.
//!
//! `scripts/install-mlflow.sh` installs it, `tests/mlflow/registry.py` runs it and registers models.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "several test programs include it, and each uses some of it"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// A running server, and somebody who registers models with it.
#[derive(Debug)]
pub struct Mlflow {
    folder: TempDir,
    helper: Child,
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
    url: String,
}

/// Which release of MLflow is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The last of release 2.
    Two,
    /// One of release 3.
    Three,
}

/// Nothing is meant to take this long: the first start compiles all of MLflow.
const PATIENCE: Duration = Duration::from_secs(150);

// === impl Mlflow ===

impl Mlflow {
    /// Starts a server without any models.
    pub fn start(release: Release) -> Self {
        Self::start_with(release, &[])
    }

    /// Starts a server with options of its own.
    pub fn start_with(release: Release, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let python = repository().join(release.folder()).join("bin/python");
        let mut helper = Command::new(&python)
            .arg(repository().join("tests/mlflow/registry.py"))
            .arg(folder.path())
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(folder.path().join("helper.log")).expect("a file"))
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{python:?} does not run ({error}): run scripts/install-mlflow.sh")
            });
        let lines = BufReader::new(helper.stdout.take().expect("it is piped")).lines();
        let (sender, answers) = sync_channel(16);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut server = Self {
            orders: helper.stdin.take(),
            folder,
            helper,
            answers,
            url: String::new(),
        };
        server.url = server.answer()["ready"]
            .as_str()
            .expect("an address")
            .to_owned();
        server
    }

    /// Returns its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Registers a version of a model whose folder has these files, and returns its number.
    pub fn register(&mut self, name: &str, mlmodel: &str, files: &[(&str, &[u8])]) -> u64 {
        let kept = |(number, (path, content)): (usize, &(&str, &[u8]))| {
            let source = self.folder.path().join(format!("source-{number}"));
            fs::write(&source, content).expect("a file");
            ((*path).to_owned(), source)
        };
        let sources: Vec<_> = files.iter().enumerate().map(kept).collect();
        let answer = self.order(json!({
            "do": "register", "name": name, "mlmodel": mlmodel, "files": sources,
        }));
        answer["version"].as_u64().expect("a number")
    }

    /// Registers a version that is said to lie at an address, and returns its number.
    pub fn refer(&mut self, name: &str, source: &str) -> u64 {
        let answer = self.order(json!({"do": "refer", "name": name, "source": source}));
        answer["version"].as_u64().expect("a number")
    }

    /// Registers models without any version: a prefix and numbers.
    pub fn names(&mut self, prefix: &str, count: usize) {
        self.order(json!({"do": "names", "prefix": prefix, "count": count}));
    }

    /// Points an alias to a version, or to none.
    pub fn alias(&mut self, name: &str, alias: &str, version: Option<u64>) {
        self.order(json!({"do": "alias", "name": name, "alias": alias, "version": version}));
    }

    /// Moves a version to a stage.
    pub fn stage(&mut self, name: &str, version: u64, stage: &str) {
        self.order(json!({"do": "stage", "name": name, "version": version, "stage": stage}));
    }

    /// Has it tell an address of what happens; only release 3 can.
    pub fn webhook(&mut self, url: &str, secret: &str, events: &[&str]) {
        self.order(json!({"do": "webhook", "url": url, "secret": secret, "events": events}));
    }

    /// Stops it where it is: connections stay open and nobody answers.
    pub fn freeze(&mut self) {
        self.order(json!({"do": "freeze"}));
    }

    /// Lets it go on.
    pub fn thaw(&mut self) {
        self.order(json!({"do": "thaw"}));
    }

    /// Ends it.
    pub fn end(&mut self) {
        self.order(json!({"do": "end"}));
    }

    /// Starts it again after [`Self::end`], at the same address and with all that it had.
    pub fn again(&mut self) {
        self.order(json!({"do": "again"}));
    }

    fn order(&mut self, order: Value) -> Value {
        let orders = self.orders.as_mut().expect("it runs");
        writeln!(orders, "{order}").expect("it reads what it is to do");
        self.answer()
    }

    fn answer(&self) -> Value {
        match self.answers.recv_timeout(PATIENCE) {
            Ok(line) => serde_json::from_str(&line).expect("JSON"),
            Err(error) => panic!("MLflow's helper does not answer ({error}): {}", self.said()),
        }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("helper.log")).unwrap_or_default()
    }
}

impl Drop for Mlflow {
    fn drop(&mut self) {
        // It ends the server when there is nothing more to do.
        drop(self.orders.take());
        let _ = self.helper.wait();
    }
}

// === impl Release ===

impl Release {
    fn folder(self) -> &'static str {
        match self {
            Self::Two => ".test/mlflow2",
            Self::Three => ".test/mlflow3",
        }
    }
}

/// Returns the folder of the checkout, from whichever crate this is included.
fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_root = |folder: &&Path| folder.join("scripts/install-mlflow.sh").exists();
    here.ancestors()
        .find(is_root)
        .expect("the checkout")
        .to_owned()
}
