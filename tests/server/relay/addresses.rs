//! The address of a logging service may hold a password, which nobody is shown.

use std::fs;
use std::process::Command;

use super::{forwarding_to, wait_until_away};
use crate::harness::{Setup, binary, free_ports};
use crate::postgres::assert_shows_nowhere;

const SECRET: &str = "s3cret-word";

#[test]
fn whoever_asks_a_server_that_forwards_is_sent_on_without_its_password() {
    let port = free_ports()[0];
    let setup = Setup::without_models().set("role", "\"logging\"");
    let url = format!("http://name:{SECRET}@127.0.0.1:{port}");
    let server = forwarding_to(setup, &url).start();
    for path in ["/predictions", "/stats", "/export"] {
        let answer = server.get(path);
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        let answer = answer.json();
        assert_eq!(answer["code"], "kept_elsewhere", "{path}: {answer}");
        let error = answer["error"].as_str().unwrap();
        let shown = format!("http://127.0.0.1:{port};");
        assert!(error.contains(&shown), "{path}: {error}");
    }
    server.wait_for("the file", || {
        server.get("/ready").json()["db_initialized"] == true
    });
    let logged = server.post_json("/log", &crate::database::batch("line-1", &["one"]));
    assert_eq!(logged.status, 200, "{}", logged.text());
    let reason = wait_until_away(&server);
    assert!(reason.contains("cannot be reached"), "{reason}");
    assert_shows_nowhere(&server, SECRET);
}

#[test]
fn the_configuration_is_shown_without_passwords() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    let encoded = format!("{SECRET}%2F");
    for (kind, url) in [
        ("impetus", format!("http://name:{SECRET}@log:8001")),
        ("postgres", format!("postgres://name:{encoded}@db/x")),
        (
            "postgres",
            format!("postgres://db/x?user=name&password={SECRET}"),
        ),
        // Not what addresses look like, but what people write.
        ("postgres", format!("postgres://name:a/{SECRET}@db/x")),
        ("impetus", format!("https:name:{SECRET}@log")),
        ("sqlite", format!("http://name:{SECRET}@log:8001")),
    ] {
        fs::write(
            &file,
            format!("[sink]\nkind = \"{kind}\"\nurl = \"{url}\"\n"),
        )
        .unwrap();
        for output in ["toml", "json"] {
            let told = Command::new(binary())
                .args(["check-config", "--output", output, "--config"])
                .arg(&file)
                .output()
                .unwrap();
            let told = [told.stdout, told.stderr].concat();
            let told = String::from_utf8_lossy(&told);
            assert!(told.contains("sink"), "{told}");
            assert!(!told.contains(SECRET), "{url}: {told}");
        }
    }
}
