//! Registry, the actor that asks a model registry: whether it is there, and which versions are meant.
//!
//! It asks every two seconds whether the registry answers, and at a slower pace, or at once when
//! somebody says that something has changed there, which versions the [shelf](crate::sources::shelf)
//! asks for. A registry that errs or hangs is a state and never an exit: what it said before stays
//! true, models serve on, and it is asked again at the same pace for ever.
//!
//! **Invariant:** it never asks more often than `calls_a_minute` allows, however many models there are
//! and however often it is told of changes.

mod pace;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use impetus_sources::{Location, MlflowClient, RegistryError, RegistryUri, Surveyed};
use impetus_supervision::{
    Actor, ActorError, ActorRef, ChildSpec, Context, Message, StatusReport, Timestamp,
};
use tracing::{info, warn};

use crate::downloader::DownloaderMsg;
use crate::sources::shelf::{Shelf, Version};
use pace::Pace;

pub use status::{RegistrySnapshot, RegistryState, RegistryStatus};

/// Name of the actor.
pub const REGISTRY: &str = "registry";

/// What a declared deadline leaves beyond that of the work itself, so that a slow registry is seen here,
/// as a state, before the supervisor sees it as a hang.
const GRACE: Duration = Duration::from_secs(1);

/// How the registry is asked.
#[derive(Debug)]
pub struct RegistrySettings {
    /// Who asks.
    pub client: Arc<MlflowClient>,
    /// How often it is asked whether it is there.
    pub check_every: Duration,
    /// How long it may take to say so.
    pub check_within: Duration,
    /// How often it is asked which versions are meant.
    pub poll_every: Duration,
    /// How long it may take to say that of all models together.
    pub poll_within: Duration,
    /// The most calls in a minute.
    pub calls_a_minute: u32,
}

/// What the actor can be told.
#[derive(Debug, Clone, Copy)]
pub enum RegistryMsg {
    /// Something has changed there, or something else is asked for here.
    Changed,
}

/// The actor.
#[derive(Debug)]
pub(crate) struct Registry {
    shared: Arc<Shared>,
    /// When it is to be asked again which versions are meant.
    next_poll: Duration,
    pace: Pace,
    /// What it could not say, so that each is told once.
    problems: BTreeMap<RegistryUri, String>,
}

/// What a registry says of each source.
type Versions = BTreeMap<RegistryUri, Result<Version, RegistryError>>;

/// What outlives an incarnation.
#[derive(Debug)]
struct Shared {
    settings: RegistrySettings,
    status: Arc<RegistryStatus>,
    shelf: Arc<Shelf>,
    downloader: ActorRef<DownloaderMsg>,
}

/// Returns the child spec of the actor, the hand that tells it of changes, and what is known of the
/// registry.
#[must_use]
pub fn child(
    settings: RegistrySettings,
    shelf: Arc<Shelf>,
    downloader: ActorRef<DownloaderMsg>,
) -> (ChildSpec, ActorRef<RegistryMsg>, Arc<RegistryStatus>) {
    let status = Arc::new(RegistryStatus::default());
    let longest = settings.check_within.max(settings.poll_within) + GRACE;
    let every = settings.check_every;
    let shared = Arc::new(Shared {
        settings,
        status: Arc::clone(&status),
        shelf,
        downloader,
    });
    let (spec, actor) = ChildSpec::actor(REGISTRY, move |_| Registry {
        pace: Pace::new(shared.settings.calls_a_minute),
        shared: Arc::clone(&shared),
        next_poll: Duration::ZERO,
        problems: BTreeMap::new(),
    });
    (spec.tick(every).handle_deadline(longest), actor, status)
}

// === impl RegistryMsg ===

impl Message for RegistryMsg {
    fn label(&self) -> &'static str {
        match self {
            Self::Changed => "something has changed",
        }
    }
}

// === impl Registry ===

impl Registry {
    /// Asks what is due: which versions are meant, or else whether the registry is there.
    async fn ask(&mut self, ctx: &Context<Self>) {
        let now = ctx.clock().now();
        let registered = self.shared.shelf.registered();
        let due = now >= self.next_poll && !registered.is_empty();
        if !self.pace.allows(now) {
            return;
        }
        let client = Arc::clone(&self.shared.settings.client);
        let before = client.calls();
        if due {
            self.next_poll = now + self.shared.settings.poll_every;
            self.survey(&registered, ctx).await;
        } else {
            self.check(ctx).await;
        }
        self.pace.spent(client.calls() - before);
    }

    async fn check(&mut self, ctx: &Context<Self>) {
        let settings = &self.shared.settings;
        let limit = settings.check_within;
        ctx.progress("ask the registry whether it is there", limit + GRACE);
        let asked = tokio::time::timeout(limit, settings.client.ping()).await;
        let asked = asked.unwrap_or_else(|_| Err(self.too_slow(limit)));
        self.conclude(asked, ctx);
    }

