//! Everything in Impetus that touches a model.
//!
//! Native inference code can crash, hang or eat all memory, so it lives in a process of its own.
//! This crate holds both ends of that arrangement:
//!
//! - [`tensor`]: typed, validated tensors and the specifications a model states for them;
//! - [`error`]: what can go wrong with a model, and whose fault it is;
//! - [`protocol`]: the messages and frames that server and worker exchange;
//! - [`arena`]: shared memory for tensors too large for a socket;
//! - [`generate`]: what is said about text that is generated, and the worker's side of it;
//! - [`link`]: the server's end, asynchronous and free of native code;
//! - [`runtime`]: the traits behind which ONNX Runtime and Core ML stand;
//! - [`worker`]: the worker's main loop, as a process or on a thread.
//!
//! Only [`worker`] ever calls into [`runtime`]; a server that uses [`link`] alone never loads a
//! model runtime into its own memory map.

pub mod arena;
pub mod error;
pub mod generate;
pub mod link;
mod platform;
pub mod protocol;
pub mod runtime;
pub mod tensor;
mod wire;
pub mod worker;

pub use arena::{Arena, ArenaLayout};
pub use error::{EngineError, Fault};
pub use link::{Limits, LinkError, Received, StackedInput};
pub use platform::{exit_now, give_back_freed_memory};
pub use runtime::{
    ComputeUnits, Execution, Fill, LoadSpec, Loaded, ModelFormat, PassedOver, Provider,
    ProviderOptions, Providers, RuntimeInfo, WarmUpInput, WarmUpRun, WarmUpSample,
};
pub use tensor::{DType, Dim, Tensor, TensorError, TensorSpec, TensorView};
pub use worker::{WorkerExit, WorkerOptions};
