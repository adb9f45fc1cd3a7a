//! The sink against a real PostgreSQL.

mod counting;
mod delivering;
mod failing;
mod keeping;
mod reading;

use std::time::{Duration, SystemTime};

use impetus_supervision::BoxFuture;
use serde_json::{Value, json};

use super::test_server::Postgres;
use super::*;
use crate::predlog::testing::{prediction, rows};

/// No step is meant to take this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// The present of these tests: 2025-01-15T12:00:00Z.
const NOW: i64 = 1_736_942_400_000;

/// A wall clock that stands still.
struct At(i64);

/// A server, and how its sinks are made.
struct Fixture {
    server: Postgres,
    config: PredictionLogConfig,
    settings: PostgresSettings,
}

impl Clock for At {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.0.unsigned_abs())
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

impl Fixture {
    fn new() -> Self {
        let server = Postgres::start();
        let mut config = PredictionLogConfig::in_folder("/nowhere");
        config.read_within = PATIENCE;
        let settings = PostgresSettings {
            url: server.url().into(),
            password_file: None,
            ca_file: None,
            rows: 4096,
        };
        Self {
            server,
            config,
            settings,
        }
    }

    fn sink(&self) -> PostgresSink {
        self.sink_at(NOW)
    }

    fn sink_at(&self, now: i64) -> PostgresSink {
        PostgresSink::new(&self.config, &self.settings, PATIENCE, Arc::new(At(now)))
    }

    fn reader(&self) -> PostgresReader {
        PostgresReader::new(&self.config, &self.settings)
    }

    fn count(&self, what: &str) -> u64 {
        let sql = format!("SELECT count(*) FROM {what}");
        self.server.psql(&sql).parse().expect("a number")
    }

    /// Asserts that every count is what counting all rows anew gives.
    fn assert_counted(&self) {
        let defects = "count(*) FILTER (WHERE defect_detected)";
        let day = "(taken_at AT TIME ZONE 'UTC')::date";
        let hour = "date_trunc('hour', taken_at, 'UTC')";
        for (table, columns, groups, counts) in [
            (
                "rollup_models",
                "model_name, total, defects",
                "model_name",
                true,
            ),
            (
                "rollup_devices",
                "edge_device_id, total, defects",
                "edge_device_id",
                true,
            ),
            ("rollup_hours", "hour, total, defects", hour, true),
            (
                "rollup_latencies",
                "model_name, latency, total",
                "model_name, latency",
                false,
            ),
            (
                "rollup_models_by_day",
                "model_name, day, total, defects",
                &format!("model_name, {day}"),
                true,
            ),
            (
                "rollup_devices_by_day",
                "edge_device_id, day, total, defects",
                &format!("edge_device_id, {day}"),
                true,
            ),
            (
                "rollup_latencies_by_day",
                "model_name, latency, day, total",
                &format!("model_name, latency, {day}"),
                false,
            ),
        ] {
            let counts = if counts {
                format!("count(*), {defects}")
            } else {
                "count(*)".to_owned()
            };
            let places = if groups.contains(',') && !groups.starts_with("date_trunc") {
                (1..=groups.matches(", ").count() + 1)
                    .map(|place| place.to_string())
                    .collect::<Vec<_>>()
                    .join(", ")
            } else {
                "1".to_owned()
            };
            let stored = format!("SELECT {columns} FROM {table}");
            let anew = format!("SELECT {groups}, {counts} FROM predictions GROUP BY {places}");
            let different = self.server.psql(&format!(
                "(({stored}) EXCEPT ({anew})) UNION ALL (({anew}) EXCEPT ({stored}))"
            ));
            assert_eq!(different, "", "{table}");
        }
    }
}

/// Returns predictions of `device` as they lie in the file, logged now.
fn landed(device: &str, predictions: &[Value]) -> Vec<Landed> {
    landed_at(NOW, device, predictions)
}

fn landed_at(created_at: i64, device: &str, predictions: &[Value]) -> Vec<Landed> {
    let row = |(seq, row): (i64, &super::super::row::Row)| Landed {
        seq,
        created_at,
        row: row.clone(),
    };
    (1..)
        .zip(rows(device, predictions).iter())
        .map(row)
        .collect()
}

/// Returns a prediction that its sender has named.
fn named(id: &str, time: &str, defect: bool) -> Value {
    let mut named = prediction("image", time, defect);
    named["id"] = json!(id);
    named
}

async fn deliver(sink: &mut PostgresSink, rows: &[Landed]) {
    let delivery = sink.deliver(rows).await.expect("delivers");
    assert_eq!(delivery.refused, []);
}
