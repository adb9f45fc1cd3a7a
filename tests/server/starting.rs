//! What does and what does not keep a server from starting.

use std::net::TcpListener;

use crate::harness::Setup;

#[test]
fn the_environment_of_a_kubernetes_service_does_not_stop_the_start() {
    let server = Setup::new()
        .env("IMPETUS_LLM_SERVICE_PORT", "tcp://10.0.0.1:8080")
        .env("IMPETUS_LLM_SERVICE_PORT_8080_TCP", "tcp://10.0.0.1:8080")
        .env("IMPETUS_LLM_SERVICE_PORT_8080_TCP_ADDR", "10.0.0.1")
        .env("IMPETUS_LLM_SERVICE_PORT_8080_TCP_PORT", "8080")
        .env("IMPETUS_LLM_SERVICE_PORT_8080_TCP_PROTO", "tcp")
        .env("IMPETUS_LLM_SERVICE_SERVICE_HOST", "10.0.0.1")
        .env("IMPETUS_LLM_SERVICE_SERVICE_PORT", "8080")
        .env("IMPETUS_LLM_SERVICE_SERVICE_PORT_HTTP", "8080")
        .env("IMPETUS_PORT", "tcp://10.0.0.1:8080")
        .start_ready();
    server.assert_predicts();
    server.wait_for_log("IMPETUS_LLM_SERVICE_PORT");
}

#[test]
fn the_environment_overrules_the_file() {
    let server = Setup::new()
        .set("environment", "\"from the file\"")
        .env("IMPETUS_ENV", "staging")
        .start();
    assert_eq!(server.status()["environment"], "staging");
}

#[test]
fn a_misspelt_key_in_the_environment_stops_the_start_with_exit_64_and_is_named() {
    let mut server = Setup::new().env("IMPETUS_HEALTH__PROT", "8081").spawn();
    assert_eq!(server.wait_exit_code(), Some(64));
    server.wait_for_log("(IMPETUS_HEALTH__PROT)");
    server.wait_for_log("did you mean IMPETUS_HEALTH__PORT?");
}

#[test]
fn a_misspelt_key_in_the_file_stops_the_start_with_exit_64_and_is_named() {
    let mut server = Setup::new().set("health.prot", "8081").spawn();
    assert_eq!(server.wait_exit_code(), Some(64));
    server.wait_for_log("health.prot");
}

#[test]
fn a_wrong_value_stops_the_start_with_exit_64_and_its_key_is_named() {
    let mut server = Setup::new().set("models.run_timeout", "\"soon\"").spawn();
    assert_eq!(server.wait_exit_code(), Some(64));
    server.wait_for_log("models.run_timeout");
}

#[test]
fn a_port_that_is_taken_stops_the_start_with_exit_69_and_its_key_is_named() {
    for key in ["port", "health.port", "grpc.port"] {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut server = Setup::new().set(key, &port.to_string()).spawn();
        assert_eq!(server.wait_exit_code(), Some(69), "{key}");
        server.wait_for_log(&format!("127.0.0.1:{port}"));
        server.wait_for_log(&format!("choose another with {key}"));
    }
}
