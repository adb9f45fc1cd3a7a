//! The document against the schema that all documents of OpenAPI 3.1 have, and against what no schema can say.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::document;
use crate::harness::{Setup, repo};

/// Finds every reference.
fn references<'a>(part: &'a Value, found: &mut BTreeSet<&'a str>) {
    match part {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|field| references(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn the_document_is_one_of_openapi_3_1() {
    let file = repo().join(".test/openapi/schema.json");
    let schema = fs::read(&file).expect("run scripts/install-openapi-schema.sh");
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    let server = Setup::without_models().start();
    let document = document(&server);
    let validator = jsonschema::validator_for(&schema).unwrap();
    let problems: Vec<String> = validator
        .iter_errors(&document)
        .map(|problem| format!("{}: {problem}", problem.instance_path()))
        .collect();
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(!validator.is_valid(&serde_json::json!({"openapi": "3.1.0"})));
}

#[test]
fn everything_that_the_document_refers_to_is_in_it_and_nothing_else() {
    let server = Setup::without_models().start();
    let document = document(&server);
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for to in &found {
        let pointer = to
            .strip_prefix('#')
            .unwrap_or_else(|| panic!("{to} is elsewhere"));
        assert!(document.pointer(pointer).is_some(), "{to} is not there");
    }
    for (kind, parts) in document["components"].as_object().unwrap() {
        for name in parts.as_object().unwrap().keys() {
            let to = format!("#/components/{kind}/{name}");
            assert!(found.contains(&*to), "nobody refers to {to}");
        }
    }
}

#[test]
fn every_parameter_of_a_path_is_described() {
    let server = Setup::without_models().start();
    let document = document(&server);
    for (path, item) in document["paths"].as_object().unwrap() {
        let named: BTreeSet<&str> = path.split(['{', '}']).skip(1).step_by(2).collect();
        for (method, operation) in item.as_object().unwrap() {
            if method == "servers" {
                continue;
            }
            let parameters = operation["parameters"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let described = parameters
                .iter()
                .filter(|parameter| parameter["in"] == "path");
            let described: BTreeSet<&str> = described.filter_map(|p| p["name"].as_str()).collect();
            assert_eq!(described, named, "{method} {path}");
        }
    }
}
