//! The least that brings the rows of a prediction log to PostgreSQL.
//!
//! One connection, one statement and one transaction for each batch, the same table with its
//! partitions and indices, and every row prepared in memory before the clock starts. No counts, no
//! keys of ids, nothing that is removed from the file, no retries, no deadlines.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::time::Instant as Started;

use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row as _, SqliteConnection};

use values::{Day, Instant, JsonText};

#[path = "../../actors/src/predlog/postgres/values.rs"]
#[allow(
    dead_code,
    reason = "how times travel is the server's own, and it needs more of it"
)]
mod values;

/// The tables, which are those of Impetus.
const SCHEMA: &str = include_str!("../../actors/migrations/postgres/0001_predictions.sql");

/// Rows of one transaction, as many as Impetus's.
const ROWS: usize = 4096;

const INSERT: &str = "INSERT INTO predictions (seq, key, taken_at, logged_at, edge_device_id, \
     model_name, model_version, defect_detected, named, latency, class, confidence, body) \
     SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::timestamptz[], $4::timestamptz[], \
     $5::text[], $6::text[], $7::text[], $8::boolean[], $9::boolean[], $10::smallint[], \
     $11::text[], $12::smallint[], $13::json[]) ON CONFLICT DO NOTHING";

/// The columns of one batch.
#[derive(Default)]
struct Batch {
    seq: Vec<i64>,
    key: Vec<Vec<u8>>,
    taken_at: Vec<i64>,
    logged_at: Vec<i64>,
    device: Vec<String>,
    model: Vec<String>,
    version: Vec<String>,
    defect: Vec<bool>,
    named: Vec<bool>,
    latency: Vec<i16>,
    class: Vec<Option<String>>,
    confidence: Vec<Option<i16>>,
    body: Vec<String>,
}

/// Writes all rows of `file` to the empty database at `url`, and says how long that took.
pub(super) fn drain(file: &Path, url: &str) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let batches = read(file).await?;
        let mut database = PgConnection::connect(url).await?;
        prepare(&mut database, &batches).await?;
        let (began, cpu) = (Started::now(), cpu_seconds());
        for batch in &batches {
            batch.write(&mut database).await?;
        }
        let said = json!({
            "rows": batches.iter().map(|batch| batch.seq.len()).sum::<usize>(),
            "seconds": began.elapsed().as_secs_f64(),
            "cpu_seconds": cpu_seconds() - cpu,
        });
        writeln!(std::io::stdout(), "{said}")?;
        anyhow::Ok(())
    })
}

async fn read(file: &Path) -> anyhow::Result<Vec<Batch>> {
    let mut log: SqliteConnection = SqliteConnectOptions::new()
        .filename(file)
        .disable_statement_logging()
        .connect()
        .await?;
    let rows = sqlx::query(
        "SELECT seq, key, taken_at, created_at, edge_device_id, model_name, model_version, \
         defect_detected, named, latency, class, confidence, body FROM predictions ORDER BY seq",
    )
    .fetch_all(&mut log)
    .await?;
    let mut batches = Vec::new();
    for chunk in rows.chunks(ROWS) {
        let mut batch = Batch::default();
        for row in chunk {
            batch.seq.push(row.try_get(0)?);
            batch.key.push(row.try_get(1)?);
            batch.taken_at.push(row.try_get(2)?);
            batch.logged_at.push(row.try_get(3)?);
            batch.device.push(row.try_get(4)?);
            batch.model.push(row.try_get(5)?);
            batch.version.push(row.try_get(6)?);
            batch.defect.push(row.try_get(7)?);
            batch.named.push(row.try_get(8)?);
            batch
                .latency
                .push(i16::try_from(row.try_get::<i64, _>(9)?)?);
            batch.class.push(row.try_get(10)?);
            let confidence: Option<i64> = row.try_get(11)?;
            batch
                .confidence
                .push(confidence.map(i16::try_from).transpose()?);
            batch.body.push(row.try_get(12)?);
        }
        batches.push(batch);
    }
    Ok(batches)
}

/// Makes the tables, and a partition for each day.
async fn prepare(database: &mut PgConnection, batches: &[Batch]) -> anyhow::Result<()> {
    sqlx::raw_sql(SCHEMA).execute(&mut *database).await?;
    let times = batches.iter().flat_map(|batch| &batch.taken_at);
    let days: BTreeSet<Day> = times.map(|millis| Day::of(*millis)).collect();
    for day in days {
        let digits = |day: Day, between| day.digits(between).context("a day without digits");
        let sql = format!(
            "CREATE TABLE predictions_{} PARTITION OF predictions \
             FOR VALUES FROM ('{} 00:00:00+00') TO ('{} 00:00:00+00')",
            digits(day, "")?,
            digits(day, "-")?,
            digits(day.plus(1), "-")?
        );
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut *database)
            .await?;
    }
    Ok(())
}

/// Returns what this process has used so far.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

// === impl Batch ===

impl Batch {
    async fn write(&self, database: &mut PgConnection) -> anyhow::Result<()> {
        let mut transaction = database.begin().await?;
        let instants = |millis: &[i64]| millis.iter().copied().map(Instant).collect::<Vec<_>>();
        sqlx::query(INSERT)
            .bind(&self.seq)
            .bind(&self.key)
            .bind(instants(&self.taken_at))
            .bind(instants(&self.logged_at))
            .bind(&self.device)
            .bind(&self.model)
            .bind(&self.version)
            .bind(&self.defect)
            .bind(&self.named)
            .bind(&self.latency)
            .bind(&self.class)
            .bind(&self.confidence)
            .bind(
                self.body
                    .iter()
                    .map(|body| JsonText(body))
                    .collect::<Vec<_>>(),
            )
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }
}
