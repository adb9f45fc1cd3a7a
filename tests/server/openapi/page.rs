//! The page at `/docs`.

use std::collections::BTreeSet;

use crate::contract::ask;
use crate::harness::{Answer, Server, Setup};

/// Returns what follows each `before` in a text, up to the next quotation mark.
fn quoted<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    let after = text.split(before).skip(1);
    after.map(|rest| rest.split('"').next().unwrap()).collect()
}

/// Gets something as a browser does.
fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> Answer {
    let answer = ask("GET", &server.url(path), headers);
    assert_eq!(answer.status, 200, "{path}");
    assert_eq!(
        answer.headers["x-content-type-options"], "nosniff",
        "{path}"
    );
    answer
}

#[test]
fn the_page_needs_nothing_but_this_server() {
    let server = Setup::without_models().start();
    let page = get(&server, "/docs", &[]);
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    let text = page.text();
    let needed: BTreeSet<&str> = quoted(&text, "src=\"")
        .into_iter()
        .chain(quoted(&text, "href=\""))
        .collect();
    assert_eq!(needed.len(), 4, "{needed:?}");
    for file in needed.into_iter().filter(|file| *file != "data:,") {
        assert!(file.starts_with("docs/"), "{file}");
        let answer = get(&server, &format!("/{file}"), &[]);
        let kind = if file.ends_with(".css") {
            "text/css"
        } else {
            "text/javascript"
        };
        assert_eq!(
            answer.headers["content-type"],
            format!("{kind}; charset=utf-8"),
            "{file}"
        );
        assert!(!answer.body.is_empty(), "{file}");
        assert!(!answer.headers.contains_key("content-encoding"), "{file}");
    }
    // What it loads beyond that, its script names.
    let start = get(&server, "/docs/start.js", &[]).text();
    assert_eq!(quoted(&start, "url: \""), ["openapi.json"]);
    assert!(!start.contains("://"), "{start}");
    // And a browser is told to load nothing else, and to let nobody frame it.
    let policy = &page.headers["content-security-policy"];
    for rule in [
        "default-src 'none'",
        "connect-src 'self'",
        "script-src 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(
            policy.split("; ").any(|said| said == rule),
            "{rule}: {policy}"
        );
    }
    assert_eq!(page.headers["x-frame-options"], "DENY");
}

#[test]
fn files_of_the_page_come_compressed_to_whoever_takes_that() {
    let server = Setup::without_models().start();
    let url = server.url("/docs/swagger-ui.css");
    let plain = get(&server, "/docs/swagger-ui.css", &[]);
    assert!(plain.text().contains(".swagger-ui"), "{}", plain.text());
    // This client unpacks nothing by itself.
    let packed = ask("GET", &url, &[("accept-encoding", "gzip, deflate, br")]);
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert!(packed.body.starts_with(&[0x1f, 0x8b]));
    assert!(packed.body.len() * 3 < plain.body.len());
    let refused = ask("GET", &url, &[("accept-encoding", "gzip;q=0")]);
    assert!(refused.body == plain.body);
}

#[test]
fn what_the_page_does_not_need_is_not_there() {
    let server = Setup::without_models().start();
    for path in [
        "/docs/index.html",
        "/docs/swagger-initializer.js",
        "/docs/..%2fopenapi.json",
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.json()["code"], "not_found", "{path}");
    }
    assert_eq!(server.get_health("/docs").status, 404);
    assert_eq!(server.get_health("/openapi.json").status, 404);
}
