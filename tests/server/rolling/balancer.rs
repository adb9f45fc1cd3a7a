//! A real HAProxy in front of two servers.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use crate::harness::processes::wait_until;
use crate::harness::{free_ports, repo};

/// What becomes of a connection to a server when there is an answer on it.
#[derive(Clone, Copy, Debug)]
pub enum Reuse {
    /// Anybody's next request goes over it.
    Always,
    /// It is closed.
    Never,
}

/// A balancer that tries nothing twice; ended when dropped.
pub struct Balancer {
    child: Child,
    dir: TempDir,
    port: u16,
    log: Arc<Mutex<Vec<String>>>,
}

// === impl Balancer ===

impl Balancer {
    pub fn start(reuse: Reuse, servers: [u16; 2]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_ports()[0];
        let file = dir.path().join("haproxy.cfg");
        let socket = dir.path().join("stats");
        let (strategy, mode) = match reuse {
            Reuse::Always => ("always", "http-keep-alive"),
            Reuse::Never => ("never", "http-server-close"),
        };
        let config = format!(
            "global\n stats socket {socket}\n maxconn 1000\n nbthread 1\n log stderr format raw local0\n\
             defaults\n mode http\n log global\n option httplog\n option dontlog-normal\n retries 0\n no option redispatch\n\
             \x20option {mode}\n http-reuse {strategy}\n timeout connect 10s\n timeout client 60s\n timeout server 60s\n\
             frontend all\n bind 127.0.0.1:{port}\n default_backend servers\n\
             backend servers\n balance roundrobin\n option httpchk GET /api/health/ready\n\
             \x20default-server check inter 200ms fall 2 rise 2\n\
             \x20server s0 127.0.0.1:{}\n server s1 127.0.0.1:{}\n",
            servers[0],
            servers[1],
            socket = socket.display(),
        );
        fs::write(&file, config).unwrap();
        let fetched = repo().join(".test/bin/haproxy");
        let program = if fetched.exists() {
            fetched
        } else {
            PathBuf::from("haproxy")
        };
        let mut child = Command::new(program)
            .arg("-db")
            .arg("-f")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("haproxy does not start ({error}): run scripts/install-haproxy.sh")
            });
        let log = Arc::new(Mutex::new(Vec::new()));
        let (stderr, lines) = (child.stderr.take().unwrap(), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        Self {
            child,
            dir,
            port,
            log,
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits until the balancer sends requests to a server.
    pub fn wait_until_up(&self, server: usize) {
        let line = format!("servers,s{server},");
        wait_until("the balancer uses the server", || {
            let table = self.ask("show stat").unwrap_or_default();
            let is_up = |line: &str| line.split(',').nth(17) == Some("UP");
            table
                .lines()
                .any(|row| row.starts_with(&line) && is_up(row))
        });
    }

    /// Returns what it has said: its servers' ups and downs, and every request that failed.
    pub fn log(&self) -> String {
        let lines = self.log.lock().unwrap();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn ask(&self, question: &str) -> Option<String> {
        let mut stream = UnixStream::connect(self.dir.path().join("stats")).ok()?;
        stream.write_all(format!("{question}\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
