//! The prediction log: what waits for it, what it has committed, where that goes, whether it can.

use std::time::UNIX_EPOCH;

use impetus_actors::db_writer::DB_WRITER;
use impetus_supervision::ActorId;

use super::descriptor::Kind::{Counter, Gauge, Histogram};
use super::descriptor::{Descriptor, Label, Present, Values, subject};
use super::families::{Families, Family, flag};
use crate::http::AppState;

const SERVICE: &[Label] = &[Label {
    name: "service",
    values: Values::Constant("`impetus` or `logging-service`, by the role"),
}];

const OF_DRIFT: &[Label] = &[
    Label {
        name: "model",
        values: Values::LoggedModel,
    },
    Label::words("of", || vec!["classes", "confidence"]),
];

subject! { "Prediction log";
    DEPTH = Descriptor::new("impetus_prediction_log_queue_depth", Gauge, "batches")
        .help("Batches that wait for the writer, its own checks included.")
        .of(Present::Logging);
    CAPACITY = Descriptor::new("impetus_prediction_log_queue_capacity", Gauge, "batches")
        .help("Batches that may wait for the writer; one more is refused.")
        .of(Present::Logging);
    COMMITS = Descriptor::new("impetus_prediction_log_commit_duration_seconds", Histogram, "seconds")
        .help("Time a transaction took that logged something, to the disk and back.")
        .of(Present::Logging);
    ROWS = Descriptor::new("impetus_prediction_log_rows_committed_total", Counter, "predictions")
        .help("Predictions that were made rows of; a replay makes none.")
        .of(Present::Logging);
    REFUSED = Descriptor::new("impetus_prediction_log_refused_total", Counter, "batches")
        .help("Batches refused untried: too many wait, or the database was known to be unavailable.")
        .of(Present::Logging);
    DROPPED = Descriptor::new("impetus_prediction_log_dropped_total", Counter, "predictions")
        .help("Predictions of this server that were answered and not logged: more than may were waiting.")
        .of(Present::Logging);
    LAST_COMMIT = Descriptor::new(
            "impetus_prediction_log_last_commit_timestamp_seconds", Gauge, "seconds since 1970",
        )
        .help("When something was last logged.")
        .of(Present::Logging)
        .except("before anything has been logged");
    UP = Descriptor::new("impetus_prediction_log_database_up", Gauge, "0 or 1")
        .help("1 while the database can be written, as of the last try.")
        .of(Present::Logging);
    SIZE = Descriptor::new("impetus_prediction_log_size_bytes", Gauge, "bytes")
        .help("What the database and its write-ahead log take on the disk, as of the last look.")
        .of(Present::Logging)
        .except("before the database has been opened");
    RECORDED = Descriptor::new("impetus_prediction_log_recorded", Gauge, "predictions")
        .help("Predictions that were answered and wait in memory to be committed.")
        .of(Present::Logging);
    RECORDED_LIMIT = Descriptor::new("impetus_prediction_log_recorded_limit", Gauge, "predictions")
        .help("How many may; further ones are not logged.")
        .of(Present::Logging);
    ROWS_HELD = Descriptor::new("impetus_prediction_log_rows", Gauge, "predictions")
        .help("Predictions in the file, as of the last look: all that are kept, or those that wait for their sink.")
        .of(Present::Logging);
    OLDEST = Descriptor::new("impetus_prediction_log_oldest_seconds", Gauge, "seconds")
        .help("How long the oldest prediction has been in the file, 0 when there is none.")
        .of(Present::Logging);
    FREE = Descriptor::new("impetus_prediction_log_disk_free_bytes", Gauge, "bytes")
        .help("Room on the disk of the file, as of the last look.")
        .of(Present::Logging)
        .except("where the file system does not count");
    PRUNED = Descriptor::new("impetus_prediction_log_pruned_total", Counter, "predictions")
        .help("Predictions removed because they are kept no longer.")
        .of(Present::Logging);
    SET_ASIDE = Descriptor::new("impetus_prediction_log_files_set_aside_total", Counter, "files")
        .help("Damaged files that were set aside and replaced by new ones.")
        .of(Present::Logging);
    SINK_UP = Descriptor::new("impetus_prediction_sink_up", Gauge, "0 or 1")
        .help("1 while the sink takes predictions, as of the last try.")
        .of(Present::Sink);
    BACKLOG_FULL = Descriptor::new("impetus_prediction_sink_backlog_full", Gauge, "0 or 1")
        .help("1 while as much waits for the sink as may (`sink.max_backlog`), and predictions are refused.")
        .of(Present::Sink);
    FORWARDED = Descriptor::new("impetus_prediction_sink_forwarded_total", Counter, "predictions")
        .help("Predictions that the sink has taken.")
        .of(Present::Sink);
    SINK_REFUSED = Descriptor::new("impetus_prediction_sink_refused_total", Counter, "predictions")
        .help("Predictions that the sink will never take; they are kept in the file, aside.")
        .of(Present::Sink);
    EXPIRED = Descriptor::new("impetus_prediction_sink_expired_total", Counter, "predictions")
        .help("Predictions given up because they waited longer than `sink.max_age`.")
        .of(Present::Sink);
    SINK_FAILURES = Descriptor::new("impetus_prediction_sink_failures_total", Counter, "attempts")
        .help("Attempts to reach the sink that failed.")
        .of(Present::Sink);
    DELIVERIES = Descriptor::new("impetus_prediction_sink_delivery_duration_seconds", Histogram, "seconds")
        .help("Time the sink took with a batch that it has taken.")
        .of(Present::Sink);
    DRIFT = Descriptor::new("impetus_prediction_drift_psi", Gauge, "index")
        .help("How far what a model says has moved from what it said before: population stability index of its classes and of its confidence. Up to 0.1 is no change to speak of, above 0.25 is much.")
        .labels(OF_DRIFT)
        .of(Present::Logging)
        .except("unless `drift.enabled`, and not for models with fewer than `drift.min_predictions`");
    LOGGING_INITIALIZED = Descriptor::new("logging_db_initialized", Gauge, "0 or 1")
        .help("1 once the schema of the prediction log stands.")
        .labels(SERVICE)
        .of(Present::LoggingService);
    LOGGING_PREDICTIONS = Descriptor::new("logging_predictions_total", Counter, "predictions")
        .help("Predictions committed.")
        .labels(SERVICE)
        .of(Present::LoggingService);
    LOGGING_DEFECTS = Descriptor::new("logging_defects_total", Counter, "predictions")
        .help("Committed predictions in which a defect was detected.")
        .labels(SERVICE)
        .of(Present::LoggingService);
    LOGGING_ERRORS = Descriptor::new("logging_errors_total", Counter, "batches")
        .help("Log requests that could not be committed.")
        .labels(SERVICE)
        .of(Present::LoggingService);
}

