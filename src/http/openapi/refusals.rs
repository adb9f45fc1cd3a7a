//! What an operation answers instead of what was asked for.
//!
//! A status has one place in the document, and several codes may share it, each with its own reason. So they are
//! written down as a table beside the handler, and the responses are made from that.

use std::collections::BTreeMap;

use serde_json::json;
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
    let mut by_status: BTreeMap<u16, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        by_status.entry(row.0).or_default().push(row);
    }
    by_status
        .into_iter()
        .map(|(status, rows)| (status.to_string(), RefOr::T(response(status, &rows))))
        .collect()
}

fn response(status: u16, rows: &[&Row]) -> Response {
    let reasons = rows.iter().map(|(_, codes, why)| {
        let codes: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
        format!("{}: {why}", codes.join(", "))
    });
    let reasons: Vec<String> = reasons.collect();
    let error = Ref::from_schema_name(Body::name());
    let content = ContentBuilder::new().schema(Some(error));
    let example = rows
        .first()
        .map(|(_, codes, why)| json!({"error": why, "code": codes[0]}));
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
