//! What Kubernetes' own health endpoints understand, these understand too.

use super::ask;
use crate::harness::{Server, Setup};

const READY: &str = "/api/health/ready";

fn text(server: &Server, path: &str, status: u16) -> String {
    let [main, health] = server.get_both(path);
    assert_eq!(main.status, status, "{path}: {}", main.text());
    assert_eq!(main.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(
        (health.status, health.text()),
        (main.status, main.text()),
        "{path}"
    );
    main.text()
}

#[test]
fn verbose_lists_every_check_and_the_verdict() {
    let server = Setup::new().start_ready();
    let all = "[+]memory_available ok\n[+]models_loaded ok\n[+]runtime_available ok\n\
        [+]serving ok\nready check passed\n";
    for query in [
        "verbose",
        "verbose=",
        "verbose=1",
        "verbose=true",
        "x=1&verbose",
    ] {
        assert_eq!(
            text(&server, &format!("{READY}?{query}"), 200),
            all,
            "{query}"
        );
    }
    assert!(server.get(&format!("{READY}?verbose=false")).json()["ready"] == true);
    let live = text(&server, "/api/health/live?verbose", 200);
    assert_eq!(live, "[+]alive ok\nlive check passed\n");
}

/// A server that has no model and could not run one.
fn without_anything_to_run() -> Server {
    let setup = Setup::without_models().set("runtime.library", "\"/nowhere/libonnxruntime.so\"");
    let server = setup.start();
    server.wait_for("the tree and the first look at the folder", || {
        server.get("/api/health/startup").status == 200
            && server.get(READY).text().contains("there is no model")
    });
    server
}

/// What is wrong, and what to do about it.
fn no_model(server: &Server) -> String {
    let folder = server.dir.path().join("models");
    format!(
        "there is no model in {}: put one there as <name>/model.onnx",
        folder.display()
    )
}

#[test]
fn verbose_names_the_check_that_fails_and_excluding_it_makes_the_rest_count() {
    let server = without_anything_to_run();
    let expected = format!(
        "[+]memory_available ok\n\
        [-]models_loaded failed: {}\n\
        [-]runtime_available failed: no engine process has loaded a runtime\n\
        [+]serving ok\nready check failed\n",
        no_model(&server)
    );
    assert_eq!(text(&server, &format!("{READY}?verbose"), 503), expected);

    let one = format!("{READY}?exclude=models_loaded");
    assert_eq!(server.get(&one).status, 503);
    // By its own name and by the documents'.
    for other in ["runtime_available", "mlx_available"] {
        let path = format!("{one}&exclude={other}");
        for answer in server.get_both(&path) {
            let body = answer.json();
            assert_eq!(
                (answer.status, &body["ready"]),
                (200, &true.into()),
                "{body}"
            );
            let checks: Vec<&String> = body["checks"].as_object().unwrap().keys().collect();
            assert_eq!(checks, ["memory_available"], "{path}");
        }
        let listed = text(&server, &format!("{path}&verbose"), 200);
        let expected = "[+]memory_available ok\n[+]serving ok\nready check passed\n";
        assert_eq!(listed, expected);
    }
}

#[test]
fn each_check_can_be_asked_for_alone() {
    let server = without_anything_to_run();
    for check in ["memory_available", "serving"] {
        assert_eq!(text(&server, &format!("{READY}/{check}"), 200), "ok");
    }
    let failed = text(&server, &format!("{READY}/models_loaded"), 503);
    assert_eq!(failed, format!("failed: {}", no_model(&server)));
    for name in ["runtime_available", "mlx_available"] {
        let failed = text(&server, &format!("{READY}/{name}"), 503);
        assert_eq!(failed, "failed: no engine process has loaded a runtime");
    }
    for path in ["/nothing", "?exclude=nothing"] {
        let unknown = text(&server, &format!("{READY}{path}"), 404);
        assert!(unknown.contains("\"nothing\""), "{unknown}");
    }
}

#[test]
fn only_the_methods_that_read_are_answered() {
    let server = Setup::new().start_ready();
    server.wait_for("the database", || server.get("/ready").status == 200);
    for path in [
        "/api/health/live",
        READY,
        "/api/health",
        "/health",
        "/ready",
        "/metrics",
    ] {
        for url in [server.url(path), server.health_url(path)] {
            assert_eq!(ask("GET", &url, &[]).status, 200, "{url}");
            let refused = ask("DELETE", &url, &[]).status;
            assert!([404, 405].contains(&refused), "{url}: {refused}");
        }
    }
}
