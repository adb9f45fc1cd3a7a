//! The actor that makes the models that are served the models that should be.
//!
//! Every tick it compares the desired set (what the source holds) with the actual one (the
//! catalog, and the supervisors that stand) and takes the steps between them. It keeps no state of
//! its own: a fresh incarnation finds everything where the last one left it, and models serve on
//! while it is gone. A source that cannot be read proves nothing, so nothing is unloaded for it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use impetus_supervision::{
    Actor, ActorError, ActorId, ActorState, Backoff, ChildSpec, Context, Intensity, Message,
    Restart, Shutdown, StatusReport, Strategy, SupervisorError, SupervisorRef, SupervisorSpec,
};
use tracing::{info, warn};

use crate::heartbeat::BoardSource;
use crate::serving::description::RestartPolicy;
use crate::serving::opening::{self, PROBE_WITHIN};
use crate::serving::worker::{LOOK_EVERY, Workshop};
use crate::serving::{Commons, ModelWorker, ServedModel, ServingLimits};
use crate::sources::folder::{self, ScanError, Wanted};

/// Name of the loader, under which its models are listed.
pub const MODEL_LOADER: &str = "model_loader";

/// How long a look at the source may take.
const SCAN_WITHIN: Duration = Duration::from_secs(5);
/// How long the supervisor of models gets to take an order.
const ORDER_WITHIN: Duration = Duration::from_secs(5);

/// What the loader works with.
#[derive(Debug)]
pub struct LoaderSettings {
    /// The folder of models.
    pub dir: PathBuf,
    /// Names of the models readiness depends on; when empty, the only model, if there is just one.
    pub required: Vec<String>,
    /// Bounds of the serving path, for every model.
    pub limits: ServingLimits,
    /// Restart intensity of a worker.
    pub intensity: Intensity,
    /// Backoff between the restarts of a worker.
    pub backoff: Backoff,
    /// How long a worker that restarted too often rests.
    pub cool_down: Duration,
}

/// The actor.
#[derive(Debug)]
pub struct ModelLoader {
    shared: Arc<LoaderShared>,
    scan: Option<tokio::task::JoinHandle<Result<Vec<Wanted>, ScanError>>>,
    problem: Option<String>,
}

/// What every incarnation of the loader is built from.
#[derive(Debug)]
pub struct LoaderShared {
    /// Its settings.
    pub settings: LoaderSettings,
    /// What workers work with; its catalog is the table the loader writes.
    pub shop: Arc<Workshop>,
    /// The supervisor under which it hangs models.
    pub models: SupervisorRef,
    /// Where it sees whether their supervisors stand.
    pub board: BoardSource,
    /// What all models have in common.
    pub commons: Arc<Commons>,
}

/// What the loader can be told.
#[derive(Debug)]
pub enum LoaderMsg {
    /// Look at the source now instead of at the next tick.
    Rescan,
}

