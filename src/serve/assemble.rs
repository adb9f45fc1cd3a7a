//! The tree and everything around it, put together from the configuration.
//!
//! Heartbeat is started first and so stopped last: the server is alive as long as anything of it
//! is. The supervisor of models stands before the loader that hangs models into it.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use impetus_actors::heartbeat::{BoardSource, Heartbeat, Pulse};
use impetus_actors::metrics::{self, MetricsConfig};
use impetus_actors::model_loader::{
    LoaderMsg, LoaderShared, MODEL_LOADER, ModelControl, ModelLoader,
};
use impetus_actors::orphans::Children;
use impetus_actors::outcomes::Outcomes;
use impetus_actors::predlog::{self, PredictionLog};
use impetus_actors::serving::host::{Hosts, ProcessHost, ThreadHost};
use impetus_actors::serving::memory::{MemoryGuard, OutOfMemory};
use impetus_actors::serving::quarantine::Quarantine;
use impetus_actors::serving::worker::Workshop;
use impetus_actors::serving::{Catalog, Commons, FairShare};
use impetus_actors::sources::shelf::Shelf;
use impetus_supervision::{
    ActorRef, ChildSpec, Clock, Healing, Running, Significance, Strategy, SupervisorSpec, System,
};
use serde_json::Value;
use tracing::{error, warn};

use super::allowance::Threads;
use super::{remote_models, settings};
use crate::cli::WorkerArgs;
use crate::config::{Config, SearchPlaces, SinkKind, resolve_runtime_library};
use crate::data_disk::DataDisk;
use crate::health::plane::Sources;
use crate::health::{EdgeStamps, HealthPlane, Lifecycle, OperatorDrain};
use crate::http::{AppState, Traffic};
use crate::logging::LogSettings;
use crate::predictions::Recorder;
use crate::verdict::Bell;

/// Everything that is ready to be started.
pub(super) struct Parts {
    pub(super) state: AppState,
    root: SupervisorSpec,
    board: BoardSource,
    clock: Arc<dyn Clock>,
    healing: Healing,
}

/// What everything is put together from.
pub(super) struct Given {
    /// When the process started.
    pub(super) began: Instant,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) config: Arc<Config>,
    pub(super) previous_run: Option<Value>,
    pub(super) disk: Arc<DataDisk>,
    pub(super) host: Option<Host>,
    pub(super) threads: Threads,
}

/// What runs workers, and with which library.
pub(super) struct Host {
    hosts: Hosts,
    library: PathBuf,
}

/// What the actors and the health plane share.
struct Shared {
    clock: Arc<dyn Clock>,
    pulse: Arc<Pulse>,
    board: BoardSource,
    catalog: Arc<Catalog>,
    commons: Arc<Commons>,
    memory: Arc<MemoryGuard>,
    cores: usize,
}

/// Puts everything together; nothing runs yet.
pub(super) fn parts(given: Given) -> anyhow::Result<Parts> {
    let Given {
        began,
        clock,
        config,
        previous_run,
        disk,
        host,
        threads,
    } = given;
    let config = &config;
    let healing = Healing::new(Arc::clone(&clock));
    let shared = Shared {
        pulse: Arc::default(),
        board: Arc::new(OnceLock::new()),
        catalog: Arc::default(),
        commons: Arc::new(Commons {
            outcomes: Arc::new(Outcomes::new(Arc::clone(&clock))),
            quarantine: Arc::new(Quarantine::new(
                settings::quarantine(config)?,
                Arc::clone(&clock),
            )),
            healing: healing.clone(),
            share: FairShare::new(config.models.runs_for(threads.cores)),
        }),
        memory: Arc::new(MemoryGuard::new(settings::memory(config))),
        cores: threads.cores,
        clock,
    };
    let mut root = SupervisorSpec::new("root").strategy(Strategy::OneForOne);
    root = root.child(heartbeat(config, &shared)?);
    let (metrics, resources) = metrics::child(MetricsConfig {
        memory: settings::memory_rule(config)?,
        ..MetricsConfig::default()
    });
    root = root.child(settings::common(config, metrics)?);
    let mut prediction_log = None;
    // An inference service alone has a log when what it predicts goes somewhere.
    if config.role.logs() || config.sink.kind != SinkKind::Sqlite {
        let clock = Arc::clone(&shared.clock);
        let (children, log) = predlog::children(settings::predlog(config), clock);
        for child in children {
            // Their deadlines follow from those of the database, not from the actors' in general.
            root = root.child(settings::healing(config, child)?);
        }
        prediction_log = Some(log);
    }
    let shelf = remote_models::shelf(config);
    let (mut control, mut remote) = (None, None);
    if let Some(host) = host {
        let elsewhere = remote_models::assemble(config, &shelf, &shared.catalog, &shared.clock)?;
        let (children, loader, of_models) = models(config, &shared, host, &shelf)?;
        elsewhere.downloads.tell(loader);
        control = Some(of_models);
        let children = children.into_iter().chain(elsewhere.children);
        root = children.fold(root, SupervisorSpec::child);
        remote = Some((elsewhere.downloads, elsewhere.registry, elsewhere.webhook));
    }
    let (downloads, registry, webhook) = match remote {
        Some((downloads, registry, webhook)) => (Some(downloads), registry, webhook),
        None => (None, None, None),
    };
    let lifecycle = Arc::new(Lifecycle::default());
    let plane = Arc::new(HealthPlane::new(
        began,
        settings::plane(config)?,
        Sources {
            clock: Arc::clone(&shared.clock),
            board: Arc::clone(&shared.board),
            pulse: shared.pulse,
            edge: Arc::new(EdgeStamps::new(threads.http)),
            lifecycle: Arc::clone(&lifecycle),
            drain: Arc::new(OperatorDrain::default()),
            healing: healing.clone(),
            catalog: config.role.infers().then(|| Arc::clone(&shared.catalog)),
            required_models: config.models.required.clone(),
            outcomes: Arc::clone(&shared.commons.outcomes),
            memory: config.role.infers().then(|| Arc::clone(&shared.memory)),
            resources,
            predlog: prediction_log.as_ref().map(PredictionLog::status).cloned(),
            registry,
            previous_run,
        },
    ));
    let recorder = prediction_log
        .clone()
        .filter(|_| config.role.infers())
        .map(|log| {
            let settings = settings::recorder(config);
            Arc::new(Recorder::new(log, Arc::clone(&shared.clock), settings))
        });
    let state = AppState {
        config: Arc::clone(config),
        plane,
        catalog: shared.catalog,
        outcomes: Arc::clone(&shared.commons.outcomes),
        quarantine: Arc::clone(&shared.commons.quarantine),
        predlog: prediction_log,
        recorder,
        control,
        shelf,
        downloads,
        webhook,
        openapi: Arc::default(),
        traffic: Arc::new(Traffic::default()),
        disk,
        lifecycle,
        tree: Arc::new(OnceLock::new()),
        faults: None,
    };
    Ok(Parts {
        state,
        root,
        board: shared.board,
        clock: shared.clock,
        healing,
    })
}

