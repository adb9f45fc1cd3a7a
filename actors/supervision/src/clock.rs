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
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use impetus_supervision::{BoxFuture, Clock};
///
/// /// A clock whose time never passes.
/// struct Frozen;
///
/// impl Clock for Frozen {
///     fn now(&self) -> Duration {
///         Duration::ZERO
///     }
///     fn wall(&self) -> SystemTime {
///         SystemTime::UNIX_EPOCH
///     }
///     fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
///         Box::pin(std::future::pending())
///     }
/// }
///
/// assert_eq!(Frozen.now(), Frozen.now());
/// ```
pub trait Clock: Send + Sync + 'static {
    /// Returns the time since this clock's origin. Never goes back.
    ///
    /// ```
    /// use impetus_supervision::{Clock, SystemClock};
    ///
    /// let clock = SystemClock::new();
    /// let before = clock.now();
    /// assert!(clock.now() >= before);
    /// ```
    fn now(&self) -> Duration;

    /// Returns the wall-clock time, for display only.
    ///
    /// ```
    /// use impetus_supervision::{Clock, TestExecutor, Timestamp};
    ///
    /// let clock = TestExecutor::new().clock();
    /// assert_eq!(Timestamp::from(clock.wall()).to_string(), "2025-01-01T00:00:00.000Z");
    /// ```
    fn wall(&self) -> SystemTime;

    /// Returns a future that is ready once `duration` has passed on this clock.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use impetus_supervision::{Clock, TestExecutor};
    ///
    /// let executor = TestExecutor::new();
    /// executor.run_until(executor.clock().sleep(Duration::from_secs(30)));
    /// assert_eq!(executor.clock().now(), Duration::from_secs(30));
    /// ```
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The operating system's clock; its origin is its creation.
///
/// ```
/// use std::sync::Arc;
///
/// use impetus_supervision::{System, SystemClock};
///
/// let builder = System::builder().clock(Arc::new(SystemClock::new()));
/// # drop(builder);
/// ```
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
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use impetus_supervision::{Clock, SystemClock};
    ///
    /// assert!(SystemClock::new().now() < Duration::from_secs(60));
    /// ```
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
