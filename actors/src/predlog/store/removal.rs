//! Rows that leave: the oldest first, and their share of the counts with them.

use sqlx::{Connection, Sqlite, SqliteConnection, Transaction};

use super::Store;
use crate::predlog::error::StoreError;
use crate::predlog::rollups::{Rollups, Rows};

/// Which of the oldest rows to remove.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Removal {
    /// Committed before, in milliseconds since 1970.
    pub(crate) created_before: Option<i64>,
    /// At most so many.
    pub(crate) limit: u32,
}

/// What a removal took away.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Removed {
    pub(crate) rows: u64,
}

// === impl Store ===

impl Store {
    /// Removes some of the oldest rows, and their share of the counts.
    pub(crate) async fn remove(&mut self, removal: Removal) -> Result<Removed, StoreError> {
        let failed = |error| StoreError::database("removing", &error);
        let mut transaction = self
            .connection
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(failed)?;
        // The numbers grow with time, so the oldest rows are the first; the others are not looked at.
        // Where a clock was set back, the first that is not older holds up those behind it.
        let (first, through): (Option<i64>, Option<i64>) = sqlx::query_as(
            "WITH first AS (SELECT seq, created_at FROM predictions ORDER BY seq LIMIT ?) \
             SELECT min(seq), \
             coalesce((SELECT min(seq) - 1 FROM first WHERE created_at >= ?), max(seq)) FROM first",
        )
        .bind(i64::from(removal.limit))
        .bind(removal.created_before.unwrap_or(i64::MAX))
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed)?;
        let Some(through) = through.filter(|through| first.is_some_and(|first| first <= *through))
        else {
            return Ok(Removed::default());
        };
        if removal.created_before.is_none() {
            // Where size decides, what was set aside counts as well.
            forget_refused(&mut transaction, 0).await.map_err(failed)?;
        }
        remove_through(&self.rollups, transaction, through)
            .await
            .map_err(failed)
    }

    /// Removes rows that a sink has, and sets aside those it will never take.
    pub(crate) async fn hand_over(
        &mut self,
        through: i64,
        refused: &[(i64, String)],
        at: i64,
    ) -> Result<Removed, StoreError> {
        let failed = |error| StoreError::database("removing what was forwarded", &error);
        let mut transaction = self
            .connection
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(failed)?;
        for (seq, reason) in &refused[refused.len().saturating_sub(MOST_REFUSED)..] {
            sqlx::query(
                "INSERT OR REPLACE INTO refused (seq, key, edge_device_id, refused_at, reason, body) \
                 SELECT seq, key, edge_device_id, ?, ?, body FROM predictions WHERE seq = ?",
            )
            .bind(at)
            .bind(reason.clone())
            .bind(seq)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        }
        if !refused.is_empty() {
            forget_refused(&mut transaction, MOST_REFUSED)
                .await
                .map_err(failed)?;
        }
        remove_through(&self.rollups, transaction, through)
            .await
            .map_err(failed)
    }

    /// Forgets what drift was told from before `slot`.
    pub(crate) async fn forget_drift(&mut self, slot: i64) -> Result<(), StoreError> {
        let failed = |error| StoreError::database("removing", &error);
        for sql in [
            "DELETE FROM drift_classes WHERE slot < ?",
            "DELETE FROM drift_confidences WHERE slot < ?",
        ] {
            sqlx::query(sql)
                .bind(slot)
                .execute(&mut self.connection)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }
}

/// The most rows that are kept aside because a sink refused them: enough to see what is wrong with
/// them, and no second log.
const MOST_REFUSED: usize = 1_000;

/// Forgets rows that a sink refused, all but the newest `keep`.
async fn forget_refused(connection: &mut SqliteConnection, keep: usize) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM refused WHERE seq <= \
         (SELECT seq FROM refused ORDER BY seq DESC LIMIT 1 OFFSET ?)",
    )
    .bind(i64::try_from(keep).unwrap_or(i64::MAX))
    .execute(connection)
    .await
    .map(drop)
}

async fn remove_through(
    rollups: &Rollups,
    mut transaction: Transaction<'_, Sqlite>,
    through: i64,
) -> Result<Removed, sqlx::Error> {
    rollups
        .take_away(&mut transaction, Rows::Between(i64::MIN, through))
        .await?;
    let removed = sqlx::query("DELETE FROM predictions WHERE seq <= ?")
        .bind(through)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(Removed {
        rows: removed.rows_affected(),
    })
}
