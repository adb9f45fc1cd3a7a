//! Holds bodies against the schemas of a document, strictly: a field that the document does not have is one too many.

use serde_json::{Value, json};

const SCHEMAS: &str = "#/components/schemas/";

/// A document whose objects are closed.
pub struct Schemas(Value);

// === impl Schemas ===

impl Schemas {
    pub fn of(document: &Value) -> Self {
        let mut closed = document.clone();
        close(&mut closed, document, false);
        Self(closed)
    }

    /// Insists that a body is as the document says for this operation and status.
    #[track_caller]
    pub fn check(&self, method: &str, path: &str, (status, body): (u16, &Value)) {
        let problems = self.problems_of(method, path, (status, body));
        assert!(
            problems.is_empty(),
            "{method} {path} {status}: {problems:#?}\n{body:#}"
        );
    }

    /// Returns what is wrong with a body that this operation answered with this status.
    #[track_caller]
    pub fn problems_of(
        &self,
        method: &str,
        path: &str,
        (status, body): (u16, &Value),
    ) -> Vec<String> {
        let responses = &self.0["paths"][path][method]["responses"];
        let schema = &responses[status.to_string()]["content"]["application/json"]["schema"];
        assert!(
            schema.is_object(),
            "{method} {path} {status}: there is no JSON: {responses:#}"
        );
        self.problems(schema, body)
    }

    /// Returns what is wrong with a value by a schema of the document.
    fn problems(&self, schema: &Value, value: &Value) -> Vec<String> {
        // References lead into the document, so it is around the schema.
        let mut whole = self.0.clone();
        whole["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
        whole["allOf"] = json!([schema]);
        let validator = jsonschema::options()
            .should_validate_formats(true)
            .build(&whole)
            .unwrap_or_else(|error| panic!("{schema}: {error}"));
        let problems = validator.iter_errors(value);
        problems
            .map(|problem| format!("{}: {problem}", problem.instance_path()))
            .collect()
    }

    /// Returns what is wrong with the examples of the document, and how many there are.
    pub fn problems_of_examples(&self) -> (Vec<String>, usize) {
        let mut found = Vec::new();
        examples(&self.0, &mut found);
        let count = found.len();
        let problems = found.into_iter().flat_map(|(schema, example)| {
            let problems = self.problems(schema, example);
            problems
                .into_iter()
                .map(move |problem| format!("{example}: {problem}"))
        });
        (problems.collect(), count)
    }
}

/// Closes every object in a part of the document: what no part of its schema names it may not have. The parts of a sum
/// stay open, for each of them knows of its own fields only; so does what is referred to, which may be such a part.
fn close(part: &mut Value, document: &Value, is_summand: bool) {
    match part {
        Value::Object(fields) => {
            if !is_summand && names_fields(&Value::Object(fields.clone()), document) {
                fields.insert("unevaluatedProperties".to_owned(), json!(false));
            }
            for (key, field) in fields {
                match (key.as_str(), field) {
                    ("schemas", Value::Object(schemas)) => {
                        for schema in schemas.values_mut() {
                            close(schema, document, true);
                        }
                    }
                    ("allOf", Value::Array(summands)) => {
                        for summand in summands {
                            close(summand, document, true);
                        }
                    }
                    ("example", _) => {}
                    (_, field) => close(field, document, false),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                close(item, document, false);
            }
        }
        _ => {}
    }
}

/// Tells whether a part of a document is a schema that says which fields there are.
fn names_fields(part: &Value, document: &Value) -> bool {
    if let Some(name) = part["$ref"]
        .as_str()
        .and_then(|to| to.strip_prefix(SCHEMAS))
    {
        let schema = &document["components"]["schemas"][name];
        return schema["oneOf"].is_array() || names_fields(schema, document);
    }
    part["allOf"].is_array() || part["type"] == "object" && part["properties"].is_object()
}

/// Finds every example with its schema: that of a parameter stands beside it, that of a schema is the schema itself.
fn examples<'a>(part: &'a Value, found: &mut Vec<(&'a Value, &'a Value)>) {
    match part {
        Value::Object(fields) => {
            if let Some(example) = fields.get("example") {
                found.push((fields.get("schema").unwrap_or(part), example));
            }
            for (_, field) in fields.iter().filter(|(key, _)| *key != "example") {
                examples(field, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| examples(item, found)),
        _ => {}
    }
}
