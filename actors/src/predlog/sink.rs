//! Where predictions go from the file in which they land.
//!
//! The forwarder reads rows from the file in their order and hands them to a sink, which keeps
//! them; only then do they leave the file. A hand-over may be repeated after anything, so a sink
//! must take a row that it has already as one that it takes now: the row's key tells.

use std::sync::Arc;
use std::time::Duration;

use super::row::Landed;

/// Something that keeps predictions.
pub(crate) trait Sink: Send {
    /// Keeps `rows` and returns when they are durable there, or says which of them it never will
    /// keep. The forwarder's deadline may drop this future at any point; whatever was kept by then
    /// is found by its key when it comes again.
    ///
    /// # Errors
    /// Nothing is known to have been kept, and the same rows may be tried again.
    fn deliver(
        &mut self,
        rows: &[Landed],
    ) -> impl Future<Output = Result<Delivery, SinkError>> + Send;

    /// Asks whether the sink is there, as cheaply as that can be known.
    ///
    /// # Errors
    /// It is not.
    fn check(&mut self) -> impl Future<Output = Result<(), SinkError>> + Send;

    /// Removes a bounded part of what the sink keeps no longer at `now`, in milliseconds since 1970,
    /// and returns how many predictions that were.
    ///
    /// # Errors
    /// Nothing is known to have been removed.
    fn prune(&mut self, now: i64) -> impl Future<Output = Result<u64, SinkError>> + Send {
        // A sink that keeps its own house has nothing to remove for us.
        let _ = now;
        std::future::ready(Ok(0))
    }
}

/// All rows are kept but these.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Delivery {
    /// Rows that will never be taken, by their place in what was handed over.
    pub(crate) refused: Vec<RefusedRow>,
}

/// A row that a sink will not take however often it is tried.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RefusedRow {
    /// Its place in what was handed over.
    pub(crate) index: usize,
    /// Why.
    pub(crate) reason: String,
}

/// Why a sink did not take what it was handed; it may be handed the same again.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct SinkError {
    /// What failed, without a password.
    pub(crate) reason: Arc<str>,
    /// When the sink wants to be tried again, if it said so.
    pub(crate) retry_after: Option<Duration>,
}

// === impl SinkError ===

impl SinkError {
    pub(crate) fn new(reason: impl Into<Arc<str>>) -> Self {
        Self {
            reason: reason.into(),
            retry_after: None,
        }
    }
}
