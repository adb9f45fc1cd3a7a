//! The obvious logging service: an actix-web handler, sqlx, and the transactions that Impetus makes.
//!
//! A handler reads the batch and sends it down a channel; a task takes what has queued, writes all
//! of it in one transaction with the same statements into the same tables, syncs, and answers. No
//! supervision, no validation beyond types, no deadlines, no health, no bound but the channel's.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix_web::{App, HttpResponse, HttpServer, web};
use serde::Deserialize;
use serde_json::value::RawValue;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqlSafeStr, SqlStr, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

/// The tables, which are those of Impetus.
const SCHEMA: [&str; 2] = [
    include_str!("../../actors/migrations/0001_predictions.sql"),
    include_str!("../../actors/migrations/0002_counts.sql"),
];
/// Rows of one statement, the most first.
const ROWS: [usize; 5] = [256, 64, 16, 4, 1];
/// Rows after which a transaction takes no more batches.
const MOST_ROWS: usize = 4096;
/// Batches that may wait.
const QUEUE: usize = 1024;

const COUNTS: [&str; 4] = [
    "INSERT INTO rollup_models (model_name, total, defects) \
     SELECT model_name, count(*), sum(defect_detected) FROM predictions NOT INDEXED WHERE seq > ? GROUP BY 1 \
     ON CONFLICT DO UPDATE SET total = total + excluded.total, defects = defects + excluded.defects",
    "INSERT INTO rollup_devices (edge_device_id, total, defects) \
     SELECT edge_device_id, count(*), sum(defect_detected) FROM predictions NOT INDEXED WHERE seq > ? GROUP BY 1 \
     ON CONFLICT DO UPDATE SET total = total + excluded.total, defects = defects + excluded.defects",
    "INSERT INTO rollup_hours (hour, total, defects) \
     SELECT taken_at / 3600000, count(*), sum(defect_detected) FROM predictions NOT INDEXED WHERE seq > ? GROUP BY 1 \
     ON CONFLICT DO UPDATE SET total = total + excluded.total, defects = defects + excluded.defects",
    "INSERT INTO rollup_latencies (model_name, latency, total) \
     SELECT model_name, latency, count(*) FROM predictions NOT INDEXED WHERE seq > ? GROUP BY 1, 2 \
     ON CONFLICT DO UPDATE SET total = total + excluded.total",
];

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    predictions: Vec<&'a RawValue>,
    edge_device_id: String,
}

#[derive(Deserialize)]
struct Prediction {
    image_id: String,
    timestamp: String,
    model_version: String,
    model_name: String,
    inference_time_ms: f64,
    detections: Vec<Detection>,
    defect_detected: bool,
}

#[derive(Deserialize)]
struct Detection {
    class: String,
    confidence: f64,
}

struct Row {
    key: Vec<u8>,
    device: Arc<str>,
    prediction: Prediction,
    taken_at: i64,
    body: String,
}

type Waiting = (Vec<Row>, oneshot::Sender<bool>);

/// Serves `POST /log` until it is killed.
pub(super) fn serve(port: u16, workers: usize, folder: &Path) -> anyhow::Result<()> {
    let (queue, waiting) = mpsc::channel::<Waiting>(QUEUE);
    let file = folder.join("bare.db");
    std::thread::Builder::new()
        .name("writer".into())
        .spawn(move || write(file, waiting))?;
    actix_web::rt::System::new().block_on(async move {
        HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(queue.clone()))
                .app_data(web::PayloadConfig::new(64 << 20))
                .route("/log", web::post().to(log))
                .route("/ready", web::get().to(HttpResponse::Ok))
        })
        .workers(workers)
        .bind(("127.0.0.1", port))?
        .run()
        .await
    })?;
    Ok(())
}

async fn log(queue: web::Data<mpsc::Sender<Waiting>>, body: web::Bytes) -> HttpResponse {
    let Ok(batch) = serde_json::from_slice::<Batch<'_>>(&body) else {
        return HttpResponse::BadRequest().finish();
    };
    let device: Arc<str> = batch.edge_device_id.into();
    let rows: Result<Vec<Row>, _> = batch
        .predictions
        .iter()
        .map(|text| Row::read(text, &device))
        .collect();
    let Ok(rows) = rows else {
        return HttpResponse::UnprocessableEntity().finish();
    };
    let logged = rows.len();
    let (answer, answered) = oneshot::channel();
    if queue.send((rows, answer)).await.is_err() || !answered.await.unwrap_or(false) {
        return HttpResponse::ServiceUnavailable().finish();
    }
    HttpResponse::Ok().json(serde_json::json!({"logged": logged}))
}

