//! `/ready` of a service whose executions fail, and what does not count as a failure.

use serde_json::json;

use super::{onnx, sample};
use crate::harness::{Server, Setup};

const ERRORS: &str = "inference_errors_total{model=\"fussy\",stage=\"none\"}";
const PREDICTIONS: &str = "inference_predictions_total{model=\"fussy\",stage=\"none\"}";

/// A server with the model that fails for certain inputs, and nothing else.
fn fussy(hold: &str) -> Server {
    let setup = Setup::without_models().set("health.error_hold", hold);
    onnx::install_fussy_model(&setup.path().join("models"));
    let server = setup.start_ready();
    server.wait_for("the database", || server.get("/ready").status == 200);
    server
}

/// Sends input the model can do, or cannot.
fn predict(server: &Server, times: usize, well: bool) {
    let first = if well { 3 } else { 9 };
    for _ in 0..times {
        let answer = server.post_json("/predict", &json!({"data": [first, 0, 1, 2]}));
        let text = answer.text();
        if well {
            assert_eq!(
                (answer.status, answer.json()["class"].as_str()),
                (200, Some("0")),
                "{text}"
            );
        } else {
            let expected = (500, Some("run_failed"));
            assert_eq!(
                (answer.status, answer.json()["code"].as_str()),
                expected,
                "{text}"
            );
        }
    }
}

fn counted(server: &Server, series: &str) -> f64 {
    sample(&server.get("/metrics").text(), series).unwrap()
}

#[test]
fn more_than_half_of_ten_failing_makes_the_service_unready_until_few_fail() {
    let server = fussy("\"0s\"");
    predict(&server, 4, true);
    predict(&server, 5, false);
    assert_eq!(
        server.get("/ready").status,
        200,
        "nine are too few to judge by"
    );
    predict(&server, 1, false);

    let [ready, mirrored] = server.get_both("/ready");
    let body = ready.json();
    assert_eq!((ready.status, mirrored.status), (503, 503), "{body}");
    assert_eq!(body["status"], "not_ready");
    let reason = body["reason"].as_str().unwrap();
    assert!(
        reason.contains("error rate: 60% of 10 executions"),
        "{reason}"
    );
    assert_eq!(
        (&body["errors"], &body["predictions_served"]),
        (&json!(6), &json!(4))
    );
    assert_eq!(
        (counted(&server, ERRORS), counted(&server, PREDICTIONS)),
        (6.0, 4.0)
    );
    // It is the service that is unready; the process is well, and is not restarted for it.
    for path in [
        "/health",
        "/api/health/live",
        "/api/health/ready",
        "/api/health",
    ] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }

    // 6 of 24 is a quarter, and under a quarter is what is asked for.
    predict(&server, 14, true);
    assert_eq!(server.get("/ready").status, 503);
    predict(&server, 1, true);
    let ready = server.get("/ready");
    assert_eq!(ready.status, 200, "{}", ready.text());
    assert_eq!(counted(&server, ERRORS), 6.0, "a counter never goes back");
}

#[test]
fn half_of_the_executions_failing_is_not_more_than_half() {
    let server = fussy("\"0s\"");
    predict(&server, 10, true);
    predict(&server, 10, false);
    assert_eq!(server.get("/ready").status, 200);
    predict(&server, 1, false);
    assert_eq!(server.get("/ready").status, 503);
}

#[test]
fn a_service_that_became_unready_stays_so_for_the_hold() {
    let server = fussy("\"1h\"");
    predict(&server, 10, false);
    assert_eq!(server.get("/ready").status, 503);
    predict(&server, 100, true);
    let body = server.get("/ready").json();
    assert!(
        body["reason"]
            .as_str()
            .unwrap()
            .contains("error rate: 9% of 110"),
        "{body}"
    );
}

#[test]
fn the_client_s_own_mistakes_do_not_count() {
    let server = fussy("\"0s\"");
    let mistakes = [
        ("/predict", "{\"data\":[1,2,3]}", 400),
        ("/predict", "{\"data\":[1,2,3,null]}", 400),
        ("/predict", "{\"data\":[NaN,0,0,0]}", 400),
        ("/predict", "no json", 400),
        ("/predict?model=nobody", "{\"data\":[0,0,0,0]}", 404),
    ];
    for _ in 0..5 {
        for (path, body, status) in mistakes {
            let answer = server.post(path, "application/json", body.as_bytes());
            assert_eq!(answer.status, status, "{body}: {}", answer.text());
        }
        assert_eq!(
            server.post("/predict", "image/png", b"no picture").status,
            415
        );
    }
    let ready = server.get("/ready");
    assert_eq!(
        (ready.status, &ready.json()["errors"]),
        (200, &json!(0)),
        "{}",
        ready.text()
    );
    assert_eq!(counted(&server, ERRORS), 0.0);
    // Nor do they make a failing service look better.
    predict(&server, 10, false);
    let reason = server.get("/ready").json()["reason"].clone();
    assert!(
        reason.as_str().unwrap().contains("100% of 10 executions"),
        "{reason}"
    );
}
