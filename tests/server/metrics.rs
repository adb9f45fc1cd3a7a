//! The metrics: each moves when what it measures happens, and none is made by a client's words.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use impetus_supervision::{Clock, SystemClock};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::database::batch;
use crate::harness::processes::freeze;
use crate::harness::scrape::{Scrape, wait_for_value, wait_until_complete};
use crate::harness::{
    Answer, PATIENCE, Server, Setup, content_type, load, samples, signal_process,
};

const SURFACE: &str = "model=\"surface\"";

fn count(endpoint: &str, model: &str, status: &str) -> String {
    format!(
        "impetus_request_duration_seconds_count{{endpoint=\"{endpoint}\",model=\"{model}\",status=\"{status}\"}}"
    )
}

fn rejected(model: &str, reason: &str) -> String {
    format!("impetus_requests_rejected_total{{model=\"{model}\",reason=\"{reason}\"}}")
}

fn restarts(reason: &str) -> String {
    format!("impetus_worker_restarts_total{{{SURFACE},reason=\"{reason}\"}}")
}

fn workers(state: &str) -> String {
    format!("impetus_workers{{{SURFACE},state=\"{state}\"}}")
}

fn now() -> f64 {
    let now = SystemClock::new()
        .wall()
        .duration_since(UNIX_EPOCH)
        .unwrap();
    now.as_secs_f64()
}

/// One worker, whose run may take longer than the test.
fn one_patient_worker() -> Setup {
    Setup::new()
        .set("models.workers", "1")
        .set("models.run_timeout", "\"10m\"")
}

#[test]
fn every_metric_that_is_described_is_exposed_by_one_of_the_roles_and_no_other() {
    let described = impetus::exposition::names();
    let described: BTreeSet<&str> = described.iter().map(String::as_str).collect();
    let mut exposed = BTreeSet::new();
    for (role, sink) in [
        ("both", None),
        ("inference", None),
        ("logging", None),
        // Nobody listens there; what is said of a sink is said of one that is away as well.
        ("logging", Some("\"http://127.0.0.1:1\"")),
    ] {
        let mut setup = Setup::new().set("role", &format!("{role:?}"));
        if role == "both" {
            setup = setup
                .with_chat_model()
                .set("models.required", "[\"surface\", \"tiny-chat\"]")
                .set("metrics.vllm_aliases", "true");
        }
        if let Some(url) = sink {
            setup = setup
                .set("sink.kind", "\"impetus\"")
                .set("sink.url", url)
                .set("predlog.readiness", "\"degraded\"");
        }
        let server = setup.start_ready();
        server.wait_for("the services", || server.get("/ready").status == 200);
        if role != "inference" {
            let answer = server.post_json("/log", &batch("metrics", &["image"]));
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        if role != "logging" {
            server.assert_predicts();
        }
        wait_until_complete(&server);
        let scrape = Scrape::of(&server);
        let names: BTreeSet<String> = scrape.names().into_iter().map(str::to_owned).collect();
        let of_models = names.iter().any(|name| name.starts_with("impetus_worker"));
        let of_the_log = names.iter().any(|name| name.contains("prediction_log"));
        assert_eq!(of_models, role != "logging", "{role}");
        assert_eq!(of_the_log, role != "inference", "{role}");
        exposed.extend(names);
    }
    let exposed: BTreeSet<&str> = exposed.iter().map(String::as_str).collect();
    let elsewhere = |name: &&&str| {
        let here = cfg!(target_os = "linux") || !name.starts_with("process_");
        // It takes hours of predictions, which the tests of drift make up.
        here && **name != "impetus_prediction_drift_psi"
    };
    let missing: Vec<_> = described.difference(&exposed).filter(elsewhere).collect();
    let unknown: Vec<_> = exposed.difference(&described).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "{missing:?} {unknown:?}"
    );
}

