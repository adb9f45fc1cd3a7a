//! What is known of one call while it is answered.
//!
//! It travels with the request through the generated code, among the extensions, so that the edge
//! and the handlers know the same: the id, until when anybody waits, and for which model it is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use impetus_actors::serving::{Protocol, ServedModel};
use tonic::codegen::http::{HeaderMap, HeaderValue};
use uuid::Uuid;

use crate::http::{PASSED_ON, is_well_formed_id};
use crate::oip::Caller;

/// The metadata key that carries a call's id, in and out.
pub(super) const REQUEST_ID: &str = "x-request-id";
/// The header in which a client says how long it waits.
const TIMEOUT: &str = "grpc-timeout";

/// A call on its way.
#[derive(Debug)]
pub(super) struct Call {
    /// The id under which the log knows it.
    pub(super) id: Arc<str>,
    /// When it began.
    pub(super) began: Instant,
    /// When nobody waits for its answer any more.
    pub(super) deadline: Instant,
    /// When its client stops waiting, if it has said so.
    pub(super) clients_deadline: Option<Instant>,
    /// Whether it comes from this machine, and from no proxy on it.
    pub(super) is_local: bool,
    model: OnceLock<Arc<ServedModel>>,
    /// How many messages have come on it, where it is a stream.
    messages: AtomicU64,
}

/// What is known of a call before it is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    /// How long it may wait for its answer.
    pub(super) longest: Duration,
    /// Whether its connection comes from this machine.
    pub(super) is_local: bool,
}

// === impl Call ===

impl Call {
    /// Reads what a call says of itself.
    pub(super) fn begin(headers: &HeaderMap, circumstances: Circumstances) -> Self {
        let began = Instant::now();
        let longest = circumstances.longest;
        let passed_on = PASSED_ON.iter().any(|name| headers.contains_key(*name));
        let stated = headers.get(TIMEOUT).and_then(timeout);
        Self {
            id: request_id(headers.get(REQUEST_ID)),
            began,
            deadline: began + stated.unwrap_or(longest).min(longest),
            clients_deadline: stated.and_then(|stated| began.checked_add(stated)),
            is_local: circumstances.is_local && !passed_on,
            model: OnceLock::new(),
            messages: AtomicU64::new(0),
        }
    }

    /// Notes for which model the call is. What comes second changes nothing.
    pub(super) fn is_for(&self, model: &Arc<ServedModel>) {
        let _ = self.model.set(Arc::clone(model));
    }

    /// Returns the model it is for, if one was found.
    pub(super) fn model(&self) -> Option<&Arc<ServedModel>> {
        self.model.get()
    }

    /// Returns who asks, as the serving path wants to know.
    pub(super) fn caller(&self) -> Caller {
        Caller {
            protocol: Protocol::V2Grpc,
            deadline: self.deadline,
            request_id: Some(Arc::clone(&self.id)),
        }
    }

    /// Makes what is known of the next message of a stream: a call of its own within this one, whose
    /// id is the stream's with the message's number behind it.
    pub(super) fn message(&self, longest: Duration) -> Self {
        let began = Instant::now();
        let deadline = began + longest;
        let number = self.messages.fetch_add(1, Ordering::Relaxed) + 1;
        Self {
            id: format!("{}/{number}", self.id).into(),
            began,
            deadline: self.clients_deadline.map_or(deadline, |d| d.min(deadline)),
            clients_deadline: self.clients_deadline,
            is_local: self.is_local,
            model: OnceLock::new(),
            messages: AtomicU64::new(0),
        }
    }
}

/// Takes the caller's id over when it is well-formed, and makes one up otherwise.
fn request_id(given: Option<&HeaderValue>) -> Arc<str> {
    given
        .filter(|id| is_well_formed_id(id.as_bytes()))
        .and_then(|id| id.to_str().ok())
        .map_or_else(|| Uuid::new_v4().to_string().into(), Arc::from)
}

/// Reads a time as gRPC writes one: at most eight digits and a unit.
fn timeout(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    let well_formed = (1..=8).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let number: u64 = well_formed
        .then(|| std::str::from_utf8(digits).ok())??
        .parse()
        .ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(30);

    fn begin(pairs: &[(&'static str, &'static str)]) -> Call {
        let circumstances = Circumstances {
            longest: LONGEST,
            is_local: true,
        };
        Call::begin(&headers(pairs), circumstances)
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| {
                let name = tonic::codegen::http::HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            })
            .collect()
    }

    #[test]
    fn a_clients_deadline_shortens_the_servers_and_never_lengthens_it() {
        for (stated, expected) in [
            ("250m", Duration::from_millis(250)),
            ("2S", Duration::from_secs(2)),
            ("1500u", Duration::from_micros(1500)),
            ("7n", Duration::from_nanos(7)),
            ("1M", LONGEST),
            ("99999999H", LONGEST),
            ("", LONGEST),
            ("5", LONGEST),
            ("-5S", LONGEST),
            ("123456789S", LONGEST),
            ("1s", LONGEST),
        ] {
            let call = begin(&[(TIMEOUT, stated)]);
            assert_eq!(call.deadline - call.began, expected, "{stated:?}");
        }
        let silent = begin(&[]);
        assert_eq!(silent.deadline - silent.began, LONGEST);
        assert_eq!(silent.clients_deadline, None);
    }

    #[test]
    fn a_message_of_a_stream_waits_no_longer_than_the_stream() {
        let call = begin(&[(TIMEOUT, "1M")]);
        assert!(call.message(LONGEST).deadline < call.began + LONGEST * 2);
        assert!(
            call.message(LONGEST).id.ends_with("/2"),
            "each has its own id"
        );
        let short = begin(&[(TIMEOUT, "1S")]);
        assert_eq!(short.message(LONGEST).deadline, short.deadline);
    }

    #[test]
    fn what_a_proxy_on_this_machine_passes_on_does_not_come_from_it() {
        assert!(begin(&[]).is_local);
        assert!(!begin(&[("x-forwarded-for", "10.0.0.1")]).is_local);
    }

    #[test]
    fn a_well_formed_id_is_taken_over_and_any_other_replaced() {
        let id = |given| begin(&[(REQUEST_ID, given)]).id;
        assert_eq!(&*id("req-1:a.b/c"), "req-1:a.b/c");
        assert_eq!(id("a b").len(), 36);
        assert_ne!(id(""), id(""));
    }
}
