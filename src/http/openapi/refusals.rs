//! What an operation answers instead of what was asked for.
//!
//! A status has one place in the document, and several codes may share it, each with its own reason. So they are
//! written down as a table beside the handler, and the responses are made from that.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::{Ref, RefOr, Response, ResponseBuilder};

use super::finish::{RETRY_AFTER, header};
use crate::http::error::Body;

/// Statuses with which a client may be told when to ask again.
const ASK_AGAIN: [u16; 2] = [429, 503];

/// A status, the codes it comes with, and what they mean.
pub(in crate::http) type Row = (u16, &'static [&'static str], &'static str);

/// Makes a type that stands for the refusals of an operation among its `responses`.
macro_rules! refusals {
    ($(#[$about:meta])* $name:ident: $(($status:literal, [$($code:literal),+], $why:literal)),+ $(,)?) => {
        $(#[$about])*
        pub(super) enum $name {}

        impl ::utoipa::IntoResponses for $name {
            fn responses() -> ::std::collections::BTreeMap<String, ::utoipa::openapi::RefOr<::utoipa::openapi::Response>> {
                $crate::http::openapi::refusals::responses(&[$(($status, &[$($code),+], $why)),+])
            }
        }
    };
}
pub(in crate::http) use refusals;

/// Returns the responses, one for each status, with every code that it comes with.
pub(in crate::http) fn responses(rows: &[Row]) -> BTreeMap<String, RefOr<Response>> {
    let example = |_, code: &str, why: &str| json!({"error": why, "code": code});
    responses_in(rows, &Body::name(), example)
}

/// Returns the responses in the form of a schema, of which `example` makes one of a status, a code and a reason.
pub(in crate::http) fn responses_in(
    rows: &[Row],
    schema: &str,
    example: impl Fn(u16, &str, &str) -> Value,
) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        by_status.entry(row.0).or_default().push(row);
    }
    by_status
        .into_iter()
        .map(|(status, rows)| {
            let example = rows
                .first()
                .map(|(_, codes, why)| example(status, codes[0], why));
            let response = response(status, &rows, schema, example);
            (status.to_string(), RefOr::T(response))
        })
        .collect()
}

fn response(status: u16, rows: &[&Row], schema: &str, example: Option<Value>) -> Response {
    let reasons = rows.iter().map(|(_, codes, why)| {
        let codes: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
        format!("{}: {why}", codes.join(", "))
    });
    let reasons: Vec<String> = reasons.collect();
    let error = Ref::from_schema_name(schema);
    let content = ContentBuilder::new().schema(Some(error));
    let mut response = ResponseBuilder::new()
        .description(reasons.join("  \n"))
        .content("application/json", content.example(example).build())
        .build();
    if ASK_AGAIN.contains(&status) {
        let name = "Retry-After".to_owned();
        response.headers.insert(name, header(RETRY_AFTER));
    }
    response
}
