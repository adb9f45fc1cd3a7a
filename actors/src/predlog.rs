//! The prediction log: every prediction in a local file, and nothing acknowledged that is not.
//!
//! A prediction that is lost is a defect that nobody looks at, so the log promises little and
//! keeps it: an [`Ack`] means that the batch is in the SQLite file and the file is synced
//! (write-ahead log, `synchronous=FULL`). Many batches share one sync: the writer takes into a
//! transaction whatever has queued while the one before it was on its way to the disk, so load
//! makes transactions larger instead of more.
//!
//! - [`LogBatch`] is a request that has been read and found good, whole or not at all.
//! - [`PredictionLog`] is the handle: log a batch, read pages and counts, look at the status.
//! - The [writer](crate::db_writer) is the actor behind it, the only one that writes.
//!
//! **Invariants:** a replay makes no second row and gets the same answer, because the key of a row
//! is made from the prediction and not from its arrival. Nobody waits for the disk without a
//! deadline. A database that is locked, full, damaged, gone or silent is a
//! [state](DatabaseState) with a reason; it ends no actor, and the rest of the server goes on.

mod address;
mod batch;
mod buffer;
mod children;
mod config;
mod counts;
mod disk;
mod drift;
mod error;
mod impetus_sink;
mod key;
mod latency;
mod log;
mod migrations;
mod page;
mod postgres;
mod prediction;
mod prediction_time;
mod query;
mod reader;
mod records;
pub(crate) mod retention;
mod rollups;
mod row;
pub(crate) mod sink;
mod sink_status;
mod status;
mod store;
#[cfg(test)]
mod testing;

pub use batch::{BatchError, FieldProblem, LogBatch, Provenance};
pub use children::children;
pub use config::{
    DriftSettings, ImpetusSettings, PostgresSettings, PredictionLogConfig, Retention, SinkSettings,
    SinkTarget,
};
pub use drift::{Drift, DriftByModel};
pub use error::{LogError, ReadError};
pub use key::PredictionKey;
pub use latency::Quantiles;
pub use log::{Ack, NotFlushed, PredictionLog};
pub use prediction::{
    ConfidenceScores, Detection, Finite, InvalidLabel, Label, NotFinite, Prediction,
};
pub use prediction_time::{InvalidPredictionTime, PredictionTime};
pub use query::{
    GroupStats, HourStats, LoggedPrediction, ModelStats, Page, Query, Stats, StatsErrors,
};
pub use row::Row;
pub use sink_status::{SinkSnapshot, SinkState, SinkStatus};
pub use status::{DatabaseState, LogSnapshot, PredictionLogStatus, SetAside};

pub(crate) use buffer::Buffer;
pub(crate) use disk::{FileIdentity, ThreadBudget, set_aside};
pub(crate) use error::StoreError;
pub(crate) use log::{Handles, RoomTaken};
pub(crate) use postgres::PostgresReader;
pub(crate) use reader::Reader;
pub(crate) use records::Records;
pub(crate) use row::Landed;
pub(crate) use sink::{Delivery, Sink, SinkError};
pub(crate) use store::Store;
