//! Requests that have killed the worker they were alone with, and are refused from then on.
//!
//! A request is known by a fingerprint over model, version and content, so the same bytes are
//! refused whoever sends them and however often they are retried, while another version of the
//! model gets its own chance. The list is bounded (the oldest entry makes room), each entry
//! expires, and somebody who knows better can clear it.
//!
//! Nothing is computed while the list is empty, which is nearly always; as long as it is not, each
//! request to a model that is in it costs one hash of its content.
//!
//! What was sent is not kept, unless that is configured: then it goes to an
//! [archive](crate::archive) with a cap, first a line of JSON that names the tensors and then their
//! bytes.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use impetus_engine::Tensor;
use impetus_supervision::Clock;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::loss::Loss;
use crate::archive::Archive;

/// How long the list may be and how long an entry stays in it.
#[derive(Debug, Clone)]
pub struct QuarantineSettings {
    /// Most entries; the oldest makes room for one more.
    pub capacity: usize,
    /// How long a request is refused.
    pub expires_after: Duration,
    /// Where the content is kept, if it is.
    pub bodies: Option<Archive>,
}

/// The requests that are refused.
pub struct Quarantine {
    settings: QuarantineSettings,
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
    /// How many entries there are, so that an empty list costs no lock.
    entries: AtomicUsize,
    added: AtomicU64,
    refused: AtomicU64,
}

/// What a request is known by: the first half of a SHA-256 over model, version and content.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 16]);

/// One entry as it is listed.
#[derive(Debug, Clone, Serialize)]
pub struct Quarantined {
    /// What the request is known by.
    pub fingerprint: Fingerprint,
    /// The model it was for.
    pub model: String,
    /// The version of the model.
    pub version: String,
    /// How the worker was lost: `crash`, `hang` or `memory`.
    pub cause: &'static str,
    /// The same in words.
    pub reason: String,
    /// When it was found, RFC 3339 in UTC.
    #[serde(serialize_with = "rfc3339")]
    pub since: SystemTime,
    /// For how much longer it is refused, in seconds.
    pub expires_in_seconds: f64,
    /// How often it has been refused since.
    pub refused: u64,
    /// The id of the request that was found out, if it had one.
    pub request_id: Option<String>,
}

/// A request under suspicion: what it was for, and what it holds.
#[derive(Debug, Clone, Copy)]
pub struct Suspect<'a> {
    /// The model it was for.
    pub model: &'a str,
    /// The version of the model.
    pub version: &'a str,
    /// Its content.
    pub inputs: &'a [Tensor],
    /// Its id, if it had one.
    pub request_id: Option<&'a str>,
}

#[derive(Debug, Default)]
struct Inner {
    known: HashMap<Fingerprint, Known>,
    /// Oldest first; expiry is in the same order, since all stay equally long.
    order: VecDeque<Fingerprint>,
}

#[derive(Debug)]
struct Known {
    model: String,
    version: String,
    loss: Loss,
    /// By the monotonic clock.
    at: Duration,
    since: SystemTime,
    refused: u64,
    request_id: Option<String>,
}

// === impl Quarantine ===

