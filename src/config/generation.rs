//! How text is generated.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::Period;

/// How models that generate text do so. A model may say otherwise (`[generation]` in its `model.toml`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GenerationConfig {
    /// Sequences that a model generates at a time; others wait. Each has a slot for its keys and values, whose memory is taken as it is used.
    #[schemars(range(min = 1, max = 1024))]
    pub slots: usize,
    /// Most tokens of prompt and answer together, where the model allows more. A slot has room for so many.
    #[schemars(range(min = 2, max = 1_048_576))]
    pub max_len: usize,
    /// Most tokens of a prompt that are taken in between two tokens of the sequences that run. Fewer make a long prompt disturb others less, more make it done sooner.
    #[schemars(range(min = 1, max = 65_536))]
    pub prefill_chunk: usize,
    /// Longest time that a generation may take, from its request to its last token.
    #[schemars(extend("x-min" = "1ms"))]
    pub timeout: Period,
    /// Most answers that one request may ask for (`n`, for each of its prompts).
    #[schemars(range(min = 1, max = 1024))]
    pub max_choices: usize,
}

// === impl GenerationConfig ===

impl Default for GenerationConfig {
    fn default() -> Self {
        Self {
            slots: 16,
            max_len: 4096,
            prefill_chunk: 128,
            timeout: Period::secs(600),
            max_choices: 32,
        }
    }
}
