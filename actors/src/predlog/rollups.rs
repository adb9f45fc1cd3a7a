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
use sqlx::{AssertSqlSafe, Row as _, SqlSafeStr, SqlStr, Sqlite, SqliteConnection};

/// The statements that count. Each text is several of them: a trip to the connection's thread costs
/// more than most of what is done there.
#[derive(Debug)]
pub(crate) struct Rollups {
    add: SqlStr,
    /// How many statements that is, each of which wants the numbers of the rows.
    added: usize,
    take_away: SqlStr,
}

/// How many rows were counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counted {
    pub(crate) rows: i64,
    pub(crate) defects: i64,
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

/// How many rows there are, and how many with a defect.
const COUNT: &str = "SELECT count(*), coalesce(sum(defect_detected), 0) FROM predictions NOT INDEXED \
     WHERE seq > ? AND seq <= ?";

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
        let mut add: Vec<String> = COUNTS.iter().map(|table| table.change("")).collect();
        if drift {
            add.extend(DRIFT.iter().map(|table| table.change("")));
        }
        add.push(COUNT.to_owned());
        let mut take_away: Vec<String> = COUNTS.iter().map(|table| table.change("-")).collect();
        take_away.extend(COUNTS.iter().map(Table::forget_empty));
        // Nothing but the constants above goes into the texts.
        let text = |statements: &[String]| AssertSqlSafe(statements.join("; ")).into_sql_str();
        Self {
            added: add.len(),
            add: text(&add),
            take_away: text(&take_away),
        }
    }

    /// Adds up rows that have just been inserted, and returns how many there are.
    pub(crate) async fn add(
        &self,
        connection: &mut SqliteConnection,
        rows: Rows,
    ) -> Result<Counted, sqlx::Error> {
        let query = rows.bind(sqlx::query(self.add.clone()), self.added);
        let row = query.fetch_one(connection).await?;
        Ok(Counted {
            rows: row.try_get(0)?,
            defects: row.try_get(1)?,
        })
    }

    /// Takes away rows that are about to be deleted.
    pub(crate) async fn take_away(
        &self,
        connection: &mut SqliteConnection,
        rows: Rows,
    ) -> Result<(), sqlx::Error> {
        let query = rows.bind(sqlx::query(self.take_away.clone()), COUNTS.len());
        query.execute(connection).await.map(drop)
    }
}

// === impl Rows ===

impl Rows {
    /// Gives the numbers to as many statements of a text.
    fn bind(
        self,
        query: Query<'_, Sqlite, SqliteArguments>,
        statements: usize,
    ) -> Query<'_, Sqlite, SqliteArguments> {
        let (after, through) = match self {
            Self::After(seq) => (seq, i64::MAX),
            Self::Between(after, through) => (after, through),
        };
        (0..statements).fold(query, |query, _| query.bind(after).bind(through))
    }
}

// === impl Table ===

impl Table {
    /// Returns the statement that adds rows between two numbers to the counts, or with a sign before
    /// them takes them away.
    fn change(&self, sign: &str) -> String {
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
        // By its number alone a row is found: an index in the order of the groups would be read from
        // one end to the other.
        format!(
            "INSERT INTO {name} ({columns}, total{defects}) \
             SELECT {groups}, {sign}count(*){sum} FROM predictions NOT INDEXED \
             WHERE seq > ? AND seq <= ? GROUP BY {} \
             ON CONFLICT ({columns}) DO UPDATE SET total = total + excluded.total{more}",
            places.join(", ")
        )
    }

    /// Returns the statement that removes groups without a row.
    fn forget_empty(&self) -> String {
        format!("DELETE FROM {} WHERE total <= 0", self.name)
    }
}
