//! The server's end of the connection to a worker.
//!
//! [`split`] turns a connected socket into a [`Sender`], which any task may use, and a
//! [`Receiver`], which one task drives. The two are independent: receiving goes on however full
//! the sending direction is, so the two ends can never wait for each other.
//!
//! What a run may take is bounded everywhere ([`Limits`]): frames, inline tensors, slots, one-off
//! memory files and the bytes that wait to be written. A sender that meets a bound waits for room,
//! and dropping the waiting future leaves nothing behind.
//!
//! Everything a worker says is checked before it is believed. An answer that refers to a run
//! nobody asked for, to a slot it was not lent or to bytes outside it is a
//! [`LinkError::Protocol`]; the end of the connection is a [`LinkError::Lost`], reported after
//! every answer that arrived before it. After either the link is useless and the worker is to be
//! replaced.

mod answer;
mod ledger;
mod parked;
mod plan;
mod receiver;
mod sender;
mod shared;

use std::io;
use std::os::unix::net::UnixStream;

use thiserror::Error;

use crate::arena::Arena;
use crate::error::EngineError;
use crate::generate::{GenerationFailed, Step};
use crate::platform;
use crate::protocol::ProtocolError;
use crate::runtime::{Loaded, RuntimeInfo};
use crate::tensor::{DType, Tensor};

pub use parked::{Parked, park};
pub use receiver::Receiver;
pub use sender::Sender;
use shared::Shared;

/// Room in a frame for everything but tensors: names, shapes, specifications, error texts.
const MESSAGE_ROOM: usize = 192 * 1024;

/// The bounds of one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest frame in either direction, in bytes.
    pub frame_cap: usize,
    /// Most bytes of tensors that travel inside a frame where there is an arena.
    pub inline_max: usize,
    /// Number of slots in the arena: one being run, the others being filled.
    pub slots: usize,
    /// Bytes that a slot offers to inputs, and again to outputs.
    pub slot_bytes: usize,
    /// Most bytes that the inputs of one run may take.
    pub input_cap: usize,
    /// Most bytes that the outputs of one run may take.
    pub output_cap: usize,
    /// Bytes that may wait to be written before senders have to wait.
    pub backlog: usize,
}

/// One input of a run, possibly of several requests stacked along the first dimension.
#[derive(Debug, Clone, Copy)]
pub struct StackedInput<'a> {
    /// The model's name for it.
    pub name: &'a str,
    /// The element type.
    pub dtype: DType,
    /// The shape of the whole, batch dimension included.
    pub shape: &'a [usize],
    /// The bytes, in pieces that are laid end to end.
    pub parts: &'a [&'a [u8]],
}

/// What a worker has said.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    /// The worker is of this build and runs.
    Hello {
        /// The generation it was given.
        generation: u64,
        /// Its process.
        pid: u32,
    },
    /// The runtime's library is loaded and started.
    RuntimeReady(RuntimeInfo),
    /// The model has been read and runs for the first time.
    Warming,
    /// The model is loaded and warm.
    Loaded(Loaded),
    /// The runtime or the model could not be loaded.
    LoadFailed(EngineError),
    /// A run has succeeded.
    Done {
        /// The run.
        id: u64,
        /// The outputs in the model's order, copied out and checked.
        outputs: Vec<Tensor>,
        /// How long the runtime took, in microseconds.
        run_micros: u64,
    },
    /// A run has failed.
    RunFailed {
        /// The run.
        id: u64,
        /// What was wrong with it.
        error: EngineError,
    },
    /// A step of generation is done.
    Step(Step),
    /// A sequence cannot be generated.
    GenerationFailed(GenerationFailed),
    /// The inference thread is alive although it has nothing to do.
    Beat {
        /// Whether no run was waiting.
        idle: bool,
        /// Self-checks passed since the model was loaded.
        self_checks: u64,
    },
    /// The model no longer gives what it gave; the worker ends.
    SelfCheckFailed {
        /// What differed.
        detail: String,
    },
}

/// Why a link does not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LinkError {
    /// The worker is gone.
    #[error("the worker is lost: {reason}")]
    Lost {
        /// How that showed.
        reason: String,
    },
    /// The worker said what it should not have said.
    #[error("worker protocol violated: {0}")]
    Protocol(#[from] ProtocolError),
    /// The request cannot be sent; the link is as good as before.
    #[error(transparent)]
    Refused(#[from] EngineError),
}

/// Makes a link of a connected socket.
///
/// # Panics
///
/// Must be called within a tokio runtime with its I/O driver enabled.
///
/// # Errors
///
/// Fails if the limits contradict each other or the system refuses what the link needs.
pub fn split(stream: UnixStream, arena: Arena, limits: Limits) -> io::Result<(Sender, Receiver)> {
    limits.check()?;
    let shared = Shared::new(stream, arena, limits)?;
    let receiver = Receiver::new(shared.clone())?;
    Ok((Sender::new(shared), receiver))
}

// === impl Limits ===

impl Limits {
    /// Checks that the limits leave room for each other.
    fn check(&self) -> io::Result<()> {
        let problem = if self.frame_cap < MESSAGE_ROOM {
            "the frame cap leaves no room for messages"
        } else if u32::try_from(self.frame_cap).is_err() {
            "the frame cap exceeds what a frame can state"
        } else if self.inline_max > self.frame_cap - MESSAGE_ROOM {
            "inline tensors exceed the frame cap"
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
    }
}

impl Default for Limits {
    /// Returns 64 KiB inline, two slots of 4 MiB, 256 MiB for what exceeds a slot.
    ///
    /// Without shared memory everything is inline, and the frame cap is that of the tensors.
    fn default() -> Self {
        const LARGEST: usize = 256 * 1024 * 1024;
        let inline_max = if platform::SHARED_MEMORY {
            64 * 1024
        } else {
            LARGEST
        };
        Self {
            frame_cap: inline_max + MESSAGE_ROOM,
            inline_max,
            slots: 2,
            slot_bytes: 4 * 1024 * 1024,
            input_cap: LARGEST,
            output_cap: LARGEST,
            backlog: 1024 * 1024,
        }
    }
}

// === impl LinkError ===

impl LinkError {
    /// Returns whether the same request may succeed when it is sent to another worker.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Lost { .. } | Self::Protocol(_) => true,
            Self::Refused(error) => error.is_retryable(),
        }
    }

    pub(crate) fn lost(reason: impl ToString) -> Self {
        Self::Lost {
            reason: reason.to_string(),
        }
    }
}
