//! What the inference thread does: take a message, do what it says, answer.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use super::WorkerExit;
use super::connection::{Connection, Woken};
use super::engine::Engine;
use super::generation;
use super::interrupts::Interrupts;
use super::outputs::SharedMemory;
use crate::error::EngineError;
use crate::generate::GenerationFailed;
use crate::protocol::{FromWorker, ProtocolError, Terms, ToWorker, check_hello};
use crate::runtime::{LoadSpec, Runtime};

/// How far the conversation has come.
enum Stage {
    /// Nothing has been said.
    Silent,
    /// The server has said hello and owes its terms.
    Greeted,
    /// Everything else may be said.
    Agreed,
    /// Nothing more will be said; the worker ends when its sequences have.
    Ending,
}

/// What a worker serves with.
pub(super) struct Equipment {
    pub(super) runtime: Box<dyn Runtime>,
    pub(super) interrupts: Interrupts,
    /// The server's end of the line on which it says which run nobody wants any more.
    pub(super) line: OwnedFd,
}

/// Serves one connection; returns why it ended.
pub(super) fn serve(stream: &UnixStream, equipment: Equipment) -> WorkerExit {
    let connection = match Connection::new(stream) {
        Ok(connection) => connection,
        Err(error) => return WorkerExit::System(error.to_string()),
    };
    let service = Service {
        connection,
        engine: Engine::new(equipment.runtime, equipment.interrupts),
        line: Some(equipment.line),
        stage: Stage::Silent,
    };
    match service.serve() {
        Ok(never) => match never {},
        Err(exit) => exit,
    }
}

enum Never {}

struct Service<'a> {
    connection: Connection<'a>,
    engine: Engine,
    /// Goes to the server with the hello.
    line: Option<OwnedFd>,
    stage: Stage,
}

// === impl Service ===

