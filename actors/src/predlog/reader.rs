//! Reading beside the writer.
//!
//! The write-ahead log lets any number of readers look at a state of the database while it is
//! written, so they have connections of their own, read-only and few. A reading has a deadline
//! from its first step, the wait for a connection included, and one that nobody waits for any
//! more is stopped inside SQLite, so that a long scan cannot hold a connection for its own sake.
//!
//! The writer replaces the connections whenever it opens the database, so that no reader goes on
//! with a file that is no longer the one in the folder, and whenever it fails to, because it may be
//! they that keep it from writing.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::TryStreamExt;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteRow};
use sqlx::{
    Acquire, ConnectOptions, Decode, QueryBuilder, Row as _, Sqlite, SqliteConnection, SqlitePool,
    Type,
};
use tokio::time::timeout;

use super::config::{DriftSettings, PredictionLogConfig};
use super::counts::Counts;
use super::drift::{DriftByModel, Share, Slots, compare};
use super::error::ReadError;
use super::key::PredictionKey;
use super::latency::LatencyBucket;
use super::page::{PageRow, logged};
use super::prediction_time::PredictionTime;
use super::query::{Cursor, Page, Query, Stats};
use super::row::{Landed, Row};

/// Reads pages and counts; shared by everybody who reads.
#[derive(Debug)]
pub(crate) struct Reader {
    pool: ArcSwapOption<SqlitePool>,
    within: Duration,
    page_bytes: usize,
}

/// A connection whose running query stops when this is dropped.
struct ReadConnection {
    connection: PoolConnection<Sqlite>,
    _stop_when_dropped: StopFlag,
}

/// Set when whoever asked is gone.
struct StopFlag(Arc<AtomicBool>);

// === impl Reader ===

impl Reader {
    /// SQLite's steps between two looks at the stop flag: some hundred microseconds.
    const STEPS_BETWEEN_LOOKS: i32 = 10_000;

    pub(crate) fn new(config: &PredictionLogConfig) -> Self {
        Self {
            pool: ArcSwapOption::empty(),
            within: config.read_within,
            page_bytes: config.page_bytes,
        }
    }

