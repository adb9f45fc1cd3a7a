//! The first words with a worker, up to the point where it serves or has said why it cannot.
//!
//! Each step has a deadline of its own: the hello, reading the model, its first run. A worker that
//! is lost or silent on the way is handed back with the failure, so that whoever asked for it can
//! look at it before it is gone.

use std::path::Path;
use std::time::Duration;

use impetus_engine::generate::GenerationSpec;
use impetus_engine::link::{self, Limits, LinkError, Received, Receiver, Sender};
use impetus_engine::protocol::ToWorker;
use impetus_engine::{Arena, EngineError, LoadSpec, Loaded, RuntimeInfo};
use thiserror::Error;

use super::ModelKind;
use super::generation::text;
use super::host::{HostError, HostedWorker, WorkerHost};
use super::memory::{Claim, Measured, NoRoom, WorkerMemory};
use super::model::ServedModel;
use super::worker::Workshop;

/// How long a worker gets to say hello.
pub(super) const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// How long the kernel gets to end a process that was killed.
pub(super) const REAP_WITHIN: Duration = Duration::from_secs(2);
/// How long a worker gets to start the runtime alone.
const RUNTIME_WITHIN: Duration = Duration::from_secs(20);

/// The longest a [`probe_runtime`] takes.
pub(crate) const PROBE_WITHIN: Duration = Duration::from_secs(45);

/// Starts a worker only to see whether its runtime can be had, and ends it again. Without a model
/// there is no worker that would tell.
pub(crate) async fn probe_runtime(
    host: &dyn WorkerHost,
    library: &Path,
    limits: Limits,
) -> Result<RuntimeInfo, OpenError> {
    let worker = host.spawn(HELLO_WITHIN).await?;
    let arena = Arena::new(&limits)?;
    let (sender, mut receiver) = link::split(worker.socket()?, arena, limits)?;
    within(HELLO_WITHIN, greet(&sender, &mut receiver, 1)).await?;
    within(
        RUNTIME_WITHIN,
        start_runtime(&sender, &mut receiver, library),
    )
    .await
}

async fn start_runtime(
    sender: &Sender,
    receiver: &mut Receiver,
    library: &Path,
) -> Result<RuntimeInfo, OpenError> {
    sender
        .send(&ToWorker::StartRuntime(library.to_owned()))
        .await?;
    loop {
        match receiver.next().await? {
            Received::RuntimeReady(runtime) => return Ok(runtime),
            Received::LoadFailed(error) => return Err(OpenError::Engine(error)),
            _ => {}
        }
    }
}

/// Why a worker never came to serve.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Host(#[from] HostError),
    #[error("no descriptor or memory for the link: {0}")]
    System(#[from] std::io::Error),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Engine(EngineError),
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error("{0}")]
    Mismatch(String),
    #[error("{0}")]
    Text(String),
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
}

/// A worker that is to be opened.
pub(super) struct Opening<'a> {
    pub(super) model: &'a ServedModel,
    pub(super) shop: &'a Workshop,
    pub(super) generation: u64,
    /// Told of each step as it begins.
    pub(super) step: &'a dyn Fn(Step<'_>),
}

/// How far opening has come.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'a> {
    /// The worker runs and is being greeted.
    Started(&'a HostedWorker),
    /// It reads the model.
    Loading,
    /// It runs the model for the first time.
    Warming,
}

/// A worker that could serve.
pub(super) struct Opened {
    pub(super) worker: HostedWorker,
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
    pub(super) loaded: Loaded,
    pub(super) memory: Option<WorkerMemory>,
    pub(super) claim: Option<Claim>,
}

/// A worker that could not, if there was one.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) worker: Option<HostedWorker>,
    pub(super) what: &'static str,
    pub(super) error: OpenError,
}

// === impl Opening ===