#[test]
fn a_thousand_paths_methods_and_names_of_models_make_no_new_series() {
    let server = Setup::new().start_ready();
    server.wait_for("the services", || server.get("/ready").status == 200);
    server.wait_all_workers();
    wait_until_complete(&server);
    let before = Scrape::of(&server);
    for number in 0..1000 {
        let (line, body) = match number % 4 {
            0 => (format!("GET /path-{number}/{number}"), ""),
            1 => (format!("METHOD{number} /predict"), ""),
            2 => (
                format!("GET /predictions?model=m-{number}&edge_device_id=d-{number}"),
                "",
            ),
            _ => (
                format!("POST /predict?model=m-{number}"),
                r#"{"data": [1]}"#,
            ),
        };
        let answer = raw(&server, &line, body);
        assert!(answer.starts_with("HTTP/1.1 "), "{line}: {answer}");
    }
    let after = Scrape::of(&server);
    let (before, series) = (before.series(), after.series());
    let differ: Vec<_> = before.symmetric_difference(&series).collect();
    assert!(differ.is_empty(), "{differ:?}");
    for (series, expected) in [
        (count("other", "none", "4xx"), 250.0),
        // Methods it does not have, and models that are not there.
        (count("predict", "none", "4xx"), 500.0),
        (count("predictions", "none", "2xx"), 250.0),
        (rejected("none", "unknown_model"), 250.0),
    ] {
        assert_eq!(after.value(&series), expected, "{series}");
    }
}

