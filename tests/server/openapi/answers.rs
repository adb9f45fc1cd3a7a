//! Real answers, held against the document.

use serde_json::{Value, json};

use super::document;
use super::schema::Schemas;
use crate::contract::ask;
use crate::harness::{Answer, Server, Setup, load};

/// A server, and what its document says.
struct Site {
    server: Server,
    schemas: Schemas,
}

// === impl Site ===

impl Site {
    fn of(setup: Setup) -> Self {
        let server = setup.start_ready();
        let schemas = Schemas::of(&document(&server));
        Self { server, schemas }
    }

    /// Gets something, and insists on the status and on what the document says of it.
    #[track_caller]
    fn get(&self, path: &str, status: u16) -> Value {
        self.check("get", path, &self.server.get(path), status)
    }

    /// Asks without a body for `url`, which the document has under `path`.
    #[track_caller]
    fn ask(&self, method: &str, (path, url): (&str, &str), status: u16) -> Value {
        let answer = ask(&method.to_uppercase(), &self.server.url(url), &[]);
        self.check(method, path, &answer, status)
    }

    #[track_caller]
    fn post(&self, (path, url): (&str, &str), body: &Value, status: u16) -> Value {
        self.check("post", path, &self.server.post_json(url, body), status)
    }

    #[track_caller]
    fn check(&self, method: &str, path: &str, answer: &Answer, status: u16) -> Value {
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        let body = answer.json();
        self.schemas.check(method, path, (status, &body));
        body
    }
}

/// Returns a request for the demo model, without its inputs.
fn inputs(shape: &[usize], numbers: usize) -> Value {
    let input =
        json!({"name": "image", "shape": shape, "datatype": "FP32", "data": vec![0.5; numbers]});
    json!({"id": "42", "inputs": [input]})
}

#[test]
fn the_health_plane_the_services_and_the_models_answer_as_the_document_says() {
    let site = Site::of(Setup::new());
    site.server
        .wait_for("both services", || site.server.get("/ready").status == 200);
    for path in [
        "/api/health",
        "/api/health/live",
        "/api/health/ready",
        "/api/health/startup",
        "/api/health/status",
        "/api/health/events",
        "/api/models/list",
        "/health",
        "/ready",
    ] {
        site.get(path, 200);
    }
    // An actor that has ended, and one that is not there.
    site.server.fault("heartbeat", "panic", 1, None);
    site.server
        .wait_for_actor("heartbeat", "restarted", |actor| actor["restarts"] == 1);
    let status = site.get("/api/health/status", 200);
    assert!(
        status.to_string().contains("\"reason\":\"panic\""),
        "{status:#}"
    );
    let events = "/api/health/events";
    site.ask("get", (events, "/api/health/events?actor=nobody"), 404);
    site.ask("get", (events, "/api/health/events?limit=0"), 400);
}

#[test]
fn a_server_that_is_not_well_answers_as_the_document_says() {
    let setup = Setup::without_models().set("models.required", "[\"absent\"]");
    let server = setup.start();
    let schemas = Schemas::of(&document(&server));
    server.wait_for("the tree", || {
        server.get("/api/health/startup").status == 200
    });
    let site = Site { server, schemas };
    for path in ["/api/health/ready", "/ready", "/v2/health/ready"] {
        site.get(path, 503);
    }
    site.post(("/predict", "/predict"), &json!({"data": [1]}), 503);
}

#[test]
fn predictions_and_their_log_answer_as_the_document_says() {
    let site = Site::of(Setup::new());
    let sample = &load::requests()[0];
    let answer = site
        .server
        .post("/predict", sample.content_type, &sample.body);
    site.check("post", "/predict", &answer, 200);
    let predict = ("/predict", "/predict");
    site.post(predict, &json!({"data": [1]}), 400);
    site.post(predict, &json!({"data": [1], "model": "nobody"}), 404);
    let answer = site.server.post("/predict", "text/html", b"<p>");
    site.check("post", "/predict", &answer, 415);
    let log = ("/log", "/log");
    site.post(log, &json!({"predictions": [{"image_id": 1}]}), 422);
    let prediction = json!({
        "image_id": "i-1", "timestamp": "2025-01-01T12:00:00Z", "model_version": "1", "model_name": "surface",
        "inference_time_ms": 1.5, "defect_detected": true, "confidence_scores": {"scratch": 0.9},
        "detections": [{"class": "scratch", "confidence": 0.9, "bbox": [0, 0, 8, 8]}],
    });
    site.post(
        log,
        &json!({"predictions": [prediction], "edge_device_id": "edge-7"}),
        200,
    );
    let page = site.get("/predictions", 200);
    // The one that was predicted here is committed in its own time.
    let images = page["predictions"].as_array().unwrap().iter();
    assert!(
        images
            .map(|row| &row["image_id"])
            .any(|image| image == "i-1"),
        "{page:#}"
    );
    site.get("/stats", 200);
    for wrong in ["cursor=no", "limit=x"] {
        let url = format!("/predictions?{wrong}");
        site.ask("get", ("/predictions", &url), 400);
    }
    site.ask("get", ("/export", "/export?format=xlsx"), 400);
}

