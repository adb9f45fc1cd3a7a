//! The actor that makes the models that are served the models that should be.
//!
//! Every tick it compares the desired set (what the [orders] make of what the source holds) with the
//! actual one (the catalog, and the supervisors that stand) and takes the [steps](change) between
//! them. It keeps no state of its own: a fresh incarnation finds everything where the last one left
//! it, and models serve on while it is gone. A source that cannot be read proves nothing, so nothing
//! is unloaded for it.

mod change;
mod control;
mod orders;
mod tree;
mod turning;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use impetus_supervision::{
    Actor, ActorError, ActorRef, Backoff, Context, Intensity, Message, Reply, StatusReport,
    SupervisorRef,
};
use tracing::{info, warn};

use crate::heartbeat::BoardSource;
use crate::serving::opening::{self, PROBE_WITHIN};
use crate::serving::worker::Workshop;
use crate::serving::{Commons, ModelEntry, ServedModel, ServingLimits};
use crate::sources::folder::{self, Found, ScanError, Wanted};
use crate::sources::shelf::Shelf;
use change::Change;
use orders::Orders;

pub use control::{IndexEntry, ModelControl, OrderError};
pub use orders::{Given, Mode};

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
    /// When the folder decides what is served.
    pub mode: Mode,
    /// Models that are asked for from the start, where the folder does not decide.
    pub load: Vec<String>,
    /// How long those inside a version that is replaced may take to be answered.
    pub retire_within: Duration,
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
    scan: Option<tokio::task::JoinHandle<Result<Vec<Found>, ScanError>>>,
    problem: Option<String>,
    /// Models whose next change will be told.
    watched: BTreeSet<String>,
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
    /// The models that come from elsewhere than the folder.
    pub shelf: Arc<Shelf>,
    /// What people have asked for.
    orders: Mutex<Orders>,
}

/// What the loader can be told.
#[derive(Debug)]
pub enum LoaderMsg {
    /// Load a model as it lies in the source now; the answer is what is to serve.
    Load {
        /// Its name.
        name: String,
        /// A description to be used instead of the one that lies there.
        given: Option<Box<Given>>,
        /// For the answer.
        reply: Reply<Result<Vec<Arc<ServedModel>>, OrderError>>,
    },
    /// Take a model out of service; the answer is what will end.
    Unload {
        /// Its name.
        name: String,
        /// For the answer.
        reply: Reply<Result<Vec<Arc<ServedModel>>, OrderError>>,
    },
    /// Look at the sources at once: something has arrived, or is asked for.
    Look,
    /// Look at what a model has come to.
    Changed {
        /// Its label.
        label: String,
    },
}

impl Message for LoaderMsg {
    fn label(&self) -> &'static str {
        match self {
            Self::Load { .. } => "load",
            Self::Unload { .. } => "unload",
            Self::Look => "look",
            Self::Changed { .. } => "changed",
        }
    }
}

// === impl LoaderShared ===

impl LoaderShared {
    /// Puts together what every incarnation of the loader is built from.
    #[must_use]
    pub fn new(
        settings: LoaderSettings,
        shop: Arc<Workshop>,
        models: SupervisorRef,
        commons: Arc<Commons>,
        shelf: Arc<Shelf>,
    ) -> Self {
        Self {
            shelf,
            orders: Mutex::new(Orders::new(settings.mode, settings.load.iter().cloned())),
            board: Arc::clone(&shop.board),
            settings,
            shop,
            models,
            commons,
        }
    }

    /// Returns the hand that gives orders to the loader.
    #[must_use]
    pub fn control(&self, loader: ActorRef<LoaderMsg>) -> ModelControl {
        let dir = self.settings.dir.clone();
        ModelControl::new(loader, Arc::clone(&self.shop.catalog), dir)
    }