    /// Reads from the database as it is in the folder now; connections are made when needed.
    pub(crate) fn reopen(&self, config: &PredictionLogConfig) {
        let options = SqliteConnectOptions::new()
            .filename(config.file())
            .read_only(true)
            .busy_timeout(config.read_within)
            .thread_name(|_| "predlog-read".into())
            .disable_statement_logging();
        // No idle time and no lifetime: either would start a task that belongs to the runtime of
        // the writer's present incarnation.
        let pool = SqlitePoolOptions::new()
            .max_connections(config.readers.max(1))
            .acquire_timeout(config.read_within)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options);
        self.pool.store(Some(Arc::new(pool)));
    }

    /// Closes every connection, so that the next ones have nothing in common with them, and waits
    /// for that no longer than `within`.
    ///
    /// Connections of one process to one file share SQLite's index of the write-ahead log. One that
    /// was opened while the file could only be read makes it read-only for all that come after, the
    /// writer's included, until the last of them is closed.
    pub(crate) async fn renew(&self, config: &PredictionLogConfig, within: Duration) {
        if let Some(pool) = self.pool.swap(None) {
            // One that hangs is left to itself: nobody takes a new reading to it.
            let _in_time = timeout(within, pool.close()).await;
            self.reopen(config);
        }
    }

    /// Returns one page of predictions.
    pub(crate) async fn predictions(&self, query: &Query) -> Result<Page, ReadError> {
        let limit = query.checked_limit()?;
        let cursor = query.checked_cursor()?;
        self.bounded(async {
            let mut reading = self.connection().await?;
            let mut select = select_page(query, cursor, limit);
            let mut rows = pin!(
                select
                    .build_query_as::<PageRow>()
                    .fetch(&mut *reading.connection)
            );
            let mut page = Page {
                predictions: Vec::new(),
                next_cursor: None,
            };
            let mut last = None;
            let mut bytes = 0;
            while let Some(row) = rows.try_next().await? {
                if page.predictions.len() == limit as usize || bytes > self.page_bytes {
                    page.next_cursor = last.map(|cursor: Cursor| cursor.to_string());
                    break;
                }
                last = Some(Cursor {
                    taken_at: row.2,
                    seq: row.0,
                });
                bytes += row.4.len();
                page.predictions.push(logged(row)?);
            }
            Ok(page)
        })
        .await
    }

    /// Returns what has been counted.
    pub(crate) async fn stats(&self) -> Result<Stats, ReadError> {
        self.bounded(async {
            let mut reading = self.connection().await?;
            // One state of the database for all of the counts.
            let mut snapshot = reading.connection.begin().await?;
            counts(&mut snapshot).await
        })
        .await
    }

    /// Returns up to `limit` rows after `seq`, the oldest first, to be forwarded.
    pub(crate) async fn landed(&self, seq: i64, limit: usize) -> Result<Vec<Landed>, ReadError> {
        self.bounded(async {
            let mut reading = self.connection().await?;
            let rows = sqlx::query(
                "SELECT seq, created_at, key, named, edge_device_id, model_name, model_version, \
                 taken_at, defect_detected, latency, class, confidence, body FROM predictions \
                 WHERE seq > ? ORDER BY seq LIMIT ?",
            )
            .bind(seq)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&mut *reading.connection)
            .await?;
            rows.iter().map(landed).collect()
        })
        .await
    }

    /// Returns how far each model's answers have moved by `now`.
    pub(crate) async fn drift(
        &self,
        settings: &DriftSettings,
        now: PredictionTime,
    ) -> Result<DriftByModel, ReadError> {
        let slots = Slots::at(now.unix_millis(), settings);
        self.bounded(async {
            let mut reading = self.connection().await?;
            // One state of the database for both.
            let mut snapshot = reading.connection.begin().await?;
            let classes = shares(&mut snapshot, CLASSES, slots).await?;
            let confidences = shares(&mut snapshot, CONFIDENCES, slots).await?;
            let least = settings.min_predictions;
            Ok(compare(classes, confidences, least, now))
        })
        .await
    }

    /// Returns how long a reading may take.
    pub(crate) fn within(&self) -> Duration {
        self.within
    }

    async fn bounded<T>(
        &self,
        reading: impl Future<Output = Result<T, ReadError>>,
    ) -> Result<T, ReadError> {
        timeout(self.within, reading).await.unwrap_or_else(|_| {
            Err(ReadError::unavailable(format_args!(
                "no answer within {:?}",
                self.within
            )))
        })
    }

    async fn connection(&self) -> Result<ReadConnection, ReadError> {
        let pool = self.pool.load_full();
        let pool = pool.ok_or_else(|| ReadError::unavailable("it has not been opened yet"))?;
        let mut connection = pool.acquire().await?;
        let stop = Arc::new(AtomicBool::new(false));
        let stop_when_dropped = StopFlag(Arc::clone(&stop));
        let goes_on = move || !stop.load(Ordering::Relaxed);
        connection
            .lock_handle()
            .await?
            .set_progress_handler(Self::STEPS_BETWEEN_LOOKS, goes_on);
        Ok(ReadConnection {
            connection,
            _stop_when_dropped: stop_when_dropped,
        })
    }
}

impl Drop for StopFlag {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Returns the statement for a page. It names its index: a range of time makes the others look as
/// good to SQLite, and the one that it picked read all of a device's predictions in that range.
fn select_page(query: &Query, cursor: Option<Cursor>, limit: u32) -> QueryBuilder<Sqlite> {
    let mut select = QueryBuilder::new(
        "SELECT seq, edge_device_id, taken_at, created_at, body FROM predictions INDEXED BY ",
    );
    select.push(index(query)).push(" WHERE true");
    if let Some(device) = &query.edge_device_id {
        select
            .push(" AND edge_device_id = ")
            .push_bind(device.clone());
    }
    if let Some(model) = &query.model {
        select.push(" AND model_name = ").push_bind(model.clone());
    }
    if query.defect_only {
        select.push(" AND defect_detected = 1");
    }
    if let Some(from) = query.from {
        select
            .push(" AND taken_at >= ")
            .push_bind(from.unix_millis());
    }
    // One bound above, the lower one: of two SQLite may go by the higher and read its way down.
    let to = query.to.map(|to| to.unix_millis());
    let cursor = cursor.filter(|cursor| to.is_none_or(|to| cursor.taken_at < to));
    if let Some(to) = to.filter(|_| cursor.is_none()) {
        select.push(" AND taken_at < ").push_bind(to);
    }
    if let Some(cursor) = cursor {
        select
            .push(" AND (taken_at, seq) < (")
            .push_bind(cursor.taken_at);
        select.push(", ").push_bind(cursor.seq).push(")");
    }
    // One more than asked for tells whether there is a next page.
    select
        .push(" ORDER BY taken_at DESC, seq DESC LIMIT ")
        .push_bind(i64::from(limit) + 1);
    select
}

/// Returns the index of a set of filters, which has them and then the time.
fn index(query: &Query) -> &'static str {
    let has = (&query.edge_device_id, &query.model, query.defect_only);
    match has {
        (None, None, false) => "predictions_by_time",
        (Some(_), None, false) => "predictions_by_device",
        (None, Some(_), false) => "predictions_by_model",
        (Some(_), Some(_), false) => "predictions_by_device_and_model",
        (None, None, true) => "predictions_with_defect",
        (Some(_), None, true) => "predictions_with_defect_by_device",
        (None, Some(_), true) => "predictions_with_defect_by_model",
        (Some(_), Some(_), true) => "predictions_with_defect_by_device_and_model",
    }
}

