//! The schema's history.
//!
//! Each step is a file in `migrations/`, embedded here, applied once and recorded in the database
//! with a checksum. Steps only go forward; one that has been released is never edited. A database
//! that has a step this program does not know was written by a newer one and is left alone.
//!
//! Rows of before the second step are counted by the program, because SQL alone cannot tell their
//! buckets. That is done in small transactions that each leave a state to go on from, for it may
//! take minutes and be interrupted; [`is_pending`] tells beforehand that it is to be waited for.

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Connection, SqlSafeStr, SqliteConnection};

use super::error::StoreError;
use super::latency::LatencyBucket;
use super::prediction::Prediction;
use super::rollups::{Rollups, Rows};
use super::row::twentieth;

const STEPS: [(i64, &str, &str); 2] = [
    (
        1,
        "predictions",
        include_str!("../../migrations/0001_predictions.sql"),
    ),
    (
        2,
        "counts",
        include_str!("../../migrations/0002_counts.sql"),
    ),
];

/// The value of `user_version` of a database whose rows have all been counted.
const COUNTED: i64 = 1;

/// Rows that are counted in one transaction.
const ROWS_AT_ONCE: i64 = 2_000;

/// Returns whether there are rows of an older schema, so that [`run`] may take long.
pub(crate) async fn is_pending(connection: &mut SqliteConnection) -> Result<bool, StoreError> {
    let failed = |error| StoreError::database("migrating", &error);
    let version: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    if version >= COUNTED {
        return Ok(false);
    }
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = 'predictions'")
            .fetch_one(&mut *connection)
            .await
            .map_err(failed)?;
    Ok(tables > 0)
}

/// Brings the schema up to date, and the rows with it.
pub(crate) async fn run(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    apply(connection, &STEPS).await?;
    count_rows_of_before(connection)
        .await
        .map_err(|error| StoreError::database("counting the rows of before", &error))
}

async fn apply(
    connection: &mut SqliteConnection,
    steps: &[(i64, &'static str, &'static str)],
) -> Result<(), StoreError> {
    let step = |(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(
            *version,
            (*name).into(),
            MigrationType::Simple,
            (*sql).into_sql_str(),
            false,
        )
    };
    let migrator = Migrator::with_migrations(steps.iter().map(step).collect());
    migrator
        .run(&mut *connection)
        .await
        .map_err(|error| StoreError::lost(format!("migrating: {error}")))
}

/// Makes a database as the first version did.
#[cfg(test)]
pub(crate) async fn run_first(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    apply(connection, &STEPS[..1]).await
}

async fn count_rows_of_before(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let version: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut *connection)
        .await?;
    if version >= COUNTED {
        return Ok(());
    }
    let rollups = Rollups::new(false);
    let mut after: i64 = 0;
    loop {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let rows: Vec<(i64, Option<i64>, String)> = sqlx::query_as(
            "SELECT seq, latency, body FROM predictions WHERE seq > ? ORDER BY seq LIMIT ?",
        )
        .bind(after)
        .bind(ROWS_AT_ONCE)
        .fetch_all(&mut *transaction)
        .await?;
        let Some(through) = rows.last().map(|(seq, ..)| *seq) else {
            sqlx::query("PRAGMA user_version = 1")
                .execute(&mut *transaction)
                .await?;
            return transaction.commit().await;
        };
        // All of these or none: they are counted in one transaction.
        if rows.iter().any(|(_, latency, _)| latency.is_none()) {
            for (seq, _, body) in &rows {
                count_row(&mut transaction, *seq, body).await?;
            }
            rollups
                .add(&mut transaction, Rows::Between(after, through))
                .await?;
        }
        transaction.commit().await?;
        after = through;
    }
}

async fn count_row(
    connection: &mut SqliteConnection,
    seq: i64,
    body: &str,
) -> Result<(), sqlx::Error> {
    // What is in the table was read once before it got there.
    let prediction = serde_json::from_str::<Prediction>(body).ok();
    let surest = prediction.as_ref().and_then(Prediction::surest);
    let latency = prediction
        .as_ref()
        .map_or(0.0, |prediction| prediction.inference_time_ms.get());
    let named = prediction.as_ref().is_some_and(|it| it.id.is_some());
    sqlx::query(
        "UPDATE predictions SET latency = ?, named = ?, class = ?, confidence = ? WHERE seq = ?",
    )
    .bind(LatencyBucket::of(latency).number())
    .bind(named)
    .bind(surest.map(|found| found.class.as_str().to_owned()))
    .bind(surest.map(|found| twentieth(found.confidence.get())))
    .bind(seq)
    .execute(connection)
    .await
    .map(drop)
}
