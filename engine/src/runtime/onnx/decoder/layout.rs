//! What a graph's inputs and outputs say about its keys, values and scores.

use std::path::Path;

use ort::value::TensorElementType;

use crate::error::EngineError;
use crate::generate::GenerationSpec;
use crate::tensor::{DType, Dim, TensorSpec};

/// The element type of scores, or of keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    F16,
}

/// Names and extents of everything that a run takes and gives.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) slots: usize,
    pub(super) max_len: usize,
    pub(super) layers: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
    /// `None` if the graph does not state it.
    pub(super) vocabulary: Option<usize>,
    pub(super) cache: Element,
    pub(super) positions: bool,
    /// In the order in which a run is given them: ids, mask, positions if asked for, then key and
    /// value of each layer.
    pub(super) inputs: Vec<String>,
    /// In the order in which a run is asked for them: scores, then key and value of each layer.
    pub(super) outputs: Vec<String>,
}

/// A graph's inputs or outputs.
struct Outlets<'a> {
    path: &'a Path,
    what: &'static str,
    specs: &'a [TensorSpec],
}

// === impl Element ===

impl Element {
    /// Returns the size in bytes.
    pub(super) fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    pub(super) fn of(dtype: DType) -> Option<Self> {
        match dtype {
            DType::F32 => Some(Self::F32),
            DType::F16 => Some(Self::F16),
            _ => None,
        }
    }

    pub(super) fn tensor_type(self) -> TensorElementType {
        match self {
            Self::F32 => TensorElementType::Float32,
            Self::F16 => TensorElementType::Float16,
        }
    }
}

// === impl Layout ===

impl Layout {
    /// Reads the graph's inputs and outputs.
    ///
    /// # Errors
    ///
    /// [`EngineError::ModelUnsupported`] with the input or output that is missing, or is something
    /// else than it should be.
    pub(super) fn try_new(
        path: &Path,
        spec: &GenerationSpec,
        inputs: &[TensorSpec],
        outputs: &[TensorSpec],
    ) -> Result<Self, EngineError> {
        let names = &spec.names;
        let taken = Outlets {
            path,
            what: "input",
            specs: inputs,
        };
        let given = Outlets {
            path,
            what: "output",
            specs: outputs,
        };
        let layers = (0..)
            .take_while(|layer| taken.has(&of_layer(&names.past_key, *layer)))
            .count();
        let (kv_heads, head_dim, cache) = taken.cache(&of_layer(&names.past_key, 0), spec)?;
        let positions = taken.has(&names.position_ids);
        let mut layout = Self {
            slots: if spec.shared_buffers { spec.slots } else { 1 },
            max_len: spec.max_len,
            layers,
            kv_heads,
            head_dim,
            vocabulary: given.scores(&names.logits)?,
            cache,
            positions,
            inputs: vec![names.input_ids.clone(), names.attention_mask.clone()],
            outputs: vec![names.logits.clone()],
        };
        if layout.slots == 0 || layout.max_len < 2 {
            return Err(taken.unsupported(format!(
                "{} slots of {} tokens are too few; one slot of two tokens is the least",
                layout.slots, layout.max_len
            )));
        }
        if positions {
            layout.inputs.push(names.position_ids.clone());
        }
        for name in &layout.inputs {
            taken.numbers(name)?;
        }
        for layer in 0..layers {
            for name in [&names.past_key, &names.past_value] {
                let name = of_layer(name, layer);
                let shape = taken.cache(&name, spec)?;
                if shape != (kv_heads, head_dim, cache) {
                    return Err(taken.unsupported(format!(
                        "input {name} has another shape or type than that of the first layer"
                    )));
                }
                layout.inputs.push(name);
            }
            for name in [&names.present_key, &names.present_value] {
                let name = of_layer(name, layer);
                given.find(&name)?;
                layout.outputs.push(name);
            }
        }
        taken.all_known(&layout.inputs)?;
        Ok(layout)
    }