impl Quarantine {
    /// Makes an empty list whose entries expire by this clock.
    #[must_use]
    pub fn new(settings: QuarantineSettings, clock: Arc<dyn Clock>) -> Self {
        Self {
            settings,
            clock,
            inner: Mutex::default(),
            entries: AtomicUsize::new(0),
            added: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Enters a request that has killed its worker alone; returns what it is known by.
    pub fn enter(&self, suspect: &Suspect<'_>, loss: &Loss) -> Fingerprint {
        let fingerprint = Fingerprint::of(suspect);
        if let Some(bodies) = &self.settings.bodies {
            // Counted by the archive when it cannot be kept.
            let _ = bodies.keep(&fingerprint.to_string(), body_of(suspect));
        }
        let known = Known {
            model: suspect.model.to_owned(),
            version: suspect.version.to_owned(),
            loss: loss.clone(),
            at: self.clock.now(),
            since: self.clock.wall(),
            refused: 0,
            request_id: suspect.request_id.map(str::to_owned),
        };
        let mut inner = self.lock();
        inner.remove(fingerprint);
        while inner.order.len() >= self.settings.capacity.max(1) {
            inner.remove_oldest();
        }
        inner.known.insert(fingerprint, known);
        inner.order.push_back(fingerprint);
        self.note_length(&inner);
        self.added.fetch_add(1, Ordering::Relaxed);
        fingerprint
    }

    /// Returns the entry under which a request is refused, if it is, and counts that.
    pub fn refuses(&self, suspect: &Suspect<'_>) -> Option<Quarantined> {
        if self.entries.load(Ordering::Acquire) == 0 {
            return None;
        }
        let now = self.clock.now();
        {
            let mut inner = self.lock();
            self.expire(&mut inner, now);
            let concerned =
                |known: &Known| known.model == suspect.model && known.version == suspect.version;
            if !inner.known.values().any(concerned) {
                return None;
            }
        }
        // Outside the lock: it takes as long as the content is large.
        let fingerprint = Fingerprint::of(suspect);
        let mut inner = self.lock();
        let known = inner.known.get_mut(&fingerprint)?;
        known.refused += 1;
        self.refused.fetch_add(1, Ordering::Relaxed);
        Some(known.listed(fingerprint, self.settings.expires_after, now))
    }

    /// Returns every entry, the newest first.
    #[must_use]
    pub fn list(&self) -> Vec<Quarantined> {
        let now = self.clock.now();
        let mut inner = self.lock();
        self.expire(&mut inner, now);
        let inner = &*inner;
        inner
            .order
            .iter()
            .rev()
            .filter_map(|fingerprint| {
                let known = inner.known.get(fingerprint)?;
                Some(known.listed(*fingerprint, self.settings.expires_after, now))
            })
            .collect()
    }

    /// Removes one entry by its name; returns whether it was there.
    pub fn clear(&self, fingerprint: &str) -> bool {
        let mut inner = self.lock();
        let found = inner
            .order
            .iter()
            .copied()
            .find(|known| known.to_string() == fingerprint);
        if let Some(fingerprint) = found {
            inner.remove(fingerprint);
        }
        self.note_length(&inner);
        found.is_some()
    }

    /// Removes every entry; returns how many there were.
    pub fn clear_all(&self) -> usize {
        let mut inner = self.lock();
        let count = inner.order.len();
        *inner = Inner::default();
        self.note_length(&inner);
        count
    }

    /// Returns how many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let mut inner = self.lock();
        self.expire(&mut inner, self.clock.now());
        inner.order.len()
    }

    /// Tells whether nothing is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many requests were entered since the start.
    #[must_use]
    pub fn added(&self) -> u64 {
        self.added.load(Ordering::Relaxed)
    }

    /// Returns how often a request was refused since the start.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Returns how long an entry stays.
    #[must_use]
    pub fn expires_after(&self) -> Duration {
        self.settings.expires_after
    }

    fn expire(&self, inner: &mut Inner, now: Duration) {
        while let Some(oldest) = inner.order.front()
            && let Some(known) = inner.known.get(oldest)
            && now.saturating_sub(known.at) >= self.settings.expires_after
        {
            inner.remove_oldest();
        }
        self.note_length(inner);
    }

    fn note_length(&self, inner: &Inner) {
        self.entries.store(inner.order.len(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing inside these sections leaves the two halves apart.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Quarantine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quarantine")
            .field("settings", &self.settings)
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

// === impl Inner ===

impl Inner {
    fn remove(&mut self, fingerprint: Fingerprint) {
        if self.known.remove(&fingerprint).is_some() {
            self.order.retain(|known| *known != fingerprint);
        }
    }

    fn remove_oldest(&mut self) {
        if let Some(oldest) = self.order.pop_front() {
            self.known.remove(&oldest);
        }
    }
}

// === impl Known ===

impl Known {
    fn listed(&self, fingerprint: Fingerprint, stays: Duration, now: Duration) -> Quarantined {
        let left = (self.at + stays).saturating_sub(now);
        Quarantined {
            fingerprint,
            model: self.model.clone(),
            version: self.version.clone(),
            cause: self.loss.kind(),
            reason: self.loss.to_string(),
            since: self.since,
            expires_in_seconds: left.as_secs_f64(),
            refused: self.refused,
            request_id: self.request_id.clone(),
        }
    }
}

// === impl Fingerprint ===

impl Fingerprint {
    /// Computes what a request is known by. Every part is led by its length, so that no two
    /// requests run together to the same bytes.
    #[must_use]
    pub fn of(suspect: &Suspect<'_>) -> Self {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(suspect.model.as_bytes());
        part(suspect.version.as_bytes());
        for input in suspect.inputs {
            part(input.name().as_bytes());
            part(input.dtype().to_string().as_bytes());
            let shape: Vec<u8> = input
                .shape()
                .iter()
                .flat_map(|extent| (*extent as u64).to_le_bytes())
                .collect();
            part(&shape);
            part(input.data());
        }
        let digest = hash.finalize();
        let mut short = [0; 16];
        short.copy_from_slice(&digest[..16]);
        Self(short)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A line of JSON that names the tensors, then their bytes.
fn body_of(suspect: &Suspect<'_>) -> Vec<u8> {
    let inputs: Vec<serde_json::Value> = suspect
        .inputs
        .iter()
        .map(|input| {
            serde_json::json!({
                "name": input.name(),
                "datatype": input.dtype().to_string(),
                "shape": input.shape(),
                "bytes": input.data().len(),
            })
        })
        .collect();
    let head = serde_json::json!({
        "model": suspect.model,
        "version": suspect.version,
        "request_id": suspect.request_id,
        "inputs": inputs,
    });
    let mut body = head.to_string().into_bytes();
    body.push(b'\n');
    for input in suspect.inputs {
        body.extend_from_slice(input.data());
    }
    body
}

fn rfc3339<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let text = OffsetDateTime::from(*at)
        .format(&Rfc3339)
        .map_err(serde::ser::Error::custom)?;
    serializer.serialize_str(&text)
}

#[cfg(test)]
mod tests {
    use impetus_supervision::SystemClock;

    use super::*;

    fn quarantine(capacity: usize, expires_after: Duration) -> Quarantine {
        let settings = QuarantineSettings {
            capacity,
            expires_after,
            bodies: None,
        };
        Quarantine::new(settings, Arc::new(SystemClock::new()))
    }

    fn inputs(value: f32) -> Vec<Tensor> {
        vec![Tensor::from_f32("x", vec![1, 1], &[value]).unwrap()]
    }

    fn suspect<'a>(version: &'a str, inputs: &'a [Tensor]) -> Suspect<'a> {
        Suspect {
            model: "m",
            version,
            inputs,
            request_id: Some("r-1"),
        }
    }

    fn loss() -> Loss {
        Loss::Crash("was ended by signal 11".to_owned())
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn only_the_same_content_for_the_same_version_is_refused() {
        let list = quarantine(8, HOUR);
        let (bad, good) = (inputs(1.0), inputs(2.0));
        list.enter(&suspect("1", &bad), &loss());
        let entry = list.refuses(&suspect("1", &bad)).unwrap();
        assert_eq!((entry.cause, entry.refused), ("crash", 1));
        assert!(list.refuses(&suspect("1", &good)).is_none());
        assert!(list.refuses(&suspect("2", &bad)).is_none());
        assert_eq!((list.len(), list.added(), list.refused()), (1, 1, 1));
    }

    #[test]
    fn the_list_is_bounded_and_the_oldest_makes_room() {
        let list = quarantine(3, HOUR);
        for value in 0..5 {
            list.enter(&suspect("1", &inputs(value as f32)), &loss());
        }
        assert_eq!(list.len(), 3);
        assert!(list.refuses(&suspect("1", &inputs(1.0))).is_none());
        assert!(list.refuses(&suspect("1", &inputs(2.0))).is_some());
    }

    #[test]
    fn an_entry_expires() {
        let list = quarantine(3, Duration::ZERO);
        let bad = inputs(1.0);
        list.enter(&suspect("1", &bad), &loss());
        assert!(list.refuses(&suspect("1", &bad)).is_none());
        assert!(list.is_empty());
    }

    #[test]
    fn one_or_all_can_be_cleared() {
        let list = quarantine(8, HOUR);
        let first = list.enter(&suspect("1", &inputs(1.0)), &loss());
        list.enter(&suspect("1", &inputs(2.0)), &loss());
        assert!(list.clear(&first.to_string()));
        assert!(!list.clear(&first.to_string()));
        assert!(list.refuses(&suspect("1", &inputs(1.0))).is_none());
        assert_eq!(list.clear_all(), 1);
        assert!(list.refuses(&suspect("1", &inputs(2.0))).is_none());
    }

    #[test]
    fn entering_it_again_makes_no_second_entry() {
        let list = quarantine(8, HOUR);
        list.enter(&suspect("1", &inputs(1.0)), &loss());
        list.enter(&suspect("1", &inputs(1.0)), &loss());
        assert_eq!(list.list().len(), 1);
    }

    #[test]
    fn the_parts_of_a_fingerprint_cannot_run_together() {
        let ab = [Tensor::from_f32("ab", vec![1], &[0.0]).unwrap()];
        let a = [Tensor::from_f32("a", vec![1], &[0.0]).unwrap()];
        let print = |version, inputs| Fingerprint::of(&suspect(version, inputs));
        assert_ne!(print("1", &ab[..]), print("1a", &a[..]));
        let flat = [Tensor::from_f32("x", vec![4], &[0.0; 4]).unwrap()];
        let square = [Tensor::from_f32("x", vec![2, 2], &[0.0; 4]).unwrap()];
        assert_ne!(print("1", &flat[..]), print("1", &square[..]));
    }

    #[test]
    fn the_content_is_kept_as_a_line_of_json_and_the_bytes() {
        let inputs = inputs(1.0);
        let body = body_of(&suspect("1", &inputs));
        let end = body.iter().position(|byte| *byte == b'\n').unwrap();
        let head: serde_json::Value = serde_json::from_slice(&body[..end]).unwrap();
        assert_eq!(head["inputs"][0]["bytes"], 4);
        assert_eq!(head["request_id"], "r-1");
        assert_eq!(body[end + 1..], 1.0_f32.to_le_bytes());
    }
}
