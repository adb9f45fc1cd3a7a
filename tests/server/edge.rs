//! Clients that are slow, stuck or gone: each is told where that is possible, let go in the end,
//! and leaves nothing behind.

mod answers;
pub mod raw;
#[cfg(target_os = "linux")]
mod socket;

use rustix::process::Signal;

use crate::contract::sample;
use crate::harness::processes::freeze;
use crate::harness::{Answer, Server, Setup, load, signal_process};
use crate::liveness::block_a_worker;
use raw::{Drip, Raw};

/// Where bodies are read: path and content type.
const READERS: [(&str, &str); 5] = [
    ("/predict", "application/json"),
    ("/predict", "image/png"),
    ("/predict", "multipart/form-data; boundary=x"),
    ("/log", "application/json"),
    ("/api/faults", "application/json"),
];

/// The beginning of a body that nobody can find fault with yet.
const BEGINNING: &[u8] = b"--x\r\nContent";

fn head(path: &str, content_type: &str, length: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content_type}\r\n{length}\r\n\r\n"
    )
    .into_bytes()
}

fn in_flight(server: &Server) -> f64 {
    let metrics = server.get_health("/metrics").text();
    sample(&metrics, "impetus_http_requests_in_flight").unwrap()
}

fn closed(server: &Server, reason: &str) -> f64 {
    let metrics = server.get_health("/metrics").text();
    let series = format!("impetus_http_connections_closed_total{{reason=\"{reason}\"}}");
    sample(&metrics, &series).unwrap()
}

fn wait_until_nothing_is_in_flight(server: &Server) {
    server.wait_for("nothing to be in flight", || in_flight(server) == 0.0);
}

/// Insists that nothing of what was there holds up the end.
fn assert_ends_at_once(mut server: Server) {
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit_code(), Some(0));
}

#[track_caller]
fn assert_too_slow(answer: &Answer, key: &str, came: &str) {
    assert_eq!(answer.status, 408, "{}", answer.text());
    assert_eq!(answer.json()["code"], "body_timeout");
    let message = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(message.contains(key), "{message}");
    assert!(message.contains(came), "{message}");
    assert_eq!(answer.headers["connection"], "close", "{answer:?}");
    assert!(answer.headers.contains_key("x-request-id"), "{answer:?}");
}

#[test]
fn a_body_that_stops_coming_is_told_so_and_its_connection_closed_whoever_reads_it() {
    let server = Setup::new()
        .set("http.client_idle_timeout", "\"300ms\"")
        .set("lifecycle.drain_timeout", "\"10m\"")
        .start_ready();
    let lengths = [
        ("content-length: 1000", "12 of 1000 bytes came"),
        ("transfer-encoding: chunked", "12 bytes came"),
    ];
    let each = READERS
        .iter()
        .flat_map(|reader| lengths.map(|length| (*reader, length)));
    let clients: Vec<(Raw, &str)> = each
        .map(|((path, content_type), (length, came))| {
            let mut client = Raw::connect(server.port);
            client.send(&head(path, content_type, length));
            if length.starts_with("transfer") {
                client.send(b"c\r\n");
            }
            client.send(BEGINNING);
            (client, came)
        })
        .collect();
    for (mut client, came) in clients {
        let answer = client.answer();
        assert_too_slow(&answer, "300ms (http.client_idle_timeout)", came);
        // actix would wait for the end of a body in chunks for ever.
        assert_eq!(client.read_to_the_end(), 0);
    }
    assert_eq!(closed(&server, "body_timeout"), 10.0);
    wait_until_nothing_is_in_flight(&server);
    assert_ends_at_once(server);
}

#[test]
fn a_body_that_drips_must_come_whole_in_time_whoever_reads_it() {
    let server = Setup::new()
        .set("http.client_body_timeout", "\"300ms\"")
        .set("http.client_idle_timeout", "\"300ms\"")
        .start_ready();
    let drips: [(&str, &[u8]); 2] = [
        ("content-length: 1000000", b"-"),
        ("transfer-encoding: chunked", b"1\r\n-\r\n"),
    ];
    let each = READERS
        .iter()
        .flat_map(|reader| drips.map(|drip| (*reader, drip)));
    let clients: Vec<(Raw, Drip)> = each
        .map(|((path, content_type), (length, drop))| {
            let mut client = Raw::connect(server.port);
            client.send(&head(path, content_type, length));
            let drip = client.drip(drop);
            (client, drip)
        })
        .collect();
    for (mut client, _drip) in clients {
        let answer = client.answer();
        assert_too_slow(&answer, "300ms (http.client_body_timeout)", "bytes came");
        client.read_to_the_end();
    }
    wait_until_nothing_is_in_flight(&server);
}