    /// Returns the bytes of one slot's keys, or values, in one layer.
    pub(super) fn slot_bytes(&self) -> usize {
        self.kv_heads * self.max_len * self.head_dim * self.cache.size()
    }

    /// Returns the bytes of all keys and values.
    pub(super) fn cache_bytes(&self) -> u64 {
        2 * self.layers as u64 * self.slots as u64 * self.slot_bytes() as u64
    }
}

// === impl Outlets ===

impl Outlets<'_> {
    fn has(&self, name: &str) -> bool {
        self.specs.iter().any(|spec| spec.name == name)
    }

    fn find(&self, name: &str) -> Result<&TensorSpec, EngineError> {
        self.specs
            .iter()
            .find(|spec| spec.name == name)
            .ok_or_else(|| {
                let what = self.what;
                self.unsupported(format!(
                    "there is no {what} {name}; state the graph's own names in genai_config.json"
                ))
            })
    }

    /// Checks an input of whole numbers.
    fn numbers(&self, name: &str) -> Result<(), EngineError> {
        let spec = self.find(name)?;
        if spec.dtype == DType::I64 && spec.shape.len() == 2 {
            return Ok(());
        }
        Err(self.unsupported(format!(
            "input {name} must be i64 of two dimensions and is {} of {}",
            spec.dtype,
            spec.shape.len()
        )))
    }

    /// Returns heads, numbers of a key, and type of an input of keys or values.
    fn cache(
        &self,
        name: &str,
        generation: &GenerationSpec,
    ) -> Result<(usize, usize, Element), EngineError> {
        let spec = self.find(name)?;
        let [_, heads, _, numbers] = spec.shape.as_slice() else {
            return Err(self.unsupported(format!(
                "input {name} has {} dimensions instead of batch, heads, past and numbers",
                spec.shape.len()
            )));
        };
        let element = Element::of(spec.dtype).ok_or_else(|| {
            self.unsupported(format!("input {name} is {} and not f32 or f16", spec.dtype))
        })?;
        let Dim::Fixed(heads) = heads else {
            return Err(self.unsupported(format!("input {name} does not state its heads")));
        };
        let head_dim = match (numbers, generation.head_dim) {
            (Dim::Fixed(graph), Some(stated)) if *graph != stated => {
                return Err(self.unsupported(format!(
                    "input {name} has {graph} numbers for each head, and head_size is {stated}"
                )));
            }
            (Dim::Fixed(graph), _) => *graph,
            (Dim::Free(_), Some(stated)) => stated,
            (Dim::Free(_), None) => {
                return Err(self.unsupported(format!(
                    "input {name} does not state how many numbers each head has; state it as \
                     head_size in genai_config.json"
                )));
            }
        };
        Ok((*heads, head_dim, element))
    }

    /// Returns how many tokens the scores are for, if the graph states it.
    fn scores(&self, name: &str) -> Result<Option<usize>, EngineError> {
        let spec = self.find(name)?;
        let good = spec.shape.len() == 3 && Element::of(spec.dtype).is_some();
        match spec.shape.last() {
            Some(Dim::Fixed(extent)) if good => Ok(Some(*extent)),
            Some(Dim::Free(_)) if good => Ok(None),
            _ => Err(self.unsupported(format!(
                "output {name} must be f32 or f16 of three dimensions and is {} of {}",
                spec.dtype,
                spec.shape.len()
            ))),
        }
    }

    fn all_known(&self, known: &[String]) -> Result<(), EngineError> {
        match self.specs.iter().find(|spec| !known.contains(&spec.name)) {
            None => Ok(()),
            Some(spec) => Err(self.unsupported(format!(
                "it asks for {}, which no decoder is given; export it without",
                spec.name
            ))),
        }
    }

    fn unsupported(&self, reason: String) -> EngineError {
        EngineError::ModelUnsupported {
            path: self.path.to_owned(),
            reason,
        }
    }
}

fn of_layer(name: &str, layer: usize) -> String {
    name.replacen("%d", &layer.to_string(), 1)
}
