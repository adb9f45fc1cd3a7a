//! The schema's history in PostgreSQL.
//!
//! As in the [file](super::super::migrations): steps are embedded, applied once, recorded with a
//! checksum, and only go forward. Several programs may start at once: a lock in the database lets
//! one of them work and the others wait.

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{PgConnection, SqlSafeStr};

use super::super::sink::SinkError;
use super::failure::ServerName;

const STEPS: [(i64, &str, &str); 1] = [(
    1,
    "predictions",
    include_str!("../../../migrations/postgres/0001_predictions.sql"),
)];

/// Where the steps are recorded; named so that another program's are not taken for ours.
const RECORD: &str = "impetus_migrations";

/// Brings the schema up to date.
pub(super) async fn run(
    connection: &mut PgConnection,
    server: &ServerName,
) -> Result<(), SinkError> {
    let step = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(
            version,
            name.into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    };
    let mut migrator = Migrator::with_migrations(STEPS.map(step).into());
    migrator.dangerous_set_table_name(RECORD);
    migrator
        .run_direct(None, connection, false)
        .await
        .map_err(|error| match &error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                server.error("bringing the schema up to date", error)
            }
            MigrateError::VersionMissing(_) => SinkError::new(format!(
                "database {} of PostgreSQL at {} was written by a newer version of this program",
                server.database, server.address
            )),
            error => SinkError::new(format!(
                "PostgreSQL at {}: bringing the schema up to date: {error}",
                server.address
            )),
        })
}
