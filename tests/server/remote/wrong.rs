//! A registry that goes wrong: whatever comes of it, the last good version serves, and what was wrong
//! is said until it is right.

use super::fake::Manner;
use super::followed::while_asked;
use super::registry::Registry;
use super::{graph, impatient, text, wait_for_incoming, wait_for_version};
use crate::harness::{Server, Setup};

const PAGE: &str = "<!doctype html><title>Sign in</title>";

fn of(registry: &Registry) -> Setup {
    impatient()
        .set("registry.url", &text(&registry.fake.url("")))
        .set("models.remote.surface", "\"models:/surface@champion\"")
        .set("downloads.retries", "1")
}

/// Publishes a version whose graph is handed out in a wrong manner and checks that the one before
/// serves until it is right.
fn assert_heals(server: &Server, registry: &Registry, version: u8, wrong: Manner, words: &str) {
    let number = u64::from(version);
    let path = registry.prepare(number, &graph(version));
    registry.fake.handle(&path, wrong);
    let before = (version - 1).to_string();
    let outcome = while_asked(server, "surface", || {
        registry.point(number);
        wait_for_incoming(server, "surface", &["failed"], words);
    });
    outcome.assert_none_failed(&[&before]);
    // A model that cannot be fetched says nothing about the registry.
    server.wait_for("the registry to be there", || {
        server.get("/ready").json()["mlflow_accessible"] == true
    });
    registry.fake.handle(&path, Manner::Well);
    wait_for_version(server, "surface", &version.to_string());
    server.assert_predicts();
}

#[test]
fn files_that_come_wrong_leave_the_last_good_version_serving_until_they_come_right() {
    let registry = Registry::start();
    registry.publish(1, &graph(1));
    let server = of(&registry).start_ready();
    wait_for_version(&server, "surface", "1");
    let wrongs = [
        (Manner::Say(200, PAGE), "a page for people"),
        (Manner::Say(403, "no"), "403"),
        (Manner::Say(500, "no"), "cannot be reached"),
        (Manner::Cut(100_000), "cannot be reached"),
    ];
    for (version, (wrong, words)) in (2..).zip(wrongs) {
        assert_heals(&server, &registry, version, wrong, words);
    }
}

#[test]
fn a_graph_that_is_none_leaves_the_last_good_version_serving() {
    let registry = Registry::start();
    registry.publish(1, &graph(1));
    let server = of(&registry).start_ready();
    let outcome = while_asked(&server, "surface", || {
        registry.publish(2, b"this is no model");
        wait_for_incoming(&server, "surface", &["failed"], "");
    });
    outcome.assert_none_failed(&["1"]);
    registry.publish(3, &graph(3));
    wait_for_version(&server, "surface", "3");
}

#[test]
fn half_a_file_is_completed_and_one_that_changes_meanwhile_is_never_put_together_of_two() {
    let registry = Registry::start();
    registry.publish(1, &graph(1));
    let server = of(&registry).set("downloads.retries", "5").start_ready();
    let whole = graph(2);
    let path = registry.prepare(2, &whole);
    registry.fake.handle(&path, Manner::CutOnce(200_000));
    registry.point(2);
    wait_for_version(&server, "surface", "2");
    let reads = registry.fake.reads(&path);
    assert_eq!(reads[0].sent, 200_000, "{reads:?}");
    assert_eq!(registry.fake.sent(&path), whole.len(), "{reads:?}");

    let path = registry.prepare(3, &graph(3));
    registry.fake.handle(&path, Manner::Change(200_000));
    registry.point(3);
    wait_for_incoming(&server, "surface", &["failed"], "changed");
    server.assert_predicts();
    registry.fake.handle(&path, Manner::Well);
    wait_for_version(&server, "surface", "3");
}

#[test]
fn a_registry_that_answers_nonsense_or_refuses_is_a_state_and_the_models_serve_on() {
    let registry = Registry::start();
    registry.publish(1, &graph(1));
    let server = of(&registry).start_ready();
    for (manner, words) in [
        (Manner::Say(200, PAGE), "a page for people"),
        (Manner::Say(403, "no"), "403"),
        (
            Manner::Say(200, "{\"registered_models\": 7}"),
            "it is not what MLflow answers",
        ),
        (Manner::Cut(7), "registry unavailable"),
    ] {
        let outcome = while_asked(&server, "surface", || {
            registry.answer(&manner);
            server.wait_for(&format!("{manner:?} to be seen"), || {
                let answer = server.get("/ready");
                answer.status == 503 && answer.text().contains(words)
            });
        });
        outcome.assert_none_failed(&["1"]);
        registry.answer(&Manner::Well);
        server.wait_for("the registry to be right again", || {
            server.get("/ready").status == 200
        });
    }
    registry.publish(2, &graph(2));
    wait_for_version(&server, "surface", "2");
}
