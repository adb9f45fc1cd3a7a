//! The port: who is let in, who is closed on, and how it ends.

use std::io::Read;
use std::net::TcpStream;

use impetus::grpc::proto::{ServerLiveRequest, ServerReadyRequest};
use rustix::process::Signal;
use tokio::time::timeout;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::client::{Client, endpoint, picture, raw, service};
use super::models;
use crate::harness::killers::setup_of;
use crate::harness::processes::freeze;
use crate::harness::{PATIENCE, Server, signal_process};

/// Connections for probes beyond the limit.
const RESERVE: usize = 16;

fn echo() -> impetus::grpc::proto::ModelInferRequest {
    raw("echo_UINT8", "UINT8", &[1, 1], vec![1])
}

/// Asks for the server's health on a connection of its own.
fn health(client: &Client, server: &Server) -> ServingStatus {
    let asked = async {
        let mut health = HealthClient::new(endpoint(server).connect_lazy());
        let request = HealthCheckRequest {
            service: String::new(),
        };
        health.check(request).await
    };
    client
        .runtime
        .block_on(asked)
        .unwrap()
        .into_inner()
        .status()
}

/// Health is brought up to date once a second.
fn wait_until_serving(client: &Client, server: &Server) {
    server.wait_for("the server to serve", || {
        health(client, server) == ServingStatus::Serving
    });
}

fn wait_for_metric(server: &Server, line: &str) {
    server.wait_for(line, || {
        server.get("/metrics").text().lines().any(|l| l == line)
    });
}

#[test]
fn beyond_the_limit_a_connection_is_for_probes_alone() {
    let server = models::one("UINT8")
        .set("grpc.max_connections", "2")
        .start_ready();
    let clients = [Client::of(&server), Client::of(&server)];
    for client in &clients {
        client.infer(echo()).unwrap();
    }
    let third = Client::of(&server);
    let refused = third.infer(echo()).unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(
        refused.message().contains("2 connections are open"),
        "{refused}"
    );
    let live = third
        .call(async |s| s.server_live(ServerLiveRequest {}).await)
        .unwrap();
    let ready = third
        .call(async |s| s.server_ready(ServerReadyRequest {}).await)
        .unwrap();
    assert!(live.into_inner().live && ready.into_inner().ready);
    wait_until_serving(&third, &server);
    // Who has a place keeps it, and a place that is free again is taken.
    clients[0].infer(echo()).unwrap();
    drop((clients, third));
    wait_for_metric(&server, "impetus_grpc_connections 0");
    Client::of(&server).infer(echo()).unwrap();
}

#[test]
fn beyond_the_reserve_nobody_is_let_in_and_who_says_nothing_loses_its_place() {
    let server = models::one("UINT8")
        .set("grpc.max_connections", "1")
        .set("http.client_header_timeout", "\"2s\"")
        .start_ready();
    let connect = || TcpStream::connect(("127.0.0.1", server.grpc_port)).unwrap();
    let silent: Vec<TcpStream> = (0..=RESERVE).map(|_| connect()).collect();
    wait_for_metric(
        &server,
        &format!("impetus_grpc_connections {}", silent.len()),
    );
    let mut one_more = connect();
    one_more.set_read_timeout(Some(PATIENCE)).unwrap();
    // Closed, by whichever way the two met.
    assert!(one_more.read(&mut [0; 1]).unwrap_or(0) == 0);
    wait_for_metric(&server, "impetus_grpc_connections_refused_total 1");
    wait_for_metric(&server, "impetus_grpc_connections 0");
    Client::of(&server).infer(echo()).unwrap();
}

