//! ONNX Runtime, loaded at run time from a library file.
//!
//! The library is not linked, so a missing or unusable one is an error of the first load and not
//! of the program's start. Its environment exists once per process and is never taken down: the
//! library does not survive being unloaded.
//!
//! Sessions run one graph at a time on the inference thread and the threads the runtime adds to
//! it. Those do not spin while they wait: a worker that is idle is to cost nothing, and spinning
//! takes several times the processor time of small requests.

mod decoder;
mod library;
mod providers;
mod session;
mod value;

use std::path::Path;

use super::{LoadSpec, Model, Runtime, RuntimeInfo};
use crate::error::EngineError;
use crate::generate::{Decoder, GenerationSpec};

pub use providers::{Probed, probe};

/// Loads models by ONNX Runtime.
#[derive(Debug, Clone, Copy, Default)]
pub struct OnnxRuntime;

impl Runtime for OnnxRuntime {
    fn start(&mut self, library: &Path) -> Result<RuntimeInfo, EngineError> {
        library::start(library).map(|library| library.info.clone())
    }

    fn load(&mut self, spec: &LoadSpec) -> Result<Box<dyn Model>, EngineError> {
        let library = library::start(&spec.runtime)?;
        Ok(Box::new(session::OnnxModel::load(library, spec)?))
    }

    fn load_decoder(
        &mut self,
        spec: &LoadSpec,
        generation: &GenerationSpec,
    ) -> Result<Box<dyn Decoder>, EngineError> {
        let library = library::start(&spec.runtime)?;
        decoder::load(library, spec, generation)
    }
}
