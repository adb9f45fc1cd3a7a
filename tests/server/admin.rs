//! What the person who is paged can do to a running server, and from where.

use std::net::{IpAddr, TcpStream, UdpSocket};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::events::{history, printed, wait_for_event};
use crate::harness::watch::LivenessWatch;
use crate::harness::{Answer, Server, Setup, new_agent, signal_process};
use crate::liveness::block_a_worker;

const HEALING: &str = "/api/admin/healing";
const DRAIN: &str = "/api/admin/drain";
const WORKER: &str = "worker:surface/0";
const HELD: &str = "restart waits until healing is resumed";

/// A server with one worker, whose recovery gets as long as it takes.
fn one_worker() -> Setup {
    Setup::new()
        .set("models.workers", "1")
        .set("models.recovery_floor", "\"5m\"")
        .set("http.request_timeout", "\"55s\"")
}

fn pause(server: &Server, lasting: &str) {
    let order = json!({"paused": true, "for": lasting});
    let answer = server.post_health(HEALING, &order);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["paused"], true);
}

fn kill_worker(server: &Server) {
    server.wait_all_workers();
    signal_process(server.workers()[0], Signal::KILL);
}

fn restart(server: &Server, name: &str) -> Answer {
    server.post_health(&format!("/api/admin/actors/{name}/restart"), &Value::Null)
}

fn is_back(actor: &Value, generation: u64) -> bool {
    actor["generation"] == generation && actor["state"] == "running"
}

#[test]
fn a_killed_worker_stays_down_while_healing_is_paused_and_is_back_when_it_is_resumed() {
    let server = one_worker().start_ready();
    let watch = LivenessWatch::start(&server);
    pause(&server, "30m");
    kill_worker(&server);
    let actor = server.wait_for_actor(WORKER, "held", |actor| {
        actor["state"] == "backing_off" && actor["note"] == "waits until healing is resumed"
    });
    assert_eq!(
        (&actor["generation"], &actor["restarts"]),
        (&1.into(), &0.into())
    );
    assert_is_paused(&server);
    // An order by name goes on: after it, the worker would long have been back.
    assert_eq!(restart(&server, "metrics").status, 200);
    server.wait_for_actor("metrics", "restarted", |actor| is_back(actor, 2));
    assert_eq!(server.expect_actor(WORKER)["generation"], 1);

    let answer = server.post_json(HEALING, &json!({"paused": false}));
    assert_eq!(
        answer.json()["resumes_in_seconds"],
        Value::Null,
        "{}",
        answer.text()
    );
    server.wait_for_actor(WORKER, "back", |actor| is_back(actor, 2));
    server.wait_all_workers();
    server.assert_predicts();
    watch.assert_always_alive();
    let root = history(&server, "root");
    let notes: Vec<&str> = root.iter().map(|event| event.1.as_str()).collect();
    let told = |text: &str| notes.iter().any(|note| note.contains(text));
    assert!(
        told("an operator pauses healing for 30m (from 127.0.0.1:"),
        "{notes:#?}"
    );
    assert!(told("healing is paused until 2"), "{notes:#?}");
    assert!(told("healing goes on: it was resumed"), "{notes:#?}");
}

/// Everything that says how the server is says that it does not heal.
fn assert_is_paused(server: &Server) {
    for answer in server.get_both(HEALING) {
        assert_eq!(answer.json()["paused"], true, "{}", answer.text());
    }
    let healing = server.status()["healing"].clone();
    assert_eq!(healing["paused"], true);
    let left = healing["resumes_in_seconds"].as_f64().unwrap();
    assert!(left > 0.0 && left <= 1800.0, "{healing}");
    assert_eq!(healing_metric(server), "impetus_healing_paused 1");
    let picture = printed(server, &[]);
    assert!(
        picture.contains("! healing is paused (for another"),
        "{picture}"
    );
    server.wait_for_log("an operator pauses healing for 30m");
}

fn healing_metric(server: &Server) -> String {
    let metrics = server.get_health("/metrics").text();
    let mut lines = metrics.lines();
    let line = lines.find(|line| line.starts_with("impetus_healing_paused "));
    line.unwrap_or(&metrics).to_owned()
}