#[test]
fn health_is_answered_while_every_worker_and_every_place_in_the_queue_is_taken() {
    let server = setup_of("plain", "")
        .set("models.queue", "8")
        .set("models.max_batch", "1")
        .set("models.in_flight", "1")
        .set("models.run_timeout", "\"50s\"")
        .start_ready();
    let client = Client::of(&server);
    let worker = server.workers()[0];
    freeze(worker);
    let running = client.start(picture("plain", 0.1));
    server.wait_for("the run to begin", || {
        server.status()["models"][0]["workers"][0]["in_flight"] == 1
    });
    let mut held = vec![running];
    held.extend((0..8).map(|_| client.start(picture("plain", 0.1))));
    wait_for_metric(&server, "impetus_grpc_requests_in_flight 9");
    wait_until_serving(&client, &server);
    signal_process(worker, Signal::CONT);
    for call in held {
        client.wait(call).unwrap();
    }
}

#[test]
fn an_idle_connection_is_closed_and_its_client_comes_back() {
    let server = models::one("UINT8")
        .set("grpc.idle_timeout", "\"1s\"")
        .start_ready();
    let client = Client::of(&server);
    for _ in 0..2 {
        client.infer(echo()).unwrap();
        wait_for_metric(&server, "impetus_grpc_connections 0");
    }
}

#[test]
fn a_client_that_does_not_take_its_answers_is_closed_on() {
    let server = models::one("UINT8")
        .set("http.write_timeout", "\"1s\"")
        .start_ready();
    let client = Client::of(&server);
    let large = raw("echo_UINT8", "UINT8", &[1, 4 << 20], vec![1; 4 << 20]);
    let requests = futures_util::stream::iter([large.clone(), large]);
    // No more room than the protocol begins with, and nobody reads.
    let channel = endpoint(&server).initial_stream_window_size(65_535);
    let opened = client.runtime.block_on(async {
        let mut service = service(channel.connect_lazy());
        service.model_stream_infer(requests).await
    });
    let closed = "impetus_http_connections_closed_total{reason=\"write_timeout\"} 1";
    wait_for_metric(&server, closed);
    wait_for_metric(&server, "impetus_grpc_requests_in_flight 0");
    drop(opened);
}

#[test]
fn calls_in_flight_are_answered_before_the_end_and_who_comes_late_is_sent_elsewhere() {
    let mut server = setup_of("plain", "")
        .set("models.in_flight", "1")
        .set("models.run_timeout", "\"50s\"")
        .start_ready();
    let client = Client::of(&server);
    let worker = server.workers()[0];
    freeze(worker);
    // A stream on which nothing is asked, and which holds nobody up.
    let silent = client.call(async |s| s.model_stream_infer(futures_util::stream::pending()).await);
    let mut silent = silent.unwrap().into_inner();
    let held = client.start(picture("plain", 0.1));
    wait_for_metric(&server, "impetus_grpc_requests_in_flight 1");
    server.signal(Signal::TERM);
    server.wait_for("draining", || server.status()["phase"] == "draining");
    let late = Client::of(&server);
    let refused = late.infer(picture("plain", 0.1)).unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(
        refused.message().contains("the server is ending"),
        "{refused}"
    );
    assert_eq!(health(&late, &server), ServingStatus::NotServing);
    let ended = client
        .runtime
        .block_on(async { timeout(PATIENCE, silent.message()).await });
    assert_eq!(ended.unwrap().unwrap_err().code(), Code::Unavailable);
    signal_process(worker, Signal::CONT);
    assert_eq!(client.wait(held).unwrap().outputs[0].shape, [1, 4]);
    assert_eq!(server.wait_exit_code(), Some(0));
}

/// A client that asks all the time, over one connection, meets no error as long as the server takes
/// work: it is told to open another connection, and does.
#[test]
fn a_lame_duck_answers_whoever_asks_on_any_connection() {
    let server = models::one("UINT8")
        .set("lifecycle.lame_duck", "\"1h\"")
        .start_ready();
    let client = Client::of(&server);
    client.infer(echo()).unwrap();
    server.signal(Signal::TERM);
    server.wait_for("the lame duck", || server.status()["phase"] == "lame_duck");
    // The first connection is closed, a second one takes its place.
    for _ in 0..50 {
        client.infer(echo()).unwrap();
    }
    Client::of(&server).infer(echo()).unwrap();
}
