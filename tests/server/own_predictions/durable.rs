//! Predictions that are answered when they are on the disk: a 200 is a promise, and what cannot be
//! promised is refused.

use futures_util::StreamExt;
use rustix::process::Signal;
use serde_json::json;
use tonic::{Code, Request};

use super::{describe, expect_predicted, images, in_log, predict, rows_left_by, wait_for_database};
use crate::grpc::client::{Client, picture};
use crate::harness::Setup;
use crate::harness::database::Lock;
use crate::v2::infer;

#[test]
fn what_was_answered_is_in_the_log_at_once_and_after_a_kill() {
    let mut server = durable(Setup::new()).start_ready();
    wait_for_database(&server);
    for number in 0..3 {
        expect_predicted(&server, &format!("request-{number}"));
        assert_eq!(in_log(&server).len(), number + 1);
    }
    let body = surface_request();
    assert_eq!(infer(&server, "surface", &body).status, 200);
    server.signal(Signal::KILL);
    server.wait_exit();
    let expected = ["of-v2", "request-0", "request-1", "request-2"];
    assert_eq!(images(&rows_left_by(&server)), expected);
}

#[test]
fn what_cannot_be_logged_is_refused_whichever_way_it_comes_until_it_can() {
    let setup = Setup::new().set("predlog.write_timeout", "\"500ms\"");
    let setup = describe(setup, "[log]\ndurable = true");
    let server = setup.start_ready();
    wait_for_database(&server);
    let client = Client::of(&server);
    let lock = Lock::take(&server.dir.path().join("data/predictions.db"));
    let refused = predict(&server, "refused");
    assert_eq!(refused.status, 503, "{}", refused.text());
    let code = refused.json()["code"].clone();
    let codes = ["log_unavailable", "log_timed_out"].map(|code| json!(code));
    assert!(codes.contains(&code), "{}", refused.text());
    assert!(
        refused.headers.contains_key("retry-after"),
        "{:?}",
        refused.headers
    );
    assert!(refused.json().get("class").is_none(), "{}", refused.text());

    let refused = infer(&server, "surface", &surface_request());
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(
        refused.headers.contains_key("retry-after"),
        "{:?}",
        refused.headers
    );
    assert!(
        refused.json().get("outputs").is_none(),
        "{}",
        refused.text()
    );

    let refused = client.infer(picture("surface", 0.1)).unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    let pushback = refused.metadata().get("grpc-retry-pushback-ms");
    assert!(pushback.is_some(), "{refused:?}");
    assert_stream_refuses(&client);

    lock.release();
    wait_for_database(&server);
    expect_predicted(&server, "answered");
    assert!(images(&in_log(&server)).contains(&"answered"));
}

/// Asks twice on one stream: each is refused by itself.
fn assert_stream_refuses(client: &Client) {
    let messages = [picture("surface", 0.1), picture("surface", 0.1)];
    let request = Request::new(futures_util::stream::iter(messages));
    let answered = client.call(async |service| {
        let answers = service.model_stream_infer(request).await?.into_inner();
        Ok(answers.collect::<Vec<_>>().await)
    });
    let answered = answered.unwrap();
    assert_eq!(answered.len(), 2);
    for answer in answered {
        let answer = answer.unwrap();
        assert_ne!(answer.error_message, "", "{answer:?}");
        assert!(answer.infer_response.unwrap().outputs.is_empty());
    }
}

/// A server that answers when a prediction is on the disk, and would commit others late.
fn durable(setup: Setup) -> Setup {
    setup
        .set("predlog.durable", "true")
        .set("predlog.flush_interval", "\"10s\"")
}

fn surface_request() -> serde_json::Value {
    json!({"id": "of-v2", "inputs": [{"name": "image", "shape": [1, 3, 32, 32],
        "datatype": "FP32", "data": vec![0.1; 3072]}]})
}