#[test]
fn the_open_inference_protocol_answers_as_the_document_says() {
    let site = Site::of(Setup::new());
    for path in [
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/stats",
        "/v1/models",
        "/",
    ] {
        site.get(path, 200);
    }
    let model = "/v2/models/{model}";
    let metadata = site.ask("get", (model, "/v2/models/surface"), 200);
    for below in ["", "/ready", "/config", "/stats"] {
        site.ask(
            "get",
            (
                &format!("{model}{below}"),
                &format!("/v2/models/surface{below}"),
            ),
            200,
        );
        let path = format!("{model}/versions/{{version}}{below}");
        site.ask(
            "get",
            (&path, &format!("/v2/models/surface/versions/1{below}")),
            200,
        );
        site.ask(
            "get",
            (&path, &format!("/v2/models/surface/versions/9{below}")),
            404,
        );
    }
    let mut request = inputs(&[1, 3, 32, 32], 3072);
    request["inputs"][0]["name"] = metadata["inputs"][0]["name"].clone();
    let infer = format!("{model}/infer");
    let answer = site.post((&infer, "/v2/models/surface/infer"), &request, 200);
    assert_eq!(answer["id"], "42");
    site.post((&infer, "/v2/models/nobody/infer"), &request, 404);
    site.post((&infer, "/v2/models/surface/infer"), &inputs(&[1], 1), 400);
    let index = "/v2/repository/index";
    site.post((index, index), &json!({}), 200);
    let load = "/v2/repository/models/{model}/load";
    site.post((load, "/v2/repository/models/nobody/load"), &json!({}), 404);
    site.ask("get", ("/v1/models/{model}", "/v1/models/surface"), 200);
    site.ask("get", ("/v1/models/{model}", "/v1/models/nobody"), 404);
    let rows = json!({"instances": [vec![0.5; 3072]]});
    site.post(
        ("/v1/models/{model}:predict", "/v1/models/surface:predict"),
        &rows,
        200,
    );
}

#[test]
fn orders_are_answered_as_the_document_says() {
    let site = Site::of(Setup::new());
    let healing = ("/api/admin/healing", "/api/admin/healing");
    site.post(healing, &json!({"paused": true, "for": "1m"}), 200);
    site.post(healing, &json!({"paused": true, "for": "1000h"}), 400);
    site.post(healing, &json!({"paused": false}), 200);
    site.get("/api/admin/healing", 200);
    let drain = ("/api/admin/drain", "/api/admin/drain");
    site.ask("get", drain, 200);
    site.ask("post", drain, 200);
    site.ask("delete", drain, 200);
    let restart = "/api/admin/actors/{name}/restart";
    site.ask("post", (restart, "/api/admin/actors/metrics/restart"), 200);
    site.ask("post", (restart, "/api/admin/actors/nobody/restart"), 404);
    site.ask("post", (restart, "/api/admin/actors/root/restart"), 409);
    site.get("/api/admin/quarantine", 200);
    site.ask(
        "delete",
        ("/api/admin/quarantine", "/api/admin/quarantine"),
        200,
    );
    let one = (
        "/api/admin/quarantine/{fingerprint}",
        "/api/admin/quarantine/x",
    );
    site.ask("delete", one, 404);
    let faults = ("/api/faults", "/api/faults");
    site.post(
        faults,
        &json!({"target": "metrics", "fault": "panic", "times": 1}),
        200,
    );
    site.post(faults, &json!({"target": "metrics", "fault": "none"}), 200);
    site.post(faults, &json!({"target": "nobody", "fault": "panic"}), 404);
    site.post(faults, &json!({"target": "http", "fault": "panic"}), 400);
    let elsewhere = ask(
        "GET",
        &site.server.url("/api/admin/drain"),
        &[("forwarded", "for=x")],
    );
    site.check("get", "/api/admin/drain", &elsewhere, 403);
    for order in ["load", "unload"] {
        let path = format!("/api/models/{order}");
        site.post((&path, &path), &json!({"name": "surface"}), 200);
        site.post((&path, &path), &json!({"nam": "surface"}), 400);
        site.post((&path, &path), &json!({"name": "nobody"}), 404);
    }
}

#[test]
fn a_field_that_the_document_does_not_have_is_found_wherever_it_is_and_so_is_one_that_is_missing() {
    let site = Site::of(Setup::new());
    let body = site.get("/api/health/status", 200);
    let path = "/api/health/status";
    for place in [
        "",
        "/healing",
        "/components/cpu",
        "/actors/0",
        "/actors/0/children/0",
        "/models/0/workers/0",
    ] {
        let mut wrong = body.clone();
        let object = wrong.pointer_mut(place).and_then(Value::as_object_mut);
        object.unwrap().insert("unheard_of".to_owned(), json!(1));
        let problems = site.schemas.problems_of("get", path, (200, &wrong));
        assert!(!problems.is_empty(), "{place:?}");
    }
    for place in [
        "/healing/paused",
        "/actors/0/last_exit",
        "/models/0/workers/0/pid",
        "/score",
    ] {
        let (above, name) = place.rsplit_once('/').unwrap();
        let mut wrong = body.clone();
        let object = wrong.pointer_mut(above).and_then(Value::as_object_mut);
        assert!(object.unwrap().remove(name).is_some(), "{place}");
        let problems = site.schemas.problems_of("get", path, (200, &wrong));
        assert!(!problems.is_empty(), "{place}");
    }
}

#[test]
fn every_example_of_the_document_is_one() {
    let server = Setup::without_models().start();
    let schemas = Schemas::of(&document(&server));
    let (problems, count) = schemas.problems_of_examples();
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(count > 20, "{count}");
}