impl Service<'_> {
    fn serve(mut self) -> Result<Never, WorkerExit> {
        loop {
            while self.take()? {}
            if self.step()? {
                continue;
            }
            match self.connection.wait(self.engine.idle_until())? {
                Woken::Bytes => {}
                Woken::Deadline => self.idle()?,
            }
        }
    }

    /// Takes a step if there are sequences, and what has arrived meanwhile; returns whether it did.
    fn step(&mut self) -> Result<bool, WorkerExit> {
        let active = self.engine.generation().filter(|active| !active.is_idle());
        let Some(generation) = active else {
            return match self.stage {
                Stage::Ending => Err(WorkerExit::Shutdown),
                _ => Ok(false),
            };
        };
        generation.step(&mut self.connection.outbox)?;
        self.connection.flush()?;
        self.connection.read_what_is_there()?;
        Ok(true)
    }

    /// Takes one message, if one has arrived whole.
    fn take(&mut self) -> Result<bool, WorkerExit> {
        let Some(incoming) = self.connection.inbox.next::<ToWorker>()? else {
            return Ok(false);
        };
        match (&self.stage, incoming.message) {
            (Stage::Agreed, ToWorker::Run(run)) => self.engine.answer(
                run,
                incoming.payload,
                incoming.descriptors,
                &mut self.connection.outbox,
            )?,
            (Stage::Agreed, ToWorker::StartRuntime(library)) => {
                let ready = self.engine.start_runtime(&library);
                self.say(&ready)?;
            }
            (Stage::Agreed, ToWorker::Load(spec)) => self.load(&spec)?,
            (Stage::Agreed, ToWorker::Vocabulary(len)) => {
                let (payload, descriptors) = (incoming.payload, incoming.descriptors);
                let vocabulary = generation::vocabulary(len, payload, descriptors)?;
                self.engine.keep_vocabulary(vocabulary);
            }
            (Stage::Agreed, ToWorker::Generate(request)) => {
                if let Err(failed) = self.engine.generate(request) {
                    let failed = FromWorker::GenerationFailed(failed);
                    self.connection.outbox.push(&failed, None)?;
                }
            }
            (Stage::Agreed | Stage::Ending, ToWorker::Cancel(ids)) => {
                if let Some(generation) = self.engine.generation() {
                    generation.cancel(&ids);
                }
            }
            (Stage::Agreed, ToWorker::Shutdown) => {
                self.stage = Stage::Ending;
                // What has arrived behind it is of no interest any more.
                return Ok(false);
            }
            (
                Stage::Silent,
                ToWorker::Hello {
                    protocol,
                    build_id,
                    generation,
                },
            ) => {
                // Said in any case, so that the server can tell what it is talking to.
                let line = self.line.take();
                let hello = FromWorker::hello(generation);
                self.connection.outbox.push(&hello, line)?;
                self.connection.flush()?;
                check_hello(protocol, &build_id)?;
                self.stage = Stage::Greeted;
            }
            (Stage::Greeted, ToWorker::Terms(terms)) => {
                let memory = shared_memory(&terms, incoming.descriptors)?;
                self.connection.set_frame_cap(terms.frame_cap);
                self.engine.agree(terms, memory);
                self.stage = Stage::Agreed;
            }
            (Stage::Ending, _) => {}
            (_, message) => return Err(ProtocolError::Unexpected(message.kind()).into()),
        }
        self.connection.flush()?;
        Ok(true)
    }

    fn idle(&mut self) -> Result<(), WorkerExit> {
        match self.engine.check_itself() {
            Ok(beat) => self.say(&beat),
            Err(detail) => {
                self.say(&FromWorker::SelfCheckFailed {
                    detail: detail.clone(),
                })?;
                Err(WorkerExit::SelfCheckFailed(detail))
            }
        }
    }

    fn load(&mut self, spec: &LoadSpec) -> Result<(), WorkerExit> {
        self.give_up_sequences()?;
        let ready = self.engine.start_runtime_for(spec);
        self.say(&ready)?;
        if let FromWorker::RuntimeReady(_) = ready {
            let opened = match self.engine.open(spec) {
                Ok(opened) => opened,
                Err(error) => return self.say(&FromWorker::LoadFailed(error)),
            };
            self.say(&FromWorker::Warming)?;
            match self.engine.warm_up(spec, opened) {
                Ok(loaded) => self.say_loaded(spec, &FromWorker::Loaded(loaded))?,
                Err(error) => {
                    self.engine.unload();
                    self.say(&FromWorker::LoadFailed(error))?;
                }
            }
        }
        Ok(())
    }

    /// Says of every sequence of a model that is about to go that it is over.
    fn give_up_sequences(&mut self) -> Result<(), WorkerExit> {
        let ids = self.engine.generation().map(|active| active.clear());
        for id in ids.into_iter().flatten() {
            let error = EngineError::NotLoaded;
            let failed = FromWorker::GenerationFailed(GenerationFailed { id, error });
            self.connection.outbox.push(&failed, None)?;
        }
        Ok(())
    }

    /// A model whose description no frame can carry is one that cannot be served.
    fn say_loaded(&mut self, spec: &LoadSpec, loaded: &FromWorker) -> Result<(), WorkerExit> {
        if let Err(error) = self.connection.outbox.push(loaded, None) {
            self.engine.unload();
            let failed = FromWorker::LoadFailed(EngineError::ModelUnsupported {
                path: spec.path.clone(),
                reason: format!("its description is {error}"),
            });
            self.connection.outbox.push(&failed, None)?;
        }
        self.connection.flush()
    }

    fn say(&mut self, message: &FromWorker) -> Result<(), WorkerExit> {
        self.connection.outbox.push(message, None)?;
        self.connection.flush()
    }
}

impl From<ProtocolError> for WorkerExit {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error.to_string())
    }
}

fn shared_memory(
    terms: &Terms,
    descriptors: &mut VecDeque<OwnedFd>,
) -> Result<Option<SharedMemory>, WorkerExit> {
    if terms.slots == 0 {
        return Ok(None);
    }
    let descriptor = descriptors
        .pop_front()
        .ok_or(ProtocolError::Descriptor("missing"))?;
    SharedMemory::map(terms, descriptor).map(Some)
}
