//! What a store's failures mean for whoever asks.

use std::error::Error as _;
use std::fmt::Write as _;

use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};

use super::without_secrets;
use crate::remote::RemoteError;

/// How many characters of an answer's own words are kept.
const WORDS: usize = 300;

/// Says what an answer's status code means.
pub(super) fn of_status(status: u16, place: &str, what: &str, why: &str) -> RemoteError {
    let place = place.to_owned();
    let why = cut(&without_secrets(why));
    match status {
        401 | 403 => RemoteError::Refused { place, status, why },
        404 | 410 => RemoteError::NotThere {
            place,
            what: what.to_owned(),
        },
        412 | 416 => RemoteError::Changed { place },
        408 | 425 | 429 | 500 | 502.. => RemoteError::Unreachable {
            place,
            why: format!("it answers {status}: {why}"),
        },
        _ => RemoteError::Garbage {
            place,
            why: format!("status {status}: {why}"),
        },
    }
}

/// Says what a failure of the crate `object_store` means.
pub(super) fn of_store(error: &Error, place: &str, what: &str) -> RemoteError {
    let why = cut(&without_secrets(&error.to_string()));
    match error {
        Error::PermissionDenied { .. } => return of_status(403, place, what, &why),
        Error::Unauthenticated { .. } => return of_status(401, place, what, &why),
        Error::NotFound { .. } => return of_status(404, place, what, &why),
        Error::Precondition { .. } => return of_status(412, place, what, &why),
        _ => {}
    }
    // The crate keeps the status code of every other answer to itself, but for the text.
    if let Some(status) = status_in(&why) {
        return of_status(status, place, what, &why);
    }
    let place = place.to_owned();
    match is_connection(error) {
        true => RemoteError::Unreachable { place, why },
        false => RemoteError::Garbage { place, why },
    }
}

fn status_in(why: &str) -> Option<u16> {
    let (_, after) = why.split_once("status code: ")?;
    after.get(..3)?.parse().ok()
}

fn is_connection(error: &Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<HttpError>() {
            return error.kind() != HttpErrorKind::Decode || cause(error).contains("body");
        }
        source = error.source();
    }
    false
}

/// Returns an error with all that caused it in one text.
pub(super) fn cause(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let words = error.to_string();
        if !text.contains(&words) {
            let _ = write!(text, ": {words}");
        }
        source = error.source();
    }
    cut(&without_secrets(&text))
}

fn cut(text: &str) -> String {
    let mut text = text.trim().to_owned();
    if let Some((end, _)) = text.char_indices().nth(WORDS) {
        text.truncate(end);
        text.push('…');
    }
    text
}
