//! Versions of a model that come and go under load, and models that are loaded and unloaded by hand.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::{Server, Setup, copy_folder, load, new_agent, repo};

/// Requests that are answered at least, and changes among them.
const REQUESTS: usize = 10_000;
const CHANGES: usize = 20;
const CLIENTS: usize = 8;

/// An answer, and when its request was begun.
struct Answered {
    began: Instant,
    version: usize,
}

/// Puts a version of the demo model into the folder, all of it at once.
fn put_version(server_dir: &std::path::Path, version: usize) {
    let model = server_dir.join("models/surface");
    let hidden = model.join(format!(".{version}"));
    fs::create_dir_all(&hidden).unwrap();
    let file = repo().join("models/surface/model.onnx");
    fs::copy(file, hidden.join("model.onnx")).unwrap();
    fs::rename(&hidden, model.join(version.to_string())).unwrap();
}

/// A server whose demo model has versions, of which the first is there.
fn with_versions() -> Setup {
    let setup = Setup::without_models();
    let model = setup.path().join("models/surface");
    fs::create_dir(&model).unwrap();
    let description = fs::read_to_string(repo().join("models/surface/model.toml")).unwrap();
    let description = description.lines().filter(|l| !l.starts_with("version"));
    let description: Vec<&str> = description.collect();
    fs::write(model.join("model.toml"), description.join("\n")).unwrap();
    put_version(setup.path(), 1);
    setup.set("models.poll_every", "\"50ms\"")
}

fn models(server: &Server) -> Vec<Value> {
    let list = server.get("/api/models/list").json();
    list["models"].as_array().unwrap().clone()
}

/// Waits until requests are led to that version alone.
fn wait_for_version(server: &Server, version: usize) {
    let version = version.to_string();
    server.wait_for(&format!("version {version} alone to take requests"), || {
        let models = models(server);
        let mut offered = models.iter().filter(|m| m["standing"] != "retiring");
        let only = offered.next();
        only.is_some_and(|m| m["version"] == version.as_str() && m["standing"] == "serving")
            && offered.next().is_none()
    });
}

#[test]
fn twenty_versions_take_over_under_load_and_no_request_fails_or_meets_one_that_has_retired() {
    let server = with_versions().set("models.workers", "1").start_ready();
    let answers = Mutex::new(Vec::new());
    let failures = Mutex::new(Vec::new());
    let (count, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut retired = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let agent = new_agent();
                let sample = &load::requests()[0];
                while !done.load(Ordering::Relaxed) || count.load(Ordering::Relaxed) < REQUESTS {
                    let began = Instant::now();
                    let answer = load::send(&agent, &server, sample).expect("no answer");
                    count.fetch_add(1, Ordering::Relaxed);
                    if let Some(complaint) = load::complaint(sample, &answer) {
                        failures.lock().unwrap().push(complaint);
                        return;
                    }
                    let version = answer.json()["version"].as_str().unwrap().parse().unwrap();
                    answers.lock().unwrap().push(Answered { began, version });
                }
            });
        }
        for version in 2..2 + CHANGES {
            put_version(server.dir.path(), version);
            wait_for_version(&server, version);
            retired.push((version - 1, Instant::now()));
        }
        done.store(true, Ordering::Relaxed);
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{failures:#?}");
    let answers = answers.into_inner().unwrap();
    assert!(answers.len() >= REQUESTS, "{}", answers.len());
    for (version, at) in &retired {
        let late = answers
            .iter()
            .filter(|a| a.version <= *version && a.began > *at);
        assert_eq!(
            late.count(),
            0,
            "version {version} answered after it had retired"
        );
        let its_own = answers.iter().filter(|answer| answer.version == *version);
        assert!(its_own.count() > 0, "version {version} never answered");
    }
    server.wait_for("the last version to be alone", || {
        models(&server).len() == 1
    });
    assert_eq!(server.workers().len(), 1);
    let served: u64 = server.get("/ready").json()["predictions_served"]
        .as_u64()
        .unwrap();
    assert_eq!(served, answers.len() as u64);
}

#[test]
fn a_version_that_cannot_be_loaded_leaves_the_old_one_serving_and_says_why() {
    let server = with_versions().start_ready();
    let broken = server.dir.path().join("models/surface/2");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("model.onnx"), b"this is no model").unwrap();
    server.wait_for("the new version to have failed", || {
        models(&server)
            .iter()
            .any(|m| m["version"] == "2" && m["state"] == "failed" && m["standing"] == "incoming")
    });
    let failed = models(&server)
        .into_iter()
        .find(|m| m["version"] == "2")
        .unwrap();
    assert!(
        failed["reason"].as_str().unwrap().contains("corrupt"),
        "{failed:#}"
    );
    server.assert_predicts();
    assert_eq!(server.get("/api/health/ready").status, 200);
    server.wait_for("the health to be degraded", || {
        server.status()["status"] == "degraded"
    });
    let reasons = server.status()["components"]["models"]["detail"]["reasons"].clone();
    assert!(
        reasons["surface version 2"]
            .as_str()
            .unwrap()
            .contains("corrupt"),
        "{reasons}"
    );
    let good = repo().join("models/surface/model.onnx");
    fs::copy(good, broken.join("model.onnx")).unwrap();
    wait_for_version(&server, 2);
    server.wait_for("the health to be healthy", || {
        server.status()["status"] == "healthy"
    });
}

