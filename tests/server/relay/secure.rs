//! A logging service behind a real HAProxy that speaks TLS.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{forwarding_to, logging, wait_until_away, wait_until_forwarded};
use crate::database::batch;
use crate::harness::processes::wait_until;
use crate::harness::{Server, Setup, free_ports, repo};
use crate::survival::assert_holds_exactly;
use crate::tls::Authority;

/// Takes requests by TLS, and passes them on without; ended when dropped.
struct Terminator {
    child: Child,
    port: u16,
    _dir: TempDir,
}

impl Terminator {
    fn start(certificate: &Path, to: u16) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_ports()[0];
        let file = dir.path().join("haproxy.cfg");
        let config = format!(
            "defaults\n mode http\n timeout connect 10s\n timeout client 60s\n timeout server 60s\n\
             frontend secure\n bind 127.0.0.1:{port} ssl crt {}\n default_backend log\n\
             backend log\n server log 127.0.0.1:{to}\n",
            certificate.display()
        );
        fs::write(&file, config).unwrap();
        let fetched = repo().join(".test/bin/haproxy");
        let program = if fetched.exists() {
            fetched
        } else {
            "haproxy".into()
        };
        let child = Command::new(program)
            .arg("-db")
            .arg("-f")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("haproxy: {error}: run scripts/install-haproxy.sh"));
        let terminator = Self {
            child,
            port,
            _dir: dir,
        };
        wait_until("the balancer listens", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        terminator
    }
}

impl Drop for Terminator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server that forwards by TLS and trusts this authority besides the usual ones, and logs
/// one prediction.
fn forwarding_by_tls(to: &Terminator, trusted: Option<&Authority>) -> Server {
    let setup = Setup::without_models().set("role", "\"logging\"");
    let setup = forwarding_to(setup, &format!("https://127.0.0.1:{}", to.port));
    let setup = match trusted {
        Some(trusted) => setup.set("sink.ca_file", &format!("{:?}", trusted.file())),
        None => setup,
    };
    let server = setup.set("sink.timeout", "\"5s\"").start();
    server.wait_for("the file", || {
        server.get("/ready").json()["db_initialized"] == true
    });
    let logged = server.post_json("/log", &batch("line-1", &["one"]));
    assert_eq!(logged.status, 200, "{}", logged.text());
    server
}

#[test]
fn a_logging_service_is_reached_by_tls_with_the_authority_that_is_named() {
    let authority = Authority::new();
    let keeper = logging(Setup::without_models(), free_ports());
    let terminator = Terminator::start(&authority.sign_together(), keeper.port);
    let server = forwarding_by_tls(&terminator, Some(&authority));
    wait_until_forwarded(&server);
    assert_holds_exactly(&keeper, &["one".to_owned()].into());
}

#[test]
fn a_certificate_of_an_authority_that_nobody_named_is_refused_and_the_reason_says_so() {
    let authority = Authority::new();
    let keeper = logging(Setup::without_models(), free_ports());
    let terminator = Terminator::start(&authority.sign_together(), keeper.port);
    let other = Authority::new();
    for trusted in [None, Some(&other)] {
        let server = forwarding_by_tls(&terminator, trusted);
        let reason = wait_until_away(&server);
        assert!(reason.contains("certificate"), "{reason}");
        assert!(reason.contains("127.0.0.1"), "{reason}");
    }
    assert_holds_exactly(&keeper, &[].into());
}
