//! The OpenAPI document against a live server: what it describes is there, what is there it describes, and what is
//! answered looks as it says.

mod answers;
mod page;
mod schema;
mod validity;

use std::process::Command;

use serde_json::Value;

use crate::contract::ask;
use crate::harness::{Answer, Server, Setup, binary};

/// The methods that something may take, each of which is tried.
const METHODS: [&str; 4] = ["get", "post", "put", "delete"];

fn document(server: &Server) -> Value {
    let answer = server.get("/openapi.json");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.headers["content-type"], "application/json");
    answer.json()
}

/// Returns what `impetus openapi` prints for the configuration of a server.
fn printed(server: &Server) -> Vec<u8> {
    let config = format!("config-{}.toml", server.port);
    let output = Command::new(binary())
        .args(["openapi", "--config"])
        .arg(server.dir.path().join(config))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Returns a path with something that does not exist in the place of each parameter.
fn filled(path: &str) -> String {
    let mut parts = path.split(['{', '}']);
    let mut filled = parts.next().unwrap().to_owned();
    while let (Some(_), Some(text)) = (parts.next(), parts.next()) {
        filled.push_str("nothing-of-that-name");
        filled.push_str(text);
    }
    filled
}

/// Tells whether an answer says that nothing is there, or not for this method.
fn is_nothing(answer: &Answer) -> bool {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let error = body["error"].as_str().unwrap_or_default();
    answer.status == 405 || answer.status == 404 && error.starts_with("there is nothing at ")
}

#[test]
fn the_command_prints_what_the_server_answers() {
    let server = Setup::without_models().start();
    let answer = server.get("/openapi.json");
    assert!(printed(&server) == answer.body, "{}", answer.text());
}

#[test]
fn every_operation_of_the_document_is_there_with_its_method_and_no_other() {
    for role in ["both", "inference", "logging"] {
        let server = Setup::without_models()
            .set("role", &format!("\"{role}\""))
            .start();
        let document = document(&server);
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in METHODS {
                let described = item.get(method).is_some();
                let url = server.url(&filled(path));
                let answer = ask(&method.to_uppercase(), &url, &[]);
                let what = format!(
                    "{role}: {method} {path}: {} {}",
                    answer.status,
                    answer.text()
                );
                assert_eq!(described, !is_nothing(&answer), "{what}");
                assert!(answer.headers.contains_key("x-request-id"), "{what}");
                // The health port has what says so, and nothing else.
                let on_both = item.get("servers").is_some();
                let answer = ask(
                    &method.to_uppercase(),
                    &server.health_url(&filled(path)),
                    &[],
                );
                assert_eq!(
                    described && on_both,
                    !is_nothing(&answer),
                    "health port: {what}"
                );
            }
        }
    }
}

#[test]
fn a_process_of_one_service_describes_that_alone() {
    for (role, there, not_there) in [
        ("inference", "/predict", "/log"),
        ("logging", "/log", "/predict"),
    ] {
        let server = Setup::without_models()
            .set("role", &format!("\"{role}\""))
            .set("faults.enabled", "false")
            .start();
        let document = document(&server);
        assert!(document["paths"].get(there).is_some(), "{role}");
        assert!(document["paths"].get(not_there).is_none(), "{role}");
        assert!(document["paths"].get("/api/faults").is_none());
        assert_eq!(server.get("/docs").status, 200);
    }
}
