//! The schema's history.
//!
//! Each step is a file in `migrations/`, embedded here, applied once and recorded in the database
//! with a checksum. Steps only go forward; one that has been released is never edited. A database
//! that has a step this program does not know was written by a newer one and is left alone.

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{SqlSafeStr, SqliteConnection};

use super::error::StoreError;

const STEPS: [(i64, &str, &str); 1] = [(
    1,
    "predictions",
    include_str!("../../migrations/0001_predictions.sql"),
)];

/// Brings the schema up to date.
pub(crate) async fn run(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let step = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(
            version,
            name.into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    };
    let migrator = Migrator::with_migrations(STEPS.map(step).into());
    migrator
        .run(connection)
        .await
        .map_err(|error| StoreError::lost(format!("migrating: {error}")))
}
