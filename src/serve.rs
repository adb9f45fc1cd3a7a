//! `impetus serve`: puts the server together, runs it, and takes it apart in order.
//!
//! [`assemble`] builds the tree from the configuration; [`ending`] is the way from the first signal
//! to the exit code. Sockets are bound before anything is started, so that a port that is taken is
//! one clear line and not half a server.

mod allowance;
mod assemble;
mod banner;
mod descriptors;
mod ending;
mod no_model;
pub(crate) mod remote_models;
mod settings;
mod signals;

pub(crate) use settings::providers;

use std::io::{self, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use impetus_actors::orphans::{self, Children};
use impetus_supervision::{Clock, Running, SystemClock};
use serde_json::Value;
use tracing::{error, info, warn};

use crate::cli::{self, ServeArgs};
use crate::config::{Config, LoadArgs, Loaded, process_environment};
use crate::data_disk::DataDisk;
use crate::exit::Exit;
use crate::grpc::GrpcServer;
use crate::health::HealthPlane;
use crate::health::thread::{HealthThread, listen};
use crate::http::{AppState, server};
use crate::last_run::{EVENTS_KEPT, Recorder, RecorderSettings, RunState};
use crate::logging::{self, LogSettings};
use crate::verdict::{Standing, VerdictWatch};

use allowance::Threads;
use signals::Signals;

/// The sockets of the server, bound before anything runs.
struct Sockets {
    main: TcpListener,
    health: Option<TcpListener>,
    grpc: Option<TcpListener>,
}

/// A server that runs.
struct Server {
    state: AppState,
    tree: Running,
    recorder: Arc<Recorder>,
    standing: Standing,
    main: TcpListener,
    grpc: Option<GrpcServer>,
    threads: Threads,
}

/// Runs the server until it is told to end.
pub fn serve(args: ServeArgs) -> Exit {
    let began = Instant::now();
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            let _ = writeln!(io::stderr(), "impetus: signals cannot be received: {error}");
            return Exit::Unavailable;
        }
    };
    let env = process_environment();
    let loaded = match Config::load(LoadArgs {
        file: args.config,
        env,
    }) {
        Ok(loaded) => loaded,
        Err(error) => return cli::refuse_config(&error, &mut io::stderr()),
    };
    let _log = match logging::init(&LogSettings::of_server(&loaded.config)) {
        Ok(guard) => guard,
        Err(error) => {
            let _ = writeln!(io::stderr(), "impetus: {error}");
            return Exit::Usage;
        }
    };
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    descriptors::raise_limit();
    match start(began, loaded) {
        Ok(server) => run(server, signals),
        Err(error) => {
            error!("{error:#}");
            let _ = writeln!(io::stderr(), "impetus: {error:#}");
            Exit::Unavailable
        }
    }
}

fn start(began: Instant, loaded: Loaded) -> anyhow::Result<Server> {
    let config = Arc::new(loaded.config);
    let threads = Threads::choose(&config);
    let sockets = Sockets::bind(&config)?;
    let children = Children::default();
    orphans::reap(children.clone(), config.lifecycle.subreaper)?;
    let host = assemble::host(&config, children)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let wall = Arc::clone(&clock);
    let disk = Arc::<DataDisk>::default();
    let (recorder, previous) = Recorder::start(RecorderSettings {
        dir: config.data.dir.clone(),
        read_within: config.data.last_run_timeout.get(),
        wall: Arc::new(move || wall.wall()),
        disk: Arc::clone(&disk),
    });
    let recorder = Arc::new(recorder);
    let previous = previous.and_then(|run| serde_json::to_value(run).ok());
    let parts = assemble::parts(assemble::Given {
        began,
        clock,
        config: Arc::clone(&config),
        previous_run: previous,
        disk,
        host,
        threads,
    })?;
    let mut state = parts.state.clone();
    start_health(&config, &state, sockets.health, &recorder)?;
    let (standing, bell) = watch(&config, &state, &recorder).start()?;
    let tree = parts.start(&mut state, bell)?;
    let start_grpc = |listener| crate::grpc::start(&state, listener, threads.http);
    let grpc = sockets.grpc.map(start_grpc).transpose()?;
    Ok(Server {
        state,
        tree,
        recorder,
        standing,
        main: sockets.main,
        grpc,
        threads,
    })
}

