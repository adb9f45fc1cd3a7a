//! When each HTTP worker last turned.
//!
//! The stamp is written by a task on the worker's own event loop, so a worker that is blocked
//! cannot write it, and no other thread vouches for it. One blocked worker is a matter for the
//! status; all of them standing still is a verdict.
//!
//! A place belongs to a worker, not to a number: one that ends leaves its place standing still
//! until another takes it over, and no other worker's stamp is ever written for it. A worker that
//! was replaced and still serves connections keeps a place beside its successor's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

/// How often a worker stamps.
const EVERY: Duration = Duration::from_millis(500);

/// One stamp per HTTP worker.
#[derive(Debug)]
pub struct EdgeStamps {
    origin: Instant,
    workers: usize,
    places: Mutex<Vec<Place>>,
}

#[derive(Debug, Default)]
struct Place {
    stamp: Arc<AtomicU64>,
    taken: bool,
}

/// A worker that stamps; dropping it gives its place up.
#[derive(Debug)]
pub struct Stamping {
    stamps: Arc<EdgeStamps>,
    stamp: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

// === impl EdgeStamps ===

impl EdgeStamps {
    /// Makes the stamps for `workers` workers, as if each had just turned.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            origin: Instant::now(),
            workers,
            places: Mutex::new((0..workers).map(|_| Place::default()).collect()),
        }
    }

    /// Starts stamping on the event loop of the calling worker, for as long as what is returned
    /// is kept.
    #[must_use]
    pub fn start_here(self: &Arc<Self>) -> Stamping {
        let stamp = self.take_place();
        let task = {
            let (stamps, stamp) = (Arc::clone(self), Arc::clone(&stamp));
            actix_web::rt::spawn(async move {
                loop {
                    stamp.store(stamps.now(), Ordering::Release);
                    actix_web::rt::time::sleep(EVERY).await;
                }
            })
        };
        Stamping {
            stamps: Arc::clone(self),
            stamp,
            task,
        }
    }

    /// Returns for how long each worker has stood still.
    #[must_use]
    pub fn ages(&self) -> Vec<Duration> {
        let now = self.origin.elapsed();
        let age = |place: &Place| {
            now.saturating_sub(Duration::from_millis(place.stamp.load(Ordering::Acquire)))
        };
        self.places().iter().map(age).collect()
    }

    /// Returns the stamp of a place that nobody has, or of a new one.
    fn take_place(&self) -> Arc<AtomicU64> {
        let mut places = self.places();
        if let Some(free) = places.iter_mut().find(|place| !place.taken) {
            free.taken = true;
            return Arc::clone(&free.stamp);
        }
        let stamp = Arc::new(AtomicU64::new(self.now()));
        places.push(Place {
            stamp: Arc::clone(&stamp),
            taken: true,
        });
        stamp
    }

    /// Frees a place, and does away with it if there are more than there should be workers.
    fn leave_place(&self, stamp: &Arc<AtomicU64>) {
        let mut places = self.places();
        let Some(left) = places
            .iter()
            .position(|place| Arc::ptr_eq(&place.stamp, stamp))
        else {
            return;
        };
        if places.len() > self.workers {
            places.remove(left);
        } else {
            places[left].taken = false;
        }
    }

    /// The lock is held for single statements by workers that start or end, and never while one
    /// turns.
    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

// === impl Stamping ===

impl Drop for Stamping {
    fn drop(&mut self) {
        self.task.abort();
        self.stamps.leave_place(&self.stamp);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use actix_rt::{Arbiter, System};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Starts a worker; dropping what it has ends its stamps, as the end of a worker does.
    fn worker(stamps: &Arc<EdgeStamps>) -> (Arbiter, Stamping) {
        let arbiter = Arbiter::new();
        let (sender, started) = sync_channel(1);
        let stamps = Arc::clone(stamps);
        arbiter.spawn_fn(move || sender.send(stamps.start_here()).unwrap());
        (arbiter, started.recv_timeout(PATIENCE).unwrap())
    }

    fn wait_until(what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            assert!(Instant::now() < deadline, "waited in vain until {what}");
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    fn turns(stamps: &EdgeStamps, place: usize) {
        let before = stamps.places()[place].stamp.load(Ordering::Acquire);
        wait_until("it turns", || {
            stamps.places()[place].stamp.load(Ordering::Acquire) > before
        });
    }

    #[test]
    fn a_worker_that_replaces_another_takes_its_place_and_no_other() {
        let _system = System::new();
        let stamps = Arc::new(EdgeStamps::new(2));
        let (_first, _stamping) = worker(&stamps);
        let (_second, gone) = worker(&stamps);
        drop(gone);
        let stood_still = stamps.places()[1].stamp.load(Ordering::Acquire);
        turns(&stamps, 0);
        assert_eq!(
            stamps.places()[1].stamp.load(Ordering::Acquire),
            stood_still,
            "nobody vouches for a worker that has ended"
        );
        let (_third, _stamping) = worker(&stamps);
        turns(&stamps, 1);
        assert_eq!(stamps.ages().len(), 2);
    }

    #[test]
    fn a_worker_that_was_replaced_and_serves_on_has_a_place_until_it_ends() {
        let _system = System::new();
        let stamps = Arc::new(EdgeStamps::new(1));
        let (_first, replaced) = worker(&stamps);
        let (_second, _stamping) = worker(&stamps);
        assert_eq!(stamps.ages().len(), 2);
        turns(&stamps, 0);
        turns(&stamps, 1);
        drop(replaced);
        assert_eq!(stamps.ages().len(), 1);
        turns(&stamps, 0);
    }
}
