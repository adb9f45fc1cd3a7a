//! When each HTTP worker last turned.
//!
//! The stamp is written by a task on the worker's own event loop, so a worker that is blocked
//! cannot write it, and no other thread vouches for it. One blocked worker is a matter for the
//! status; all of them standing still is a verdict.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How often a worker stamps.
const EVERY: Duration = Duration::from_millis(500);

/// One stamp per HTTP worker.
#[derive(Debug)]
pub struct EdgeStamps {
    origin: Instant,
    stamps: Vec<AtomicU64>,
    next: AtomicUsize,
}

// === impl EdgeStamps ===

impl EdgeStamps {
    /// Makes the stamps for `workers` workers, as if each had just turned.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            origin: Instant::now(),
            stamps: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            next: AtomicUsize::new(0),
        }
    }

    /// Starts stamping on the event loop of the calling worker, for as long as it lives. Called
    /// once by each worker; a worker that replaces another takes over its place.
    pub fn start_here(self: &Arc<Self>) {
        let stamps = Arc::clone(self);
        let index = self.next.fetch_add(1, Ordering::Relaxed) % self.stamps.len().max(1);
        actix_web::rt::spawn(async move {
            loop {
                stamps.stamp(index);
                actix_web::rt::time::sleep(EVERY).await;
            }
        });
    }

    /// Returns for how long each worker has stood still.
    #[must_use]
    pub fn ages(&self) -> Vec<Duration> {
        let now = self.origin.elapsed();
        self.stamps
            .iter()
            .map(|stamp| now.saturating_sub(Duration::from_millis(stamp.load(Ordering::Acquire))))
            .collect()
    }

    fn stamp(&self, index: usize) {
        let millis = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        if let Some(stamp) = self.stamps.get(index) {
            stamp.store(millis, Ordering::Release);
        }
    }
}