#[test]
fn a_file_that_is_replaced_in_place_is_loaded_anew_beside_the_old_one() {
    let server = Setup::new()
        .set("models.poll_every", "\"50ms\"")
        .start_ready();
    let file = server.dir.path().join("models/surface/model.onnx");
    let fresh = server.dir.path().join("fresh.onnx");
    fs::copy(&file, &fresh).unwrap();
    let before = server.workers();
    fs::rename(&fresh, &file).unwrap();
    server.wait_for("other workers to serve", || {
        let now = models(&server);
        let [only] = now.as_slice() else {
            return false;
        };
        let workers = only["workers"].as_array().unwrap();
        only["state"] == "ready"
            && workers.iter().all(|w| {
                w["actor"]
                    .as_str()
                    .unwrap()
                    .starts_with("worker:surface#2/")
            })
    });
    server.wait_for("the old workers to have ended", || {
        server.workers().iter().all(|pid| !before.contains(pid))
    });
    server.assert_predicts();
}

#[test]
fn a_model_is_unloaded_and_loaded_again_by_hand() {
    let server = Setup::new().start_ready();
    let order = json!({ "name": "surface" });
    let unloaded = server.post_json("/api/models/unload", &order);
    assert_eq!(
        (unloaded.status, unloaded.json()),
        (200, json!({ "unloaded": "surface" }))
    );
    assert!(models(&server).is_empty());
    assert!(server.workers().is_empty());
    assert_eq!(server.get("/api/health/ready").status, 503);
    let loaded = server.post_json("/api/models/load", &order);
    assert_eq!(loaded.status, 200, "{}", loaded.text());
    assert_eq!(loaded.json()["loaded"][0]["state"], "ready");
    server.assert_predicts();
    let unknown = server.post_json("/api/models/load", &json!({ "name": "nothing" }));
    assert_eq!(
        (unknown.status, &unknown.json()["code"]),
        (404, &json!("unknown_model"))
    );
    let wrong = server.post_json("/api/models/load", &json!({ "model": "surface" }));
    assert_eq!(
        (wrong.status, &wrong.json()["code"]),
        (400, &json!("bad_order"))
    );
}

#[test]
fn an_order_to_load_says_why_it_failed_and_the_old_version_serves_on() {
    let server = with_versions()
        .set("models.mode", "\"startup\"")
        .start_ready();
    put_version(server.dir.path(), 2);
    let file = server.dir.path().join("models/surface/2/model.onnx");
    fs::write(&file, b"this is no model").unwrap();
    let order = json!({ "name": "surface" });
    let refused = server.post_json("/api/models/load", &order);
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (422, &json!("not_loaded"))
    );
    let words = refused.json()["error"].as_str().unwrap().to_owned();
    assert!(
        words.contains("version 2") && words.contains("corrupt"),
        "{words}"
    );
    server.assert_predicts();
    fs::copy(repo().join("models/surface/model.onnx"), &file).unwrap();
    let loaded = server.post_json("/api/models/load", &order);
    assert_eq!(
        loaded.json()["loaded"][0]["version"],
        "2",
        "{}",
        loaded.text()
    );
    wait_for_version(&server, 2);
}

#[test]
fn only_what_is_asked_for_is_served_where_everything_is_explicit() {
    let setup = Setup::new()
        .set("models.mode", "\"explicit\"")
        .set("models.load", "[\"second\"]")
        .set("models.poll_every", "\"50ms\"");
    copy_folder(
        &repo().join("models/surface"),
        &setup.path().join("models/second"),
    );
    let file = setup.path().join("models/second/model.toml");
    let description = fs::read_to_string(&file)
        .unwrap()
        .replace("\"surface\"", "\"second\"");
    fs::write(&file, description).unwrap();
    let server = setup.start_ready();
    let names = || -> Vec<Value> { models(&server).iter().map(|m| m["name"].clone()).collect() };
    assert_eq!(names(), ["second"]);
    let loaded = server.post_json("/api/models/load", &json!({ "name": "surface" }));
    assert_eq!(loaded.status, 200, "{}", loaded.text());
    assert_eq!(names(), ["second", "surface"]);
    server.post_json("/api/models/unload", &json!({ "name": "second" }));
    assert_eq!(names(), ["surface"]);
}

#[test]
fn models_are_controlled_from_this_machine_alone_unless_it_is_allowed() {
    let order = json!({ "name": "surface" }).to_string();
    let ask = |server: &Server| {
        let request = new_agent().post(server.url("/api/models/load"));
        let request = request.header("x-forwarded-for", "192.0.2.1");
        request.send(order.as_bytes()).unwrap().status().as_u16()
    };
    assert_eq!(ask(&Setup::new().start_ready()), 403);
    let anyone = Setup::new()
        .set("models.control", "\"anyone\"")
        .start_ready();
    assert_eq!(ask(&anyone), 200);
}