impl Opening<'_> {
    /// Opens a worker: starts it, greets it, has the model loaded and warmed up, and sets its limits
    /// of memory.
    pub(super) async fn open(&self) -> Result<Opened, Failed> {
        let claim = self.claim_memory().map_err(|error| Failed {
            worker: None,
            what: "load the model",
            error: error.into(),
        })?;
        let worker = self.host().spawn(HELLO_WITHIN).await;
        let worker = worker.map_err(|error| Failed {
            worker: None,
            what: "start a worker",
            error: error.into(),
        })?;
        (self.step)(Step::Started(&worker));
        match self.converse(&worker, claim.as_ref()).await {
            Ok((sender, receiver, loaded, memory)) => Ok(Opened {
                worker,
                sender,
                receiver,
                loaded,
                memory,
                claim,
            }),
            Err((what, error)) => Err(Failed {
                worker: Some(worker),
                what,
                error,
            }),
        }
    }

    async fn converse(
        &self,
        worker: &HostedWorker,
        claim: Option<&Claim>,
    ) -> Result<(Sender, Receiver, Loaded, Option<WorkerMemory>), (&'static str, OpenError)> {
        let (sender, mut receiver) = self
            .link(worker, claim)
            .map_err(|error| ("open the link", error.into()))?;
        within(HELLO_WITHIN, greet(&sender, &mut receiver, self.generation))
            .await
            .map_err(|error| ("greet the worker", error))?;
        (self.step)(Step::Loading);
        let load_within = self.shop.settings.load_within(self.model);
        within(load_within, self.read_model(&sender, &mut receiver))
            .await
            .map_err(|error| ("load the model", error))?;
        (self.step)(Step::Warming);
        let warm_up_within = self.shop.settings.warm_up_within(self.model);
        let loaded = within(warm_up_within, warmed_up(&mut receiver))
            .await
            .map_err(|error| ("warm the model up", error))?;
        if let Some(mismatch) = self.model.spec().description.expects.mismatch(&loaded) {
            return Err(("load the model", OpenError::Mismatch(mismatch)));
        }
        let memory = self
            .limit_memory(worker, claim, &loaded)
            .map_err(|error| ("load the model", error.into()))?;
        Ok((sender, receiver, loaded, memory))
    }

    /// Returns what starts the workers of this model.
    fn host(&self) -> &dyn WorkerHost {
        &**self.shop.hosts.of(self.model.limits().isolation)
    }

    fn link(
        &self,
        worker: &HostedWorker,
        claim: Option<&Claim>,
    ) -> std::io::Result<(Sender, Receiver)> {
        if let (Some(claim), Some(data)) = (claim, worker.data_bytes()) {
            worker.limit_data(data.saturating_add(claim.room()))?;
        }
        let limits = self.shop.settings.link;
        link::split(worker.socket()?, Arena::new(&limits)?, limits)
    }

    async fn read_model(&self, sender: &Sender, receiver: &mut Receiver) -> Result<(), OpenError> {
        let (spec, settings) = (self.model.spec(), &self.shop.settings);
        let generation = self.prepare_generation(sender).await?;
        let samples = spec.description.warm_up.iter().enumerate();
        sender
            .send(&ToWorker::Load(Box::new(LoadSpec {
                model: spec.name.clone(),
                version: spec.version.clone(),
                path: spec.path.clone(),
                intra_threads: self.model.limits().threads,
                warm_up: true,
                samples: samples.map(|(i, sample)| sample.sample(i)).collect(),
                runtime: settings.runtime.clone(),
                providers: settings.providers_of(self.model),
                self_check_every: settings.self_check_every,
                generation,
            })))
            .await?;
        loop {
            match receiver.next().await? {
                Received::RuntimeReady(runtime) => self.shop.catalog.runtime_loaded(runtime),
                Received::Warming => return Ok(()),
                Received::LoadFailed(error) => return Err(OpenError::Engine(error)),
                _ => {}
            }
        }
    }

    /// Reads what the model's folder says about text, and tells the worker of a model that generates
    /// any the bytes of its tokens; returns what else it must know.
    async fn prepare_generation(
        &self,
        sender: &Sender,
    ) -> Result<Option<GenerationSpec>, OpenError> {
        let text = text::read(self.model).await.map_err(OpenError::Text)?;
        let Some(text) = text.filter(|_| self.model.kind() == ModelKind::Generation) else {
            return Ok(None);
        };
        sender.send_vocabulary(&text::vocabulary(&text)).await?;
        Ok(Some(text::spec(&text, self.model.limits().generation)))
    }

    /// Claims what the worker may allocate before it has been measured; `None` where a worker has no
    /// memory of its own.
    fn claim_memory(&self) -> Result<Option<Claim>, NoRoom> {
        if !self.host().isolates() {
            return Ok(None);
        }
        let (spec, expected) = (self.model.spec(), self.model.last_base());
        let claim = self
            .shop
            .memory
            .admit(spec.bytes, expected, self.planned())?;
        Ok(Some(claim))
    }

    /// Returns how many workers of the model, this one included, have yet to be given their share.
    fn planned(&self) -> usize {
        self.model.unmeasured().max(1)
    }

    fn limit_memory(
        &self,
        worker: &HostedWorker,
        claim: Option<&Claim>,
        loaded: &Loaded,
    ) -> Result<Option<WorkerMemory>, NoRoom> {
        let (Some(claim), Some(resident), Some(data)) =
            (claim, worker.resident_bytes(), worker.data_bytes())
        else {
            return Ok(None);
        };
        self.model.note_base(resident);
        let link = &self.shop.settings.link;
        // Not resident before it is used, and then for good.
        let cache = loaded
            .generation
            .as_ref()
            .map_or(0, |info| info.cache_bytes);
        let measured = Measured {
            resident,
            data,
            shared: 2 * (link.slots * link.slot_bytes) as u64 + cache,
            headroom: self.model.spec().description.memory.headroom,
        };
        let memory = claim.settle(measured, self.planned())?;
        if let Err(error) = worker.limit_data(memory.data_limit_bytes) {
            tracing::warn!(%error, "the worker's memory could not be limited, it is only watched");
        }
        Ok(Some(memory))
    }
}

/// Waits for the end of the first run.
async fn warmed_up(receiver: &mut Receiver) -> Result<Loaded, OpenError> {
    loop {
        match receiver.next().await? {
            Received::Loaded(loaded) => return Ok(loaded),
            Received::LoadFailed(error) => return Err(OpenError::Engine(error)),
            _ => {}
        }
    }
}

pub(super) async fn within<T>(
    limit: Duration,
    step: impl Future<Output = Result<T, OpenError>>,
) -> Result<T, OpenError> {
    tokio::time::timeout(limit, step)
        .await
        .unwrap_or(Err(OpenError::TimedOut(limit)))
}

/// Exchanges greetings; the link refuses a worker of another build, so that a binary replaced on
/// disk is never mixed with the one that runs.
async fn greet(sender: &Sender, receiver: &mut Receiver, generation: u64) -> Result<(), OpenError> {
    sender.send(&ToWorker::hello(generation)).await?;
    loop {
        if let Received::Hello { .. } = receiver.next().await? {
            return Ok(());
        }
    }
}
