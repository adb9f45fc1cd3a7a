//! One cache for several servers: what one fetches all use, and what one has loaded no other removes.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::fake::{Fake, Manner};
use super::{
    ask_for, assert_answers, graph, impatient, text, wait_for_download, wait_until_usable,
};
use crate::harness::Setup;

const FILE: &str = "/model.onnx";

fn on(cache: &Path) -> Setup {
    impatient().set("downloads.dir", &text(cache.to_str().unwrap()))
}

/// Returns the marks of the graphs in the cache.
fn marks(cache: &Path) -> Vec<char> {
    let keys = fs::read_dir(cache.join("model")).unwrap();
    let graphs = keys.map(|key| fs::read(key.unwrap().path().join("model.onnx")));
    // One that is being removed is gone.
    let marks = graphs
        .flatten()
        .map(|graph| char::from(*graph.last().unwrap()));
    let mut marks: Vec<char> = marks.collect();
    marks.sort_unstable();
    marks
}

#[test]
fn two_servers_that_are_asked_for_the_same_model_fetch_it_once_and_both_serve_it() {
    let fake = Fake::start();
    let graph = graph(1);
    fake.put(FILE, &graph, "one");
    fake.handle(FILE, Manner::Stall(200_000));
    let cache = tempfile::tempdir().unwrap();
    let servers = [(); 2].map(|()| on(cache.path()).start());
    let order = json!({"source": fake.url(FILE), "name": "surface"});
    let asked = servers.each_ref().map(|server| {
        let id = ask_for(server, &order).json()["id"].clone();
        wait_for_download(server, &id, "to run", |download| {
            download["state"] == "running"
        });
        id
    });
    fake.handle(FILE, Manner::Well);
    for (server, id) in servers.iter().zip(&asked) {
        wait_for_download(server, id, "to be done", |download| {
            download["state"] == "done"
        });
        wait_until_usable(server, "surface");
        assert_answers(server, "surface");
    }
    assert_eq!(fake.sent(FILE), graph.len(), "{:?}", fake.reads(FILE));
}

#[test]
fn a_full_cache_loses_what_nobody_has_loaded_and_never_what_another_server_has() {
    let fake = Fake::start();
    fake.put(FILE, &graph(1), "1");
    let cache = tempfile::tempdir().unwrap();
    // Three of the four fit.
    let most = format!("\"{}KiB\"", graph(1).len() * 7 / 2 / 1024);
    let following = |every: &str| {
        on(cache.path())
            .set("downloads.max_size", &most)
            .set("stores.poll_every", every)
            .set("models.remote.surface", &text(&fake.url(FILE)))
            .start_ready()
    };
    let resting = following("\"1h\"");
    let moving = following("\"1s\"");
    for (mark, expected) in [(2, "bc"), (3, "bcd"), (4, "bde")] {
        fake.put(FILE, &graph(mark), &mark.to_string());
        let expected: Vec<char> = expected.chars().collect();
        moving.wait_for(&format!("the cache to hold {expected:?}"), || {
            marks(cache.path()) == expected
        });
        wait_until_usable(&moving, "surface");
    }
    assert_answers(&resting, "surface");
    assert_answers(&moving, "surface");
    assert!(marks(cache.path()).contains(&'b'));
}