impl Message for LoaderMsg {
    fn label(&self) -> &'static str {
        "rescan"
    }
}

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
    /// Makes the actor; how often it looks is the tick of its child spec.
    #[must_use]
    pub fn new(shared: Arc<LoaderShared>) -> Self {
        Self {
            shared,
            scan: None,
            problem: None,
        }
    }

    async fn reconcile(&mut self, ctx: &Context<Self>) {
        ctx.progress("look at the model folder", SCAN_WITHIN + ORDER_WITHIN);
        let wanted = match self.look().await {
            Ok(wanted) => wanted,
            Err(problem) => {
                if self.problem.as_ref() != Some(&problem) {
                    warn!(%problem, "models cannot be looked up");
                }
                self.shared.shop.catalog.scanned(Some(problem.clone()));
                self.problem = Some(problem);
                return;
            }
        };
        self.problem = None;
        if ctx.fence().is_current() {
            if wanted.is_empty() {
                self.probe_runtime(ctx).await;
            }
            self.apply(ctx, wanted).await;
            self.shared.shop.catalog.scanned(None);
        }
    }

    /// Looks at the source, off this thread and with a deadline. A look that hangs is not
    /// started a second time: its answer is taken when it comes.
    async fn look(&mut self) -> Result<Vec<Wanted>, String> {
        let dir = self.shared.settings.dir.clone();
        let scan = self
            .scan
            .get_or_insert_with(|| tokio::task::spawn_blocking(move || folder::scan(&dir)));
        let Ok(result) = tokio::time::timeout(SCAN_WITHIN, scan).await else {
            return Err(format!(
                "model folder {} did not answer within {} s",
                self.shared.settings.dir.display(),
                SCAN_WITHIN.as_secs()
            ));
        };
        self.scan = None;
        match result {
            Ok(Ok(wanted)) => Ok(wanted),
            Ok(Err(error)) => Err(error.to_string()),
            Err(panicked) => Err(format!("looking at the model folder failed: {panicked}")),
        }
    }

    /// Learns whether the runtime can be had while there is no model whose worker would tell.
    async fn probe_runtime(&self, ctx: &Context<Self>) {
        let shop = &self.shared.shop;
        if shop.catalog.runtime().is_some() {
            return;
        }
        ctx.progress("probe the runtime", PROBE_WITHIN);
        let worker = &shop.settings;
        match opening::probe_runtime(&**shop.hosts.usual(), &worker.runtime, worker.link).await {
            Ok(runtime) => shop.catalog.runtime_loaded(runtime),
            Err(error) => warn!(%error, "the runtime cannot be used"),
        }
    }

    async fn apply(&self, ctx: &Context<Self>, wanted: Vec<Wanted>) {
        let shared = &self.shared;
        let actual = shared.shop.catalog.models();
        let mut next = BTreeMap::new();
        let mut to_start = Vec::new();
        let mut to_stop = Vec::new();
        for wanted in wanted {
            let name = wanted.spec.name.clone();
            match actual.get(&name) {
                Some(model) if keeps(model, &wanted) => {
                    if model.problem().is_none() && !self.stands(&name) {
                        to_start.push(Arc::clone(model));
                    }
                    next.insert(name, Arc::clone(model));
                }
                replaced => {
                    if let Some(old) = replaced {
                        info!(model = %name, "model files have changed, starting afresh");
                        to_stop.push(Arc::clone(old));
                    }
                    let model = Arc::new(ServedModel::new(
                        wanted,
                        shared.settings.limits.clone(),
                        Arc::clone(&shared.commons),
                    ));
                    model.announce();
                    if let Some(problem) = model.problem() {
                        warn!(model = %name, %problem, "model cannot be loaded");
                    } else {
                        to_start.push(Arc::clone(&model));
                    }
                    next.insert(name, model);
                }
            }
        }
        let gone = actual
            .values()
            .filter(|old| !next.contains_key(&old.spec().name));
        to_stop.extend(gone.cloned());
        self.mark_required(&next);
        shared.shop.catalog.publish(next);
        for model in to_stop {
            ctx.progress("take a model out", ORDER_WITHIN + self.stop_within());
            self.take_out(&model).await;
        }
        for model in to_start {
            ctx.progress("hang a model in", ORDER_WITHIN * 2);
            self.hang_in(&model).await;
        }
    }

    fn mark_required(&self, models: &BTreeMap<String, Arc<ServedModel>>) {
        let named = &self.shared.settings.required;
        for (name, model) in models {
            let says_so = |model: &Arc<ServedModel>| model.spec().description.required;
            let required = if named.is_empty() && !models.values().any(says_so) {
                models.len() == 1
            } else {
                named.contains(name) || says_so(model)
            };
            model.set_required(required);
        }
    }

    fn stands(&self, name: &str) -> bool {
        let id = supervisor_id(name);
        // Before the board is there the first look at the source is under way, and what this
        // incarnation starts it starts once.
        self.shared.board.get().is_none_or(|board| {
            board.get(&id).is_some_and(|status| {
                !matches!(status.state, ActorState::Stopped | ActorState::Stopping)
            })
        })
    }

    async fn hang_in(&self, model: &Arc<ServedModel>) {
        let spec = self.supervisor_of(model);
        match self.shared.models.start_child(spec, ORDER_WITHIN).await {
            Ok(()) | Err(SupervisorError::Duplicate(_)) => {}
            Err(error) => {
                warn!(model = %model.spec().name, %error, "model could not be hung in, trying again");
            }
        }
    }

    async fn take_out(&self, model: &Arc<ServedModel>) {
        let name = &model.spec().name;
        model.close();
        let within = ORDER_WITHIN + self.stop_within();
        match self
            .shared
            .models
            .stop_child(&supervisor_id(name), within)
            .await
        {
            Ok(()) | Err(SupervisorError::Unknown(_)) => info!(model = %name, "model is out"),
            Err(error) => warn!(model = %name, %error, "model could not be taken out in time"),
        }
    }

    fn stop_within(&self) -> Duration {
        self.shared.shop.settings.stop_within + Duration::from_secs(3)
    }

    fn supervisor_of(&self, model: &Arc<ServedModel>) -> ChildSpec {
        let mut spec =
            SupervisorSpec::new(supervisor_id(&model.spec().name)).strategy(Strategy::OneForOne);
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
        let id = format!("worker:{}/{index}", model.spec().name);
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

impl Actor for ModelLoader {
    type Msg = LoaderMsg;

    async fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        self.reconcile(ctx).await;
        Ok(())
    }

    async fn handle(&mut self, msg: LoaderMsg, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        match msg {
            LoaderMsg::Rescan => self.reconcile(ctx).await,
        }
        Ok(())
    }

    async fn tick(&mut self, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        self.reconcile(ctx).await;
        Ok(())
    }

    fn status(&self) -> StatusReport {
        let models = self.shared.shop.catalog.models();
        let mut report = StatusReport::default();
        if let Some(problem) = &self.problem {
            report.score = 50;
            report.note = Some(problem.clone());
        }
        report
            .details
            .insert("models".to_owned(), models.len().to_string());
        report
    }
}

fn supervisor_id(name: &str) -> ActorId {
    ActorId::from(format!("model:{name}"))
}

/// Tells whether a model that is there is the one that is wanted. One that serves is kept even
/// when its files have changed: replacing it without losing a request needs the new version beside
/// the old one. One that does not serve has nothing to lose.
fn keeps(model: &ServedModel, wanted: &Wanted) -> bool {
    model.fingerprint() == &wanted.fingerprint || model.state().is_usable()
}
