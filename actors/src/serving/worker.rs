//! The actor that looks after one worker: its incarnation is the worker's process.
//!
//! It starts the process, greets it, has the model loaded, and then only watches: the end of the
//! link, the time the oldest batch has been out, the silence of an idle worker. Whatever ends the
//! incarnation ends the process, and a process that an abandoned incarnation left behind is killed
//! by the next one. The supervisor decides whether and when there is a next one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use impetus_engine::link::{self, Limits, LinkError, Received, Receiver, Sender};
use impetus_engine::protocol::ToWorker;
use impetus_engine::{Arena, LoadSpec, Loaded};
use impetus_supervision::{Actor, ActorError, Context, Message, StatusReport};
use tracing::{info, warn};

use super::dispatch::Link;
use super::host::{HostedWorker, WorkerHost};
use super::ledger::LinkId;
use super::model::ServedModel;
use super::opening::{HELLO_WITHIN, OpenError, REAP_WITHIN, greet, within};
use super::signature::Signature;
use super::{Catalog, WorkerState};

/// Added to the time between two signs of life of an idle worker before it counts as dead.
const SILENCE_MARGIN: Duration = Duration::from_secs(10);

/// What every worker of every model is started with.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// The ONNX Runtime library.
    pub runtime: std::path::PathBuf,
    /// Threads inside one run.
    pub threads: usize,
    /// How long reading a model may take, process start and warm-up included.
    pub load_timeout: Duration,
    /// How long a batch may be out.
    pub run_timeout: Duration,
    /// How often an idle worker checks itself.
    pub self_check_every: Duration,
    /// How long an orderly stop waits for batches that are out.
    pub stop_within: Duration,
    /// Bounds of the link.
    pub link: Limits,
}

/// What a worker's actor is told.
#[derive(Debug)]
pub enum WorkerMsg {
    /// One of the link's tasks has ended.
    LinkEnded {
        /// The incarnation whose link it was.
        generation: u64,
        /// Why.
        reason: String,
    },
}

impl Message for WorkerMsg {
    fn label(&self) -> &'static str {
        "link ended"
    }
}

/// The supervised actor behind one worker.
pub struct ModelWorker {
    model: Arc<ServedModel>,
    index: usize,
    host: Arc<dyn WorkerHost>,
    catalog: Arc<Catalog>,
    settings: Arc<WorkerSettings>,
    generation: u64,
    worker: Option<HostedWorker>,
    link: Option<Link>,
}

// === impl ModelWorker ===

impl ModelWorker {
    /// Makes the actor for the worker at place `index` of `model`.
    #[must_use]
    pub fn new(
        model: Arc<ServedModel>,
        index: usize,
        host: Arc<dyn WorkerHost>,
        catalog: Arc<Catalog>,
        settings: Arc<WorkerSettings>,
    ) -> Self {
        Self {
            model,
            index,
            host,
            catalog,
            settings,
            generation: 0,
            worker: None,
            link: None,
        }
    }

    async fn open(&mut self, ctx: &Context<Self>) -> Result<(), ActorError> {
        let began = Instant::now();
        if let Some(left_behind) = self.model.places[self.index].begin(self.generation) {
            left_behind.end();
        }
        // What older incarnations had out and nobody collected.
        self.model
            .recover(self.index, self.generation.saturating_sub(1));
        ctx.progress("start worker", HELLO_WITHIN + REAP_WITHIN);
        let worker = self
            .host
            .spawn(HELLO_WITHIN)
            .await
            .map_err(ActorError::failed)?;
        let leash = worker.leash();
        self.model.places[self.index].write(self.generation, |place| place.hold(leash));
        let limits = self.settings.link;
        let socket = worker.socket().map_err(ActorError::failed)?;
        self.worker = Some(worker);
        let arena = Arena::new(&limits).map_err(ActorError::failed)?;
        let (sender, mut receiver) =
            link::split(socket, arena, limits).map_err(ActorError::failed)?;

        let greeted = within(HELLO_WITHIN, greet(&sender, &mut receiver, self.generation));
        greeted
            .await
            .map_err(|error| self.refused("greet the worker", error))?;
        ctx.progress("load model", self.settings.load_timeout + REAP_WITHIN);
        let loading = self.load(&sender, &mut receiver);
        let loaded = match within(self.settings.load_timeout, loading).await {
            Ok(loaded) => loaded,
            Err(OpenError::Link(LinkError::Lost { reason })) => {
                let reason = format!("the worker was lost while it loaded the model: {reason}");
                self.note_load_error(&reason);
                return Err(self.lost(reason).await);
            }
            Err(error) => return Err(self.refused("load the model", error)),
        };
        self.serves(&loaded, began.elapsed());
        let link = Link::new(
            Arc::clone(&self.model),
            self.link_id(),
            ctx.fence(),
            ctx.myself(),
        );
        ctx.spawn(link.clone().write(sender));
        ctx.spawn(link.clone().read(receiver));
        self.link = Some(link);
        Ok(())
    }

    async fn load(&self, sender: &Sender, receiver: &mut Receiver) -> Result<Loaded, OpenError> {
        let spec = self.model.spec();
        sender
            .send(&ToWorker::Load(LoadSpec {
                model: spec.name.clone(),
                version: spec.version.clone(),
                path: spec.path.clone(),
                intra_threads: self.settings.threads,
                warm_up: true,
                runtime: self.settings.runtime.clone(),
                self_check_every: self.settings.self_check_every,
            }))
            .await?;
        loop {
            match receiver.next().await? {
                Received::RuntimeReady(runtime) => self.catalog.runtime_loaded(runtime),
                Received::Loaded(loaded) => return Ok(loaded),
                Received::LoadFailed(error) => return Err(OpenError::Engine(error)),
                _ => {}
            }
        }
    }

