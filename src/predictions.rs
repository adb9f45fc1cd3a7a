//! What this server predicts itself goes into the prediction log.
//!
//! Every protocol ends here: once a model has answered, and before its client hears of it, the
//! [`Recorder`] makes [predictions](composing) of the answer, if its model has them logged. Then
//! either nobody waits for the log and what finds no room in it is counted and said, or the answer
//! waits until the predictions are on the disk and is not given where they cannot be.
//!
//! **Invariant:** a prediction is logged as it is answered, from the same scores by the same rule
//! ([`classes`]), and one that is refused for want of the log is not answered. What did not come
//! through a protocol (samples for warming up, an idle worker's own checks) does not come here.

pub mod classes;
mod composing;
mod sampling;
mod warning;

use std::sync::Arc;
use std::time::{Duration, Instant};

use impetus_actors::predlog::{Label, LogBatch, LogError, PredictionLog, PredictionTime};
use impetus_actors::serving::description::LogMode;
use impetus_actors::serving::{Inference, Protocol, ServedModel};
use impetus_supervision::Clock;
use tracing::warn;

use warning::Pause;

/// Puts into the log what models answer.
pub struct Recorder {
    log: PredictionLog,
    clock: Arc<dyn Clock>,
    settings: RecorderSettings,
    warned: Pause,
}

/// What holds where a model says nothing else, and for all of them.
#[derive(Debug, Clone)]
pub struct RecorderSettings {
    /// Which predictions are logged.
    pub mode: LogMode,
    /// The part of them that is, where they are sampled.
    pub sample: f64,
    /// Whether an answer waits until its predictions are on the disk.
    pub durable: bool,
    /// How long it waits for that at most.
    pub within: Duration,
    /// Who made them.
    pub device: Label,
}

/// An answer of a model, and to which request.
#[derive(Debug)]
pub struct Made<'a> {
    /// The model that gave it.
    pub model: &'a ServedModel,
    /// What it gave.
    pub inference: &'a Inference,
    /// How the request came in.
    pub protocol: Protocol,
    /// The id under which the server knows the request.
    pub request_id: Option<&'a str>,
    /// What its client calls it, if it says so.
    pub name: Option<&'a str>,
    /// When nobody waits for its answer any more.
    pub deadline: Instant,
}

/// Predictions on their way into the log.
#[must_use = "nothing is logged before it is told to be"]
pub struct Pending<'a> {
    recorder: &'a Recorder,
    batch: LogBatch,
    /// Until when the answer waits for them, if it does.
    durable_by: Option<Instant>,
}

// === impl Recorder ===

impl Recorder {
    /// Makes a recorder that writes to `log`.
    #[must_use]
    pub fn new(log: PredictionLog, clock: Arc<dyn Clock>, settings: RecorderSettings) -> Self {
        Self {
            log,
            clock,
            settings,
            warned: Pause::default(),
        }
    }

    /// Has an answer logged as its model wants it, and waits for it where it is to.
    ///
    /// # Errors
    /// As for [`Pending::log`].
    pub async fn record(&self, made: &Made<'_>) -> Result<(), LogError> {
        match self.compose(made) {
            Some(pending) => pending.log().await,
            None => Ok(()),
        }
    }

    /// Makes of an answer what is to be logged of it, if anything is.
    pub fn compose(&self, made: &Made<'_>) -> Option<Pending<'_>> {
        let settings = &self.settings;
        let own = &made.model.spec().description.log;
        let is_wanted = match own.mode.unwrap_or(settings.mode) {
            LogMode::Off => false,
            LogMode::On => true,
            LogMode::Sampled => {
                let part = own.sample.unwrap_or(settings.sample);
                sampling::is_chosen(made.request_id.unwrap_or_default(), part)
            }
        };
        if !is_wanted {
            return None;
        }
        let now = PredictionTime::from(self.clock.wall());
        let batch = composing::batch(&settings.device, now, made);
        let durable = own.durable.unwrap_or(settings.durable);
        Some(Pending {
            recorder: self,
            batch,
            durable_by: durable.then_some(made.deadline),
        })
    }

    /// Says now and then that predictions are not logged.
    fn tell(&self, error: &LogError) {
        if self.warned.is_over(self.clock.now()) {
            let dropped = self.log.status().snapshot().dropped;
            warn!(%error, dropped, "predictions are answered without being logged");
        }
    }
}

// === impl Pending ===

impl Pending<'_> {
    /// Has them logged, and waits for it where the model is to answer only then.
    ///
    /// # Errors
    /// The answer was to wait for the log, which has not got them: it must not be given.
    pub async fn log(self) -> Result<(), LogError> {
        let Self {
            recorder,
            batch,
            durable_by,
        } = self;
        let Some(deadline) = durable_by else {
            if let Err(error) = recorder.log.record(batch) {
                recorder.tell(&error);
            }
            return Ok(());
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let within = left.min(recorder.settings.within);
        recorder.log.log(batch, within).await.map(drop)
    }
}
