//! The webhooks of MLflow 3: who sent one, whether it is one of now, and what it tells.
//!
//! MLflow signs what it sends in the manner of [Standard Webhooks]: HMAC-SHA256 over
//! `DELIVERY-ID.TIMESTAMP.BODY` with a secret that it shares with the receiver, as
//! `X-MLflow-Signature: v1,BASE64` (`mlflow/webhooks/delivery.py`). The secret's text is the key as it
//! stands. A delivery that is answered with 429, 500, 502, 503 or 504 comes again, word for word.
//!
//! **Invariant:** nothing is believed of a delivery that is not signed with one of the secrets, and
//! none is accepted twice: the id of each is kept until its timestamp is too old to be accepted. How
//! many are kept is limited; when there are more, new ones are refused until some have become too
//! old, since a forgotten one could be sent again. Unsigned ones are not kept, so strangers cannot
//! fill it.
//!
//! A webhook tells that something has changed, and the registry is asked what. So an event that is
//! not known is as good as one that is, and one that is lost is made up for by the next poll. There
//! are none of stages.
//!
//! [Standard Webhooks]: https://www.standardwebhooks.com

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

/// The header with the signature.
pub const SIGNATURE: &str = "x-mlflow-signature";
/// The header with the seconds since 1970 at which it was sent.
pub const TIMESTAMP: &str = "x-mlflow-timestamp";
/// The header with what tells it from every other delivery.
pub const DELIVERY_ID: &str = "x-mlflow-delivery-id";

/// Judges deliveries; whoever calls may share it.
pub struct WebhookVerifier {
    keys: Vec<hmac::Key>,
    /// Timestamps and ids of those that were accepted.
    seen: Mutex<BTreeSet<(u64, String)>>,
}

/// The headers of a delivery that count, where they were sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Headers<'a> {
    /// `X-MLflow-Signature`: `v1,BASE64`, or several with blanks between them.
    pub signature: Option<&'a str>,
    /// `X-MLflow-Timestamp`.
    pub timestamp: Option<&'a str>,
    /// `X-MLflow-Delivery-Id`.
    pub delivery_id: Option<&'a str>,
}

/// A delivery that is genuine and new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// What tells it from every other.
    pub id: String,
    /// When it was sent, in seconds since 1970.
    pub sent: u64,
    /// What it tells.
    pub event: Event,
}

/// What has happened in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What it happened to: `model_version_alias`, `registered_model`, …
    pub entity: String,
    /// What happened: `created`, `deleted`, `set`, …
    pub action: String,
    /// The registered model that it is about, if that is told.
    pub model: Option<String>,
    /// The number of the version that it is about, if that is told.
    pub version: Option<u64>,
    /// The alias that it is about, if that is told.
    pub alias: Option<String>,
}

/// Why a delivery is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// A header is missing.
    #[error(
        "the header {0} is missing; give the webhook in MLflow the secret that the configuration has"
    )]
    Missing(&'static str),
    /// A header, or the body, is not of the form that MLflow gives it.
    #[error("{0} is not of the form that MLflow gives it")]
    Malformed(&'static str),
    /// It is not signed with any of the secrets.
    #[error("the signature is not made with the secret that the configuration has")]
    WrongSignature,
    /// It was not sent now.
    #[error(
        "it was sent {0} s from now, and no more than {tolerance} are allowed; compare the clocks of both machines",
        tolerance = TOLERANCE.as_secs()
    )]
    Stale(u64),
    /// It has been accepted before.
    #[error("it has been accepted before")]
    Replayed,
    /// More are coming than can be told from repetitions; worth another attempt.
    #[error("more than {MEMORY} deliveries came in the last minutes; send it again later")]
    TooMany,
}

/// How far a timestamp may lie from now, before and after.
const TOLERANCE: Duration = Duration::from_secs(300);
/// How many deliveries are remembered.
const MEMORY: usize = 4096;
/// The longest body that is read, in bytes.
const MAX_BODY: usize = 1 << 20;
/// The longest delivery id, in bytes; MLflow's have 36.
const MAX_ID: usize = 128;
/// The most signatures that are looked at.
const MAX_SIGNATURES: usize = 8;

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    entity: String,
    #[serde(default)]
    action: String,
    #[serde(default)]
    data: Value,
}

// === impl WebhookVerifier ===

