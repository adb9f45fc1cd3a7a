//! One loaded graph.

use std::borrow::Cow;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use ort::ErrorCode;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{NoSelectedOutputs, RunOptions, Session, SessionInputValue};
use ort::value::{Outlet, ValueType};

use super::super::{
    Attempt, Deliver, Execution, Interrupt, LoadSpec, Model, Provider, first_that_works,
};
use super::library::Library;
use super::providers::{absent, in_library, in_short, register};
use super::value::{Input, Output, Values, dtype_of, states_shape};
use crate::error::{EngineError, shortened};
use crate::tensor::{Dim, TensorSpec, TensorView};

/// A model that ONNX Runtime has loaded.
pub(super) struct OnnxModel {
    session: Session,
    values: Values,
    options: Arc<RunOptions<NoSelectedOutputs>>,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    execution: Execution,
}

// === impl OnnxModel ===

impl OnnxModel {
    /// Loads a model; the error tells a missing file from a corrupt one.
    pub(super) fn load(library: &Library, spec: &LoadSpec) -> Result<Self, EngineError> {
        let path = &spec.path;
        let (session, execution) = open(library, spec)?;
        let options = RunOptions::new().map_err(|error| load_error(path, &error))?;
        let inputs = specs(path, "input", session.inputs())?;
        let outputs = specs(path, "output", session.outputs())?;
        for (index, input) in inputs.iter().enumerate() {
            let states = states_shape(&session, index).map_err(|error| load_error(path, &error))?;
            if !states {
                return Err(EngineError::ModelUnsupported {
                    path: path.clone(),
                    reason: format!("input {} states no shape", input.name),
                });
            }
        }
        Ok(Self {
            session,
            values: Values::new(),
            options: Arc::new(options),
            inputs,
            outputs,
            execution,
        })
    }
}

impl Model for OnnxModel {
    fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    fn run(
        &mut self,
        inputs: &[TensorView<'_>],
        deliver: &mut Deliver<'_>,
    ) -> Result<(), EngineError> {
        let values = inputs
            .iter()
            .map(|input| self.values.input(input))
            .collect::<ort::Result<Vec<Input<'_>>>>()
            .map_err(run_error)?;
        let named: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = inputs
            .iter()
            .zip(&values)
            .map(|(input, value)| (Cow::Borrowed(input.name()), value.value().into()))
            .collect();
        let results = self
            .session
            .run_with_options(named, &self.options)
            .map_err(run_error)?;
        let outputs = self
            .outputs
            .iter()
            .map(|spec| {
                let value = results.get(&spec.name).ok_or_else(|| {
                    EngineError::run_failed(format!("output {} is missing", spec.name))
                })?;
                Output::of(spec, value)
            })
            .collect::<Result<Vec<Output<'_>>, EngineError>>()?;
        let views = outputs
            .iter()
            .map(Output::view)
            .collect::<Result<Vec<TensorView<'_>>, EngineError>>()?;
        deliver(&views)
    }

    fn execution(&self) -> Execution {
        self.execution.clone()
    }

    fn interrupt(&self) -> Option<Interrupt> {
        Some(interrupt(&self.options))
    }

    fn resume(&mut self) {
        if let Err(error) = self.options.unterminate() {
            tracing::warn!(%error, "the runtime goes on refusing to run");
        }
    }
}

/// How a graph's runs use memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    /// A plan is kept for each shape of the inputs: for models whose inputs come in few.
    Planned,
    /// No plans: for inputs that grow with each run.
    Unplanned,
    /// No plans, and no buffer is used for two things in one run. Graphs that were made by hand say
    /// of two extents that they are the same and are wrong, which nobody notices until the runtime
    /// puts one tensor where another one was.
    Unshared,
}

/// Opens a graph with the first provider that is there and takes it.
fn open(library: &Library, spec: &LoadSpec) -> Result<(Session, Execution), EngineError> {
    let wanted = &spec.providers.order;
    first_that_works(
        wanted,
        &spec.path,
        |provider| (!in_library(provider)).then(|| absent(library, provider)),
        |provider| match provider {
            Provider::Cpu => open_on_cpu(library, spec, Memory::Planned).map_err(Attempt::Fatal),
            other => open_with(library, spec, other),
        },
    )
}

/// Opens a graph with a provider that has to be registered.
fn open_with(library: &Library, spec: &LoadSpec, provider: Provider) -> Result<Session, Attempt> {
    there(&spec.path).map_err(Attempt::Fatal)?;
    let opened = || {
        let mut builder = configured(library, spec, Memory::Planned)?;
        if provider == Provider::DirectMl {
            // It refuses a plan of memory.
            builder = builder.with_memory_pattern(false)?;
        }
        for one in registered(&spec.providers.order, provider) {
            register(
                &mut builder,
                one,
                &spec.providers.options,
                spec.intra_threads,
            )?;
        }
        builder.commit_from_file(&spec.path)
    };
    opened().map_err(|error: ort::Error| Attempt::Unusable(in_short(error.message()).to_owned()))
}