async fn counts(connection: &mut SqliteConnection) -> Result<Stats, ReadError> {
    let latencies: Vec<(String, i64, i64)> =
        sqlx::query_as("SELECT model_name, latency, total FROM rollup_latencies")
            .fetch_all(&mut *connection)
            .await?;
    let models: Vec<(String, i64, i64)> =
        sqlx::query_as("SELECT model_name, total, defects FROM rollup_models")
            .fetch_all(&mut *connection)
            .await?;
    let devices: Vec<(String, i64, i64)> =
        sqlx::query_as("SELECT edge_device_id, total, defects FROM rollup_devices")
            .fetch_all(&mut *connection)
            .await?;
    let hours: Vec<(i64, i64, i64)> =
        sqlx::query_as("SELECT hour, total, defects FROM rollup_hours ORDER BY hour DESC LIMIT ?")
            .bind(i64::try_from(Stats::MAX_HOURS).unwrap_or(i64::MAX))
            .fetch_all(&mut *connection)
            .await?;
    let span: (Option<i64>, Option<i64>) = sqlx::query_as(
        "SELECT (SELECT min(taken_at) FROM predictions), (SELECT max(taken_at) FROM predictions)",
    )
    .fetch_one(&mut *connection)
    .await?;
    Ok(Counts {
        latencies,
        models,
        devices,
        hours,
        span,
    }
    .into())
}

const CLASSES: &str = "SELECT model_name, slot > ?, class, sum(total) FROM drift_classes \
     WHERE slot > ? AND slot <= ? GROUP BY 1, 2, 3";
const CONFIDENCES: &str = "SELECT model_name, slot > ?, confidence, sum(total) FROM drift_confidences \
     WHERE slot > ? AND slot <= ? GROUP BY 1, 2, 3";

/// Reads the groups of what is compared.
async fn shares<G>(
    connection: &mut SqliteConnection,
    sql: &'static str,
    slots: Slots,
) -> Result<Vec<Share<G>>, ReadError>
where
    G: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + Send + Unpin,
{
    let rows: Vec<(String, bool, G, i64)> = sqlx::query_as(sql)
        .bind(slots.boundary)
        .bind(slots.after)
        .bind(slots.through)
        .fetch_all(connection)
        .await?;
    let share = |(model, is_recent, group, total)| Share {
        model,
        is_recent,
        group,
        total,
    };
    Ok(rows.into_iter().map(share).collect())
}

fn landed(row: &SqliteRow) -> Result<Landed, ReadError> {
    let key: &[u8] = row.try_get("key")?;
    let text = |column: &str| row.try_get::<&str, _>(column).map(Arc::<str>::from);
    Ok(Landed {
        seq: row.try_get("seq")?,
        created_at: row.try_get("created_at")?,
        row: Row {
            key: key
                .try_into()
                .map(PredictionKey::from_bytes)
                .map_err(|_| ReadError::unavailable("a key is damaged"))?,
            named: row.try_get("named")?,
            device: text("edge_device_id")?,
            model_name: text("model_name")?,
            model_version: text("model_version")?,
            taken_at: row.try_get("taken_at")?,
            defect_detected: row.try_get("defect_detected")?,
            latency: LatencyBucket::from_number(row.try_get("latency")?),
            class: row
                .try_get::<Option<&str>, _>("class")?
                .map(Arc::<str>::from),
            confidence: row.try_get("confidence")?,
            body: text("body")?,
        },
    })
}

#[cfg(test)]
mod tests;
