//! One partition for each day of the predictions' own time.
//!
//! A day gets its partition when the first of its rows comes, as long as it lies near the present;
//! rows of all other days lie together in one more partition, so that no clock that is wrong can
//! make thousands. When the present reaches a day of which rows lie there already, they are moved in
//! the transaction that makes its partition: **at every commit all rows of a day lie in its
//! partition, or none of them do.**
//!
//! Partitions are made and removed by whoever holds a lock alone; whoever writes
//! rows shares it. So none of them waits for another one in a circle. A partition that cannot be made
//! because somebody reads for long is made later: rows find their place without it.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres, Transaction};
use tracing::warn;

use super::failure::is_about_waiting;
use super::values::Day;

/// The days that have a partition, as far as is known, and those that get none for now.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    there: BTreeSet<Day>,
    given_up: BTreeSet<Day>,
}

/// The days that may have partitions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) first: Day,
    pub(super) last: Day,
}

/// The key of the lock of the partitions; it has no meaning but being ours. A macro, for statements
/// are put together when the program is built.
macro_rules! layout_lock {
    () => {
        "7596851727491756801"
    };
}

/// What a transaction begins with that writes rows.
pub(super) const BEGIN_WRITING: &str = concat!(
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pg_advisory_xact_lock_shared(",
    layout_lock!(),
    ")"
);

/// What a transaction begins with that makes or removes partitions. New readings queue behind its
/// locks, so it does not wait long for those that are there.
const BEGIN_LAYOUT: &str = concat!(
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = '2s'; \
     SELECT pg_advisory_xact_lock(",
    layout_lock!(),
    ")"
);

/// The partition for rows of all days that have none.
const OTHER: &str = "predictions_other";

/// The most rows that are moved to a new partition: a second or two of work.
const MOST_MOVED: i64 = 100_000;

// === impl Partitions ===

impl Partitions {
    /// Makes the partitions of those `days` in the window that have none.
    pub(super) async fn make(
        &mut self,
        connection: &mut PgConnection,
        days: BTreeSet<Day>,
        window: Window,
    ) -> Result<(), sqlx::Error> {
        for day in days {
            let is_inside = day >= window.first && day <= window.last;
            if !is_inside || self.there.contains(&day) || self.given_up.contains(&day) {
                continue;
            }
            match make(connection, day).await {
                Ok(true) => {
                    self.there.insert(day);
                }
                Ok(false) => {
                    self.given_up.insert(day);
                }
                Err(error) if is_about_waiting(&error) => {
                    let named = day.digits("-");
                    warn!(day = named, %error, "partition not made; its predictions lie with others for now");
                    self.given_up.insert(day);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Looks anew which partitions there are, and tries again to make those that could not be made.
    pub(super) async fn look(
        &mut self,
        connection: &mut PgConnection,
    ) -> Result<&BTreeSet<Day>, sqlx::Error> {
        self.there = list(connection).await?;
        self.given_up.clear();
        Ok(&self.there)
    }

    pub(super) fn removed(&mut self, day: Day) {
        self.there.remove(&day);
    }
}

/// Begins a transaction that makes or removes partitions: nobody else writes until it is over.
pub(super) async fn begin(
    connection: &mut PgConnection,
) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
    connection.begin_with(BEGIN_LAYOUT).await
}

/// Returns the days that have a partition.
pub(super) async fn list(connection: &mut PgConnection) -> Result<BTreeSet<Day>, sqlx::Error> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid \
         WHERE i.inhparent = 'predictions'::regclass",
    )
    .fetch_all(connection)
    .await?;
    let day = |name: &String| Day::from_digits(name.strip_prefix("predictions_")?);
    Ok(names.iter().filter_map(day).collect())
}

/// Returns the last day that has been removed; days up to then get no partition again.
pub(super) async fn removed_through(
    connection: &mut PgConnection,
) -> Result<Option<Day>, sqlx::Error> {
    sqlx::query_scalar("SELECT removed_through FROM prediction_retention")
        .fetch_one(connection)
        .await
}

/// Removes the partition of a day with all that is in it.
pub(super) async fn drop_day(connection: &mut PgConnection, day: Day) -> Result<(), sqlx::Error> {
    let Some(name) = name(day) else {
        return Ok(());
    };
    execute(connection, format!("DROP TABLE IF EXISTS {name}")).await
}

/// Makes the partition of a day; returns whether it is there now.
async fn make(connection: &mut PgConnection, day: Day) -> Result<bool, sqlx::Error> {
    let (Some(name), Some(begins), Some(ends)) =
        (name(day), day.digits("-"), day.plus(1).digits("-"))
    else {
        return Ok(false);
    };
    let range = format!("FROM ('{begins} 00:00:00+00') TO ('{ends} 00:00:00+00')");
    let mut transaction = begin(connection).await?;
    if list(&mut transaction).await?.contains(&day) {
        // Another program was faster.
        return Ok(true);
    }
    if removed_through(&mut transaction).await? >= Some(day) {
        // Its rows go by the time at which they were logged, and so do the keys of their ids.
        return Ok(false);
    }
    // A reading that has seen which partitions there are must not find its rows moved.
    execute(
        &mut transaction,
        "LOCK TABLE ONLY predictions IN ACCESS EXCLUSIVE MODE".into(),
    )
    .await?;
    let waiting: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM (SELECT FROM predictions_other WHERE taken_at >= $1 \
         AND taken_at < $2 LIMIT $3) AS found",
    )
    .bind(day.begins())
    .bind(day.ends())
    .bind(MOST_MOVED + 1)
    .fetch_one(&mut *transaction)
    .await?;
    if waiting > MOST_MOVED {
        warn!(
            day = begins,
            "partition not made: too many of its predictions lie with others"
        );
        return Ok(false);
    }
    // The indices are made when it becomes a partition, after the rows are in it.
    execute(
        &mut transaction,
        format!("CREATE TABLE {name} (LIKE predictions INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"),
    )
    .await?;
    if waiting > 0 {
        let moving = AssertSqlSafe(format!(
            "WITH moved AS (DELETE FROM {OTHER} WHERE taken_at >= $1 AND taken_at < $2 RETURNING *) \
             INSERT INTO {name} SELECT * FROM moved"
        ));
        sqlx::query(moving)
            .bind(day.begins())
            .bind(day.ends())
            .execute(&mut *transaction)
            .await?;
    }
    execute(
        &mut transaction,
        format!("ALTER TABLE predictions ATTACH PARTITION {name} FOR VALUES {range}"),
    )
    .await?;
    transaction.commit().await?;
    Ok(true)
}

fn name(day: Day) -> Option<String> {
    day.digits("").map(|digits| format!("predictions_{digits}"))
}

/// Executes a statement that has nothing in it but our own names and numbers.
async fn execute(connection: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await
        .map(drop)
}
