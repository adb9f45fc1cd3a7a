//! What is true of all operations, or of many, and so is written down once.

use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{Components, ObjectBuilder, Type};
use utoipa::openapi::server::{ServerBuilder, ServerVariableBuilder};
use utoipa::openapi::{OpenApi, PathItem, Ref, RefOr, Required, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::http::error::Body;
use crate::http::metrics;

const REQUEST_ID: &str = "RequestId";
/// The header that says when to ask again, among the components of the document.
pub(super) const RETRY_AFTER: &str = "RetryAfter";

/// Returns the operations of a path.
pub(super) fn operations(item: &PathItem) -> impl Iterator<Item = &Operation> {
    let all = [&item.get, &item.post, &item.put, &item.delete];
    all.into_iter().flatten()
}

fn operations_mut(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let all = [
        &mut item.get,
        &mut item.post,
        &mut item.put,
        &mut item.delete,
    ];
    all.into_iter().flatten()
}

/// Puts the scrape under its other paths too, each under an id of its own.
pub(super) fn metrics_under_every_path(document: &mut OpenApi) {
    let [first, others @ ..] = metrics::PATHS;
    let Some(item) = document.paths.paths.get(first).cloned() else {
        return;
    };
    for path in others {
        let mut item = item.clone();
        for operation in operations_mut(&mut item) {
            operation.operation_id = Some(path.trim_start_matches('/').replace('/', "_"));
        }
        document.paths.paths.insert(path.to_owned(), item);
    }
}

/// Puts what can be asked of a model under its versions too, each under an id of its own.
pub(in crate::http) fn with_versions(document: &mut OpenApi) {
    const MODEL: &str = "/v2/models/{model}";
    let version = ParameterBuilder::new()
        .name("version")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .example(Some("1".into()))
        .build();
    let paths = &mut document.paths.paths;
    let of_models: Vec<_> = paths
        .iter()
        .filter_map(|(path, item)| Some((path.strip_prefix(MODEL)?.to_owned(), item.clone())))
        .collect();
    for (below, mut item) in of_models {
        for operation in operations_mut(&mut item) {
            let id = operation.operation_id.take().unwrap_or_default();
            operation.operation_id = Some(format!("{id}_of_version"));
            let parameters = operation.parameters.get_or_insert_default();
            parameters.insert(1, RefOr::T(version.clone()));
        }
        paths.insert(format!("{MODEL}/versions/{{version}}{below}"), item);
    }
}

/// Puts everything under a prefix too, each under an id of its own.
pub(in crate::http) fn also_under(prefix: &str, document: &mut OpenApi) {
    let paths = &mut document.paths.paths;
    let all: Vec<_> = paths
        .iter()
        .map(|(path, item)| (path.clone(), item.clone()))
        .collect();
    for (path, mut item) in all {
        for operation in operations_mut(&mut item) {
            let id = operation.operation_id.take().unwrap_or_default();
            operation.operation_id = Some(format!("{}_{id}", prefix.trim_start_matches('/')));
        }
        paths.insert(format!("{prefix}{path}"), item);
    }
}

/// Says of every path there is so far that the health port answers it too.
pub(super) fn also_on_the_health_port(document: &mut OpenApi, port: Option<u16>) {
    let Some(port) = port else {
        return;
    };
    let host = ServerVariableBuilder::new().default_value("localhost");
    let health_port = ServerBuilder::new()
        .url(format!("http://{{host}}:{port}"))
        .description(Some("The health port"))
        .parameter("host", host)
        .build();
    let main_port = document.servers.clone().unwrap_or_default();
    let both: Vec<_> = main_port.into_iter().chain([health_port]).collect();
    for item in document.paths.paths.values_mut() {
        item.servers = Some(both.clone());
    }
}

/// Adds the headers that answers have, and the body of errors.
pub(super) fn with_what_is_true_of_all(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    add_error(components);
    components.headers.extend([
        (REQUEST_ID.to_owned(), RefOr::T(request_id())),
        (RETRY_AFTER.to_owned(), RefOr::T(retry_after())),
    ]);
    for schema in components.schemas.values_mut() {
        without_code(schema);
    }
    for item in document.paths.paths.values_mut() {
        for operation in operations_mut(item) {
            for response in operation.responses.responses.values_mut() {
                if let RefOr::T(response) = response {
                    let name = "x-request-id".to_owned();
                    response.headers.insert(name, header(REQUEST_ID));
                }
            }
        }
    }
}

/// Returns a reference to a header among the components.
pub(super) fn header(name: &str) -> RefOr<Header> {
    RefOr::Ref(Ref::new(format!("#/components/headers/{name}")))
}

fn add_error(components: &mut Components) {
    let mut schemas = vec![(Body::name().into_owned(), Body::schema())];
    Body::schemas(&mut schemas);
    components.schemas.extend(schemas);
}

fn request_id() -> Header {
    HeaderBuilder::new()
        .description(Some(
            "The id of the request: the caller's where it is well-formed, and else a new one",
        ))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

fn retry_after() -> Header {
    HeaderBuilder::new()
        .description(Some(
            "In how many seconds to ask again, where that can be said",
        ))
        .schema(Some(
            ObjectBuilder::new()
                .schema_type(Type::Integer)
                .minimum(Some(1)),
        ))
        .build()
}

/// Leaves the code examples of a description to those who read the source.
fn without_code(schema: &mut RefOr<Schema>) {
    let description = match schema {
        RefOr::T(Schema::Object(object)) => &mut object.description,
        RefOr::T(Schema::AllOf(all)) => &mut all.description,
        RefOr::T(Schema::OneOf(one)) => &mut one.description,
        _ => return,
    };
    if let Some(text) = description
        && let Some((words, _code)) = text.split_once("\n\n```")
    {
        *text = words.to_owned();
    }
}
