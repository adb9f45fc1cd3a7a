//! Downloader, the actor that fetches models which come from elsewhere.
//!
//! It looks at the [shelf](crate::sources::shelf): what lies at the addresses of stores it asks itself,
//! what a registry means the [registry's actor](crate::registry) says; what is meant and not here it has
//! fetched, a few models at a time, each by a task that can be cancelled and is resumed where it was left.
//! What has arrived it puts on the shelf and rings the model loader.
//!
//! A download that fails is tried again, with pauses that double, for ever; meanwhile the version that
//! is here serves. One that was cancelled waits until it is asked for again.
//!
//! **Invariant:** what is on the shelf or loaded is held in the cache, so that no server removes it.

mod attempts;
mod control;
mod memory;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use impetus_sources::Location;
use impetus_supervision::{
    Actor, ActorError, ActorRef, Backoff, ChildSpec, Context, Message, StatusReport, Timestamp,
};
use tracing::{info, warn};

use crate::model_loader::LoaderMsg;
use crate::serving::Catalog;
use crate::sources::arrival::ArrivalStage;
use crate::sources::fetcher::Fetcher;
use crate::sources::shelf::{Missing, Shelf};
use attempts::Attempts;
use memory::Memory;
use record::Records;

pub use control::{DownloadError, Downloads};
pub use record::{Counted, Download, DownloadState, DownloadStatus};

/// Name of the actor.
pub const DOWNLOADER: &str = "downloader";

/// How often it looks whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long it may take to look into the cache.
const LOOK_WITHIN: Duration = Duration::from_secs(10);
/// What a declared deadline leaves beyond that of the work itself.
const GRACE: Duration = Duration::from_secs(1);

/// Why a download that was cancelled does not go on.
const CANCELLED: &str = "it was cancelled; ask for it again to resume it";

/// How models are fetched.
#[derive(Debug)]
pub struct DownloaderSettings {
    /// What fetches them.
    pub fetcher: Arc<Fetcher>,
    /// Models that are fetched at one time.
    pub parallel: usize,
    /// Pauses between attempts.
    pub backoff: Backoff,
    /// How often it is looked what lies at the address of a store.
    pub poll_every: Duration,
    /// How often the holds on what is used are renewed.
    pub hold_every: Duration,
    /// The file in which the versions that are served are remembered.
    pub memory: PathBuf,
}

/// What the actor can be told.
#[derive(Debug)]
pub enum DownloaderMsg {
    /// Look whether there is something to fetch.
    Look,
    /// A task is over.
    Over {
        /// The model it was for.
        name: String,
    },
}

/// The actor.
pub(crate) struct Downloader {
    shared: Arc<Shared>,
    /// The models for which a task runs in this incarnation.
    running: BTreeSet<String>,
    /// When what lies at an address is to be looked at again.
    next_look: BTreeMap<String, Duration>,
    began: bool,
    /// What was held when it was last seen to, and when that is due again.
    held: Vec<PathBuf>,
    next_hold: Duration,
}

/// What outlives an incarnation.
#[derive(Debug)]
struct Shared {
    settings: DownloaderSettings,
    shelf: Arc<Shelf>,
    catalog: Arc<Catalog>,
    loader: OnceLock<ActorRef<LoaderMsg>>,
    records: Records,
    attempts: Attempts,
    memory: Memory,
}

/// The parts of a downloader: its child spec, and what the others hold of it.
#[derive(Debug)]
pub struct Parts {
    /// The child spec.
    pub spec: ChildSpec,
    /// The hand that tells it to look.
    pub actor: ActorRef<DownloaderMsg>,
    /// The hand that asks for downloads.
    pub downloads: Downloads,
}

/// Returns the parts of the actor.
#[must_use]
pub fn child(settings: DownloaderSettings, shelf: Arc<Shelf>, catalog: Arc<Catalog>) -> Parts {
    let shared = Arc::new(Shared {
        attempts: Attempts::new(settings.backoff),
        memory: Memory::new(settings.memory.clone()),
        settings,
        shelf,
        catalog,
        loader: OnceLock::new(),
        records: Records::default(),
    });
    let of_actor = Arc::clone(&shared);
    let (spec, actor) = ChildSpec::actor(DOWNLOADER, move |_| Downloader {
        shared: Arc::clone(&of_actor),
        running: BTreeSet::new(),
        next_look: BTreeMap::new(),
        began: false,
        held: Vec::new(),
        next_hold: Duration::ZERO,
    });
    Parts {
        spec: spec
            .tick(LOOK_EVERY)
            .handle_deadline(LOOK_WITHIN * 2 + GRACE),
        downloads: Downloads::new(shared, actor.clone()),
        actor,
    }
}

// === impl DownloaderMsg ===