#[test]
fn a_pause_of_healing_runs_out_by_itself_and_the_killed_worker_is_back() {
    let server = one_worker().start_ready();
    server.wait_all_workers();
    pause(&server, "8s");
    kill_worker(&server);
    wait_for_event(&server, WORKER, "backing_off", HELD);
    wait_for_event(&server, "root", "note", "the pause has run out");
    server.wait_for_actor(WORKER, "back", |actor| is_back(actor, 2));
    assert_eq!(server.get(HEALING).json()["paused"], false);
    assert_eq!(healing_metric(&server), "impetus_healing_paused 0");
}

#[test]
fn a_drained_server_is_not_ready_and_alive_and_serves_until_it_is_put_back() {
    let server = one_worker().start_ready();
    let watch = LivenessWatch::start(&server);
    assert_eq!(
        server.post_health(DRAIN, &Value::Null).json()["drained"],
        true
    );

    for answer in server.get_both("/api/health/ready") {
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_eq!(answer.json()["reasons"], json!(["drained: by an operator"]));
    }
    let ready = server.get("/ready");
    assert_eq!(
        (ready.status, &ready.json()["reason"]),
        (503, &"drained: by an operator".into())
    );
    assert_eq!(server.status()["drained"], true);
    assert_eq!(server.status()["phase"], "serving");
    server.assert_predicts();
    wait_for_event(
        &server,
        "root",
        "note",
        "an operator takes the server out of traffic",
    );

    assert_eq!(server.delete_health(DRAIN).json()["drained"], false);
    assert_eq!(server.get(DRAIN).json()["drained"], false);
    for path in ["/api/health/ready", "/ready"] {
        assert_eq!(server.get(path).status, 200);
    }
    watch.assert_always_alive();
}

#[test]
fn a_worker_that_rests_after_too_many_falls_starts_at_once_when_it_is_restarted_by_name() {
    let server = one_worker()
        .set("supervision.restarts", "1")
        .set("supervision.cool_down", "\"1h\"")
        .set("models.backoff_max", "\"100ms\"")
        .start_ready();
    server.wait_all_workers();
    server.fault(WORKER, "panic", 2, None);
    server.wait_for_actor(WORKER, "given up", |actor| actor["state"] == "failed");

    let answer = restart(&server, "worker%3Asurface%2F0");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["restarted"], WORKER);
    server.wait_for_actor(WORKER, "back", |actor| is_back(actor, 3));
    server.wait_all_workers();
    server.assert_predicts();
    wait_for_event(
        &server,
        WORKER,
        "note",
        "an operator restarts it (from 127.0.0.1:",
    );
    // As it is written in the status, in order, and with nothing left of its old falls.
    let lost = server.workers();
    assert_eq!(restart(&server, WORKER).status, 200);
    server.wait_for_actor(WORKER, "restarted in order", |actor| is_back(actor, 4));
    assert_eq!(
        server.expect_actor(WORKER)["last_exit"]["reason"],
        "shutdown"
    );
    server.wait_all_workers();
    assert_ne!(server.workers(), lost);
}

#[test]
fn every_actor_but_the_root_can_be_restarted_by_name() {
    let server = one_worker().start_ready();
    let watch = LivenessWatch::start(&server);
    server.wait_all_workers();
    for name in [
        "heartbeat",
        "metrics",
        "db_writer",
        "model_loader",
        "model:surface",
        "models",
    ] {
        let answer = restart(&server, name);
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        server.wait_for_actor(name, "restarted", |actor| {
            actor["generation"].as_u64() > Some(1) && actor["state"] == "running"
        });
    }
    server.wait_all_workers();
    server.assert_predicts();
    watch.assert_always_alive();

    let root = restart(&server, "root");
    assert_eq!(
        (root.status, &root.json()["code"]),
        (409, &"not_restartable".into())
    );
    let unknown = restart(&server, "worker:surface/99");
    assert_eq!(
        (unknown.status, &unknown.json()["code"]),
        (404, &"unknown_actor".into())
    );
}

