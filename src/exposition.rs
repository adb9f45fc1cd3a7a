//! What Prometheus scrapes, made anew at each scrape from the same snapshots health reads.
//!
//! Nothing is registered globally and no label outlives what it names: a model that is gone is
//! gone from the next scrape. Each module here is one subject; it holds the descriptions of its
//! metrics ([`descriptor`]) and reads their values. Descriptions are what a value is exposed with,
//! and what the [reference page](reference()) is made from, so the two cannot differ.
//!
//! **Invariant:** no label's value comes from a client. What a client sends (paths, methods, names
//! of models, versions, ids) is at most counted under a fixed word; all other values are words of
//! the code, models that are there, and actors that look after them. So the number of series is
//! bounded by what is configured, whatever is sent.
//!
//! **How it fails.** A figure that is not known is left out and not made up. Reading waits for
//! nobody: actors, models and disks have left what there is to read.

mod actors;
mod descriptor;
mod families;
mod generation;
mod grpc;
mod health;
mod inferences;
mod models;
mod openmetrics;
mod predlog;
mod process;
mod reference;
mod requests;
mod resources;
mod sources;
#[cfg(test)]
pub(crate) mod tests;
mod vllm;
mod workers;

use descriptor::Subject;
use families::Families;

pub use reference::{names, reference};

use crate::http::AppState;

/// The text formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' own, version 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

/// Every subject, in the order of the text.
static SUBJECTS: [&Subject; 13] = [
    &health::SUBJECT,
    &requests::SUBJECT,
    &grpc::SUBJECT,
    &models::SUBJECT,
    &inferences::SUBJECT,
    &generation::SUBJECT,
    &vllm::SUBJECT,
    &workers::SUBJECT,
    &sources::SUBJECT,
    &actors::SUBJECT,
    &predlog::SUBJECT,
    &resources::SUBJECT,
    &process::SUBJECT,
];

// === impl Format ===

impl Format {
    /// Chooses by the `Accept` header: OpenMetrics when it is asked for.
    #[must_use]
    pub fn accepted(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.contains("application/openmetrics-text") => Self::OpenMetrics,
            _ => Self::Text,
        }
    }

    /// Returns the content type of the answer.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Makes the text of a scrape.
///
/// # Errors
/// A metric is malformed, which its name or labels being constant rules out; it is an error all
/// the same and not a panic, because a scrape must never end the server.
pub fn scrape(state: &AppState, format: Format) -> prometheus::Result<String> {
    let facts = state.plane.facts();
    let mut families = Families::new(format);
    health::expose(state, &facts, &mut families);
    requests::expose(state, &mut families);
    grpc::expose(state, &mut families);
    models::expose(state, &facts, &mut families);
    if state.role().infers() {
        inferences::expose(state, &mut families);
        generation::expose(state, &mut families);
        workers::expose(state, &facts, &mut families);
        sources::expose(state, &mut families);
    }
    actors::expose(state, &mut families);
    predlog::expose(state, &mut families);
    resources::expose(state, &mut families);
    process::expose(facts.now, &mut families);
    families.finish()
}