impl Message for DownloaderMsg {
    fn label(&self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Over { .. } => "a download is over",
        }
    }
}

// === impl Downloader ===

impl Downloader {
    async fn look(&mut self, ctx: &Context<Self>) {
        if !self.began && !self.shared.shelf.is_empty() {
            self.recall(ctx).await;
            self.began = true;
        }
        self.shared
            .settle_queued(Timestamp::from(ctx.clock().wall()));
        self.look_at_stores(ctx);
        self.fetch_what_is_missing(ctx);
        self.hold(ctx).await;
    }

    /// Puts on the shelf what was served when the last run ended, if it is still there: so a start does
    /// not wait for a source that does not answer.
    async fn recall(&self, ctx: &Context<Self>) {
        ctx.progress("recall what was served before", LOOK_WITHIN + GRACE);
        let recalling = self.shared.recall();
        if tokio::time::timeout(LOOK_WITHIN, recalling).await.is_err() {
            warn!("the cache of models does not answer; models are fetched instead");
        }
        self.shared.ring();
    }

    /// Has looked at what lies at the addresses of stores, each at its own pace.
    fn look_at_stores(&mut self, ctx: &Context<Self>) {
        let now = ctx.clock().now();
        for (name, source) in self.shared.shelf.sources() {
            let due = self.next_look.get(&name).is_none_or(|at| now >= *at)
                || self.shared.attempts.is_asked(&name);
            if matches!(source, Location::Registry(_)) || !due {
                continue;
            }
            self.next_look
                .insert(name, now + self.shared.settings.poll_every);
            let (shared, myself) = (Arc::clone(&self.shared), ctx.myself());
            ctx.spawn(async move {
                let found = shared.settings.fetcher.look(&source).await;
                if let Err(problem) = &found {
                    warn!(source = %source.shown(), %problem, "what lies there cannot be seen");
                }
                let version = found.map_err(|problem| problem.to_string());
                if !shared.shelf.means(&source, version).is_empty() {
                    let _ = myself.try_send_priority(DownloaderMsg::Look);
                }
            });
        }
    }

    fn fetch_what_is_missing(&mut self, ctx: &Context<Self>) {
        let now = ctx.clock().now();
        for missing in self.shared.shelf.missing() {
            let settings = &self.shared.settings;
            if self.running.len() >= settings.parallel {
                return;
            }
            let (name, key) = (&missing.name, &missing.version.key);
            if self.running.contains(name) || !self.shared.attempts.is_due(name, key, now) {
                continue;
            }
            self.running.insert(name.clone());
            ctx.spawn(carry(
                Arc::clone(&self.shared),
                missing,
                ctx.clock().clone(),
                ctx.myself(),
            ));
        }
    }

    /// Returns where everything lies that is on the shelf or loaded.
    fn used(&self) -> Vec<PathBuf> {
        let shelved = self.shared.shelf.here().into_iter();
        let shelved = shelved.map(|(_, good)| good.path);
        let entries = self.shared.catalog.entries();
        let loaded = entries.values().flat_map(|entry| entry.versions());
        let loaded = loaded.map(|model| model.spec().path.clone());
        shelved.chain(loaded).collect()
    }

    /// Holds what is on the shelf or loaded, so that nobody removes it from the cache.
    async fn hold(&mut self, ctx: &Context<Self>) {
        let used = self.used();
        let now = ctx.clock().now();
        if used == self.held && now < self.next_hold {
            return;
        }
        ctx.progress("hold what is used in the cache", LOOK_WITHIN + GRACE);
        let holding = self.shared.settings.fetcher.hold(&used);
        match tokio::time::timeout(LOOK_WITHIN, holding).await {
            Ok(Ok(())) => {
                self.next_hold = now + self.shared.settings.hold_every;
                self.held = used;
            }
            Ok(Err(problem)) => warn!(%problem, "what is used cannot be held in the cache"),
            Err(_) => warn!("the cache of models does not answer"),
        }
    }
}

impl Actor for Downloader {
    type Msg = DownloaderMsg;

    async fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        self.look(ctx).await;
        Ok(())
    }

    async fn handle(
        &mut self,
        msg: DownloaderMsg,
        ctx: &mut Context<Self>,
    ) -> Result<(), ActorError> {
        if let DownloaderMsg::Over { name } = msg {
            self.running.remove(&name);
        }
        self.look(ctx).await;
        Ok(())
    }

    async fn tick(&mut self, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        self.look(ctx).await;
        Ok(())
    }

    fn status(&self) -> StatusReport {
        let failing = self.shared.attempts.failing();
        let mut report = StatusReport::default();
        if let Some((name, problem)) = failing.first() {
            report.score = 60;
            report.note = Some(format!("{name}: {problem}"));
        }
        let details = &mut report.details;
        details.insert("running".to_owned(), self.running.len().to_string());
        details.insert("failing".to_owned(), failing.len().to_string());
        report
    }
}