    /// Returns what is to be served of what lies in the folder and of what comes from elsewhere, which
    /// goes before a folder of the same name.
    fn wanted(&self, found: &[Found]) -> Vec<Wanted> {
        let mut orders = self.orders();
        let mut wanted = orders.wanted(found, &self.settings.dir);
        wanted.retain(|wanted| !self.shelf.has(&wanted.spec.name));
        wanted.extend(orders.shelved(&self.shelf));
        wanted
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        // Nothing inside these sections can leave the orders half-changed.
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
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
            watched: BTreeSet::new(),
        }
    }

    async fn reconcile(&mut self, ctx: &Context<Self>) {
        if let Ok(found) = self.look(ctx).await {
            self.apply(ctx, &found).await;
        }
    }

    /// Looks at the source; says what is wrong with it if it cannot be read.
    async fn look(&mut self, ctx: &Context<Self>) -> Result<Vec<Found>, String> {
        ctx.progress("look at the model folder", SCAN_WITHIN + ORDER_WITHIN);
        match self.scan().await {
            Ok(found) => {
                self.problem = None;
                Ok(found)
            }
            Err(problem) => {
                if self.problem.as_ref() != Some(&problem) {
                    warn!(%problem, "models cannot be looked up");
                }
                self.shared.shop.catalog.scanned(Some(problem.clone()));
                self.problem = Some(problem.clone());
                Err(problem)
            }
        }
    }

    async fn load(
        &mut self,
        ctx: &Context<Self>,
        name: &str,
        given: Option<Box<Given>>,
    ) -> Result<Vec<Arc<ServedModel>>, OrderError> {
        let found = self.look(ctx).await.map_err(OrderError::Source)?;
        if !self.is_there(name, &found) {
            return Err(self.not_there(name));
        }
        info!(model = %name, "model is to be loaded");
        self.shared.orders().load(name, given);
        self.apply(ctx, &found).await;
        Ok(self.standing(name, |model| model.is_wanted()))
    }

    async fn unload(
        &mut self,
        ctx: &Context<Self>,
        name: &str,
    ) -> Result<Vec<Arc<ServedModel>>, OrderError> {
        let found = self.look(ctx).await.map_err(OrderError::Source)?;
        let leaving = self.standing(name, |_| true);
        if leaving.is_empty() && !self.is_there(name, &found) {
            return Err(self.not_there(name));
        }
        info!(model = %name, "model is to be unloaded");
        self.shared.orders().unload(name);
        self.apply(ctx, &found).await;
        Ok(leaving)
    }

    fn is_there(&self, name: &str, found: &[Found]) -> bool {
        found.iter().any(|found| found.name == name) || self.shared.shelf.has(name)
    }

    fn not_there(&self, name: &str) -> OrderError {
        OrderError::NotThere {
            name: name.to_owned(),
            dir: self.shared.settings.dir.clone(),
        }
    }

    fn standing(&self, name: &str, which: impl Fn(&ServedModel) -> bool) -> Vec<Arc<ServedModel>> {
        let entries = self.shared.shop.catalog.entries();
        let versions = entries.get(name).map(|entry| entry.versions());
        let versions = versions.unwrap_or_default().iter();
        versions.filter(|model| which(model)).cloned().collect()
    }

    /// Looks at the source, off this thread and with a deadline. A look that hangs is not
    /// started a second time: its answer is taken when it comes.
    async fn scan(&mut self) -> Result<Vec<Found>, String> {
        let dir = self.shared.settings.dir.clone();
        // Where models come from elsewhere, there need be no folder.
        let may_lack = !self.shared.shelf.sources().is_empty();
        let scan = self.scan.get_or_insert_with(|| {
            tokio::task::spawn_blocking(move || match dir.exists() || !may_lack {
                true => folder::scan(&dir),
                false => Ok(Vec::new()),
            })
        });
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

    /// Takes the steps from what stands to what is wanted of what lies in the source.
    async fn apply(&mut self, ctx: &Context<Self>, found: &[Found]) {
        if !ctx.fence().is_current() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let wanted = shared.wanted(found);
        if wanted.is_empty() {
            self.probe_runtime(ctx).await;
            if !ctx.fence().is_current() {
                return;
            }
        }
        let (mut standing, mut running, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        for change in self.changes(wanted) {
            standing.extend(ModelEntry::of(change.standing));
            running.extend(change.running);
            ended.extend(change.ended);
        }
        self.mark_required(&standing);
        shared.shop.catalog.publish(standing);
        for model in ended {
            ctx.progress("take a model out", ORDER_WITHIN + self.stop_within());
            self.take_out(&model).await;
        }
        for model in running {
            if model.is_here() && !self.stands(&model) {
                ctx.progress("hang a model in", ORDER_WITHIN * 2);
                self.hang_in(&model).await;
            }
        }
        self.turn(ctx).await;
        shared.shop.catalog.scanned(None);
    }

    /// Returns the change of every name that stands or is wanted.
    fn changes(&self, wanted: Vec<Wanted>) -> Vec<Change> {
        let shared = &self.shared;
        let actual = shared.shop.catalog.entries();
        let mut by_name: BTreeMap<&str, Vec<Wanted>> = BTreeMap::new();
        for name in actual.keys() {
            by_name.entry(name).or_default();
        }
        let names: BTreeSet<String> = wanted.iter().map(|w| w.spec.name.clone()).collect();
        for name in &names {
            by_name.entry(name).or_default();
        }
        for wanted in wanted {
            let name = wanted.spec.name.clone();
            if let Some(of_name) = by_name.get_mut(name.as_str()) {
                of_name.push(wanted);
            }
        }
        let changes = by_name.into_iter().map(|(name, wanted)| {
            // All versions have one description.
            let announced = Cell::new(false);
            let make = |wanted, other: Option<&ServedModel>| {
                let model = self.make(wanted, other);
                if !announced.replace(true) {
                    model.announce(other);
                }
                model
            };
            Change::between(actual.get(name).map(Arc::as_ref), wanted, make)
        });
        changes.collect()
    }

    fn make(&self, wanted: Wanted, other: Option<&ServedModel>) -> ServedModel {
        let (name, version) = (&wanted.spec.name, &wanted.spec.version);
        match (&wanted.problem, other) {
            (Some(problem), _) => {
                warn!(model = %name, %version, %problem, "model cannot be loaded")
            }
            (None, Some(_)) => info!(model = %name, %version, "model is loaded anew"),
            (None, None) => info!(model = %name, %version, "model is loaded"),
        }
        let limits = self.shared.settings.limits.clone();
        match other {
            Some(other) => ServedModel::beside(wanted, limits, other),
            None => ServedModel::new(wanted, limits, Arc::clone(&self.shared.commons)),
        }
    }

    fn mark_required(&self, entries: &[ModelEntry]) {
        let named = &self.shared.settings.required;
        let says_so = |entry: &ModelEntry| {
            let mut versions = entry.versions().iter();
            versions.any(|model| model.spec().description.required)
        };
        let none_named = named.is_empty() && !entries.iter().any(says_so);
        for entry in entries {
            let required = if none_named {
                entries.len() == 1
            } else {
                named.iter().any(|name| name == entry.name()) || says_so(entry)
            };
            for model in entry.versions() {
                model.set_required(required);
            }
        }
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
            LoaderMsg::Load { name, given, reply } => {
                reply.send(self.load(ctx, &name, given).await);
            }
            LoaderMsg::Unload { name, reply } => reply.send(self.unload(ctx, &name).await),
            LoaderMsg::Look => self.reconcile(ctx).await,
            LoaderMsg::Changed { label } => {
                self.watched.remove(&label);
                self.turn(ctx).await;
            }
        }
        Ok(())
    }

    async fn tick(&mut self, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        self.reconcile(ctx).await;
        Ok(())
    }

    fn status(&self) -> StatusReport {
        let models = self.shared.shop.catalog.entries();
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