#[test]
fn a_body_is_part_of_the_time_in_which_a_request_is_answered() {
    let server = Setup::new()
        .set("http.request_timeout", "\"500ms\"")
        .start_ready();
    let mut client = Raw::connect(server.port);
    client.send(&head("/log", "application/json", "content-length: 1000"));
    let _drip = client.drip(b" ");
    let answer = client.answer();
    assert_too_slow(&answer, "500ms (http.request_timeout)", "of 1000 bytes");
}

#[test]
fn a_body_in_parts_that_comes_in_time_is_read_whole_and_the_connection_kept() {
    let server = Setup::new().start_ready();
    let sample = &load::requests()[0];
    let mut client = Raw::connect(server.port);
    for _ in 0..2 {
        client.send(&head(
            "/predict",
            sample.content_type,
            "transfer-encoding: chunked",
        ));
        for part in sample.body.chunks(sample.body.len() / 3) {
            client.send(format!("{:x}\r\n", part.len()).as_bytes());
            client.send(part);
            client.send(b"\r\n");
        }
        client.send(b"0\r\n\r\n");
        let answer = client.answer();
        assert_eq!(load::complaint(sample, &answer), None);
        assert!(!answer.headers.contains_key("connection"), "{answer:?}");
    }
}

#[test]
fn a_body_that_nobody_reads_ends_the_connection_it_comes_on() {
    let server = Setup::new().start_ready();
    for port in [server.port, server.health_port] {
        let mut client = Raw::connect(port);
        client.send(&head(
            "/nowhere",
            "text/plain",
            "transfer-encoding: chunked",
        ));
        let _drip = client.drip(b"1\r\n-\r\n");
        let answer = client.answer();
        assert_eq!(answer.status, 404);
        assert_eq!(answer.headers["connection"], "close", "{answer:?}");
        client.read_to_the_end();
    }
}

#[test]
fn an_order_for_a_fault_that_does_not_call_itself_json_is_refused() {
    let server = Setup::new().start_ready();
    let order = br#"{"target": "metrics", "fault": "none"}"#;
    let post = |content_type| server.post("/api/faults", content_type, order).status;
    assert_eq!(post("text/plain"), 415);
    assert_eq!(post("application/json"), 200);
    let broken = server.post("/api/faults", "application/json", b"{");
    assert_eq!(broken.status, 400);
    assert_eq!(broken.json()["code"], "bad_order");
}

#[test]
fn a_head_that_drips_ends_its_connection_on_both_ports_the_first_one_and_any_later() {
    let server = Setup::new()
        .set("http.client_header_timeout", "\"1s\"")
        .set("http.keep_alive", "\"1s\"")
        .start_ready();
    for port in [server.port, server.health_port] {
        let mut first = Raw::connect(port);
        first.send(b"GET / HTTP/1.1\r\nx: ");
        let _drip = first.drip(b"x");
        assert_eq!(first.answer().status, 408);
        first.read_to_the_end();

        let mut second = Raw::connect(port);
        second.get("/api/health/live");
        assert_eq!(second.answer().status, 200);
        second.send(b"GET / HTTP/1.1\r\nx: ");
        let _drip = second.drip(b"x");
        second.read_to_the_end();
    }
}

#[test]
fn a_connection_on_which_nothing_is_asked_is_closed_on_both_ports() {
    let server = Setup::new()
        .set("http.client_header_timeout", "\"1s\"")
        .set("http.keep_alive", "\"300ms\"")
        .start_ready();
    for port in [server.port, server.health_port] {
        Raw::connect(port).read_to_the_end();
        let mut idle = Raw::connect(port);
        idle.get("/api/health/live");
        assert_eq!(idle.answer().status, 200);
        assert_eq!(idle.read_to_the_end(), 0);
    }
}

