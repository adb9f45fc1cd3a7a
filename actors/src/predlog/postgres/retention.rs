//! What is kept no longer.
//!
//! Days go whole: the partition is dropped and its share of the counts with it, which costs the same
//! whatever was in it. By age those go whose day ended that long ago; by size the oldest go until the
//! rest is small enough, but never today's. Rows that lie in no day's partition go by the time at
//! which they were logged, a piece at a time, once the days up to then have gone; the keys of
//! predictions with an id go after all rows that they may belong to.
//!
//! Everything is bounded: what is left over is done the next time. Several programs may do it at
//! once, each step looks again at what there is once it alone may change it.

use std::time::Duration;

use sqlx::PgConnection;

use super::super::config::{DriftSettings, Retention};
use super::partitions::{self, Partitions};
use super::rollups::{self, Changes, Counted};
use super::values::{Day, Instant};

/// What is kept, and at what time that is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    pub(super) retention: Retention,
    pub(super) drift: Option<DriftSettings>,
    /// In milliseconds since 1970.
    pub(super) now: i64,
}

/// The most partitions that go in one call.
const DAYS_AT_ONCE: usize = 8;

/// The most rows of one piece, and the most pieces of one call.
const ROWS_AT_ONCE: i64 = 5_000;
const PIECES_AT_ONCE: usize = 10;

/// What of a row that goes by itself is needed to take it out of the counts: its key, whether that is
/// made of an id, model, device, time, whether it is a defect, and latency.
type Leaving = (Vec<u8>, bool, String, String, Instant, bool, i16);

// === impl Keep ===

impl Keep {
    /// Removes a bounded part of what is kept no longer, and returns how many rows that were.
    pub(super) async fn prune(
        &self,
        connection: &mut PgConnection,
        partitions: &mut Partitions,
    ) -> Result<u64, sqlx::Error> {
        let mut rows = 0;
        let too_old = self.last_day_too_old();
        let there = partitions.look(connection).await?.clone();
        let expired = there.iter().filter(|day| Some(**day) <= too_old);
        let mut days_left = DAYS_AT_ONCE;
        for day in expired.copied().take(DAYS_AT_ONCE) {
            rows += drop_day(connection, day).await?;
            partitions.removed(day);
            days_left -= 1;
        }
        if let Some(bytes) = self.retention.keep_bytes {
            rows += self
                .prune_to(connection, partitions, bytes, days_left)
                .await?;
        }
        if let Some(day) = too_old {
            remember_if_none_is_left(connection, day).await?;
        }
        rows += prune_others(connection).await?;
        if let Some(drift) = &self.drift {
            rollups::forget_drift(connection, drift.oldest_slot(self.now)).await?;
        }
        Ok(rows)
    }

    /// Returns the last day that ended longer ago than is kept.
    fn last_day_too_old(&self) -> Option<Day> {
        let keep_for = self.retention.keep_for?;
        Some(Day::of(self.now.saturating_sub(millis(keep_for))).plus(-1))
    }

    /// Removes the oldest days while all of them take more than `bytes`.
    async fn prune_to(
        &self,
        connection: &mut PgConnection,
        partitions: &mut Partitions,
        bytes: u64,
        days: usize,
    ) -> Result<u64, sqlx::Error> {
        let mut rows = 0;
        for _ in 0..days {
            if size(connection).await? <= bytes {
                break;
            }
            let oldest = partitions.look(connection).await?.first().copied();
            let Some(day) = oldest.filter(|day| *day < Day::of(self.now)) else {
                break;
            };
            rows += drop_day(connection, day).await?;
            partitions.removed(day);
        }
        Ok(rows)
    }
}

/// Returns how many bytes all predictions take with their indices.
async fn size(connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let bytes: Option<i64> = sqlx::query_scalar(
        "SELECT sum(pg_total_relation_size(inhrelid))::bigint FROM pg_inherits \
         WHERE inhparent = 'predictions'::regclass",
    )
    .fetch_one(connection)
    .await?;
    Ok(bytes.unwrap_or_default().unsigned_abs())
}

