//! How long answers took, by how they ended.
//!
//! The edge knows status codes and the model's place in the catalog does not; what both need is whether an
//! answer was good, the client's fault or the server's. The times of a model are kept with the
//! model, so that they are found without looking anything up and are gone when it is.

use std::time::Duration;

use crate::histogram::{Histogram, HistogramSnapshot};

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerClass {
    /// It was what the client asked for.
    Success,
    /// The client was at fault, or went before it came.
    ClientFault,
    /// The server was at fault.
    ServerFault,
}

/// How long answers took.
#[derive(Debug, Default)]
pub struct AnswerTimes([Histogram; AnswerClass::ALL.len()]);

// === impl AnswerClass ===

impl AnswerClass {
    /// Every class, in its order.
    pub const ALL: [Self; 3] = [Self::Success, Self::ClientFault, Self::ServerFault];
}

// === impl AnswerTimes ===

impl AnswerTimes {
    /// Counts an answer.
    pub fn record(&self, class: AnswerClass, took: Duration) {
        self.0[class as usize].record(took);
    }

    /// Tells whether there has been none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|times| times.snapshot().count() == 0)
    }

    /// Returns how long the answers of one class took.
    #[must_use]
    pub fn of(&self, class: AnswerClass) -> HistogramSnapshot {
        self.0[class as usize].snapshot()
    }
}