    async fn survey(&mut self, registered: &[RegistryUri], ctx: &Context<Self>) {
        let limit = self.shared.settings.poll_within;
        ctx.progress("ask the registry which versions are meant", limit + GRACE);
        let asked = tokio::time::timeout(limit, self.versions(registered)).await;
        if !ctx.fence().is_current() {
            return;
        }
        let versions = asked.unwrap_or_else(|_| {
            let late = |uri: &RegistryUri| (uri.clone(), Err(self.too_slow(limit)));
            registered.iter().map(late).collect()
        });
        let errors = versions
            .values()
            .filter_map(|version| version.as_ref().err());
        let mut of_registry = errors.filter(|error| !error.is_about_the_model());
        let failed = of_registry.next().cloned();
        self.apply(versions);
        self.conclude(failed.map_or(Ok(()), Err), ctx);
    }

    /// Asks which versions are meant, and about each that is another one than before.
    async fn versions(&self, registered: &[RegistryUri]) -> Versions {
        let Shared {
            settings, shelf, ..
        } = &*self.shared;
        let client = &settings.client;
        let mut versions = Versions::new();
        for (uri, surveyed) in client.survey(registered).await {
            let source = Location::Registry(uri.clone());
            let version = match surveyed {
                Err(error) => Err(error),
                Ok(Surveyed {
                    details: Some(version),
                    ..
                }) => Ok(Version::registered(client.url(), &uri, version)),
                Ok(Surveyed { version, .. }) => match shelf.meant(&source) {
                    Some(known) if known.number == Some(version) => Ok(known),
                    _ => client
                        .resolve(&uri)
                        .await
                        .map(|version| Version::registered(client.url(), &uri, version)),
                },
            };
            versions.insert(uri, version);
        }
        versions
    }

    fn apply(&mut self, versions: Versions) {
        let mut changed = false;
        for (uri, version) in versions {
            let source = Location::Registry(uri.clone());
            match version {
                Ok(version) => {
                    self.problems.remove(&uri);
                    let label = version.label();
                    for name in self.shared.shelf.means(&source, Ok(version)) {
                        info!(model = %name, source = %uri, version = %label, "registry means another version");
                        changed = true;
                    }
                }
                Err(error) => {
                    let problem = error.to_string();
                    self.shared.shelf.means(&source, Err(problem.clone()));
                    if error.is_about_the_model() && self.problems.get(&uri) != Some(&problem) {
                        warn!(source = %uri, %problem, "registry does not say which version is meant");
                        self.problems.insert(uri, problem);
                    }
                }
            }
        }
        if changed {
            // One that cannot be told now looks by itself at its next tick.
            let _ = self
                .shared
                .downloader
                .try_send_priority(DownloaderMsg::Look);
        }
    }

    fn too_slow(&self, limit: Duration) -> RegistryError {
        RegistryError::Unreachable {
            url: self.shared.settings.client.url().to_owned(),
            why: format!("no answer within {:.1} s", limit.as_secs_f64()),
        }
    }

    /// Publishes whether the registry answers.
    fn conclude(&self, asked: Result<(), RegistryError>, ctx: &Context<Self>) {
        if !ctx.fence().is_current() {
            return;
        }
        let status = &self.shared.status;
        let before = status.state();
        match asked {
            Ok(()) => {
                if !before.is_accessible() {
                    info!("registry answers");
                    status.publish(RegistryState::Accessible);
                }
            }
            Err(error) => {
                let reason = error.to_string();
                status.failed();
                if before.reason() != Some(&reason) {
                    warn!(%reason, "registry cannot be asked");
                }
                let now = || Timestamp::from(ctx.clock().wall());
                let since = before.since().unwrap_or_else(now);
                status.publish(RegistryState::Inaccessible { reason, since });
            }
        }
    }
}

impl Actor for Registry {
    type Msg = RegistryMsg;

    async fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        self.ask(ctx).await;
        Ok(())
    }

    async fn handle(
        &mut self,
        msg: RegistryMsg,
        ctx: &mut Context<Self>,
    ) -> Result<(), ActorError> {
        match msg {
            RegistryMsg::Changed => {
                self.next_poll = Duration::ZERO;
                self.ask(ctx).await;
            }
        }
        Ok(())
    }

    async fn tick(&mut self, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        self.ask(ctx).await;
        Ok(())
    }

    fn status(&self) -> StatusReport {
        let state = self.shared.status.state();
        StatusReport {
            // Nothing is lost meanwhile: what is here is served.
            score: if state.reason().is_none() { 100 } else { 60 },
            note: state.reason().map(str::to_owned),
            ..StatusReport::default()
        }
    }
}