/// Removes a day with its partition, and returns how many rows it had.
async fn drop_day(connection: &mut PgConnection, day: Day) -> Result<u64, sqlx::Error> {
    let mut transaction = partitions::begin(connection).await?;
    if !partitions::list(&mut transaction).await?.contains(&day) {
        return Ok(0);
    }
    partitions::drop_day(&mut transaction, day).await?;
    let rows = rollups::take_day_away(&mut transaction, day).await?;
    remember(&mut transaction, day).await?;
    transaction.commit().await?;
    Ok(rows)
}

/// Remembers that the days up to this one have been removed, once they have been.
async fn remember_if_none_is_left(
    connection: &mut PgConnection,
    day: Day,
) -> Result<(), sqlx::Error> {
    let removed = partitions::removed_through(connection).await?;
    if removed.is_some_and(|removed| removed >= day) {
        return Ok(());
    }
    let mut transaction = partitions::begin(connection).await?;
    let there = partitions::list(&mut transaction).await?;
    if there.first().is_none_or(|first| *first > day) {
        remember(&mut transaction, day).await?;
    }
    transaction.commit().await
}

/// Remembers that the days up to this one have been removed.
async fn remember(connection: &mut PgConnection, day: Day) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE prediction_retention SET removed_through = $1 \
         WHERE removed_through IS NULL OR removed_through < $1",
    )
    .bind(day)
    .execute(connection)
    .await
    .map(drop)
}

/// Removes pieces of what was logged in days that have been removed but lies in none of them.
async fn prune_others(connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let Some(through) = partitions::removed_through(connection).await? else {
        return Ok(0);
    };
    let mut rows = 0;
    for _ in 0..PIECES_AT_ONCE {
        let removed = prune_piece(connection, through).await?;
        rows += removed;
        if removed == 0 {
            // No row is left that a key of then may belong to.
            for _ in 0..PIECES_AT_ONCE {
                if !prune_names(connection, through).await? {
                    break;
                }
            }
            break;
        }
    }
    Ok(rows)
}

async fn prune_piece(connection: &mut PgConnection, through: Day) -> Result<u64, sqlx::Error> {
    let mut transaction = partitions::begin(connection).await?;
    let leaving: Vec<Leaving> = sqlx::query_as(
        "DELETE FROM predictions_other WHERE ctid = ANY (ARRAY(SELECT ctid FROM predictions_other \
         WHERE logged_at < $1 ORDER BY logged_at LIMIT $2)) RETURNING key, named, model_name, \
         edge_device_id, taken_at, defect_detected, latency",
    )
    .bind(through.ends())
    .bind(ROWS_AT_ONCE)
    .fetch_all(&mut *transaction)
    .await?;
    if leaving.is_empty() {
        return Ok(0);
    }
    let names: Vec<&[u8]> = leaving
        .iter()
        .filter(|(_, named, ..)| *named)
        .map(|(key, ..)| key.as_slice())
        .collect();
    sqlx::query("DELETE FROM prediction_names WHERE key = ANY ($1)")
        .bind(names)
        .execute(&mut *transaction)
        .await?;
    let mut changes = Changes::default();
    for (_, _, model, device, taken_at, defect, latency) in &leaving {
        let counted = Counted {
            model,
            device,
            taken_at: taken_at.0,
            defect: *defect,
            latency: *latency,
        };
        changes.count(counted, -1);
    }
    changes.apply(&mut transaction).await?;
    rollups::forget_empty(&mut transaction).await?;
    transaction.commit().await?;
    Ok(leaving.len() as u64)
}

/// Removes a piece of the keys of ids, and returns whether there may be more.
async fn prune_names(connection: &mut PgConnection, through: Day) -> Result<bool, sqlx::Error> {
    let removed = sqlx::query(
        "DELETE FROM prediction_names WHERE ctid = ANY (ARRAY(SELECT ctid FROM prediction_names \
         WHERE day <= $1 ORDER BY day LIMIT $2))",
    )
    .bind(through)
    .bind(ROWS_AT_ONCE)
    .execute(connection)
    .await?;
    Ok(i64::try_from(removed.rows_affected()).unwrap_or(i64::MAX) >= ROWS_AT_ONCE)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
