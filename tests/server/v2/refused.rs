//! What is wrong with a request is said, and counts as no failure of the model.

use serde_json::{Value, json};

use super::{assert_refused, echo, infer, post};
use crate::contract::sample;
use crate::harness::Setup;

const PATH: &str = "/v2/models/triple/infer";

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut request = json!({"inputs": [
        {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]});
    change(&mut request);
    request
}

#[test]
fn tensors_that_are_none_of_the_model_are_refused_by_name() {
    let server = echo::start();
    let refused = |change: fn(&mut Value), words: &str| {
        assert_refused(&infer(&server, "triple", &with(change)), 400, words);
    };
    refused(|r| r["inputs"] = json!([]), "input x is missing");
    refused(|r| r["inputs"][0]["name"] = json!("z"), "no input z");
    refused(
        |r| r["inputs"][0]["datatype"] = json!("INT32"),
        "must be FP32, got INT32",
    );
    refused(|r| r["inputs"][0]["datatype"] = json!("FP8"), "FP8");
    refused(|r| r["inputs"][0]["shape"] = json!([3]), "shape");
    refused(|r| r["inputs"][0]["shape"] = json!([1, -3]), "-3");
    refused(|r| r["inputs"][0]["shape"] = json!([1.5]), "1.5");
    refused(
        |r| r["inputs"][0]["data"] = json!([1, 2]),
        "data has 2 elements",
    );
    refused(
        |r| r["inputs"][0]["data"] = json!([1, 2, 3, 4]),
        "more than the 3",
    );
    refused(
        |r| r["inputs"][0]["data"] = json!([[1, 2], [3]]),
        "dimension 1",
    );
    refused(
        |r| r["inputs"][0]["data"] = json!([1, "2", 3]),
        "data[1] is \"2\"",
    );
    refused(
        |r| r["inputs"][0]["data"] = json!([1, 1e39, 3]),
        "data[1] is 1e+39, which FP32 cannot hold",
    );
    refused(
        |r| r["inputs"][0]["data"] = json!([1, null, 3]),
        "data[1] is null",
    );
    refused(|r| r["outputs"] = json!([{"name": "q"}]), "no output \"q\"");
    refused(
        |r| r["outputs"] = json!([{"name": "y"}, {"name": "y"}]),
        "twice",
    );
    refused(
        |r| r["inputs"][0]["parameters"] = json!({"shared_memory_region": "r"}),
        "shared memory",
    );
    refused(
        |r| r["outputs"] = json!([{"name": "y", "parameters": {"shared_memory_region": "r"}}]),
        "shared memory",
    );
    for (body, words) in [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[]", "expected an object"),
        ("{\"inputs\": [{\"name\": \"x\"}]}", "datatype"),
        ("{\"inputs\": [1]}", "expected an object"),
    ] {
        assert_refused(&post(&server, PATH, &[], body.as_bytes()), 400, words);
    }
    let deep = format!("{{\"a\": {}", "[".repeat(1_000_000));
    assert_refused(&post(&server, PATH, &[], deep.as_bytes()), 400, "nested");
    assert_refused(&infer(&server, "nobody", &with(|_| {})), 404, "nobody");
    let version = server.post_json("/v2/models/triple/versions/9/infer", &with(|_| {}));
    assert_refused(&version, 404, "9");

    let metrics = server.get("/metrics").text();
    let count = |endpoint: &str, model: &str, status: &str| {
        let series = format!(
            "impetus_request_duration_seconds_count{{endpoint=\"{endpoint}\",model=\"{model}\",status=\"{status}\"}}"
        );
        sample(&metrics, &series).unwrap()
    };
    assert_eq!(count("infer", "triple", "4xx"), 23.0);
    assert_eq!(count("infer", "none", "4xx"), 2.0);
    assert_eq!(count("predict", "triple", "4xx"), 0.0);
    assert_eq!(count("infer", "triple", "5xx"), 0.0);
    assert_eq!(server.get("/ready").json()["errors"], 0);
    assert_eq!(infer(&server, "triple", &with(|_| {})).status, 200);
}

#[test]
fn who_comes_to_a_full_queue_is_told_when_to_come_again() {
    let server = Setup::new()
        .with_killer("slow", "")
        .set("models.queue", "1")
        .set("models.workers", "1")
        .start();
    server.wait_for("the slow model", || {
        server.get("/v2/models/slow/ready").status == 200
    });
    let metadata = server.get("/v2/models/slow").json();
    let input = &metadata["inputs"][0];
    let shape: Vec<i64> = serde_json::from_value(input["shape"].clone()).unwrap();
    let shape: Vec<i64> = shape.iter().map(|extent| (*extent).max(1)).collect();
    let count = shape.iter().product::<i64>();
    let request = json!({"inputs": [{"name": input["name"], "datatype": input["datatype"],
        "shape": shape, "data": vec![1; usize::try_from(count).unwrap()]}]});
    let url = server.url("/v2/models/slow/infer");
    let turned_away = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..12)
            .map(|_| {
                scope.spawn(|| {
                    let agent = crate::harness::new_agent();
                    let answer = agent.post(&url).send(request.to_string().as_bytes());
                    crate::harness::Answer::from(answer.unwrap())
                })
            })
            .collect();
        let mut answers = asked.into_iter().map(|asked| asked.join().unwrap());
        answers.find(|answer| answer.status == 429)
    });
    let turned_away = turned_away.expect("twelve at once are more than fit");
    assert_refused(&turned_away, 429, "limit");
    assert!(turned_away.headers.contains_key("retry-after"));
}
