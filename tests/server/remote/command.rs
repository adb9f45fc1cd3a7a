//! `impetus models`, before a server runs and while it does.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

use super::fake::{Fake, Manner};
use super::{assert_answers, graph, impatient, text, versions, wait_until_usable};
use crate::harness::{Server, binary};

const FILE: &str = "/model.onnx";

/// Runs the command.
fn models(words: &[&str]) -> Output {
    Command::new(binary())
        .arg("models")
        .args(words)
        .output()
        .unwrap()
}

/// Runs the command and returns its code and what it has said.
fn code(words: &[&str]) -> (Option<i32>, String) {
    let output = models(words);
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn what_the_command_has_fetched_the_server_does_not_fetch_again() {
    let fake = Fake::start();
    fake.put(FILE, &graph(1), "one");
    let source = text(&fake.url(FILE));
    let setup = impatient().set("models.remote.surface", &source);
    let config = setup.path().join("init.toml");
    let data = text(setup.path().join("data").to_str().unwrap());
    fs::write(
        &config,
        format!("data.dir = {data}\nmodels.remote.surface = {source}\ndownloads.lease = \"1s\"\n"),
    )
    .unwrap();
    let config = config.to_str().unwrap();
    let fetched = models(&["download", "--config", config, "--output", "json"]);
    assert_eq!(fetched.status.code(), Some(0), "{fetched:?}");
    let fetched: Value = serde_json::from_slice(&fetched.stdout).unwrap();
    assert_eq!(fetched["downloaded"][0]["name"], "surface", "{fetched:#}");
    let reads = fake.reads(FILE).len();
    assert_eq!(reads, 1);
    // There is nothing more to read.
    fake.handle(FILE, Manner::Say(500, "no"));
    let server = setup.start_ready();
    assert_answers(&server, "surface");
    assert_eq!(fake.reads(FILE).len(), reads);

    what_a_server_is_told_it_does(&server, &fake);
}

fn what_a_server_is_told_it_does(server: &Server, fake: &Fake) {
    let url = server.url("");
    let list = models(&["list", "--url", &url, "--output", "json"]);
    assert_eq!(list.status.code(), Some(0), "{list:?}");
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!(list["models"][0]["name"], "surface", "{list:#}");
    assert_eq!(list["models"][0]["state"], "ready", "{list:#}");
    let table = code(&["list", "--url", &url]);
    assert_eq!(table.0, Some(0), "{}", table.1);
    assert!(table.1.contains("surface"), "{}", table.1);

    let (ended, said) = code(&["unload", "surface", "--url", &url]);
    assert_eq!(ended, Some(0), "{said}");
    assert!(versions(server, "surface").is_empty());
    let (ended, said) = code(&["load", "surface", "--url", &url]);
    assert_eq!(ended, Some(0), "{said}");
    wait_until_usable(server, "surface");

    // One that lies there under a name of its own.
    fake.put("/second.onnx", &graph(2), "two");
    let second = fake.url("/second.onnx");
    let (ended, said) = code(&["download", &second, "--url", &url]);
    assert_eq!(ended, Some(0), "{said}");
    wait_until_usable(server, "second");

    let (ended, said) = code(&["load", "nothing", "--url", &url]);
    assert_eq!(ended, Some(1), "{said}");
    assert!(said.contains("nothing"), "{said}");
}

#[test]
fn the_command_ends_with_a_number_that_says_what_went_wrong() {
    let fake = Fake::start();
    let data = tempfile::tempdir().unwrap();
    let config = data.path().join("impetus.toml");
    let folder = text(data.path().to_str().unwrap());
    fs::write(
        &config,
        format!("data.dir = {folder}\ndownloads.retries = 0\n"),
    )
    .unwrap();
    let config = config.to_str().unwrap();
    let missing = fake.url("/missing.onnx");
    // Nobody listens at the port that nobody can have.
    let nobody = "http://127.0.0.1:1";
    for (words, expected, about) in [
        (vec!["download", &missing, "--config", config], 1, "missing"),
        (vec!["list", "--url", nobody], 2, "no answer"),
        (vec!["load", "surface", "--url", nobody], 2, "no answer"),
        (vec!["unload", "surface", "--url", nobody], 2, "no answer"),
        (
            vec!["download", "surface@champion", "--config", config],
            64,
            "models:/",
        ),
        (
            vec!["download", "models:/a@b", "--config", config],
            64,
            "registry.url",
        ),
        (vec!["download", "--config", config], 64, "models.remote"),
        (vec!["remove"], 64, "remove"),
    ] {
        let (ended, said) = code(&words);
        assert_eq!(ended, Some(expected), "{words:?}: {said}");
        assert!(said.contains(about), "{words:?}: {said}");
    }
}
