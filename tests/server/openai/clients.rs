//! Clients that go, and clients that are slow.

use super::*;
use crate::harness::scrape::Scrape;

fn cancelled(server: &Server) -> f64 {
    let series = "impetus_generation_finished_total{model=\"tiny-chat\",reason=\"cancelled\"}";
    Scrape::of(server).value(series)
}

#[test]
fn a_client_that_goes_takes_its_sequences_with_it_whether_it_streams_or_waits() {
    let server = setup().set("generation.slots", "1").start_ready();
    let mut gone = Reading::begin(&server, CHAT, &endless(&json!({"stream": true, "n": 2})));
    gone.until("content");
    drop(gone);
    server.wait_for("both to be cancelled", || cancelled(&server) == 2.0);
    wait_until_idle(&server);
    let waits = Reading::begin(&server, CHAT, &endless(&json!({})));
    wait_for_value(&server, RUNNING, 1.0);
    drop(waits);
    server.wait_for("it to be cancelled", || cancelled(&server) == 3.0);
    wait_until_idle(&server);
    wait_for_value(&server, "impetus_http_requests_in_flight", 0.0);
    // The slot is free again.
    answered(&server, CHAT, &greedy(&json!({})));
}

#[test]
fn a_client_that_reads_nothing_holds_up_nobody() {
    let server = setup().set("generation.slots", "2").start_ready();
    let alone = answered(&server, CHAT, &greedy(&json!({})));
    let lazy = Reading::begin(
        &server,
        CHAT,
        &endless(&json!({"stream": true, "logprobs": true, "top_logprobs": 20})),
    );
    wait_for_value(&server, RUNNING, 1.0);
    let beside = answered(&server, CHAT, &greedy(&json!({})));
    assert_eq!(content(&alone), content(&beside));
    // Its sequence comes to its end, whoever reads it.
    wait_until_idle(&server);
    let text = lazy.rest();
    assert!(text.contains("\"finish_reason\":\"length\""));
}
