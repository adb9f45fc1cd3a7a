//! Counts that change with the rows.
//!
//! **Invariant:** the counts are what counting all rows would give, at every commit. They are
//! changed in the transaction that changes the rows, from the rows themselves: whatever is added
//! is added up after it has been inserted, when rows that were there already have fallen out, and
//! whatever is taken away is added up before.
//!
//! What drift is told from is different: it is only added to, while drift is watched, and is
//! forgotten by its age.

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr, Sqlite, SqliteConnection};

/// The statements that count.
#[derive(Debug)]
pub(crate) struct Rollups {
    add: Vec<SqlStr>,
    take_away: Vec<SqlStr>,
}

/// Which rows are counted, by their numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rows {
    /// Those after this one.
    After(i64),
    /// Those after the first, up to and with the second.
    Between(i64, i64),
}

/// A table of counts, and how rows fall into its groups.
struct Table {
    name: &'static str,
    columns: &'static str,
    groups: &'static str,
    with_defects: bool,
}

const COUNTS: [Table; 4] = [
    Table {
        name: "rollup_models",
        columns: "model_name",
        groups: "model_name",
        with_defects: true,
    },
    Table {
        name: "rollup_devices",
        columns: "edge_device_id",
        groups: "edge_device_id",
        with_defects: true,
    },
    Table {
        name: "rollup_hours",
        columns: "hour",
        // SQLite rounds towards zero, and there is time before 1970.
        groups: "(taken_at - ((taken_at % 3600000) + 3600000) % 3600000) / 3600000",
        with_defects: true,
    },
    Table {
        name: "rollup_latencies",
        columns: "model_name, latency",
        groups: "model_name, latency",
        with_defects: false,
    },
];

/// Counted by when the row was committed, so that a clock that goes wrong does not look like a
/// model that does.
const DRIFT: [Table; 2] = [
    Table {
        name: "drift_classes",
        columns: "model_name, slot, class",
        groups: "model_name, created_at / 600000, coalesce(class, '')",
        with_defects: false,
    },
    Table {
        name: "drift_confidences",
        columns: "model_name, slot, confidence",
        groups: "model_name, created_at / 600000, coalesce(confidence, -1)",
        with_defects: false,
    },
];

// === impl Rollups ===

impl Rollups {
    pub(crate) fn new(drift: bool) -> Self {
        let mut add: Vec<SqlStr> = COUNTS.iter().map(|table| table.change("")).collect();
        if drift {
            add.extend(DRIFT.iter().map(|table| table.change("")));
        }
        let mut take_away: Vec<SqlStr> = COUNTS.iter().map(|table| table.change("-")).collect();
        take_away.extend(COUNTS.iter().map(Table::forget_empty));
        Self { add, take_away }
    }

    /// Adds up rows that have just been inserted.
    pub(crate) async fn add(
        &self,
        connection: &mut SqliteConnection,
        rows: Rows,
    ) -> Result<(), sqlx::Error> {
        for sql in &self.add {
            rows.bind(sqlx::query(sql.clone()))
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    }

    /// Takes away rows that are about to be deleted.
    pub(crate) async fn take_away(
        &self,
        connection: &mut SqliteConnection,
        rows: Rows,
    ) -> Result<(), sqlx::Error> {
        let (change, forget) = self.take_away.split_at(COUNTS.len());
        for sql in change {
            rows.bind(sqlx::query(sql.clone()))
                .execute(&mut *connection)
                .await?;
        }
        for sql in forget {
            sqlx::query(sql.clone()).execute(&mut *connection).await?;
        }
        Ok(())
    }
}

// === impl Rows ===

impl Rows {
    fn bind(self, query: Query<'_, Sqlite, SqliteArguments>) -> Query<'_, Sqlite, SqliteArguments> {
        match self {
            Self::After(seq) => query.bind(seq).bind(i64::MAX),
            Self::Between(after, through) => query.bind(after).bind(through),
        }
    }
}

// === impl Table ===

impl Table {
    /// Returns the statement that adds rows between two numbers to the counts, or with a sign before
    /// them takes them away.
    fn change(&self, sign: &str) -> SqlStr {
        let Self {
            name,
            columns,
            groups,
            with_defects,
        } = self;
        let places: Vec<String> = (1..=columns.split(',').count())
            .map(|place| place.to_string())
            .collect();
        let (defects, sum, more) = if *with_defects {
            (
                ", defects",
                format!(", {sign}sum(defect_detected)"),
                ", defects = defects + excluded.defects",
            )
        } else {
            ("", String::new(), "")
        };
        // Nothing but the constants above goes into the text.
        AssertSqlSafe(format!(
            "INSERT INTO {name} ({columns}, total{defects}) \
             SELECT {groups}, {sign}count(*){sum} FROM predictions \
             WHERE seq > ? AND seq <= ? GROUP BY {} \
             ON CONFLICT ({columns}) DO UPDATE SET total = total + excluded.total{more}",
            places.join(", ")
        ))
        .into_sql_str()
    }

    /// Returns the statement that removes groups without a row.
    fn forget_empty(&self) -> SqlStr {
        AssertSqlSafe(format!("DELETE FROM {} WHERE total <= 0", self.name)).into_sql_str()
    }
}