#[test]
fn an_order_that_makes_no_sense_is_refused_with_the_reason_and_changes_nothing() {
    let server = Setup::without_models()
        .set("admin.longest_pause", "\"20m\"")
        .start();
    for (order, code) in [
        (json!({"paused": true, "for": "21m"}), "bad_pause"),
        (json!({"paused": true, "for": "0s"}), "bad_pause"),
        (json!({"paused": true, "for": 10}), "bad_order"),
        (json!({"paused": true, "until": "10m"}), "bad_order"),
        (json!({}), "bad_order"),
    ] {
        let answer = server.post_health(HEALING, &order);
        assert_eq!(answer.status, 400, "{order}: {}", answer.text());
        assert_eq!(answer.json()["code"], code, "{order}");
    }
    let form = server.post(HEALING, "text/plain", br#"{"paused": true}"#);
    assert_eq!(form.status, 415, "{}", form.text());
    assert_eq!(server.get(HEALING).json()["paused"], false);
}

#[test]
fn the_health_port_takes_orders_while_every_request_worker_is_blocked() {
    let server = Setup::without_models().set("http.workers", "2").start();
    // A connection is one worker's for good, and they are dealt out in turn.
    let _blocked: Vec<TcpStream> = (0..4).map(|_| block_a_worker(&server, None)).collect();
    server.wait_for("both workers to stand still", || {
        server.status()["components"]["edge"]["detail"]["standing_still"] == 2
    });

    pause(&server, "10m");
    let answer = restart(&server, "metrics");

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        server.get_health("/api/health/events?actor=metrics").status,
        200
    );
}

/// Every order there is, as method and path.
const ORDERS: [(&str, &str); 6] = [
    ("GET", HEALING),
    ("POST", HEALING),
    ("GET", DRAIN),
    ("POST", DRAIN),
    ("DELETE", DRAIN),
    ("POST", "/api/admin/actors/metrics/restart"),
];

#[test]
fn nobody_but_a_caller_on_this_machine_is_served() {
    let server = Setup::without_models().set("host", "\"0.0.0.0\"").start();
    for port in [server.port, server.health_port] {
        if let Some(address) = other_address() {
            assert_all_refused(&format!("http://{address}:{port}"), None);
        }
        // A proxy on this machine does not make its clients local.
        let here = format!("http://127.0.0.1:{port}");
        assert_all_refused(&here, Some(("x-forwarded-for", "203.0.113.7")));
        assert_all_refused(&here, Some(("origin", "https://example.com")));
    }
    assert_eq!(server.get(HEALING).json()["paused"], false);
    assert_eq!(server.get(DRAIN).json()["drained"], false);
    assert_eq!(server.expect_actor("metrics")["generation"], 1);
    assert!(!server.log().contains("an operator"));
}

fn assert_all_refused(base: &str, header: Option<(&str, &str)>) {
    let orders = ORDERS.into_iter().chain([("POST", "/api/faults")]);
    for (method, path) in orders {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{base}{path}"))
            .header("content-type", "application/json");
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let order = match path {
            HEALING => json!({"paused": true}),
            _ => json!({"target": "metrics", "fault": "panic"}),
        };
        let answer = match method {
            "POST" => new_agent().run(request.body(order.to_string()).unwrap()),
            _ => new_agent().run(request.body(()).unwrap()),
        };
        let answer = Answer::from(answer.unwrap());
        // Faults are injected on the main port alone.
        if path == "/api/faults" && answer.status == 404 {
            continue;
        }
        assert_eq!(
            answer.status,
            403,
            "{method} {base}{path}: {}",
            answer.text()
        );
    }
}

/// Returns an address of this machine beside the loopback, if it has one. Nothing is sent.
fn other_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("203.0.113.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[test]
fn switched_off_there_is_nothing_to_administer() {
    let server = Setup::without_models()
        .set("admin.enabled", "false")
        .start();
    for path in [HEALING, DRAIN] {
        for answer in server.get_both(path) {
            assert_eq!(answer.status, 404, "{}", answer.text());
        }
    }
    assert_eq!(restart(&server, "metrics").status, 404);
}
