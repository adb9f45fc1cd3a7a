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
///
/// ```
/// use impetus_supervision::Body;
///
/// let body: Body = Box::new(|| Box::pin(async {}));
/// # drop(body);
/// ```
pub type Body = Box<dyn FnOnce() -> LocalBoxFuture<'static, ()> + Send>;

/// Runs incarnations.
///
/// ```
/// use std::sync::Arc;
///
/// use impetus_supervision::{Body, Executor, Incarnation, LaunchError, SupervisorSpec, System};
///
/// /// Runs nothing at all.
/// struct Nowhere;
///
/// impl Executor for Nowhere {
///     fn launch(&self, name: &str, body: Body) -> Result<Box<dyn Incarnation>, LaunchError> {
///         drop(body);
///         let reason = format!("nowhere to run {name}");
///         Err(LaunchError { reason })
///     }
/// }
///
/// let refused = System::builder().executor(Arc::new(Nowhere)).start(SupervisorSpec::new("root"));
/// assert!(refused.is_err());
/// ```
pub trait Executor: Send + Sync + 'static {
    /// Starts `body` under `name`, without waiting for it to get anywhere.
    ///
    /// ```
    /// use impetus_supervision::TestExecutor;
    ///
    /// let executor = TestExecutor::new();
    /// let incarnation = executor.executor().launch("nothing", Box::new(|| Box::pin(async {})))?;
    /// executor.settle();
    /// assert!(incarnation.is_gone());
    /// # Ok::<(), impetus_supervision::LaunchError>(())
    /// ```
    ///
    /// # Errors
    /// [`LaunchError`] when there is nothing to run it on: no more threads, no more descriptors.
    fn launch(&self, name: &str, body: Body) -> Result<Box<dyn Incarnation>, LaunchError>;
}

/// A launched body.
///
/// ```
/// use impetus_supervision::{Incarnation, TestExecutor};
///
/// let executor = TestExecutor::new();
/// let incarnation: Box<dyn Incarnation> =
///     executor.executor().launch("nothing", Box::new(|| Box::pin(async {})))?;
/// # drop(incarnation);
/// # Ok::<(), impetus_supervision::LaunchError>(())
/// ```
pub trait Incarnation: Send {
    /// Asks for the body to be dropped where it next yields. Returns at once, whatever the body does.
    ///
    /// ```
    /// use impetus_supervision::TestExecutor;
    ///
    /// let executor = TestExecutor::new();
    /// let forever = Box::new(|| -> impetus_supervision::LocalBoxFuture<'static, ()> {
    ///     Box::pin(std::future::pending())
    /// });
    /// let incarnation = executor.executor().launch("forever", forever)?;
    /// incarnation.abort();
    /// executor.settle();
    /// assert!(incarnation.is_gone());
    /// # Ok::<(), impetus_supervision::LaunchError>(())
    /// ```
    fn abort(&self);

    /// Returns true once the body and whatever thread it had are gone.
    ///
    /// ```
    /// use impetus_supervision::TestExecutor;
    ///
    /// let executor = TestExecutor::new();
    /// let forever = Box::new(|| -> impetus_supervision::LocalBoxFuture<'static, ()> {
    ///     Box::pin(std::future::pending())
    /// });
    /// let incarnation = executor.executor().launch("forever", forever)?;
    /// executor.settle();
    /// assert!(!incarnation.is_gone());
    /// # Ok::<(), impetus_supervision::LaunchError>(())
    /// ```
    fn is_gone(&self) -> bool;
}

/// An incarnation could not be launched.
///
/// ```
/// use impetus_supervision::LaunchError;
///
/// let error = LaunchError { reason: "no threads".to_owned() };
/// assert_eq!(error.to_string(), "the incarnation could not be launched: no threads");
/// ```
#[derive(Debug, thiserror::Error)]
#[error("the incarnation could not be launched: {reason}")]
pub struct LaunchError {
    /// Why.
    pub reason: String,
}