fn watch(config: &Config, state: &AppState, recorder: &Arc<Recorder>) -> VerdictWatch {
    let lifecycle = &config.lifecycle;
    let exit_after = lifecycle.exit_after_verdict.get();
    VerdictWatch {
        plane: Arc::clone(&state.plane),
        recorder: Arc::clone(recorder),
        termination_log: lifecycle.termination_log.clone(),
        exit_after: (!exit_after.is_zero()).then_some(exit_after),
        ending_takes: lifecycle.longest_stop(),
    }
}

fn start_health(
    config: &Arc<Config>,
    state: &AppState,
    listener: Option<TcpListener>,
    recorder: &Arc<Recorder>,
) -> io::Result<()> {
    let serve = listener.map(|listener| {
        let state = state.clone();
        Box::new(move || server::health_server(state, listener)) as crate::health::thread::ServeOn
    });
    let plane = Arc::clone(&state.plane);
    let recorder = Arc::clone(recorder);
    HealthThread {
        plane: Arc::clone(&state.plane),
        evaluate_every: config.health.evaluate_every.get(),
        after_each: Box::new(move || recorder.note(run_state(&plane))),
        serve,
    }
    .start()
}

fn run(server: Server, mut signals: Signals) -> Exit {
    actix_web::rt::System::new().block_on(async move {
        let config = Arc::clone(&server.state.config);
        let workers = server.threads.http;
        let ending = ending::Ending {
            state: server.state,
            tree: Box::leak(Box::new(server.tree)),
            grpc: Box::leak(Box::new(server.grpc)),
            recorder: server.recorder,
            standing: server.standing,
        };
        if let Some(name) = signals.started() {
            return ending.end_unserved(name).await;
        }
        let http = match server::main_server(ending.state.clone(), server.main, workers) {
            Ok(http) => http,
            Err(error) => {
                error!(%error, "http server could not be started");
                return Exit::Unavailable;
            }
        };
        banner::print(&config);
        // What the start took, descriptions of configuration and interface above all, is several times what
        // the server needs from here on.
        impetus_engine::give_back_freed_memory();
        info!(
            version = env!("CARGO_PKG_VERSION"),
            role = ending.state.role().service(),
            pid = std::process::id(),
            "server runs"
        );
        ending.run(http, signals).await
    })
}

/// Returns what `last-run.json` keeps of the run so far.
fn run_state(plane: &HealthPlane) -> RunState {
    let board = plane.sources().board.get();
    let events = board
        .map(|board| board.events(EVENTS_KEPT))
        .unwrap_or_default();
    RunState {
        health: serde_json::to_value(plane.health().status)
            .ok()
            .and_then(|status| status.as_str().map(str::to_owned)),
        events: events
            .into_iter()
            .map(|event| serde_json::to_value(event).unwrap_or(Value::Null))
            .collect(),
        steps: plane.steps(),
    }
}

// === impl Sockets ===

impl Sockets {
    fn bind(config: &Config) -> anyhow::Result<Self> {
        let optional = |key, host: &str, port| match port {
            0 => Ok(None),
            port => bind(key, host, port).map(Some),
        };
        Ok(Self {
            main: bind("port", &config.host, config.port)?,
            health: optional("health.port", config.health_host(), config.health.port)?,
            grpc: optional("grpc.port", &config.host, config.grpc.port)?,
        })
    }
}

fn bind(key: &str, host: &str, port: u16) -> anyhow::Result<TcpListener> {
    listen(host, port).map_err(|error| {
        anyhow::anyhow!(
            "cannot listen on {host}:{port}: {error}; end what listens there, or choose another with {key}"
        )
    })
}

/// How long the record of the end may take.
const RECORD_WITHIN: Duration = Duration::from_secs(1);
