//! PostgreSQL as a sink.
//!
//! A batch is one transaction, and what has been committed is durable: the session waits for the
//! server's disk. What comes again after an error, an answer that was lost or a deadline is found by
//! its key, so each prediction is there once, whoever delivered it how often.
//!
//! Any number of programs may deliver to one database. The order in which they take locks is the
//! same for all of them: [partitions], keys, rows, [counts](rollups).
//!
//! **Invariants:** a connection is used again only when its last transaction has come to its end
//! before our eyes; one that failed or was interrupted is closed. A row that PostgreSQL cannot store
//! is refused alone: it is found by halving the batch.

mod connections;
mod failure;
mod insert;
mod migrations;
mod partitions;
mod reader;
mod retention;
mod rollups;
mod server;
mod values;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use impetus_supervision::Clock;
use sqlx::PgConnection;
use tracing::warn;

use self::failure::{Failure, is_about_waiting};
use self::partitions::{Partitions, Window};
pub(crate) use self::reader::PostgresReader;
use self::retention::Keep;
use self::server::{Purpose, Server};
use self::values::Day;
use super::config::{DriftSettings, PostgresSettings, PredictionLogConfig, Retention};
use super::prediction_time::PredictionTime;
use super::row::Landed;
use super::sink::{Delivery, RefusedRow, Sink, SinkError};

/// A database that keeps predictions; connects when it is first needed.
pub(crate) struct PostgresSink {
    server: Server,
    clock: Arc<dyn Clock>,
    /// The most rows of one transaction.
    rows: usize,
    retention: Retention,
    drift: Option<DriftSettings>,
    /// Absent while it is in use, and after a failure.
    connection: Option<PgConnection>,
    partitions: Partitions,
}

/// Predictions older than that get no partition of their day when they are kept for ever.
const OLDEST_PARTITION: Duration = Duration::from_secs(400 * 86_400);

/// Those of so many days ahead do.
const DAYS_AHEAD: i32 = 2;

/// The most bytes of predictions in one transaction.
const BYTES_AT_ONCE: usize = 16 << 20;

// === impl PostgresSink ===

impl PostgresSink {
    /// Returns a sink to the database of `settings`; each step of it takes no longer than `within`.
    pub(crate) fn new(
        config: &PredictionLogConfig,
        settings: &PostgresSettings,
        within: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            server: Server::new(settings, within),
            clock,
            rows: settings.rows.clamp(1, insert::MOST_ROWS),
            retention: config.retention,
            drift: config.drift,
            connection: None,
            partitions: Partitions::default(),
        }
    }

    /// Writes rows in one transaction.
    async fn write(&mut self, rows: &[Landed]) -> Result<(), Failure> {
        let mut connection = self.take_connection().await?;
        let days: BTreeSet<Day> = rows.iter().map(|it| Day::of(it.row.taken_at)).collect();
        let window = self.window(self.now());
        self.partitions
            .make(&mut connection, days, window)
            .await
            .map_err(|error| self.server.name.error("making partitions", &error))?;
        match insert::write(&mut connection, rows, self.drift.is_some()).await {
            Ok(()) => {
                self.connection = Some(connection);
                Ok(())
            }
            Err(error) => {
                let failure = self.server.name.failure("writing", &error);
                if matches!(failure, Failure::Row(_)) {
                    // The driver rolls back before the next statement.
                    self.connection = Some(connection);
                }
                Err(failure)
            }
        }
    }

    async fn take_connection(&mut self) -> Result<PgConnection, SinkError> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        self.partitions = Partitions::default();
        let mut connection = self.server.connect(Purpose::Write).await?;
        migrations::run(&mut connection, &self.server.name).await?;
        self.partitions
            .look(&mut connection)
            .await
            .map_err(|error| self.server.name.error("looking for partitions", &error))?;
        Ok(connection)
    }

    /// Returns the days that may have partitions at `now`.
    fn window(&self, now: i64) -> Window {
        let keep_for = self.retention.keep_for.unwrap_or(OLDEST_PARTITION);
        let keep_for = i64::try_from(keep_for.as_millis()).unwrap_or(i64::MAX);
        Window {
            first: Day::of(now.saturating_sub(keep_for)),
            last: Day::of(now).plus(DAYS_AHEAD),
        }
    }

    fn now(&self) -> i64 {
        PredictionTime::from(self.clock.wall()).unix_millis()
    }
}

impl Sink for PostgresSink {
    async fn deliver(&mut self, rows: &[Landed]) -> Result<Delivery, SinkError> {
        let mut delivery = Delivery::default();
        let mut left = pieces(rows, self.rows);
        while let Some(piece) = left.pop() {
            match self.write(&rows[piece.clone()]).await {
                Ok(()) => {}
                Err(Failure::Row(reason)) if piece.len() <= 1 => {
                    delivery.refused.push(RefusedRow {
                        index: piece.start,
                        reason,
                    });
                }
                Err(Failure::Row(_)) => {
                    let middle = piece.start + piece.len() / 2;
                    left.push(middle..piece.end);
                    left.push(piece.start..middle);
                }
                Err(Failure::Sink(error)) => return Err(error),
            }
        }
        Ok(delivery)
    }

    async fn check(&mut self) -> Result<(), SinkError> {
        let mut connection = self.take_connection().await?;
        sqlx::query("SELECT removed_through FROM prediction_retention")
            .execute(&mut connection)
            .await
            .map_err(|error| self.server.name.error("checking", &error))?;
        self.connection = Some(connection);
        Ok(())
    }

    async fn prune(&mut self, now: i64) -> Result<u64, SinkError> {
        let mut connection = self.take_connection().await?;
        let keep = Keep {
            retention: self.retention,
            drift: self.drift,
            now,
        };
        let failed = |error| self.server.name.error("removing", &error);
        let removed = match keep.prune(&mut connection, &mut self.partitions).await {
            // Somebody reads for long; the next time will do.
            Err(error) if is_about_waiting(&error) => {
                warn!(%error, "predictions that are kept no longer not removed for now");
                0
            }
            removed => removed.map_err(failed)?,
        };
        // Made ahead, so that no row of a new day waits for it.
        let window = self.window(now);
        let ahead = (0..=DAYS_AHEAD).map(|days| Day::of(now).plus(days));
        self.partitions
            .make(&mut connection, ahead.collect(), window)
            .await
            .map_err(failed)?;
        self.connection = Some(connection);
        Ok(removed)
    }
}

impl fmt::Debug for PostgresSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSink")
            .field("server", &self.server.name)
            .field("connected", &self.connection.is_some())
            .finish_non_exhaustive()
    }
}

/// Parts rows into what goes into one transaction each, the first piece last.
fn pieces(rows: &[Landed], most: usize) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, landed) in rows.iter().enumerate() {
        let length = landed.row.body.len();
        if index > start && (index - start >= most || bytes + length > BYTES_AT_ONCE) {
            pieces.push(start..index);
            (start, bytes) = (index, 0);
        }
        bytes += length;
    }
    if start < rows.len() {
        pieces.push(start..rows.len());
    }
    pieces.reverse();
    pieces
}

#[cfg(test)]
#[path = "../../tests/postgres_server/server.rs"]
mod test_server;
#[cfg(test)]
mod tests;
