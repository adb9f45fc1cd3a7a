//! The serving path: from a request that was admitted to an answer.
//!
//! A request goes from the edge through the [`Catalog`] (a snapshot table) into the bounded
//! [queue](queue) of one [`ServedModel`], from there in a batch over the link of a worker, and its
//! answer comes back through a oneshot channel. No mailbox lies on that way: actors decide about
//! the life of workers, tasks carry requests.
//!
//! **Invariant:** whatever was sent to a worker is in the model's [ledger](ledger) until it is
//! answered. The ledger outlives links, actors and processes, so the loss of any of them loses no
//! request: it is sent once more, alone, and only a bounded number of times. One that then takes its
//! worker with it by what it does is [quarantined](quarantine).

pub mod answered;
pub mod batching;
pub mod budget;
pub mod catalog;
pub mod description;
mod dispatch;
pub mod error;
mod forensics;
pub mod generation;
pub mod host;
pub mod job;
mod ledger;
pub mod loss;
pub mod memory;
pub mod model;
mod occupancy;
pub(crate) mod opening;
pub mod protocol;
pub mod quarantine;
mod queue;
pub mod rejection;
pub mod restart;
pub mod route;
pub mod share;
pub mod signature;
pub mod state;
#[cfg(test)]
pub(crate) mod testing;
pub mod worker;

pub use answered::{AnswerClass, AnswerTimes};
pub use batching::{BatchDefaults, BatchPolicy};
pub use catalog::{Catalog, ModelEntry};
pub use error::{Fault, ServeError};
pub use generation::{
    FinishReason, GenerateRequest, GenerationLimits, GenerationSnapshot, StreamEvent, TokenStream,
};
pub use host::{HostedWorker, WorkerHost};
pub use job::{Inference, Request};
pub use model::{
    BatchStatistics, Commons, ComputeTimes, InferenceTimesSnapshot, ModelKind, ModelSpec,
    ModelStatistics, ServedModel, ServingLimits, Timed,
};
pub use protocol::{Priority, Protocol};
pub use rejection::Rejection;
pub use restart::RestartReason;
pub use route::Route;
pub use share::FairShare;
pub use state::{ModelState, ModelStatus, Standing, WorkerState};
pub use worker::{ModelWorker, WorkerSettings};
