//! What the Open Inference Protocol says about waiting: priorities, timeouts, shapes, and the figures
//! in which it shows.

use std::sync::Mutex;

use serde_json::{Value, json};

use super::{batches, setup, wait_until_queued, while_the_worker_stands_still};
use crate::harness::{Answer, Server};
use crate::v2::echo;

/// Asks a killer model about an empty picture that begins with `marker`.
fn infer(server: &Server, model: &str, marker: f32, parameters: &Value) -> Answer {
    let mut data = vec![0.0_f32; 3 * 32 * 32];
    data[0] = marker;
    let input = json!({"name": "image", "datatype": "FP32", "shape": [1, 3, 32, 32], "data": data});
    let request = json!({"parameters": parameters, "inputs": [input]});
    server.post_json(&format!("/v2/models/{model}/infer"), &request)
}

/// Asks for rows of so many numbers back.
fn echo(server: &Server, rows: usize, columns: usize) -> Answer {
    let data = vec![1.0; rows * columns];
    let input = json!({"name": "x", "datatype": "FP32", "shape": [rows, columns], "data": data});
    server.post_json("/v2/models/free/infer", &json!({"inputs": [input]}))
}

#[test]
fn an_urgent_request_goes_before_those_that_came_earlier() {
    let server = setup("slow", "batching.max_rows = 1").start_ready();
    let answered = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let (server, answered) = (&server, &answered);
        let send = |name: &'static str, priority: u64| {
            scope.spawn(move || {
                // Long enough that answers do not overtake each other on their way.
                let answer = infer(server, "slow", 151.0, &json!({"priority": priority}));
                assert_eq!(answer.status, 200, "{}", answer.text());
                answered.lock().unwrap().push(name);
            });
        };
        while_the_worker_stands_still(server, "slow", || {
            let sent = [("first", 2), ("second", 0), ("urgent", 1)];
            for (waiting, (name, priority)) in (1..).zip(sent) {
                send(name, priority);
                wait_until_queued(server, waiting);
            }
        });
    });
    assert_eq!(*answered.lock().unwrap(), ["urgent", "first", "second"]);
}

#[test]
fn a_request_says_itself_how_long_it_waits_for_a_worker() {
    let server = setup("plain", "").start_ready();
    while_the_worker_stands_still(&server, "plain", || {
        let refused = infer(&server, "plain", 0.0, &json!({"timeout": 200_000}));
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(refused.text().contains("200 ms"), "{}", refused.text());
    });
    let fixed = "batching.timeout = \"1m\"\nbatching.allow_timeout_override = false";
    let server = setup("plain", fixed).start_ready();
    std::thread::scope(|scope| {
        let waits = while_the_worker_stands_still(&server, "plain", || {
            let waits = scope.spawn(|| infer(&server, "plain", 0.0, &json!({"timeout": 1})));
            wait_until_queued(&server, 1);
            waits
        });
        assert_eq!(waits.join().unwrap().status, 200);
    });
}

#[test]
fn requests_of_one_shape_share_a_batch_whatever_came_between_them() {
    let setup = setup("plain", "batching.max_rows = 8");
    let through = vec![("x".into(), "y".into(), 1, vec![None, None])];
    echo::install(&setup, "free", through, "workers = 1");
    let server = setup.start();
    server.wait_for("both models", || server.workers().len() == 2);
    let status = server.status();
    let worker = status["models"][0]["workers"][0]["pid"].as_u64().unwrap();
    let worker = u32::try_from(worker).unwrap();
    let model = |server: &Server| server.status()["models"][0].clone();
    assert_eq!(model(&server)["name"], "free");
    crate::harness::processes::freeze(worker);
    std::thread::scope(|scope| {
        let server = &server;
        let send = |columns: usize| {
            scope.spawn(move || {
                let answer = echo(server, 1, columns);
                assert_eq!(answer.status, 200, "{}", answer.text());
                let shape = &answer.json()["outputs"][0]["shape"];
                assert_eq!(*shape, json!([1, columns]));
            });
        };
        send(9);
        server.wait_for("the run to begin", || {
            model(server)["workers"][0]["in_flight"] == 1
        });
        for (waiting, columns) in (1..).zip([1, 2, 1, 2, 1, 2]) {
            send(columns);
            server.wait_for("one more to wait", || model(server)["queued"] == waiting);
        }
        crate::harness::signal_process(worker, rustix::process::Signal::CONT);
    });
    assert_eq!(batches(&server, "free"), (3.0, 7.0), "one, three and three");
}

#[test]
fn statistics_and_configuration_show_how_a_model_batches() {
    let description = "batching.delay = \"1m\"\nbatching.preferred = [3]\nbatching.queue = 77\n\
                       batching.timeout = \"30s\"\nbatching.priority = \"high\"";
    let server = setup("plain", description).start_ready();
    super::assert_answered_together(&server, "plain", 3);
    let stats = server.get("/v2/models/plain/stats").json();
    let stats = &stats["model_stats"][0];
    assert_eq!(stats["inference_count"], 3, "{stats:#}");
    assert_eq!(stats["execution_count"], 1, "{stats:#}");
    assert_eq!(stats["inference_stats"]["success"]["count"], 3, "{stats:#}");
    assert_eq!(stats["inference_stats"]["queue"]["count"], 3, "{stats:#}");
    assert!(stats["last_inference"].as_u64().unwrap() > 0, "{stats:#}");
    let batch = &stats["batch_stats"][0];
    assert_eq!(batch["batch_size"], 3, "{stats:#}");
    assert_eq!(batch["compute_infer"]["count"], 1, "{stats:#}");
    let infer = batch["compute_infer"]["ns"].as_u64().unwrap();
    let all = stats["inference_stats"]["compute_infer"]["ns"].as_u64();
    assert_eq!(all, Some(3 * infer), "each request has its batch's time");
    let config = server.get("/v2/models/plain/config").json();
    let batching = &config["dynamic_batching"];
    assert_eq!(batching["preferred_batch_size"], json!([3]));
    assert_eq!(batching["max_queue_delay_microseconds"], 60_000_000);
    assert_eq!(batching["default_priority_level"], 1);
    let policy = &batching["default_queue_policy"];
    assert_eq!(policy["max_queue_size"], 77);
    assert_eq!(policy["default_timeout_microseconds"], 30_000_000);
}