    fn serves(&self, loaded: &Loaded, took: Duration) {
        self.model.loaded(Signature::from(loaded), took);
        let resident = self.worker.as_ref().and_then(HostedWorker::resident_bytes);
        self.model.places[self.index].write(self.generation, |place| {
            place.state = WorkerState::Ready;
            place.heard = Some(Instant::now());
            place.resident_bytes = resident;
            place.load_error = None;
            place.last_loss = None;
        });
        info!(
            model = %self.model.spec().name,
            version = %self.model.spec().version,
            pid = self.worker.as_ref().and_then(HostedWorker::pid),
            load_ms = took.as_secs_f64() * 1e3,
            "worker serves"
        );
    }

    /// Kills what is left of the worker, waits for its end and says how it came.
    async fn lost(&mut self, reason: String) -> ActorError {
        self.take_down(Some(&reason));
        let Some(mut worker) = self.worker.take() else {
            return ActorError::Failed(reason);
        };
        // A worker that died has ended already or is about to; one that only closed its socket or
        // broke the protocol is ended here.
        let ended = match worker.ended(Duration::from_millis(20)).await {
            Some(ended) => Some(ended),
            None => {
                worker.kill();
                worker.ended(REAP_WITHIN).await
            }
        };
        match ended {
            Some(mut lost) => {
                lost.detail.get_or_insert(reason);
                ActorError::ProcessLost(lost)
            }
            None => ActorError::Failed(format!("{reason}; its process has not ended")),
        }
    }

    fn refused(&mut self, what: &str, error: OpenError) -> ActorError {
        let reason = match error {
            OpenError::Engine(error) => error.to_string(),
            error => format!("could not {what}: {error}"),
        };
        self.note_load_error(&reason);
        self.take_down(None);
        self.worker = None;
        ActorError::Failed(reason)
    }

    fn note_load_error(&self, reason: &str) {
        self.model.places[self.index].write(self.generation, |place| {
            place.load_error = Some(reason.to_owned());
        });
    }

    fn link_id(&self) -> LinkId {
        LinkId {
            worker: self.index,
            generation: self.generation,
        }
    }

    fn take_down(&self, reason: Option<&str>) {
        self.model.places[self.index].write(self.generation, |place| {
            place.state = WorkerState::Down;
            place.let_go();
            if let Some(reason) = reason {
                place.last_loss = Some(reason.to_owned());
            }
        });
        self.model.note_down();
    }

    /// Judges the worker by the time its oldest batch has been out and, when it is idle, by its
    /// silence.
    fn overdue(&self) -> Option<String> {
        if let Some(out) = self.model.ledger.oldest(self.link_id()) {
            let budget = self.settings.run_timeout;
            return (out > budget).then(|| {
                format!(
                    "a batch was out for {:.1} s of {:.1} s",
                    out.as_secs_f64(),
                    budget.as_secs_f64()
                )
            });
        }
        let silent = self.model.places[self.index].read().silent_for()?;
        let limit = self.settings.self_check_every * 2 + SILENCE_MARGIN;
        (silent > limit)
            .then(|| format!("idle worker was silent for {:.1} s", silent.as_secs_f64()))
    }
}

impl Actor for ModelWorker {
    type Msg = WorkerMsg;

    async fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        self.generation = ctx.generation().get();
        self.open(ctx).await
    }

    async fn handle(&mut self, msg: WorkerMsg, _ctx: &mut Context<Self>) -> Result<(), ActorError> {
        let WorkerMsg::LinkEnded { generation, reason } = msg;
        if generation != self.generation {
            return Ok(());
        }
        Err(self.lost(reason).await)
    }

    async fn tick(&mut self, _ctx: &mut Context<Self>) -> Result<(), ActorError> {
        if let Some(reason) = self.overdue() {
            warn!(model = %self.model.spec().name, %reason, "worker hangs, killing it");
            if let Some(worker) = &self.worker {
                worker.kill();
            }
            return Err(self.lost(reason).await);
        }
        let resident = self.worker.as_ref().and_then(HostedWorker::resident_bytes);
        self.model.places[self.index].write(self.generation, |place| {
            place.resident_bytes = resident;
        });
        Ok(())
    }

    async fn stopping(&mut self, ctx: &mut Context<Self>) {
        let deadline = Instant::now() + self.settings.stop_within;
        ctx.progress("finish batches", self.settings.stop_within + REAP_WITHIN);
        if let Some(link) = &self.link {
            link.stop_taking();
        }
        let id = self.link_id();
        while self.model.ledger.batches_on(id) > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.take_down(None);
        if let Some(mut worker) = self.worker.take() {
            worker.kill();
            let _ = worker.ended(REAP_WITHIN).await;
        }
    }

    fn status(&self) -> StatusReport {
        let place = self.model.places[self.index].read();
        let (score, note) = match place.state {
            WorkerState::Ready => (100, None),
            WorkerState::Loading => (60, Some("loading".to_owned())),
            WorkerState::Down => (0, place.load_error.or(place.last_loss)),
        };
        let mut report = StatusReport {
            score,
            note,
            ..StatusReport::default()
        };
        if let Some(pid) = place.pid {
            report.details.insert("pid".to_owned(), pid.to_string());
        }
        report
    }
}