impl WebhookVerifier {
    /// Returns one that accepts what is signed with any of the secrets: two while one replaces the
    /// other. With none nothing is accepted, and an empty one counts as none.
    #[must_use]
    pub fn new<S: AsRef<str>>(secrets: &[S]) -> Self {
        let secrets = secrets.iter().map(|secret| secret.as_ref().as_bytes());
        let secrets = secrets.filter(|secret| !secret.is_empty());
        Self {
            keys: secrets
                .map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret))
                .collect(),
            seen: Mutex::default(),
        }
    }

    /// Judges a delivery that comes `now`, and remembers it if it is accepted.
    ///
    /// # Errors
    ///
    /// Any [`Refusal`]. What is refused is not remembered.
    pub fn verify(
        &self,
        headers: Headers<'_>,
        body: &[u8],
        now: SystemTime,
    ) -> Result<Delivery, Refusal> {
        let signature = headers
            .signature
            .ok_or(Refusal::Missing("X-MLflow-Signature"))?;
        let timestamp = headers
            .timestamp
            .ok_or(Refusal::Missing("X-MLflow-Timestamp"))?;
        let id = headers
            .delivery_id
            .ok_or(Refusal::Missing("X-MLflow-Delivery-Id"))?;
        if body.len() > MAX_BODY {
            return Err(Refusal::Malformed("the body"));
        }
        if id.is_empty() || id.len() > MAX_ID {
            return Err(Refusal::Malformed("the header X-MLflow-Delivery-Id"));
        }
        let malformed = Refusal::Malformed("the header X-MLflow-Timestamp");
        let sent: u64 = match timestamp.bytes().all(|digit| digit.is_ascii_digit()) {
            true => timestamp.parse().map_err(|_| malformed)?,
            false => return Err(malformed),
        };
        let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
        if !self.is_signed(&signed, signature)? {
            return Err(Refusal::WrongSignature);
        }
        let event = Event::read(body)?;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if now.abs_diff(sent) > TOLERANCE.as_secs() {
            return Err(Refusal::Stale(now.abs_diff(sent)));
        }
        self.remember(sent, id, now)?;
        Ok(Delivery {
            id: id.to_owned(),
            sent,
            event,
        })
    }

    /// Forgets a delivery that nothing could be done about, so that it is accepted when it comes
    /// again: MLflow sends it again when it is answered 503.
    pub fn forget(&self, delivery: &Delivery) {
        self.seen().remove(&(delivery.sent, delivery.id.clone()));
    }

    /// Tells whether one of the signatures is made with one of the secrets. Each is compared in a time
    /// that does not depend on where it differs.
    fn is_signed(&self, signed: &[u8], header: &str) -> Result<bool, Refusal> {
        let mut found = 0;
        for part in header.split_ascii_whitespace() {
            let Some(signature) = part.trim_end_matches(',').strip_prefix("v1,") else {
                continue;
            };
            found += 1;
            let signature = STANDARD
                .decode(signature)
                .ok()
                .filter(|bytes| bytes.len() == 32);
            if found > MAX_SIGNATURES || signature.is_none() {
                return Err(Refusal::Malformed("the header X-MLflow-Signature"));
            }
            let signature = signature.unwrap_or_default();
            let fits = |key| hmac::verify(key, signed, &signature).is_ok();
            if self.keys.iter().any(fits) {
                return Ok(true);
            }
        }
        match found {
            0 => Err(Refusal::Malformed("the header X-MLflow-Signature")),
            _ => Ok(false),
        }
    }

    fn remember(&self, sent: u64, id: &str, now: u64) -> Result<(), Refusal> {
        let mut seen = self.seen();
        let oldest = now.saturating_sub(TOLERANCE.as_secs());
        let kept = seen.split_off(&(oldest, String::new()));
        *seen = kept;
        let delivery = (sent, id.to_owned());
        if seen.contains(&delivery) {
            return Err(Refusal::Replayed);
        }
        if seen.len() >= MEMORY {
            return Err(Refusal::TooMany);
        }
        seen.insert(delivery);
        Ok(())
    }

    fn seen(&self) -> MutexGuard<'_, BTreeSet<(u64, String)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for WebhookVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.seen().len();
        write!(
            f,
            "WebhookVerifier({} secrets, {seen} deliveries)",
            self.keys.len()
        )
    }
}

// === impl Event ===

impl Event {
    fn read(body: &[u8]) -> Result<Self, Refusal> {
        let body: Body =
            serde_json::from_slice(body).map_err(|_| Refusal::Malformed("the body"))?;
        let text = |key: &str| body.data.get(key).and_then(Value::as_str);
        Ok(Self {
            model: text("name").map(str::to_owned),
            version: text("version").and_then(|version| version.parse().ok()),
            alias: text("alias").map(str::to_owned),
            entity: body.entity,
            action: body.action,
        })
    }

    /// Tells whether a version that is meant by some name of this model may be another one now. Of an
    /// event that is not known, and of one that names no model, that is assumed.
    #[must_use]
    pub fn may_concern(&self, model: &str) -> bool {
        let is_foreign = self.entity.starts_with("prompt") || self.entity == "budget_policy";
        !is_foreign && self.model.as_deref().is_none_or(|named| named == model)
    }
}

#[cfg(test)]
mod tests;
