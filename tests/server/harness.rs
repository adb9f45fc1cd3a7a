//! Starts the real binary for a test, talks to it, and ends it by its process id.
//!
//! Every wait is for an event and has a deadline. Nothing listens beyond the loopback, and ports
//! are taken from the kernel.

pub mod corrupt;
pub mod database;
pub mod disks;
#[cfg(target_os = "linux")]
pub mod groups;
pub mod killers;
pub mod load;
pub mod processes;
pub mod scrape;
mod setup;
pub mod watch;

// Not every binary with this harness starts servers of others.
#[allow(unused_imports)]
pub use setup::{Setup, free_ports};

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take that is not measured: generous, because the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A server under test; dropping it kills it.
pub struct Server {
    child: Child,
    pub dir: Arc<TempDir>,
    pub port: u16,
    pub health_port: u16,
    pub grpc_port: u16,
    log: Arc<Mutex<Vec<String>>>,
    agent: ureq::Agent,
}

/// A status code, headers and a body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

// === impl Server ===

impl Server {
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn health_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.health_port)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gets from the main port.
    pub fn get(&self, path: &str) -> Answer {
        self.fetch(&self.url(path))
            .unwrap_or_else(|| panic!("no answer from {path}\n{}", self.log()))
    }

    /// Gets from the health port.
    pub fn get_health(&self, path: &str) -> Answer {
        self.fetch(&self.health_url(path))
            .unwrap_or_else(|| panic!("no answer from the health port for {path}\n{}", self.log()))
    }

    pub fn try_get(&self, path: &str) -> Option<Answer> {
        self.fetch(&self.url(path))
    }

    fn fetch(&self, url: &str) -> Option<Answer> {
        self.agent.get(url).call().ok().map(Answer::from)
    }

    pub fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Answer {
        self.try_post(path, content_type, body)
            .unwrap_or_else(|error| panic!("no answer from {path}: {error}\n{}", self.log()))
    }

    pub fn try_post(
        &self,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<Answer, ureq::Error> {
        let request = self
            .agent
            .post(self.url(path))
            .header("content-type", content_type);
        request.send(body).map(Answer::from)
    }

    pub fn post_json(&self, path: &str, body: &Value) -> Answer {
        self.post(path, "application/json", body.to_string().as_bytes())
    }

    /// Posts JSON to the health port.
    pub fn post_health(&self, path: &str, body: &Value) -> Answer {
        let request = self.agent.post(self.health_url(path));
        let answer = request
            .header("content-type", "application/json")
            .send(body.to_string().as_bytes())
            .map(Answer::from);
        answer.unwrap_or_else(|error| panic!("no answer from {path}: {error}\n{}", self.log()))
    }

    /// Deletes on the health port.
    pub fn delete_health(&self, path: &str) -> Answer {
        let answer = self.agent.delete(self.health_url(path)).call();
        answer
            .map(Answer::from)
            .unwrap_or_else(|error| panic!("no answer from {path}: {error}\n{}", self.log()))
    }

    /// Orders a fault; `lasting` such as `"2s"`, or nothing for ever.
    pub fn fault(&self, target: &str, fault: &str, times: u32, lasting: Option<&str>) -> Answer {
        let mut order = serde_json::json!({"target": target, "fault": fault, "times": times});
        if let Some(lasting) = lasting {
            order["for"] = lasting.into();
        }
        self.post_json("/api/faults", &order)
    }

    pub fn status(&self) -> Value {
        self.get_health("/api/health/status").json()
    }

    /// Returns an actor of the status, wherever in the tree it is.
    pub fn actor(&self, name: &str) -> Option<Value> {
        find_actor(&self.status()["actors"], name)
    }

    /// Returns an actor that must be in the status.
    pub fn expect_actor(&self, name: &str) -> Value {
        self.actor(name)
            .unwrap_or_else(|| panic!("no actor named {name}: {:#}", self.status()))
    }

    /// Waits until an actor of that name is as expected, and returns it.
    pub fn wait_for_actor(
        &self,
        name: &str,
        what: &str,
        expected: impl Fn(&Value) -> bool,
    ) -> Value {
        let mut found = None;
        self.wait_for(&format!("{name} {what}"), || {
            found = self.actor(name).filter(&expected);
            found.is_some()
        });
        found.unwrap()
    }

    /// Waits until the model serves with every worker it should have.
    pub fn wait_all_workers(&self) {
        self.wait_for("every worker", || {
            self.status()["models"][0]["state"] == "ready"
        });
    }

    /// Asks both ports, the main one first.
    pub fn get_both(&self, path: &str) -> [Answer; 2] {
        [self.get(path), self.get_health(path)]
    }

    /// Sends one sample and insists on the right answer.
    pub fn assert_predicts(&self) {
        let sample = &load::requests()[0];
        let answer = self.post("/predict", sample.content_type, &sample.body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(
            answer.json()["class"],
            sample.class.as_str(),
            "{}",
            answer.text()
        );
    }

    pub fn wait_ready(&self) {
        self.wait_for("readiness", || {
            self.get_health("/api/health/ready").status == 200
        });
    }

    /// Waits until `condition` holds, and says what was waited for when it does not.
    pub fn wait_for(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            assert!(
                Instant::now() < deadline,
                "waited in vain for {what}\nstatus: {:#}\nlog:\n{}",
                self.try_status(),
                self.log()
            );
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    fn try_status(&self) -> Value {
        self.fetch(&self.health_url("/api/health/status"))
            .map_or(Value::Null, |answer| answer.json())
    }

    /// Sends a signal to the server itself.
    pub fn signal(&self, signal: rustix::process::Signal) {
        signal_process(self.pid(), signal);
    }

    /// Waits for the server's end.
    pub fn wait_exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "the server did not end\n{}",
                self.log()
            );
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Waits for the server's end and returns its exit code.
    pub fn wait_exit_code(&mut self) -> Option<i32> {
        self.wait_exit().code()
    }

    /// Waits until the log holds `text`; the log is read by a thread of its own.
    pub fn wait_for_log(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            assert!(
                Instant::now() < deadline,
                "{text:?} never came into the log\n{}",
                self.log()
            );
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Returns what the server has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Returns the process ids of the workers that serve.
    pub fn workers(&self) -> Vec<u32> {
        let status = self.status();
        let models = status["models"].as_array().cloned().unwrap_or_default();
        models
            .iter()
            .flat_map(|model| model["workers"].as_array().cloned().unwrap_or_default())
            .filter(|worker| worker["state"] == "ready")
            .filter_map(|worker| worker["pid"].as_u64())
            .map(|pid| u32::try_from(pid).unwrap())
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the server ---\n{}", self.log());
        }
    }
}

// === impl Answer ===

impl From<ureq::http::Response<ureq::Body>> for Answer {
    fn from(mut response: ureq::http::Response<ureq::Body>) -> Self {
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| {
                (
                    name.to_string(),
                    value.to_str().unwrap_or_default().to_owned(),
                )
            })
            .collect();
        Self {
            status: response.status().as_u16(),
            headers,
            body: response.body_mut().read_to_vec().unwrap_or_default(),
        }
    }
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no json ({error}): {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Returns a client with connections of its own.
pub fn new_agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .build()
        .into()
}

/// Sends a signal to one process.
pub fn signal_process(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    // The process may have ended a moment ago, which is what the signal is for.
    let _ = rustix::process::kill_process(pid, signal);
}

/// Returns the root of the repository.
pub fn repo() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the binary under test.
pub fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_impetus")
}

