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

use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::TryStreamExt;
use serde_json::{Map, Value, json};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{ConnectOptions, QueryBuilder, Sqlite, SqlitePool};
use tokio::time::timeout;

use super::config::PredictionLogConfig;
use super::error::ReadError;
use super::prediction_time::PredictionTime;
use super::query::{Cursor, GroupStats, Page, Query, Stats};

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

/// One row of a page: number, device, time, time of the commit, JSON.
type PageRow = (i64, String, i64, i64, String);

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

    /// Counts everything.
    pub(crate) async fn stats(&self) -> Result<Stats, ReadError> {
        self.bounded(async {
            let mut reading = self.connection().await?;
            let groups = sqlx::query_as::<_, (String, String, i64, i64, i64, i64)>(
                "SELECT model_name, edge_device_id, count(*), sum(defect_detected), \
                 min(taken_at), max(taken_at) FROM predictions GROUP BY 1, 2",
            );
            let mut groups = pin!(groups.fetch(&mut *reading.connection));
            let mut stats = Stats::default();
            let mut all = GroupStats::default();
            let (mut models, mut devices) = (HashMap::new(), HashMap::new());
            let mut span: Option<(i64, i64)> = None;
            while let Some((model, device, total, defects, first, last)) = groups.try_next().await?
            {
                let group = GroupStats {
                    total: total.unsigned_abs(),
                    defects: defects.unsigned_abs(),
                };
                all.add(group);
                models
                    .entry(model)
                    .or_insert_with(GroupStats::default)
                    .add(group);
                devices
                    .entry(device)
                    .or_insert_with(GroupStats::default)
                    .add(group);
                let (earliest, latest) = span.unwrap_or((first, last));
                span = Some((earliest.min(first), latest.max(last)));
            }
            (stats.total, stats.defects) = (all.total, all.defects);
            if all.total > 0 {
                stats.defect_rate = all.defects as f64 / all.total as f64;
            }
            (stats.models, stats.by_model) = largest(models);
            (stats.devices, stats.by_device) = largest(devices);
            stats.first_timestamp =
                span.and_then(|(first, _)| PredictionTime::from_unix_millis(first));
            stats.last_timestamp =
                span.and_then(|(_, last)| PredictionTime::from_unix_millis(last));
            Ok(stats)
        })
        .await
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

fn select_page(query: &Query, cursor: Option<Cursor>, limit: u32) -> QueryBuilder<Sqlite> {
    let mut select = QueryBuilder::new(
        "SELECT seq, edge_device_id, taken_at, created_at, body FROM predictions WHERE true",
    );
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

/// Returns a prediction with every field of the contract, whatever its sender left out.
fn logged(
    (seq, device, taken_at, created_at, body): PageRow,
) -> Result<Map<String, Value>, ReadError> {
    let mut prediction: Map<String, Value> = serde_json::from_str(&body)
        .map_err(|error| ReadError::unavailable(format_args!("row {seq} is damaged: {error}")))?;
    for field in ["confidence_scores", "processing_notes"] {
        prediction.entry(field).or_insert(Value::Null);
    }
    for field in ["id", "image_id", "model_name", "model_version"] {
        if let Some(name @ Value::Number(_)) = prediction.get_mut(field) {
            *name = Value::String(name.to_string());
        }
    }
    for detection in detections(&mut prediction) {
        detection.entry("bbox").or_insert(Value::Null);
        detection.entry("uncertain").or_insert(json!(false));
    }
    let written = prediction.get("timestamp").and_then(Value::as_str);
    let taken = written.and_then(|text| PredictionTime::parse(text).ok());
    let taken = taken.or_else(|| PredictionTime::from_unix_millis(taken_at));
    prediction.insert("timestamp".into(), json!(taken));
    prediction.insert("edge_device_id".into(), Value::String(device));
    prediction.insert(
        "logged_at".into(),
        json!(PredictionTime::from_unix_millis(created_at)),
    );
    Ok(prediction)
}

fn detections(
    prediction: &mut Map<String, Value>,
) -> impl Iterator<Item = &mut Map<String, Value>> {
    let list = prediction
        .get_mut("detections")
        .and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Returns the number of groups, and the largest of them by name.
fn largest(groups: HashMap<String, GroupStats>) -> (usize, BTreeMap<String, GroupStats>) {
    let count = groups.len();
    let mut groups: Vec<_> = groups.into_iter().collect();
    if count > Stats::MAX_GROUPS {
        groups.sort_unstable_by(|(a, a_stats), (b, b_stats)| {
            b_stats.total.cmp(&a_stats.total).then_with(|| a.cmp(b))
        });
        groups.truncate(Stats::MAX_GROUPS);
    }
    (count, groups.into_iter().collect())
}

#[cfg(test)]
mod tests;
