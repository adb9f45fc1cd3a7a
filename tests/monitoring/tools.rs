//! The programs of Prometheus' packages: found, run, and, where they stay, ended.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{PATIENCE, Server, new_agent, repo};

/// A server that answers over HTTP; dropping it kills it.
pub(crate) struct Daemon {
    child: Child,
    name: &'static str,
    url: String,
    dir: TempDir,
    agent: ureq::Agent,
}

/// Returns a program: the one the tests fetched, or the system's.
pub(crate) fn program(name: &str) -> PathBuf {
    let fetched = repo().join(".test/bin").join(name);
    if fetched.exists() {
        fetched
    } else {
        PathBuf::from(name)
    }
}

/// Returns the folder that people are given.
pub(crate) fn monitoring(file: &str) -> PathBuf {
    repo().join("k8s/monitoring").join(file)
}

/// Runs a program in a folder of the repository, to its end.
pub(crate) fn run(name: &str, args: &[&str], folder: &str, input: &str) -> Output {
    let mut child = Command::new(program(name))
        .args(args)
        .current_dir(repo().join(folder))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| missing(name, &error));
    let mut stdin = child.stdin.take().unwrap();
    // Ends with the input, so that the program sees its end.
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// Runs a program that must have nothing to complain of.
pub(crate) fn must_succeed(name: &str, args: &[&str], folder: &str) -> String {
    let output = run(name, args, folder, "");
    assert!(output.status.success(), "{args:?}: {}", said(&output));
    said(&output)
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Has one prediction written down that was made elsewhere.
pub(crate) fn log_a_prediction(server: &Server) {
    let prediction = json!({"image_id": "i-1", "timestamp": "2025-01-01T12:00:00Z",
        "model_version": "1", "model_name": "surface", "inference_time_ms": 1.5,
        "detections": [], "defect_detected": false, "confidence_scores": {},
        "processing_notes": null});
    let batch = json!({"predictions": [prediction], "batch_size": 1,
        "timestamp": "2025-01-01T12:00:00Z", "edge_device_id": "edge-7"});
    let answer = server.post_json("/log", &batch);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Waits for something that happens by itself.
pub(crate) fn wait_for(mut condition: impl FnMut() -> bool, in_vain: impl Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{}", in_vain());
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

// === impl Daemon ===

impl Daemon {
    /// Starts `name` with a folder of its own, which its arguments and configuration are made for,
    /// and waits until it answers.
    pub(crate) fn start(
        name: &'static str,
        port: u16,
        config: &str,
        args: impl Fn(&Path) -> Vec<String>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.yml"), config).unwrap();
        let child = Command::new(program(name))
            .args(args(dir.path()))
            // Where the Alertmanager that was fetched finds its template.
            .current_dir(repo())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap_or_else(|error| missing(name, &error));
        let mut daemon = Self {
            child,
            name,
            url: format!("http://127.0.0.1:{port}"),
            dir,
            agent: new_agent(),
        };
        daemon.wait_until_it_answers();
        daemon
    }

    fn wait_until_it_answers(&mut self) {
        let url = format!("{}/-/ready", self.url);
        let deadline = Instant::now() + PATIENCE;
        while self
            .agent
            .get(&url)
            .call()
            .map_or(0, |a| a.status().as_u16())
            != 200
        {
            let ended = self.child.try_wait().unwrap();
            let name = self.name;
            assert!(ended.is_none(), "{name} ended ({ended:?}): {}", self.log());
            assert!(Instant::now() < deadline, "{name} is mute: {}", self.log());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Gets JSON.
    pub(crate) fn get(&self, path: &str, parameters: &[(&str, String)]) -> Value {
        let url = format!("{}{path}", self.url);
        let pairs = parameters
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let answer = self.agent.get(&url).query_pairs(pairs).call();
        let mut answer = answer.unwrap_or_else(|error| panic!("{url}: {error}: {}", self.log()));
        answer.body_mut().read_json().unwrap()
    }

    /// Posts JSON, which must be taken.
    pub(crate) fn post(&self, path: &str, body: &Value) {
        let url = format!("{}{path}", self.url);
        let request = self
            .agent
            .post(&url)
            .header("content-type", "application/json");
        let mut answer = request.send(body.to_string().as_bytes()).unwrap();
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        assert_eq!(answer.status(), 200, "{url}: {text}");
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn missing(name: &str, error: &std::io::Error) -> ! {
    panic!("{name} does not start ({error}): run scripts/install-prometheus.sh")
}
