//! What the worker asks of whatever executes models.
//!
//! A [`Runtime`] loads, a [`Model`] runs; both live on the worker's inference thread alone and
//! need be neither `Send` nor `Sync`. Inputs reach a model as views of the memory they arrived in,
//! and outputs leave it as views of the runtime's own memory, valid only inside the call that
//! delivers them: the worker copies them once, to where the server will read them.
//!
//! A model may rely on its inputs having passed [`check_inputs`](crate::tensor::check_inputs).
//! Every failure is an [`EngineError`]; a crash of native code is no error but the end of the
//! process, which is why there is one.

mod by_model;
#[cfg(any(test, all(feature = "coreml", target_os = "macos")))]
mod coreml;
mod format;
pub mod onnx;
mod provider;
mod warm_up;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::EngineError;
use crate::generate::{Decoder, GenerationInfo, GenerationSpec};
use crate::tensor::{TensorSpec, TensorView};

pub use by_model::ByModel;
pub use format::ModelFormat;
pub(crate) use provider::{Attempt, first_that_works};
pub use provider::{
    ComputeUnits, Execution, PassedOver, Provider, ProviderOptions, Providers, UnknownProvider,
};
pub use warm_up::{Fill, WarmUpInput, WarmUpRun, WarmUpSample};

/// What to load, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadSpec {
    /// The model's name, for messages.
    pub model: String,
    /// The model's version, for messages.
    pub version: String,
    /// The model's file.
    pub path: PathBuf,
    /// Threads that work on one run; 0 lets the runtime choose.
    pub intra_threads: usize,
    /// Whether to run a synthetic sample before the model counts as loaded.
    pub warm_up: bool,
    /// Samples that are run after that one, each once, in this order.
    pub samples: Vec<WarmUpSample>,
    /// The runtime's library.
    pub runtime: PathBuf,
    /// What may execute it, in the order in which that is tried.
    pub providers: Providers,
    /// How long the inference thread may be idle before it repeats the sample; zero for never.
    pub self_check_every: Duration,
    /// How it generates text, if that is what it does; its vocabulary comes before.
    pub generation: Option<GenerationSpec>,
}

/// What a loaded model says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// The inputs, in the model's order.
    pub inputs: Vec<TensorSpec>,
    /// The outputs, in the model's order.
    pub outputs: Vec<TensorSpec>,
    /// How long loading took, in microseconds.
    pub load_micros: u64,
    /// How long the first run took, in microseconds; 0 if there was none.
    pub warm_up_micros: u64,
    /// Why there was no first run, and hence no self-check.
    pub warm_up_skipped: Option<String>,
    /// The first runs of the stated samples, in their order.
    pub sample_runs: Vec<WarmUpRun>,
    /// Whether the first dimension of every input and output is free, so that runs can be stacked.
    pub max_batch_free: bool,
    /// What has loaded the model.
    pub runtime: RuntimeInfo,
    /// What executes its operators.
    pub execution: Execution,
    /// How it generates text, if that is what it does.
    pub generation: Option<GenerationInfo>,
}

/// Name and version of a runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeInfo {
    /// The runtime's name.
    pub name: String,
    /// The version its library states.
    pub version: String,
}

/// Takes the outputs of a run; they are valid during the call only.
pub type Deliver<'a> = dyn FnMut(&[TensorView<'_>]) -> Result<(), EngineError> + 'a;

/// Makes the run in progress end early, from any thread, and every one after it until
/// [`Model::resume`].
pub type Interrupt = Arc<dyn Fn() + Send + Sync>;

/// Something that loads models.
pub trait Runtime {
    /// Loads and starts the library; may be called again with the same path.
    fn start(&mut self, library: &Path) -> Result<RuntimeInfo, EngineError>;

    /// Loads and starts what this model needs; may be called again.
    fn start_for(&mut self, spec: &LoadSpec) -> Result<RuntimeInfo, EngineError> {
        self.start(&spec.runtime)
    }

    /// Loads a model; the runtime has been started.
    fn load(&mut self, spec: &LoadSpec) -> Result<Box<dyn Model>, EngineError>;

    /// Loads a model that generates text; the runtime has been started.
    fn load_decoder(
        &mut self,
        spec: &LoadSpec,
        _generation: &GenerationSpec,
    ) -> Result<Box<dyn Decoder>, EngineError> {
        Err(EngineError::ModelUnsupported {
            path: spec.path.clone(),
            reason: "this runtime generates no text".to_owned(),
        })
    }
}

/// A loaded model.
pub trait Model {
    /// Returns what the model takes.
    fn inputs(&self) -> &[TensorSpec];

    /// Returns what the model gives.
    fn outputs(&self) -> &[TensorSpec];

    /// Runs the model once and passes its outputs, in its order, to `deliver`.
    ///
    /// `deliver` is called at most once, as the last thing, and its error is returned.
    fn run(
        &mut self,
        inputs: &[TensorView<'_>],
        deliver: &mut Deliver<'_>,
    ) -> Result<(), EngineError>;

    /// Returns what executes its operators.
    fn execution(&self) -> Execution {
        Execution::default()
    }

    /// Returns what makes a run end early, if the runtime can do that.
    fn interrupt(&self) -> Option<Interrupt> {
        None
    }

    /// Undoes an interrupt, so that the next run is a whole one.
    fn resume(&mut self) {}
}
