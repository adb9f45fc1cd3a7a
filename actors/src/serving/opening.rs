//! The first words with a worker, up to the point where it serves or has said why it cannot.

use std::path::Path;
use std::time::Duration;

use impetus_engine::link::{self, Limits, LinkError, Received, Receiver, Sender};
use impetus_engine::protocol::ToWorker;
use impetus_engine::{Arena, EngineError, RuntimeInfo};

use thiserror::Error;

use super::host::{HostError, WorkerHost};

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
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
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
pub(super) async fn greet(
    sender: &Sender,
    receiver: &mut Receiver,
    generation: u64,
) -> Result<(), OpenError> {
    sender.send(&ToWorker::hello(generation)).await?;
    loop {
        if let Received::Hello { .. } = receiver.next().await? {
            return Ok(());
        }
    }
}
