//! The document as a whole, and against the routes there are.

use std::collections::BTreeSet;

use actix_web::test::{TestRequest, call_and_read_body, init_service};
use actix_web::{App, HttpRequest};

use super::*;
use crate::exposition::tests::World;
use crate::http::v2::PLACES;
use crate::http::{busy_routes, health_routes, work_routes};

const ALL: Contents = Contents {
    infers: true,
    logs: true,
    admin: true,
    faults: true,
    health_port: Some(8081),
};

/// Returns the paths of a document, those alone of which `chosen` holds.
fn paths(
    document: &Document,
    chosen: impl Fn(&utoipa::openapi::PathItem) -> bool,
) -> BTreeSet<String> {
    let paths = document.paths.paths.iter();
    paths
        .filter(|(_, item)| chosen(item))
        .map(|(path, _)| path.clone())
        .collect()
}

/// Returns every path that is registered. The framework tells it to nobody but a debugger: each resource in its place,
/// the more indented the deeper.
async fn registered(configure: impl Fn(&mut web::ServiceConfig)) -> BTreeSet<String> {
    let map = |request: HttpRequest| async move { format!("{:#?}", request.resource_map()) };
    let app = App::new()
        .configure(configure)
        .default_service(web::to(map));
    let app = init_service(app).await;
    let nowhere = TestRequest::with_uri("/nowhere").to_request();
    let text = call_and_read_body(&app, nowhere).await;
    let text = String::from_utf8(text.to_vec()).unwrap();
    let mut above: Vec<(usize, String)> = Vec::new();
    let mut found = BTreeSet::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let depth = line.len() - line.trim_start().len();
        if !line.trim_start().starts_with("patterns: Single(") {
            continue;
        }
        let pattern = lines.next().unwrap().trim().trim_end_matches(',');
        let is_prefix = lines.nth(1).unwrap().contains("true");
        above.retain(|(of, _)| *of < depth);
        let prefix = above.last().map_or("", |(_, prefix)| prefix);
        let path = format!("{prefix}{}", pattern.trim_matches('"')).replace(":.+}", "}");
        if is_prefix {
            above.push((depth, path));
        } else {
            found.insert(path);
        }
    }
    found
}

#[test]
fn the_whole_document() {
    let version = concat!("\"version\": \"", env!("CARGO_PKG_VERSION"), "\"");
    let text = ALL.text().replace(version, "\"version\": \"[version]\"");
    insta::assert_snapshot!("document", text);
}

#[actix_web::test]
async fn what_is_registered_is_what_the_document_has() {
    let mut world = World::new([]);
    world.state.faults = Some(world.tree.faults());
    let state = &world.state;
    let document = ALL.document();
    let main = registered(|config| {
        health_routes(config, state);
        busy_routes(config, state);
        work_routes(config, state);
    })
    .await;
    assert!(
        main.contains("/api/admin/actors/{name}/restart"),
        "{main:?}"
    );
    // What is refused wherever it is asked for is served nowhere.
    let refused = PLACES.map(|(path, _)| path.to_owned());
    let served: BTreeSet<String> = main.difference(&refused.into()).cloned().collect();
    assert_eq!(served, paths(&document, |_| true));
    let health = registered(|config| health_routes(config, state)).await;
    assert_eq!(health, paths(&document, |item| item.servers.is_some()));
}

#[test]
fn what_a_process_does_not_serve_is_not_in_its_document() {
    let without = |contents: Contents| {
        let part = paths(&contents.document(), |_| true);
        let whole = paths(&ALL.document(), |_| true);
        whole
            .difference(&part)
            .cloned()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let no_inference = without(Contents {
        infers: false,
        ..ALL
    });
    let of_models = |path: &str| {
        [
            "/v1/",
            "/openai/v1/",
            "/v2",
            "/api/models/",
            "/predict",
            "/webhook/",
        ]
        .iter()
        .any(|start| path.starts_with(start))
    };
    assert!(
        no_inference
            .split(' ')
            .all(|path| path == "/" || of_models(path)),
        "{no_inference}"
    );
    assert!(no_inference.contains("/predict"), "{no_inference}");
    let no_log = without(Contents { logs: false, ..ALL });
    assert_eq!(no_log, "/export /log /predictions /stats");
    let no_faults = without(Contents {
        faults: false,
        ..ALL
    });
    assert_eq!(no_faults, "/api/faults");
    let no_admin = without(Contents {
        admin: false,
        ..ALL
    });
    assert!(
        no_admin
            .split(' ')
            .all(|path| path.starts_with("/api/admin/")),
        "{no_admin}"
    );
    assert!(!no_admin.is_empty());
    let alone = Contents {
        health_port: None,
        ..ALL
    }
    .document();
    assert!(paths(&alone, |item| item.servers.is_some()).is_empty());
}

#[test]
fn every_operation_has_a_name_of_its_own_and_stands_under_a_heading() {
    let document = ALL.document();
    let headings = document.tags.as_deref().unwrap();
    let mut names = BTreeSet::new();
    for (path, item) in &document.paths.paths {
        for operation in finish::operations(item) {
            let name = operation.operation_id.as_deref().unwrap_or_default();
            assert!(names.insert(name), "{path}: {name:?} is there twice");
            let tags = operation.tags.as_deref().unwrap_or_default();
            let known = tags
                .iter()
                .all(|tag| headings.iter().any(|heading| heading.name == *tag));
            assert!(known && tags.len() == 1, "{path}: {tags:?}");
        }
    }
}

#[test]
fn no_description_has_links_or_examples_that_only_the_source_has() {
    let text = ALL.text();
    for trace in ["```", "crate::", "Self::", "[`"] {
        assert!(!text.contains(trace), "{trace}");
    }
}