#[test]
fn a_client_that_is_gone_in_the_middle_of_its_body_leaves_nothing_in_flight() {
    let server = Setup::new()
        .set("http.client_body_timeout", "\"10m\"")
        .set("http.client_idle_timeout", "\"10m\"")
        .set("http.request_timeout", "\"10m\"")
        .set("lifecycle.drain_timeout", "\"10m\"")
        .start_ready();
    for reset in [false, true] {
        let clients: Vec<Raw> = READERS
            .iter()
            .map(|(path, content_type)| {
                let mut client = Raw::connect(server.port);
                client.send(&head(path, content_type, "content-length: 1000"));
                client.send(BEGINNING);
                client
            })
            .collect();
        server.wait_for("the requests", || in_flight(&server) == 5.0);
        for client in clients {
            if reset {
                client.vanish();
            }
        }
        wait_until_nothing_is_in_flight(&server);
    }
    assert_ends_at_once(server);
}

#[test]
fn a_client_that_is_gone_while_its_answer_is_computed_leaves_nothing_in_flight() {
    let server = Setup::new()
        .set("lifecycle.drain_timeout", "\"10m\"")
        .start_ready();
    server.wait_all_workers();
    let workers = server.workers();
    let sample = &load::requests()[0];
    let length = format!("content-length: {}", sample.body.len());
    for reset in [false, true] {
        workers.iter().copied().for_each(freeze);
        let mut client = Raw::connect(server.port);
        client.send(&head("/predict", sample.content_type, &length));
        client.send(&sample.body);
        load::wait_until_held(&server, 1);
        assert_eq!(in_flight(&server), 1.0);
        if reset {
            client.vanish();
        } else {
            drop(client);
        }
        for worker in &workers {
            signal_process(*worker, Signal::CONT);
        }
        wait_until_nothing_is_in_flight(&server);
    }
    server.assert_predicts();
    assert_ends_at_once(server);
}

#[test]
fn a_worker_that_was_blocked_is_well_again_once_it_turns_and_the_status_shows_each_ones_age() {
    let server = Setup::new().set("http.workers", "2").start_ready();
    let edge = || server.status()["components"]["edge"].clone();
    let ages = || -> Vec<f64> {
        let ages = edge()["detail"]["ages_seconds"].clone();
        serde_json::from_value(ages).unwrap()
    };
    assert_eq!(ages().len(), 2);
    let _blocked = block_a_worker(&server, Some("8s"));
    server.wait_for("one worker to stand still", || {
        let late = ages().iter().filter(|age| **age > 5.0).count();
        late == 1 && edge()["detail"]["standing_still"] == 1
    });
    server.wait_for("it to turn again", || {
        edge()["detail"]["standing_still"] == 0 && edge()["score"] == 100
    });
    assert_eq!(ages().len(), 2);
}

#[cfg(target_os = "linux")]
mod limits {
    use super::*;

    #[test]
    fn the_kernel_asks_silent_clients_of_both_ports_whether_they_are_there() {
        let server = Setup::without_models()
            .set("http.half_open_timeout", "\"100s\"")
            .start();
        for port in [server.port, server.health_port] {
            let mut client = Raw::connect(port);
            client.get("/api/health/live");
            assert_eq!(client.answer().status, 200);
            let ours = client.0.local_addr().unwrap().port();
            let mut found = None;
            server.wait_for("the timer", || {
                found = timer(port, ours).filter(|(kind, _)| *kind == KEEPALIVE);
                found.is_some()
            });
            let (_, ticks) = found.unwrap();
            // The kernel's default is two hours.
            assert!(ticks <= 50 * TICKS_PER_SECOND, "{ticks}");
        }
    }

    /// What the kernel calls the timer that asks.
    const KEEPALIVE: u8 = 2;
    const TICKS_PER_SECOND: u64 = 100;

    /// Returns the kernel's timer of the connection between two ports: its kind, and when it ends.
    fn timer(local: u16, remote: u16) -> Option<(u8, u64)> {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let port = |address: &str| u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok();
        table.lines().skip(1).find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if (port(fields[1]), port(fields[2])) != (Some(local), Some(remote)) {
                return None;
            }
            let (kind, ticks) = fields[5].split_once(':')?;
            Some((kind.parse().ok()?, u64::from_str_radix(ticks, 16).ok()?))
        })
    }

    #[test]
    fn as_many_files_may_be_open_as_the_hard_limit_allows() {
        let server = Setup::without_models().after("ulimit -S -n 256").start();
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max open files"))
            .unwrap();
        let fields: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(fields[3], fields[4], "{line}");
        assert_ne!(fields[3], "256", "{line}");
    }
}
