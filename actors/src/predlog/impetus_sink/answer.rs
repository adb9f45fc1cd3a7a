//! What the other server's answers mean.

use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Response, StatusCode};
use serde::Deserialize;

use crate::predlog::sink::SinkError;

/// What the other server says of a batch.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// It has all of it.
    Kept,
    /// It took nothing, because of these: places in the batch and reasons.
    Refused(Vec<(usize, String)>),
    /// It took nothing, because of one or more that it does not name.
    RefusedWhole(String),
}

/// Why there is no [`Answer`].
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection ended within it.
    Broken(reqwest::Error),
    /// It is none about the batch.
    Said(SinkError),
}

/// A batch is on the other server's disk.
#[derive(Deserialize)]
struct Logged {
    logged: usize,
}

/// An error of this project's servers.
#[derive(Deserialize)]
struct Refusal {
    error: String,
    code: String,
    #[serde(default)]
    details: Vec<Detail>,
}

#[derive(Deserialize)]
struct Detail {
    field: String,
    problem: String,
}

/// The longest answer that is read, in bytes; twenty problems take a tenth of it.
const MAX_BYTES: usize = 128 << 10;
/// The longest reason that is passed on, in characters.
const MAX_REASON: usize = 500;
/// The longest pause that is heeded: the forwarder has one of its own.
const MAX_PAUSE: u64 = 3_600;

/// Reads the answer to a batch of `sent` predictions.
pub(super) async fn read(
    mut response: Response,
    sent: usize,
    url: &str,
) -> Result<Answer, Failure> {
    let status = response.status();
    let after = response.headers().get(RETRY_AFTER);
    let retry_after = after
        .and_then(|after| after.to_str().ok()?.parse().ok())
        .map(|seconds: u64| Duration::from_secs(seconds.min(MAX_PAUSE)));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Failure::Broken)? {
        if body.len() + chunk.len() > MAX_BYTES {
            // Its end is not waited for; the connection is closed with the response.
            body.clear();
            break;
        }
        body.extend_from_slice(&chunk);
    }
    let meaning = meaning(status, &body, sent);
    meaning.map_err(|reason| {
        Failure::Said(SinkError {
            reason: format!("{url} answers {}{reason}", status.as_u16()).into(),
            retry_after,
        })
    })
}

/// Returns what an answer says of a batch, or how an error about it goes on after the status code.
fn meaning(status: StatusCode, body: &[u8], sent: usize) -> Result<Answer, String> {
    if status == StatusCode::OK {
        return match serde_json::from_slice(body) {
            Ok(Logged { logged }) if logged == sent => Ok(Answer::Kept),
            Ok(Logged { logged }) => Err(format!(" and logged {logged} of {sent} predictions")),
            Err(_) => Err(" and does not say what it logged; is that a logging service?".into()),
        };
    }
    let refusal: Option<Refusal> = serde_json::from_slice(body).ok();
    match (status, refusal) {
        (StatusCode::PAYLOAD_TOO_LARGE, refusal) => Ok(Answer::RefusedWhole(match refusal {
            Some(refusal) => short(&refusal.error),
            None => "it is too large".into(),
        })),
        (StatusCode::UNPROCESSABLE_ENTITY, Some(refusal)) if refusal.code == "invalid_batch" => {
            let named = refusal.details.iter().filter_map(|detail| {
                let place = place(&detail.field).filter(|place| *place < sent)?;
                let reason = short(&format!("{}: {}", field(&detail.field), detail.problem));
                Some((place, reason))
            });
            let named: Vec<_> = named.collect();
            Ok(match named.is_empty() {
                true => Answer::RefusedWhole(short(&refusal.error)),
                false => Answer::Refused(named),
            })
        }
        (StatusCode::BAD_REQUEST, Some(refusal)) if refusal.code == "not_json" => {
            Ok(Answer::RefusedWhole(short(&refusal.error)))
        }
        (_, Some(refusal)) => Err(format!(": {}", short(&refusal.error))),
        (status, None) if status.is_redirection() => {
            Err("; redirects are not followed, `sink.url` has to name the logging service".into())
        }
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, None) => {
            Err("; something before it wants credentials".into())
        }
        (status, None) if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Err(String::new())
        }
        (_, None) => Err("; is that a logging service?".into()),
    }
}

/// Returns 3 of `predictions[3].timestamp` or `origins[3].key`.
fn place(field: &str) -> Option<usize> {
    let rest = field
        .strip_prefix("predictions[")
        .or_else(|| field.strip_prefix("origins["))?;
    rest.split_once(']')?.0.parse().ok()
}

/// Returns the field without the place of its prediction, which says nothing outside of the batch.
fn field(field: &str) -> &str {
    let rest = field.split_once(']').map_or(field, |(_, rest)| rest);
    match rest.trim_start_matches('.') {
        "" => "prediction",
        rest => rest,
    }
}

fn short(text: &str) -> String {
    text.chars().take(MAX_REASON).collect()
}
