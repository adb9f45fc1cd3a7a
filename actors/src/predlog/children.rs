//! The actors of the log, put together from its configuration.

use std::sync::Arc;

use impetus_supervision::{ChildSpec, Clock};

use super::config::PredictionLogConfig;
use super::log::PredictionLog;
use crate::db_writer;

/// Returns the child specs of all actors of the log, in the order in which they are to be started,
/// and the handle to it. `clock` is the system's.
///
/// ```
/// # use std::sync::Arc;
/// # use impetus_actors::predlog::{self, PredictionLogConfig};
/// # use impetus_supervision::{SupervisorSpec, SystemClock};
/// let config = PredictionLogConfig::in_folder("/data");
/// let (children, log) = predlog::children(config, Arc::new(SystemClock::new()));
/// let root = children.into_iter().fold(SupervisorSpec::new("root"), SupervisorSpec::child);
/// assert!(!log.status().snapshot().connected, "nothing has been started");
/// ```
pub fn children(
    config: PredictionLogConfig,
    clock: Arc<dyn Clock>,
) -> (Vec<ChildSpec>, PredictionLog) {
    let (writer, log) = db_writer::child(config, clock);
    (vec![writer], log)
}
