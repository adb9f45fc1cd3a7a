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

mod fingerprint;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use impetus_supervision::Clock;
use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;

use super::loss::Loss;
use crate::archive::Archive;

pub use fingerprint::{Fingerprint, Suspect};

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

/// One entry as it is listed.
#[derive(Debug, Clone, Serialize, ToSchema)]
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
    #[schema(value_type = String, format = DateTime)]
    pub since: SystemTime,
    /// For how much longer it is refused, in seconds.
    pub expires_in_seconds: f64,
    /// How often it has been refused since.
    pub refused: u64,
    /// The id of the request that was found out, if it had one.
    #[schema(required)]
    pub request_id: Option<String>,
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
            let _ = bodies.keep(&fingerprint.to_string(), fingerprint::body_of(suspect));
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

fn rfc3339<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let text = OffsetDateTime::from(*at)
        .format(&Rfc3339)
        .map_err(serde::ser::Error::custom)?;
    serializer.serialize_str(&text)
}

#[cfg(test)]
mod tests;