/// Returns what is registered for a provider: itself, and for TensorRT also CUDA where that is named
/// behind it, because operators that TensorRT lacks would run on the CPU otherwise.
fn registered(order: &[Provider], provider: Provider) -> Vec<Provider> {
    let behind = order.iter().skip_while(|one| **one != provider);
    let helps = |one: &&Provider| provider == Provider::TensorRt && **one == Provider::Cuda;
    let helpers = behind.filter(helps).copied();
    std::iter::once(provider)
        .chain(helpers.filter(|one| in_library(*one)))
        .collect()
}

/// Opens a graph with the runtime's own kernels.
pub(super) fn open_on_cpu(
    library: &Library,
    spec: &LoadSpec,
    memory: Memory,
) -> Result<Session, EngineError> {
    let path = &spec.path;
    there(path)?;
    configured(library, spec, memory)
        .and_then(|mut builder| builder.commit_from_file(path))
        .map_err(|error| load_error(path, &error))
}

/// Opens the file before the runtime does, whose own words for this differ from release to release.
fn there(path: &Path) -> Result<(), EngineError> {
    match File::open(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(EngineError::ModelMissing {
            path: path.to_owned(),
            reason: error.to_string(),
        }),
    }
}

/// Returns what makes the runs with these options end early.
pub(super) fn interrupt(options: &Arc<RunOptions<NoSelectedOutputs>>) -> Interrupt {
    let options = options.clone();
    Arc::new(move || {
        // Fails for no reason that could be acted on: the run goes on as if nobody had asked.
        let _ = options.terminate();
    })
}

fn configured(library: &Library, spec: &LoadSpec, memory: Memory) -> ort::Result<SessionBuilder> {
    // The one setting that keeps the runtime from using buffers twice; with one thread it is ignored.
    let parallel = memory == Memory::Unshared;
    // A step of generation is hundreds of small kernels behind each other: threads that sleep between
    // them cost a third of its time. They stop with the step, so an idle worker burns nothing.
    let spins = if memory == Memory::Planned { "0" } else { "1" };
    Ok(Session::builder(&library.environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(spec.intra_threads)?
        .with_inter_threads(if parallel { 2 } else { 1 })?
        .with_parallel_execution(parallel)?
        .with_memory_pattern(memory == Memory::Planned)?
        .with_config_entry("session.intra_op.allow_spinning", spins)?
        .with_config_entry("session.inter_op.allow_spinning", "0")?
        .with_config_entry("session.force_spinning_stop", "1")?)
}

pub(super) fn specs(
    path: &Path,
    what: &str,
    outlets: &[Outlet],
) -> Result<Vec<TensorSpec>, EngineError> {
    outlets
        .iter()
        .map(|outlet| {
            spec(outlet).ok_or_else(|| EngineError::ModelUnsupported {
                path: path.to_owned(),
                reason: format!("{what} {} is {}", outlet.name(), outlet.dtype()),
            })
        })
        .collect()
}

fn spec(outlet: &Outlet) -> Option<TensorSpec> {
    let ValueType::Tensor {
        ty,
        shape,
        dimension_symbols,
    } = outlet.dtype()
    else {
        return None;
    };
    let dims = shape
        .iter()
        .zip(dimension_symbols.iter())
        .map(|(extent, symbol)| match usize::try_from(*extent) {
            Ok(extent) => Dim::Fixed(extent),
            Err(_) => Dim::Free((!symbol.is_empty()).then(|| symbol.clone())),
        })
        .collect();
    Some(TensorSpec {
        name: outlet.name().to_owned(),
        dtype: dtype_of(*ty)?,
        shape: dims,
    })
}

pub(super) fn load_error(path: &Path, error: &ort::Error) -> EngineError {
    let path = path.to_owned();
    let reason = shortened(error.message().to_owned());
    match error.code() {
        ErrorCode::NoSuchFile => EngineError::ModelMissing { path, reason },
        ErrorCode::NotImplemented => EngineError::ModelUnsupported { path, reason },
        _ => EngineError::ModelCorrupt { path, reason },
    }
}

/// The runtime has no code of its own for memory that cannot be had, only these words.
const NO_MEMORY: [&str; 2] = ["bad_alloc", "Failed to allocate memory"];

pub(super) fn run_error(error: ort::Error) -> EngineError {
    let reason = error.message();
    if NO_MEMORY.iter().any(|words| reason.contains(words)) {
        return EngineError::OutOfMemory {
            reason: shortened(reason.to_owned()),
        };
    }
    EngineError::run_failed(reason)
}
