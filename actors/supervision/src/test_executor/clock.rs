//! Virtual time.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;

use crate::Clock;
use crate::sync::lock;

/// 2025-01-01T00:00:00Z, the wall-clock time at every test clock's origin.
const WALL_AT_ORIGIN: Duration = Duration::from_secs(1_735_689_600);

/// A clock that moves only when its [`TestExecutor`](crate::TestExecutor) moves it.
///
/// ```
/// use std::time::Duration;
///
/// use impetus_supervision::{Clock, TestExecutor};
///
/// let executor = TestExecutor::new();
/// let clock = executor.clock();
/// assert_eq!(clock.now(), Duration::ZERO);
/// executor.advance(Duration::from_millis(5));
/// assert_eq!(clock.now(), Duration::from_millis(5));
/// ```
#[derive(Debug, Default)]
pub struct TestClock {
    timers: Arc<Mutex<Timers>>,
}

#[derive(Debug, Default)]
struct Timers {
    now: Duration,
    next_id: u64,
    /// By time, then by age, so that equal deadlines fire in the order in which they were set.
    waiting: BTreeMap<(Duration, u64), Waker>,
}

struct Sleep {
    timers: Arc<Mutex<Timers>>,
    until: Duration,
    key: Option<(Duration, u64)>,
}

// === impl TestClock ===

impl TestClock {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn next_timer(&self) -> Option<Duration> {
        let timers = lock(&self.timers);
        timers.waiting.keys().next().map(|(at, _)| *at)
    }

    pub(super) fn advance_to(&self, moment: Duration) {
        let due = {
            let mut timers = lock(&self.timers);
            timers.now = timers.now.max(moment);
            let now = timers.now;
            let later = timers.waiting.split_off(&(now, u64::MAX));
            std::mem::replace(&mut timers.waiting, later)
        };
        for waker in due.into_values() {
            waker.wake();
        }
    }
}

impl Clock for TestClock {
    fn now(&self) -> Duration {
        lock(&self.timers).now
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + WALL_AT_ORIGIN + self.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(Sleep {
            timers: Arc::clone(&self.timers),
            until: self.now().saturating_add(duration),
            key: None,
        })
    }
}

// === impl Sleep ===

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut timers = lock(&this.timers);
        if timers.now >= this.until {
            return Poll::Ready(());
        }
        let key = *this.key.get_or_insert_with(|| {
            timers.next_id += 1;
            (this.until, timers.next_id)
        });
        timers.waiting.insert(key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            // A timer nobody waits for must not make time jump.
            lock(&self.timers).waiting.remove(&key);
        }
    }
}
