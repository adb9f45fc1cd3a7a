//! Prediction logs to measure with, filled through the server's own writer.
//!
//! Tables, indices and counts are those of a log that has grown, because it has: in batches of the
//! size that `POST /log` allows, in the order of their time. What is left out is HTTP.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::ensure;
use impetus_actors::predlog::{self, LogBatch, PredictionLog, PredictionLogConfig};
use impetus_supervision::{Clock, SupervisorSpec, System, SystemClock};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::process::pause;

/// What is put into a log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Landing {
    pub(crate) rows: u64,
    /// The time over which they were made, which ends now.
    pub(crate) span: Duration,
    /// Whether each has an id.
    pub(crate) named: bool,
}

/// A log that has been filled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Landed {
    /// When the first of its predictions was made, in milliseconds since 1970.
    pub(crate) begins: i64,
    /// And when the last one had been.
    pub(crate) ends: i64,
    /// How long it took to fill.
    pub(crate) seconds: f64,
    pub(crate) bytes: u64,
}

/// Predictions of one batch: as many as a request may have.
const BATCH: u64 = 10_000;
/// Devices, of which the last has no defect.
pub(crate) const DEVICES: u64 = 50;
/// Models that share nearly all predictions.
const MODELS: u64 = 7;
/// One more has so many predictions.
const RARE: u64 = 100;
/// Predictions in a hundred that found a defect.
const DEFECTS: u64 = 3;
/// No step is meant to take this long.
const PATIENCE: Duration = Duration::from_secs(120);

// === impl Landing ===

impl Landing {
    /// Fills the log in `folder`, which is empty.
    pub(crate) fn fill(self, folder: &Path) -> anyhow::Result<Landed> {
        let clock = Arc::new(SystemClock::new());
        let ends = i64::try_from(clock.wall().duration_since(UNIX_EPOCH)?.as_millis())?;
        let begins = ends - i64::try_from(self.span.as_millis())?;
        let mut config = PredictionLogConfig::in_folder(folder);
        config.commit_within = PATIENCE;
        let file = config.file();
        let (children, log) = predlog::children(config, clock.clone());
        let root = SupervisorSpec::new("root");
        let root = children.into_iter().fold(root, SupervisorSpec::child);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        // Actors are reached through the runtime that they were started in.
        let seconds = runtime.block_on(async {
            let system = System::builder().clock(clock).start(root)?;
            let seconds = self.log(&log, begins).await?;
            system.stop(PATIENCE).await;
            anyhow::Ok(seconds)
        })?;
        let bytes = std::fs::metadata(file)?.len();
        Ok(Landed {
            begins,
            ends,
            seconds,
            bytes,
        })
    }

    /// Logs everything; a thread makes the next batch while one is written.
    async fn log(self, log: &PredictionLog, begins: i64) -> anyhow::Result<f64> {
        let patience = Instant::now() + PATIENCE;
        while !log.status().snapshot().connected {
            ensure!(Instant::now() < patience, "the log does not open");
            pause(Duration::from_millis(5));
        }
        let began = Instant::now();
        let (sender, batches) = sync_channel(2);
        let making = thread::spawn(move || {
            let firsts = (0..self.rows).step_by(BATCH as usize);
            firsts
                .map(|first| self.batch(first, begins))
                // Nobody waits for more when writing has failed.
                .take_while(|batch| sender.send(batch.clone()).is_ok())
                .count()
        });
        let mut logged = 0;
        while let Ok(batch) = batches.recv() {
            let batch = batch.map_err(anyhow::Error::msg)?;
            logged += log.log(batch, PATIENCE).await?.logged as u64;
        }
        let _made = making.join();
        ensure!(logged == self.rows, "{logged} of {} logged", self.rows);
        Ok(began.elapsed().as_secs_f64())
    }

    fn batch(self, first: u64, begins: i64) -> Result<LogBatch, String> {
        let last = (first + BATCH).min(self.rows);
        let each = |row| self.prediction(row, begins);
        let (predictions, origins): (Vec<_>, Vec<_>) = (first..last)
            .map(each)
            .collect::<anyhow::Result<Vec<_>>>()
            .map_err(|error| error.to_string())?
            .into_iter()
            .unzip();
        let body = format!(
            "{{\"predictions\":[{}],\"origins\":[{}]}}",
            predictions.join(","),
            origins.join(",")
        );
        LogBatch::parse(body.as_bytes()).map_err(|error| error.to_string())
    }

    /// Returns a prediction, and whose it is.
    fn prediction(self, row: u64, begins: i64) -> anyhow::Result<(String, String)> {
        let Self { rows, span, named } = self;
        let chance = scattered(row);
        let device = chance % DEVICES;
        let model = match row % (rows / RARE).max(1) {
            7 => rare_model(),
            _ => model(chance / DEVICES % MODELS),
        };
        let defect = device + 1 < DEVICES && chance / 1_000 % 100 < DEFECTS;
        let class = if defect { "scratch" } else { "good" };
        let after = u128::from(row) * span.as_millis() / u128::from(rows);
        let millis = begins + i64::try_from(after)?;
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)?;
        let time = time.format(&Rfc3339)?;
        let id = if named {
            format!("\"id\":\"p-{chance:016x}\",")
        } else {
            String::new()
        };
        let milliseconds = chance / 100_000 % 40;
        let confidence = chance / 7_000_000 % 50 + 50;
        let prediction = format!(
            "{{{id}\"image_id\":\"image-{row:012}\",\"timestamp\":\"{time}\",\
             \"model_version\":\"3\",\"model_name\":\"{model}\",\
             \"inference_time_ms\":{milliseconds}.25,\
             \"detections\":[{{\"class\":\"{class}\",\"confidence\":0.{confidence},\
             \"bbox\":[4,8,20,24],\"uncertain\":false}}],\"defect_detected\":{defect},\
             \"confidence_scores\":{{\"{class}\":0.{confidence}}},\"processing_notes\":\"\"}}"
        );
        // As the server's own keys: with an id they are scattered, else they begin with the second.
        let key = if named {
            format!("{chance:016x}{:016x}", scattered(!row))
        } else {
            let second = millis / 1_000 + (1 << 37);
            format!("{second:010x}{chance:016x}{:06x}", row % (1 << 24))
        };
        let device = self::device(device);
        let origin = format!("{{\"key\":\"{key}\",\"edge_device_id\":\"{device}\"}}");
        Ok((prediction, origin))
    }
}

/// Returns the name of a device.
pub(crate) fn device(number: u64) -> String {
    format!("line-{number:02}")
}

/// Returns the name of a model that has many predictions.
pub(crate) fn model(number: u64) -> String {
    format!("surface-{number}")
}

/// Returns the name of the model that has few.
pub(crate) fn rare_model() -> String {
    "trial".to_owned()
}

/// Returns a number that looks like chance and is another for each row (splitmix64).
fn scattered(row: u64) -> u64 {
    let mut bits = row.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