// === impl Shared ===

impl Shared {
    /// Puts on the shelf what was served when the last run ended, as far as it is still in the cache.
    async fn recall(&self) {
        let here: BTreeSet<String> = self.shelf.here().into_iter().map(|(n, _)| n).collect();
        let memory = self.memory.clone();
        let remembered = tokio::task::spawn_blocking(move || memory.read()).await;
        let remembered = remembered.unwrap_or_default();
        for (name, source) in self.shelf.sources() {
            let before = remembered
                .get(&name)
                .filter(|before| before.source == source);
            let Some(before) = before.filter(|_| !here.contains(&name)) else {
                continue;
            };
            if let Some(good) = self.settings.fetcher.recall(&name, &before.version).await {
                info!(model = %name, version = %before.version.label(), "model is in the cache");
                self.shelf.arrived(&name, good);
            }
        }
    }

    /// Has the model loader look at the shelf. One that cannot be told now looks by itself soon.
    fn ring(&self) {
        if let Some(loader) = self.loader.get() {
            let _ = loader.try_send_priority(LoaderMsg::Look);
        }
    }

    /// Notes of downloads that wait why they do, and that those are over which found everything here.
    fn settle_queued(&self, at: Timestamp) {
        for download in self.records.queued() {
            match self.shelf.awaited(download.name()) {
                Some(arrival) => download.wait(arrival.reason()),
                None => {
                    let why = "it was here already";
                    self.records.end(&download, DownloadState::Done, why, at);
                }
            }
        }
    }

    /// Cancels a download for which no task runs.
    fn cancel_queued(&self, download: &Download, at: Timestamp) {
        if download.is_queued() {
            let name = download.name();
            if let Some(arrival) = self.shelf.awaited(name) {
                arrival.set(ArrivalStage::Failed(CANCELLED.to_owned()));
            }
            self.attempts.hold(name, None, CANCELLED);
            self.records
                .end(download, DownloadState::Cancelled, CANCELLED, at);
        }
    }

    /// Fetches one version, until it is here, has failed or is cancelled.
    async fn fetch(&self, missing: &Missing, download: &Download) -> (DownloadState, String) {
        let Missing {
            name,
            source,
            version,
            arrival,
        } = missing;
        let fetcher = &self.settings.fetcher;
        let fetching = fetcher.fetch(name, source, version, arrival.progress());
        let fetched = tokio::select! {
            fetched = fetching => fetched,
            () = download.until_cancelled() => {
                return (DownloadState::Cancelled, CANCELLED.to_owned());
            }
        };
        match fetched {
            Ok(good) => {
                self.shelf.arrived(name, good);
                (DownloadState::Done, String::new())
            }
            Err(problem) => (DownloadState::Failed, problem.to_string()),
        }
    }
}

/// Carries one download to its end.
async fn carry(
    shared: Arc<Shared>,
    missing: Missing,
    clock: Arc<dyn impetus_supervision::Clock>,
    downloader: ActorRef<DownloaderMsg>,
) {
    let at = || Timestamp::from(clock.wall());
    let (name, version) = (missing.name.clone(), missing.version.label());
    let download = shared.records.queue(&name, &missing.source.shown(), at());
    download.run(version.clone(), Arc::clone(&missing.arrival));
    missing.arrival.set(ArrivalStage::Fetching);
    info!(model = %name, %version, source = %missing.source.shown(), "model is fetched");
    let (state, reason) = shared.fetch(&missing, &download).await;
    let key = &missing.version.key;
    match state {
        DownloadState::Done => {
            info!(model = %name, %version, "model has been fetched");
            shared.attempts.succeeded(&name);
            let remembered = shared.shelf.to_remember();
            let memory = shared.memory.clone();
            let writing = tokio::task::spawn_blocking(move || memory.write(&remembered)).await;
            if let Ok(Err(problem)) = writing {
                warn!(%problem, "what is served cannot be remembered for the next start");
            }
        }
        DownloadState::Cancelled => {
            info!(model = %name, %version, "download is cancelled");
            missing.arrival.set(ArrivalStage::Failed(reason.clone()));
            shared.attempts.hold(&name, Some(key), &reason);
        }
        _ => {
            warn!(model = %name, %version, problem = %reason, "model could not be fetched, trying again");
            missing.arrival.set(ArrivalStage::Failed(reason.clone()));
            shared.attempts.failed(&name, key, &reason, clock.now());
        }
    }
    shared.records.end(&download, state, &reason, at());
    shared.ring();
    let _ = downloader.try_send_priority(DownloaderMsg::Over { name });
}
