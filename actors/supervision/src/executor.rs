//! Where incarnations run.
//!
//! The runtime asks two things of an executor: run this body on its own, and drop it when told to. Real programs use
//! [`ArbiterExecutor`], which gives every incarnation an actix arbiter (a thread with an event loop) of its own, so
//! that one that blocks freezes nobody else; tests use [`TestExecutor`](crate::TestExecutor), which runs all of them
//! on the test's thread under virtual time.

use futures_util::future::LocalBoxFuture;

mod arbiter;

pub use arbiter::ArbiterExecutor;

/// What an executor runs: called once, on the thread the incarnation will live on.
///
/// Dropping it unrun, or the future before it is ready, reports the incarnation as
/// [`Killed`](crate::ExitReason::Killed).
pub type Body = Box<dyn FnOnce() -> LocalBoxFuture<'static, ()> + Send>;

/// Runs incarnations.
pub trait Executor: Send + Sync + 'static {
    /// Starts `body` under `name`, without waiting for it to get anywhere.
    ///
    /// # Errors
    /// [`LaunchError`] when there is nothing to run it on: no more threads, no more descriptors.
    fn launch(&self, name: &str, body: Body) -> Result<Box<dyn Incarnation>, LaunchError>;
}

/// A launched body.
pub trait Incarnation: Send {
    /// Asks for the body to be dropped where it next yields. Returns at once, whatever the body does.
    fn abort(&self);

    /// Returns true once the body and whatever thread it had are gone.
    fn is_gone(&self) -> bool;
}

/// An incarnation could not be launched.
#[derive(Debug, thiserror::Error)]
#[error("the incarnation could not be launched: {reason}")]
pub struct LaunchError {
    /// Why.
    pub reason: String,
}
