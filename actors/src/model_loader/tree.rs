//! The supervisors under which a model's workers hang: one for each version, one child for each worker.

use std::sync::Arc;
use std::time::Duration;

use impetus_supervision::{
    ActorId, ActorState, Backoff, ChildSpec, Intensity, Restart, Shutdown, Strategy,
    SupervisorError, SupervisorSpec,
};
use tracing::{info, warn};

use super::{LoaderSettings, MODEL_LOADER, ModelLoader, ORDER_WITHIN};
use crate::serving::description::RestartPolicy;
use crate::serving::worker::LOOK_EVERY;
use crate::serving::{ModelWorker, ServedModel};

// === impl LoaderSettings ===

impl LoaderSettings {
    /// Returns the restart intensity of a model's workers. One that is none was refused when the
    /// description was read.
    fn intensity_of(&self, policy: &RestartPolicy) -> Intensity {
        let restarts = policy.restarts.unwrap_or(self.intensity.restarts());
        let within = policy.within.unwrap_or(self.intensity.within());
        Intensity::try_new(restarts, within).unwrap_or(self.intensity)
    }

    fn backoff_of(&self, policy: &RestartPolicy) -> Backoff {
        let bounds = (policy.backoff_min, policy.backoff_max);
        self.backoff
            .between(bounds.0, bounds.1)
            .unwrap_or(self.backoff)
    }
}

// === impl ModelLoader ===

impl ModelLoader {
    pub(super) fn stands(&self, model: &ServedModel) -> bool {
        let id = supervisor_id(model);
        // Before the board is there the first look at the source is under way, and what this
        // incarnation starts it starts once.
        self.shared.board.get().is_none_or(|board| {
            board.get(&id).is_some_and(|status| {
                !matches!(status.state, ActorState::Stopped | ActorState::Stopping)
            })
        })
    }

    pub(super) async fn hang_in(&self, model: &Arc<ServedModel>) {
        let spec = self.supervisor_of(model);
        match self.shared.models.start_child(spec, ORDER_WITHIN).await {
            Ok(()) | Err(SupervisorError::Duplicate(_)) => {}
            Err(error) => {
                warn!(model = %model.spec().name, %error, "model could not be hung in, trying again");
            }
        }
    }

    pub(super) async fn take_out(&self, model: &Arc<ServedModel>) {
        let (name, version) = (&model.spec().name, &model.spec().version);
        model.close();
        let within = ORDER_WITHIN + self.stop_within();
        match self
            .shared
            .models
            .stop_child(&supervisor_id(model), within)
            .await
        {
            Ok(()) | Err(SupervisorError::Unknown(_)) => {
                info!(model = %name, %version, "model is out")
            }
            Err(error) => {
                warn!(model = %name, %version, %error, "model could not be taken out in time")
            }
        }
        model.note_gone();
    }

    pub(super) fn stop_within(&self) -> Duration {
        self.shared.shop.settings.stop_within + Duration::from_secs(3)
    }

    fn supervisor_of(&self, model: &Arc<ServedModel>) -> ChildSpec {
        let mut spec = SupervisorSpec::new(supervisor_id(model)).strategy(Strategy::OneForOne);
        let limits = model.limits();
        for index in 0..limits.workers + limits.spares {
            spec = spec.child(self.worker_of(model, index));
        }
        let (child, _) = ChildSpec::supervisor(spec);
        child
            .restart(Restart::Permanent)
            .shutdown(Shutdown::Within(self.stop_within()))
            .listed_under(ActorId::from(MODEL_LOADER))
    }

    fn worker_of(&self, model: &Arc<ServedModel>, index: usize) -> ChildSpec {
        let settings = &self.shared.settings;
        let shop = Arc::clone(&self.shared.shop);
        let served = Arc::clone(model);
        let id = format!("worker:{}/{index}", model.spec().label());
        let (child, _) = ChildSpec::actor(id, move |_birth| {
            ModelWorker::new(Arc::clone(&served), index, Arc::clone(&shop))
        });
        let restart = &model.spec().description.restart;
        let intensity = settings.intensity_of(restart);
        child
            .restart(Restart::Permanent)
            .shutdown(Shutdown::Within(self.stop_within()))
            .intensity(intensity)
            .backoff(settings.backoff_of(restart))
            .cool_down(restart.cool_down.unwrap_or(settings.cool_down))
            .start_deadline(self.shared.shop.settings.open_within(model) + Duration::from_secs(5))
            .handle_deadline(Duration::from_secs(5))
            .capacity(16)
            .tick(LOOK_EVERY)
    }
}

fn supervisor_id(model: &ServedModel) -> ActorId {
    ActorId::from(format!("model:{}", model.spec().label()))
}