/// Returns every sample picture of the demo model with the class in its name.
pub fn samples() -> Vec<(String, PathBuf)> {
    let mut samples: Vec<(String, PathBuf)> = fs::read_dir(repo().join("models/surface/samples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let stem = path.file_stem().unwrap().to_str().unwrap();
            (stem.split('-').next().unwrap().to_owned(), path.clone())
        })
        .collect();
    samples.sort();
    assert!(samples.len() >= 18, "samples are missing");
    samples
}

/// Returns the content type of a sample.
pub fn content_type(path: &Path) -> &'static str {
    match path.extension().unwrap().to_str().unwrap() {
        "jpg" => "image/jpeg",
        _ => "image/png",
    }
}

pub fn find_actor(actors: &Value, name: &str) -> Option<Value> {
    actors.as_array()?.iter().find_map(|actor| {
        if actor["name"] == name {
            Some(actor.clone())
        } else {
            find_actor(&actor["children"], name)
        }
    })
}

pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Returns the ONNX Runtime library.
pub fn runtime_library() -> PathBuf {
    let name = if cfg!(target_os = "macos") {
        "libonnxruntime.dylib"
    } else {
        "libonnxruntime.so"
    };
    let library = repo().join(".onnxruntime").join(name);
    assert!(
        library.exists(),
        "{} is missing: run scripts/fetch-onnxruntime.sh",
        library.display()
    );
    library
}