/// Sends a request by hand, in whatever words, and returns the answer.
fn raw(server: &Server, line: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn requests_are_timed_by_endpoint_model_and_class_of_status() {
    let server = Setup::new().start_ready();
    server.wait_for("the services", || server.get("/ready").status == 200);
    server.assert_predicts();
    let wrong = server.post_json("/predict", &json!({"data": [1, 2, 3]}));
    assert_eq!(wrong.status, 400);
    let logged = server.post_json("/log", &batch("metrics", &["image"]));
    assert_eq!(logged.status, 200);
    for path in ["/stats", "/predictions", "/api/models/list"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    let probes = server.get("/api/health/live").status + server.get("/metrics").status;
    assert_eq!(probes, 400);
    let scrape = Scrape::of(&server);
    for (endpoint, model, status) in [
        ("predict", "surface", "2xx"),
        ("predict", "surface", "4xx"),
        ("log", "none", "2xx"),
        ("stats", "none", "2xx"),
        ("predictions", "none", "2xx"),
        ("models", "none", "2xx"),
    ] {
        assert_eq!(
            scrape.value(&count(endpoint, model, status)),
            1.0,
            "{endpoint} {status}"
        );
    }
    let all = scrape
        .series()
        .into_iter()
        .filter(|series| series.starts_with("impetus_request_duration_seconds_count{"));
    let all: f64 = all.map(|series| scrape.value(series)).sum();
    assert_eq!(all, 6.0, "probes and scrapes are none of them");
    assert_eq!(scrape.value("impetus_requests_total"), 3.0);
    let sum = count("predict", "surface", "2xx").replace("_count", "_sum");
    assert!(scrape.value(&sum) > 0.0);
}

#[test]
fn a_killed_worker_is_a_restart_with_its_reason_and_so_is_one_that_an_operator_orders() {
    let server = Setup::new().start_ready();
    server.wait_all_workers();
    let began = now();
    wait_for_value(&server, &workers("ready"), 2.0);
    signal_process(server.workers()[0], Signal::KILL);
    wait_for_value(&server, &restarts("outside"), 1.0);
    wait_for_value(&server, &workers("ready"), 2.0);
    let scrape = Scrape::of(&server);
    let lost = format!("impetus_worker_losses_total{{cause=\"outside\",{SURFACE}}}");
    assert_eq!(scrape.value(&lost), 1.0);
    let of_actors: f64 = (0..2)
        .map(|index| format!("impetus_actor_restarts_total{{actor=\"worker:surface/{index}\"}}"))
        .map(|series| scrape.value(&series))
        .sum();
    assert_eq!(of_actors, 1.0);

    let order = "/api/admin/actors/worker:surface/0/restart";
    assert_eq!(server.post_health(order, &Value::Null).status, 200);
    wait_for_value(&server, &restarts("stopped"), 1.0);
    wait_for_value(&server, &workers("ready"), 2.0);
    let scrape = Scrape::of(&server);
    assert_eq!(scrape.value(&restarts("outside")), 1.0);
    let memory = scrape.value(&format!("impetus_worker_memory_bytes{{{SURFACE}}}"));
    let limit = scrape.value(&format!(
        "impetus_worker_memory_hard_limit_bytes{{{SURFACE}}}"
    ));
    assert!(0.0 < memory && memory < limit, "{memory} {limit}");
    let progress = format!("impetus_last_progress_timestamp_seconds{{{SURFACE}}}");
    let progress = scrape.value(&progress);
    assert!(
        began - 1.0 < progress && progress <= now() + 1.0,
        "{progress}"
    );
}

#[test]
fn a_model_that_cannot_be_loaded_is_failed_its_requests_are_turned_away_and_it_is_tried_again() {
    let setup = one_patient_worker().set("models.backoff_max", "\"100ms\"");
    let file = setup.path().join("models/surface/model.onnx");
    fs::write(&file, b"not a model").unwrap();
    let server = setup.start();
    let failed = format!("impetus_model_state{{{SURFACE},state=\"failed\"}}");
    wait_for_value(&server, &failed, 1.0);
    server.wait_for("another try", || {
        Scrape::of(&server).value(&restarts("failed_start")) >= 1.0
    });
    let sample = &load::requests()[0];
    let answer = server.post("/predict", sample.content_type, &sample.body);
    assert_eq!(answer.status, 503, "{}", answer.text());
    let scrape = Scrape::of(&server);
    assert_eq!(scrape.value(&rejected("surface", "not_loaded")), 1.0);
    assert_eq!(scrape.value(&count("predict", "surface", "5xx")), 1.0);
    let states = scrape
        .series()
        .into_iter()
        .filter(|s| s.starts_with("impetus_model_state{"));
    let states: f64 = states.map(|series| scrape.value(series)).sum();
    assert_eq!(states, 1.0, "a model is in one state");
    assert_eq!(scrape.value("impetus_models_loaded"), 0.0);
}

#[test]
fn a_queue_that_fills_shows_its_depth_whom_it_turned_away_and_whom_it_let_wait_too_long() {
    let server = one_patient_worker()
        .set("models.queue", "1")
        // So that every request is a whole batch, of which a busy worker gets one more.
        .set("models.max_batch", "1")
        .set("http.request_timeout", "\"3s\"")
        .start_ready();
    let server = Arc::new(server);
    let worker = server.workers()[0];
    freeze(worker);
    let depth = format!("impetus_queue_depth{{{SURFACE}}}");
    let mut waiting = Vec::new();
    let in_flight = |server: &Server| {
        let list = server.get("/api/models/list").json();
        list["models"][0]["workers"][0]["in_flight"].clone()
    };
    // Two batches go to the worker; only then does anything wait.
    for batches in 1..=2 {
        waiting.push(predicting(&server));
        server.wait_for("a batch on its way", || in_flight(&server) == batches);
    }
    waiting.push(predicting(&server));
    wait_for_value(&server, &depth, 1.0);
    let scrape = Scrape::of(&server);
    assert_eq!(
        scrape.value(&format!("impetus_queue_capacity{{{SURFACE}}}")),
        1.0
    );
    assert_eq!(predicting(&server).join().unwrap().status, 429);
    assert_eq!(
        Scrape::of(&server).value(&rejected("surface", "queue_full")),
        1.0
    );
    for client in waiting {
        assert_eq!(client.join().unwrap().status, 504);
    }
    signal_process(worker, Signal::CONT);
    wait_for_value(&server, &rejected("surface", "expired"), 1.0);
    wait_for_value(&server, &depth, 0.0);
    let scrape = Scrape::of(&server);
    assert_eq!(scrape.value(&count("predict", "surface", "4xx")), 1.0);
    assert_eq!(scrape.value(&count("predict", "surface", "5xx")), 3.0);
    let bucket = count("predict", "surface", "5xx").replace("_count", "_bucket");
    let within = |bound: &str| scrape.value(&bucket.replace('}', &format!(",le=\"{bound}\"}}")));
    assert_eq!((within("1"), within("+Inf")), (0.0, 3.0));
}

/// Has a thread send a picture and wait for the answer.
fn predicting(server: &Arc<Server>) -> std::thread::JoinHandle<Answer> {
    let server = Arc::clone(server);
    std::thread::spawn(move || {
        let (_, path) = &samples()[0];
        server.post("/predict", content_type(path), &fs::read(path).unwrap())
    })
}

#[test]
fn a_client_that_goes_before_its_answer_is_timed_as_well() {
    let server = one_patient_worker().start_ready();
    let worker = server.workers()[0];
    freeze(worker);
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let sample = &load::requests()[0];
    let head = format!(
        "POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n",
        sample.content_type,
        sample.body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&sample.body).unwrap();
    wait_for_value(&server, "impetus_http_requests_in_flight", 1.0);
    server.wait_for("the request to be with the worker", || {
        server.status()["models"][0]["workers"][0]["in_flight"] == 1
    });
    drop(stream);
    wait_for_value(&server, &count("predict", "surface", "4xx"), 1.0);
    signal_process(worker, Signal::CONT);
}

#[test]
fn an_actor_that_was_restarted_says_so_and_is_in_one_state() {
    let server = Setup::new().start_ready();
    let restarts = "impetus_actor_restarts_total{actor=\"metrics\"}";
    assert_eq!(Scrape::of(&server).value(restarts), 0.0);
    assert_eq!(server.fault("metrics", "panic", 1, None).status, 200);
    wait_for_value(&server, restarts, 1.0);
    wait_for_value(
        &server,
        "impetus_actor_state{actor=\"metrics\",state=\"running\"}",
        1.0,
    );
    let scrape = Scrape::of(&server);
    let of_metrics = |series: &&str| series.starts_with("impetus_actor_state{actor=\"metrics\"");
    let states = scrape.series().into_iter().filter(of_metrics);
    let states: Vec<f64> = states.map(|series| scrape.value(series)).collect();
    assert_eq!((states.len(), states.iter().sum::<f64>()), (1, 1.0));
    let age = scrape.value("impetus_actor_status_age_seconds{actor=\"metrics\"}");
    assert!((0.0..60.0).contains(&age), "{age}");
    assert_eq!(
        scrape.value("impetus_actor_mailbox_depth{actor=\"metrics\"}"),
        0.0
    );
    assert!(scrape.value("impetus_heartbeat_age_seconds") < 15.0);
}

#[test]
fn a_drained_server_is_draining_and_not_ready_and_alive_until_it_is_put_back() {
    let server = Setup::new().start_ready();
    let verdicts = || {
        let scrape = Scrape::of(&server);
        ["live", "ready", "draining"].map(|name| scrape.value(&format!("impetus_{name}")))
    };
    assert_eq!(verdicts(), [1.0, 1.0, 0.0]);
    server.post_health("/api/admin/drain", &Value::Null);
    assert_eq!(verdicts(), [1.0, 0.0, 1.0]);
    server.delete_health("/api/admin/drain");
    assert_eq!(verdicts(), [1.0, 1.0, 0.0]);
}

#[test]
fn a_server_that_is_told_to_end_is_draining_and_not_ready() {
    let server = Setup::new()
        .set("lifecycle.lame_duck", "\"30s\"")
        .start_ready();
    server.signal(Signal::TERM);
    wait_for_value(&server, "impetus_draining", 1.0);
    let scrape = Scrape::of(&server);
    assert_eq!(scrape.value("impetus_ready"), 0.0);
    assert_eq!(scrape.value("impetus_live"), 1.0);
}

#[test]
fn a_commit_is_counted_and_timed_and_its_rows_take_room() {
    let server = Setup::new().start_ready();
    wait_for_value(&server, "impetus_prediction_log_database_up", 1.0);
    let last = "impetus_prediction_log_last_commit_timestamp_seconds";
    let before = Scrape::of(&server);
    assert_eq!(before.get(last), None);
    let began = now();
    for _ in 0..2 {
        let answer = server.post_json("/log", &batch("metrics", &["good", "bad"]));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let after = Scrape::of(&server);
    let commits = "impetus_prediction_log_commit_duration_seconds_count";
    assert_eq!(after.value(commits) - before.value(commits), 2.0);
    let sum = after.value("impetus_prediction_log_commit_duration_seconds_sum");
    assert!(sum > 0.0 && sum < PATIENCE.as_secs_f64(), "{sum}");
    let rows = after.value("impetus_prediction_log_rows_committed_total");
    assert_eq!(rows, 2.0, "a replay makes no rows");
    assert!((began - 1.0..now() + 1.0).contains(&after.value(last)));
    assert_eq!(after.value("impetus_prediction_log_queue_depth"), 0.0);
    assert_eq!(after.value("impetus_prediction_log_queue_capacity"), 1024.0);
    let database = server.dir.path().join("data/predictions.db");
    let file = fs::metadata(database).unwrap().len() as f64;
    assert!(after.value("impetus_prediction_log_size_bytes") >= file);
}

#[test]
fn a_batch_for_a_database_that_is_down_is_refused_and_counted() {
    let setup = Setup::without_models().set("role", "\"logging\"");
    fs::write(
        setup.path().join("data"),
        b"a file where a folder should be",
    )
    .unwrap();
    let server = setup.start_ready();
    let refused = "impetus_prediction_log_refused_total";
    server.wait_for("a refusal", || {
        let answer = server.post_json("/log", &batch("metrics", &["image"]));
        assert_eq!(answer.status, 503, "{}", answer.text());
        Scrape::of(&server).value(refused) > 0.0
    });
    let scrape = Scrape::of(&server);
    assert_eq!(scrape.value("impetus_prediction_log_database_up"), 0.0);
    assert!(scrape.value(&count("log", "none", "5xx")) >= 1.0);
    assert_eq!(scrape.get("impetus_prediction_log_size_bytes"), None);
}

#[test]
fn a_model_that_is_gone_is_gone_from_the_next_scrape() {
    let server = Setup::new().start_ready();
    server.assert_predicts();
    let models = server.dir.path().join("models");
    fs::rename(models.join("surface"), server.dir.path().join("aside")).unwrap();
    server.wait_for("its end", || {
        let list = server.get("/api/models/list").json();
        list["models"].as_array().unwrap().is_empty() && server.actor("model:surface").is_none()
    });
    let scrape = Scrape::of(&server);
    let left = scrape
        .series()
        .into_iter()
        .filter(|series| series.contains("surface"));
    let left: Vec<&str> = left.collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_start_of_the_process_is_when_it_was_started_and_the_same_in_every_scrape() {
    let before = now();
    let server = Setup::new().start_ready();
    let after = now();
    let start = "process_start_time_seconds";
    let first = Scrape::of(&server);
    // The system counts in hundredths.
    assert!((before - 0.05..after + 0.05).contains(&first.value(start)));
    server.wait_for("some time", || {
        now() - after > Duration::from_millis(200).as_secs_f64()
    });
    let second = Scrape::of(&server);
    assert_eq!(first.value(start), second.value(start));
    if cfg!(target_os = "linux") {
        let cpu = "process_cpu_seconds_total";
        assert!(first.value(cpu) <= second.value(cpu));
        let open = second.value("process_open_fds");
        assert!(
            open > 3.0 && open <= second.value("process_max_fds"),
            "{open}"
        );
        assert!(second.value("process_threads") > 3.0);
        let resident = second.value("process_resident_memory_bytes");
        assert!(resident > 1e6 && resident < second.value("process_virtual_memory_bytes"));
    }
    let limit = second.value("impetus_memory_limit_bytes");
    assert!(second.value("impetus_memory_working_set_bytes") <= limit);
    assert!(second.value("impetus_cpu_limit_cores") > 0.0);
}