fn write(file: PathBuf, mut waiting: mpsc::Receiver<Waiting>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async move {
        let mut connection = open(&file).await.expect("the database can be opened");
        let inserts = ROWS.map(|rows| (rows, insert(rows)));
        while let Some(first) = waiting.recv().await {
            let mut group = vec![first];
            let mut rows = group[0].0.len();
            while rows < MOST_ROWS
                && let Ok(next) = waiting.try_recv()
            {
                rows += next.0.len();
                group.push(next);
            }
            let written = commit(&mut connection, &inserts, &group).await.is_ok();
            for (_, answer) in group {
                // A client that has gone needs no answer.
                let _gone = answer.send(written);
            }
        }
    });
}

async fn open(file: &Path) -> Result<SqliteConnection, sqlx::Error> {
    let mut connection = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("temp_store", "memory")
        .pragma("cache_size", "-32768")
        .disable_statement_logging()
        .connect()
        .await?;
    for schema in SCHEMA {
        sqlx::raw_sql(schema).execute(&mut connection).await?;
    }
    Ok(connection)
}

async fn commit(
    connection: &mut SqliteConnection,
    inserts: &[(usize, SqlStr)],
    group: &[Waiting],
) -> Result<(), sqlx::Error> {
    let rows: Vec<&Row> = group.iter().flat_map(|(rows, _)| rows).collect();
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let last: i64 = sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM predictions")
        .fetch_one(&mut *transaction)
        .await?;
    let mut left = rows.as_slice();
    while let Some((size, sql)) = inserts.iter().find(|(size, _)| *size <= left.len()) {
        let (chunk, rest) = left.split_at(*size);
        let mut query = sqlx::query(sql.clone());
        for row in chunk {
            let surest = row.prediction.detections.first();
            query = query
                .bind(row.key.as_slice())
                .bind(Arc::clone(&row.device))
                .bind(row.prediction.model_name.as_str())
                .bind(row.prediction.model_version.as_str())
                .bind(row.taken_at)
                .bind(0_i64)
                .bind(row.prediction.defect_detected)
                .bind(false)
                .bind((row.prediction.inference_time_ms.ln() * 25.0) as i64)
                .bind(surest.map(|found| found.class.as_str()))
                .bind(surest.map(|found| (found.confidence * 20.0) as i64))
                .bind(row.body.as_str());
        }
        query.execute(&mut *transaction).await?;
        left = rest;
    }
    for sql in COUNTS {
        sqlx::query(sql)
            .bind(last)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await
}

fn insert(rows: usize) -> SqlStr {
    let values = vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"; rows].join(", ");
    AssertSqlSafe(format!(
        "INSERT INTO predictions (key, edge_device_id, model_name, model_version, taken_at, \
         created_at, defect_detected, named, latency, class, confidence, body) VALUES {values} \
         ON CONFLICT (key) DO NOTHING"
    ))
    .into_sql_str()
}

// === impl Row ===

impl Row {
    fn read(text: &RawValue, device: &Arc<str>) -> anyhow::Result<Self> {
        let prediction: Prediction = serde_json::from_str(text.get())?;
        let taken_at = time::OffsetDateTime::parse(
            &prediction.timestamp,
            &time::format_description::well_known::Rfc3339,
        )?;
        let taken_at = (taken_at.unix_timestamp_nanos() / 1_000_000) as i64;
        // As small and as close to the present as Impetus's, so that both write the same pages.
        let mut key = (taken_at / 1_000 + (1 << 37)).to_be_bytes()[3..].to_vec();
        let mut hasher = DefaultHasher::new();
        (&prediction.image_id, taken_at, &**device).hash(&mut hasher);
        key.extend_from_slice(&hasher.finish().to_be_bytes());
        Ok(Self {
            key,
            device: Arc::clone(device),
            prediction,
            taken_at,
            body: text.get().to_owned(),
        })
    }
}
