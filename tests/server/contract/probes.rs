//! What Kubernetes' own health endpoints understand, these understand too.

use super::ask;
use crate::harness::{Server, Setup};

const READY: &str = "/api/health/ready";

fn text(server: &Server, path: &str, status: u16) -> String {
    let [main, health] = server.get_both(path);
    assert_eq!(main.status, status, "{path}: {}", main.text());
    assert_eq!(main.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!((health.status, health.text()), (main.status, main.text()), "{path}");
    main.text()
}

#[test]
fn verbose_lists_every_check_and_the_verdict() {
    let server = Setup::new().start_ready();
    let all = "[+]memory_available ok\n[+]models_loaded ok\n[+]runtime_available ok\n\
        [+]serving ok\nready check passed\n";
    for query in ["verbose", "verbose=", "verbose=1", "verbose=true", "x=1&verbose"] {
        assert_eq!(text(&server, &format!("{READY}?{query}"), 200), all, "{query}");
    }
    assert!(server.get(&format!("{READY}?verbose=false")).json()["ready"] == true);
    let live = text(&server, "/api/health/live?verbose", 200);
    assert_eq!(live, "[+]alive ok\nlive check passed\n");
}

#[test]
fn verbose_names_the_check_that_fails_and_excluding_it_makes_the_rest_count() {
    let server = Setup::without_models().start();
    server.wait_for("the first look at the folder", || {
        server.get(READY).text().contains("there is no model")
    });
    let listed = text(&server, &format!("{READY}?verbose"), 503);
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines[0], "[+]memory_available ok");
    assert_eq!(lines[1], "[-]models_loaded failed: there is no model in the model folder");
    assert!(lines[2].starts_with("[-]runtime_available failed: "), "{listed}");
    assert_eq!(&lines[3..], ["[+]serving ok", "ready check failed"]);

    let one = format!("{READY}?exclude=models_loaded");
    assert_eq!(server.get(&one).status, 503);
    // By its own name and by the documents'.
    for other in ["runtime_available", "mlx_available"] {
        let path = format!("{one}&exclude={other}");
        for answer in server.get_both(&path) {
            let body = answer.json();
            assert_eq!((answer.status, &body["ready"]), (200, &true.into()), "{body}");
            let checks: Vec<&String> = body["checks"].as_object().unwrap().keys().collect();
            assert_eq!(checks, ["memory_available"], "{path}");
        }
        let listed = text(&server, &format!("{path}&verbose"), 200);
        assert_eq!(listed, "[+]memory_available ok\n[+]serving ok\nready check passed\n");
    }
}

#[test]
fn each_check_can_be_asked_for_alone() {
    let server = Setup::without_models().start();
    server.wait_for("the first look at the folder", || {
        server.get(READY).text().contains("there is no model")
    });
    for check in ["memory_available", "serving"] {
        assert_eq!(text(&server, &format!("{READY}/{check}"), 200), "ok");
    }
    let failed = text(&server, &format!("{READY}/models_loaded"), 503);
    assert_eq!(failed, "failed: there is no model in the model folder");
    let runtime = text(&server, &format!("{READY}/runtime_available"), 503);
    assert_eq!(text(&server, &format!("{READY}/mlx_available"), 503), runtime);
    for path in ["/nothing", "?exclude=nothing"] {
        let unknown = text(&server, &format!("{READY}{path}"), 404);
        assert!(unknown.contains("\"nothing\""), "{unknown}");
    }
}

#[test]
fn only_the_methods_that_read_are_answered() {
    let server = Setup::new().start_ready();
    for path in ["/api/health/live", READY, "/api/health", "/health", "/ready", "/metrics"] {
        for url in [server.url(path), server.health_url(path)] {
            assert_eq!(ask("GET", &url, &[]).status, 200, "{url}");
            let refused = ask("DELETE", &url, &[]).status;
            assert!([404, 405].contains(&refused), "{url}: {refused}");
        }
    }
}
