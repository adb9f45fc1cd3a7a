//! Graphs that generate text.
//!
//! Two kinds are known, and both say what they need by the names and shapes of their inputs. In one,
//! GroupQueryAttention writes the keys and values of new tokens behind those of old ones, into the
//! same memory ([`shared`]): several sequences run together and nothing is copied. In the other, keys
//! and values of past and present are concatenated, and the present ones are the next run's past
//! ([`concatenating`]): one sequence at a time, correct and not fast.

mod cache;
mod call;
mod concatenating;
mod layout;
mod logits;
mod shared;

use ort::session::RunOptions;

use super::super::LoadSpec;
use super::library::Library;
use super::session::{Memory, load_error, open_on_cpu, specs};
use crate::error::EngineError;
use crate::generate::{Decoder, GenerationSpec};
use crate::tensor::TensorSpec;
use call::Graph;
use layout::Layout;

/// Loads a graph as its kind demands.
pub(super) fn load(
    library: &Library,
    spec: &LoadSpec,
    generation: &GenerationSpec,
) -> Result<Box<dyn Decoder>, EngineError> {
    let memory = if generation.shared_buffers {
        Memory::Unplanned
    } else {
        Memory::Unshared
    };
    let path = &spec.path;
    // Keys and values are kept in the CPU's memory: no other provider is asked.
    spec.providers.for_text(path)?;
    let session = open_on_cpu(library, spec, memory)?;
    let inputs = specs(path, "input", session.inputs())?;
    let outputs = specs(path, "output", session.outputs())?;
    let layout = Layout::try_new(path, generation, &inputs, &outputs)?;
    let options = RunOptions::new().map_err(|error| load_error(path, &error))?;
    let graph = Graph::new(session, options, &layout).map_err(|error| load_error(path, &error))?;
    let parts = Parts {
        graph,
        layout,
        inputs,
        outputs,
    };
    if generation.shared_buffers {
        Ok(Box::new(shared::SharedDecoder::load(parts)?))
    } else {
        Ok(Box::new(concatenating::ConcatenatingDecoder::load(parts)?))
    }
}

/// What both kinds are made of.
struct Parts {
    graph: Graph,
    layout: Layout,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
}