fn heartbeat(config: &Config, shared: &Shared) -> anyhow::Result<ChildSpec> {
    let (pulse, board) = (Arc::clone(&shared.pulse), Arc::clone(&shared.board));
    let (child, _) = ChildSpec::actor("heartbeat", move |_| {
        Heartbeat::new(Arc::clone(&pulse), Arc::clone(&board))
    });
    Ok(settings::common(config, child)?
        .significance(Significance::Significant)
        .tick(config.health.heartbeat_interval.get()))
}

fn models(
    config: &Config,
    shared: &Shared,
    host: Host,
    shelf: &Arc<Shelf>,
) -> anyhow::Result<([ChildSpec; 2], ActorRef<LoaderMsg>, ModelControl)> {
    let (models, supervisor) =
        ChildSpec::supervisor(SupervisorSpec::new("models").strategy(Strategy::OneForOne));
    let backoff = settings::backoff(
        config,
        config.models.backoff_min.get(),
        config.models.backoff_max.get(),
    )?;
    let settings = settings::loader(config, shared.cores, backoff)?;
    let shop = Arc::new(Workshop {
        hosts: host.hosts,
        catalog: Arc::clone(&shared.catalog),
        settings: settings::worker(config, host.library),
        memory: Arc::clone(&shared.memory),
        out_of_memory: OutOfMemory::default(),
        forensics: settings::forensics(config)?,
        board: Arc::clone(&shared.board),
        clock: Arc::clone(&shared.clock),
    });
    let commons = Arc::clone(&shared.commons);
    let shared = Arc::new(LoaderShared::new(
        settings,
        shop,
        supervisor,
        commons,
        Arc::clone(shelf),
    ));
    let of_loader = Arc::clone(&shared);
    let (loader, actor) = ChildSpec::actor(MODEL_LOADER, move |_| {
        ModelLoader::new(Arc::clone(&of_loader))
    });
    let control = shared.control(actor.clone());
    let loader = settings::common(config, loader)?
        .significance(Significance::Significant)
        .tick(config.models.poll_every.get());
    Ok(([settings::common(config, models)?, loader], actor, control))
}

/// Starts what runs workers, if this process has any.
pub(super) fn host(config: &Config, children: Children) -> anyhow::Result<Option<Host>> {
    if !config.role.infers() {
        return Ok(None);
    }
    let library = library(config);
    let args = WorkerArgs {
        parent: std::process::id(),
        log_level: config.log_level.clone(),
        log_format: LogSettings::of_server(config).format,
        runtime: Some(library.clone()),
        probe: None,
        probe_options: None,
    };
    let hosts = Hosts {
        process: Arc::new(ProcessHost::start(args.command_line(), children)?),
        thread: Arc::new(ThreadHost),
        usual: settings::isolation(config),
    };
    Ok(Some(Host { hosts, library }))
}

/// Finds the runtime. One that is missing is not the end: workers say so, and go on trying, and
/// the server says which places were looked at.
fn library(config: &Config) -> PathBuf {
    match resolve_runtime_library(&config.runtime.library, &SearchPlaces::usual()) {
        Ok(library) => library,
        Err(missing) => {
            error!("{missing}");
            if config.runtime.library.as_os_str().is_empty() {
                PathBuf::from(format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}"))
            } else {
                config.runtime.library.clone()
            }
        }
    }
}

// === impl Parts ===

impl Parts {
    /// Starts the tree, which rings when it has a verdict; returns at once.
    pub(super) fn start(self, state: &mut AppState, bell: Bell) -> anyhow::Result<Running> {
        let config = Arc::clone(&state.config);
        let on_verdict = move |_| bell.ring();
        let running = System::builder()
            .clock(self.clock)
            .healing(self.healing)
            .leak_cap(config.supervision.leak_cap)
            .watchdog(config.health.root_stale_after.get(), on_verdict)
            .start(self.root)?;
        // Set once, here: nobody else has these cells to set.
        let _ = self.board.set(running.board());
        let _ = state.tree.set(running.root());
        if config.faults.enabled {
            warn!("faults can be injected at /api/faults");
            state.faults = Some(running.faults());
        }
        Ok(running)
    }
}
