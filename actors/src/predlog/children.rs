//! Everything alive in the prediction log.

use std::sync::Arc;

use impetus_supervision::{ChildSpec, Clock};

use super::config::{PredictionLogConfig, SinkSettings, SinkTarget};
use super::impetus_sink::ImpetusSink;
use super::log::PredictionLog;
use super::postgres::PostgresSink;
use crate::{db_writer, drift_watch, forwarder};

/// Returns the child specs of the log's actors, in the order in which they start, and the handle to
/// it. `clock` is the system's.
///
/// ```
/// # use std::sync::Arc;
/// # use impetus_actors::predlog::{self, PredictionLogConfig};
/// # use impetus_supervision::{SupervisorSpec, SystemClock};
/// let config = PredictionLogConfig::in_folder("/data");
/// let (children, log) = predlog::children(config, Arc::new(SystemClock::new()));
/// let root = SupervisorSpec::new("root");
/// let root = children.into_iter().fold(root, SupervisorSpec::child);
/// assert!(!log.status().snapshot().connected, "nothing has been started");
/// ```
pub fn children(
    config: PredictionLogConfig,
    clock: Arc<dyn Clock>,
) -> (Vec<ChildSpec>, PredictionLog) {
    let (drift, sink) = (config.drift, config.sink.clone());
    let (writer, log) = db_writer::child(config.clone(), Arc::clone(&clock));
    let mut children = vec![writer];
    if let Some(settings) = sink {
        children.push(forwarder(&config, settings, &log, clock));
    }
    if let Some(settings) = drift {
        let (reader, status) = (Arc::clone(log.reader()), Arc::clone(log.status()));
        children.push(drift_watch::child(settings, reader, status));
    }
    (children, log)
}

fn forwarder(
    config: &PredictionLogConfig,
    sink: SinkSettings,
    log: &PredictionLog,
    clock: Arc<dyn Clock>,
) -> ChildSpec {
    let within = sink.within;
    let shared = log.to_forward(config, sink.clone());
    match sink.target {
        SinkTarget::Postgres(settings) => {
            let config = config.clone();
            forwarder::child(shared, move || {
                PostgresSink::new(&config, &settings, within, Arc::clone(&clock))
            })
        }
        SinkTarget::Impetus(settings) => {
            forwarder::child(shared, move || ImpetusSink::new(&settings, within))
        }
    }
}
