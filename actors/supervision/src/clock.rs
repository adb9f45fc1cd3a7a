//! Time as a dependency.
//!
//! Every deadline, backoff and age in this crate is read from a [`Clock`], so that a test can own time
//! ([`TestClock`](crate::TestClock)) and a supervisor's decisions are a function of their inputs. [`SystemClock`] is
//! the one for real programs; its `sleep` uses tokio's timer and therefore needs a tokio runtime on the thread that
//! polls it, which every arbiter has.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::BoxFuture;

/// A source of monotonic time, wall-clock time and sleep.
pub trait Clock: Send + Sync + 'static {
    /// Returns the time since this clock's origin. Never goes back.
    fn now(&self) -> Duration;

    /// Returns the wall-clock time, for display only.
    fn wall(&self) -> SystemTime;

    /// Returns a future that is ready once `duration` has passed on this clock.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The operating system's clock; its origin is its creation.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: Instant,
}

/// The deadline passed before the future was ready.
#[derive(Debug)]
pub(crate) struct Elapsed;

/// Waits for `future`, but no longer than `within`.
pub(crate) async fn timeout<F: Future>(
    clock: &dyn Clock,
    within: Duration,
    future: F,
) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let mut sleep = clock.sleep(within);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        sleep.as_mut().poll(cx).map(|()| Err(Elapsed))
    })
    .await
}

// === impl SystemClock ===

impl SystemClock {
    /// Returns a clock whose origin is now.
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the injected clock")]
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(async move { tokio::time::sleep(duration).await })
    }
}
