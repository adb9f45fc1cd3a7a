//! Drift watch, the actor that compares what models say with what they said before.
//!
//! It reads two tables of counts at its own pace and publishes what came of it; `/stats` and metrics
//! read that without waiting. It writes nothing, so no commit ever waits for it, and it has an actor
//! of its own so that a long reading is nobody else's.
//!
//! A reading that fails is a state and never an exit: what was published last stays, with the time
//! of its comparison.

use std::sync::Arc;

use impetus_supervision::{Actor, ActorError, ChildSpec, Context, Message, StatusReport};
use tracing::{info, warn};

use crate::predlog::{DriftSettings, PredictionLogStatus, PredictionTime, ReadError, Reader};

/// Name of the actor.
pub const DRIFT_WATCH: &str = "drift_watch";

/// The actor.
#[derive(Debug)]
pub(crate) struct DriftWatch {
    shared: Arc<Shared>,
    /// Why the last reading failed, if it did.
    failure: Option<String>,
}

/// What outlives an incarnation.
#[derive(Debug)]
struct Shared {
    settings: DriftSettings,
    reader: Arc<Reader>,
    status: Arc<PredictionLogStatus>,
}

/// Nothing is ever sent to this actor.
#[derive(Debug)]
pub(crate) enum NoMessage {}

/// Returns the child spec of the actor.
pub(crate) fn child(
    settings: DriftSettings,
    reader: Arc<Reader>,
    status: Arc<PredictionLogStatus>,
) -> ChildSpec {
    let (every, within) = (settings.every, reader.within());
    let shared = Arc::new(Shared {
        settings,
        reader,
        status,
    });
    let (spec, _nobody_writes) = ChildSpec::actor(DRIFT_WATCH, move |_| DriftWatch {
        shared: Arc::clone(&shared),
        failure: None,
    });
    // A reading that hangs is seen here, as a state, before the supervisor sees it as a hang.
    spec.tick(every).handle_deadline(within * 2)
}

// === impl NoMessage ===

impl Message for NoMessage {}

// === impl DriftWatch ===

impl DriftWatch {
    async fn look(&mut self, ctx: &mut Context<Self>) {
        let Shared {
            settings,
            reader,
            status,
        } = &*self.shared;
        ctx.progress("compare what models say", reader.within() * 2);
        let now = PredictionTime::from(ctx.clock().wall());
        match reader.drift(settings, now).await {
            Ok(found) => {
                if self.failure.take().is_some() {
                    info!("drift is watched again");
                }
                if ctx.fence().is_current() {
                    status.drifts(found);
                }
            }
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &ReadError) {
        let reason = error.to_string();
        if self.failure.is_none() {
            warn!(reason, "drift cannot be told");
        }
        self.failure = Some(reason);
    }
}

impl Actor for DriftWatch {
    type Msg = NoMessage;

    async fn handle(&mut self, msg: NoMessage, _ctx: &mut Context<Self>) -> Result<(), ActorError> {
        match msg {}
    }

    async fn tick(&mut self, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        self.look(ctx).await;
        Ok(())
    }

    fn status(&self) -> StatusReport {
        StatusReport {
            // Nothing is lost meanwhile but a figure.
            score: if self.failure.is_none() { 100 } else { 60 },
            note: self.failure.clone(),
            ..StatusReport::default()
        }
    }
}
