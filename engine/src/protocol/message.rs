//! The messages themselves: plain data, no behaviour.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{PROTOCOL_VERSION, build_id};
use crate::error::EngineError;
use crate::generate::{Generate, GenerationFailed, Step};
use crate::runtime::{LoadSpec, Loaded, RuntimeInfo};
use crate::tensor::DType;

/// What the server tells a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToWorker {
    /// The first message.
    Hello {
        /// [`PROTOCOL_VERSION`] of the server.
        protocol: u32,
        /// [`build_id`] of the server.
        build_id: String,
        /// Which incarnation of the worker this is; the worker repeats it.
        generation: u64,
    },
    /// The second message, which the link sends by itself after the hello.
    Terms(Terms),
    /// Start the runtime of this library and load nothing: to learn whether it can be had.
    StartRuntime(PathBuf),
    /// Load a model, in place of the one loaded if there is one.
    Load(Box<LoadSpec>),
    /// The bytes of every token of the model that will be loaded next, in the sealed memory that comes
    /// with this message, or inside its frame where there is no shared memory: a [`Vocabulary`](crate::generate::Vocabulary) of so many bytes.
    Vocabulary(usize),
    /// Run the loaded model once.
    Run(Run),
    /// Generate one sequence.
    Generate(Generate),
    /// Generate no more of these sequences; nothing is said of them any more.
    Cancel(Vec<u64>),
    /// Finish what was sent so far and end.
    Shutdown,
}

/// What a worker tells the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromWorker {
    /// The answer to the server's hello. With it comes a socket on which the server names the runs
    /// that nobody wants any more, each by eight bytes, little-endian.
    Hello {
        /// [`PROTOCOL_VERSION`] of the worker.
        protocol: u32,
        /// [`build_id`] of the worker.
        build_id: String,
        /// The generation the server named.
        generation: u64,
        /// The worker's process.
        pid: u32,
    },
    /// The runtime's library is loaded and started.
    RuntimeReady(RuntimeInfo),
    /// The model has been read and runs for the first time.
    Warming,
    /// The model is loaded and warm.
    Loaded(Loaded),
    /// The runtime or the model could not be loaded; another attempt may be made.
    LoadFailed(EngineError),
    /// A run has succeeded.
    Done(Done),
    /// A run has failed, and the worker is fit for the next one.
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
    /// The warm-up sample no longer gives what it gave; the worker ends.
    SelfCheckFailed {
        /// What differed.
        detail: String,
    },
}

/// What both ends keep to, fixed by the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The longest frame in either direction, in bytes.
    pub frame_cap: usize,
    /// Most bytes of tensors that a frame carries itself.
    pub inline_max: usize,
    /// Most bytes that the outputs of one run may take.
    pub output_cap: usize,
    /// Number of slots in the arena that comes with this message; 0 if none comes.
    pub slots: usize,
    /// Bytes that a slot offers to inputs, and again to outputs.
    pub slot_bytes: usize,
}

/// One run of the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The server's name for the run.
    pub id: u64,
    /// The slot that belongs to this run until it is answered.
    pub slot: Option<SlotGrant>,
    /// The inputs.
    pub inputs: Vec<WireTensor>,
}

/// A slot of the arena, lent for one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotGrant {
    /// Which slot.
    pub index: usize,
    /// How many times the slot has been lent; an answer that names another epoch is stale.
    pub epoch: u64,
}

/// The answer to one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The run.
    pub id: u64,
    /// The outputs, in the model's order.
    pub outputs: Vec<WireTensor>,
    /// How long the runtime took, in microseconds.
    pub run_micros: u64,
}

/// A tensor without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireTensor {
    /// Its name in the model.
    pub name: String,
    /// The element type.
    pub dtype: DType,
    /// The extent of every dimension.
    pub shape: Vec<usize>,
    /// Where the bytes lie.
    pub place: Place,
    /// Where in that place they begin, a multiple of [`ALIGNMENT`](super::frame::ALIGNMENT).
    pub offset: usize,
    /// How many bytes there are.
    pub len: usize,
}

/// Where the bytes of a tensor lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// Behind the message, in the same frame.
    Inline,
    /// In the slot that was lent for the run.
    Slot(SlotGrant),
    /// In the sealed memory file whose descriptor came with the frame.
    Attached,
}

// === impl ToWorker ===

impl ToWorker {
    /// Returns the first message to a worker of the given generation.
    pub fn hello(generation: u64) -> Self {
        Self::Hello {
            protocol: PROTOCOL_VERSION,
            build_id: build_id().to_owned(),
            generation,
        }
    }

    /// Returns the message's name for errors and logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Terms(_) => "terms",
            Self::StartRuntime(_) => "start runtime",
            Self::Load(_) => "load",
            Self::Vocabulary(_) => "vocabulary",
            Self::Run(_) => "run",
            Self::Generate(_) => "generate",
            Self::Cancel(_) => "cancel",
            Self::Shutdown => "shutdown",
        }
    }
}

// === impl FromWorker ===

impl FromWorker {
    /// Returns the answer to a hello with the given generation.
    pub fn hello(generation: u64) -> Self {
        Self::Hello {
            protocol: PROTOCOL_VERSION,
            build_id: build_id().to_owned(),
            generation,
            pid: std::process::id(),
        }
    }
}