pub(super) fn expose(state: &AppState, out: &mut Families) {
    let Some(log) = &state.predlog else {
        return;
    };
    if let Some(board) = state.plane.sources().board.get() {
        let writer = board.get(&ActorId::from(DB_WRITER));
        if let Some(mailbox) = writer.and_then(|writer| writer.mailbox) {
            out.one(&DEPTH, mailbox.depth as f64);
            out.one(&CAPACITY, mailbox.capacity as f64);
        }
    }
    let status = log.status().snapshot();
    let mut commits = Family::new(&COMMITS);
    commits.histogram(&[], &log.status().commit_times());
    out.add(commits);
    out.one(&ROWS, status.predictions_logged as f64);
    out.one(&REFUSED, status.refused as f64);
    out.one(&DROPPED, status.dropped as f64);
    let last = log.status().last_commit();
    let last = last.and_then(|last| last.duration_since(UNIX_EPOCH).ok());
    out.known(&LAST_COMMIT, last.map(|last| last.as_secs_f64()));
    out.flag(&UP, status.connected);
    out.known(&SIZE, status.size_bytes.map(|bytes| bytes as f64));
    let (recorded, limit) = log.recorded();
    out.one(&RECORDED, recorded as f64);
    out.one(&RECORDED_LIMIT, limit as f64);
    let database = state.plane.database().unwrap_or_default();
    out.one(&ROWS_HELD, status.rows as f64);
    let oldest = database.oldest.unwrap_or_default();
    out.one(&OLDEST, oldest.as_secs_f64());
    out.known(&FREE, status.free_bytes.map(|bytes| bytes as f64));
    out.one(&PRUNED, status.pruned as f64);
    out.one(&SET_ASIDE, status.files_set_aside as f64);
    if let (Some(sink), Some(facts)) = (log.status().sink(), &database.sink) {
        out.flag(&SINK_UP, facts.connected);
        out.flag(&BACKLOG_FULL, facts.backlog_full);
        out.one(&FORWARDED, status.forwarded as f64);
        out.one(&SINK_REFUSED, status.refused_by_sink as f64);
        out.one(&EXPIRED, status.expired as f64);
        out.one(&SINK_FAILURES, sink.snapshot().failures as f64);
        let mut deliveries = Family::new(&DELIVERIES);
        deliveries.histogram(&[], &sink.delivery_times());
        out.add(deliveries);
    }
    if let Some(drift) = log.status().drift() {
        let mut family = Family::new(&DRIFT);
        for (model, drift) in &*drift {
            family.add(&[model, "classes"], drift.classes);
            family.add(&[model, "confidence"], drift.confidence);
        }
        out.add(family);
    }
    if !state.role().logs() {
        return;
    }
    let service = state.role().service();
    for (of, value) in [
        (&LOGGING_INITIALIZED, flag(status.db_initialized)),
        (&LOGGING_PREDICTIONS, status.predictions_logged as f64),
        (&LOGGING_DEFECTS, status.defects_detected as f64),
        (&LOGGING_ERRORS, status.errors as f64),
    ] {
        let mut family = Family::new(of);
        family.add(&[service], value);
        out.add(family);
    }
}
