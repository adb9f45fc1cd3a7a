//! `genai_config.json`, which onnxruntime-genai's model builder writes beside a graph.
//!
//! It names the graph's inputs and outputs and gives the shapes that a key-value cache needs.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::generation::{GenerationDefaults, one_or_many};

/// The configuration as it is written.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct GenaiConfig {
    /// The model.
    pub model: GenaiModel,
    /// How to generate.
    pub search: GenaiSearch,
}

/// The section `model`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct GenaiModel {
    /// The architecture's name, such as `llama`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Tokens that the model can see at once.
    pub context_length: Option<usize>,
    /// Rows of the logits.
    pub vocab_size: usize,
    /// The token that begins a text.
    pub bos_token_id: Option<u32>,
    /// The token that fills a batch.
    pub pad_token_id: Option<u32>,
    /// The tokens that end a generation.
    #[serde(deserialize_with = "one_or_many")]
    pub eos_token_id: Vec<u32>,
    /// The graph.
    pub decoder: GenaiDecoder,
}

/// The section `model.decoder`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct GenaiDecoder {
    /// The graph's file, relative to the folder.
    pub filename: String,
    /// Size of one head, in numbers.
    pub head_size: usize,
    /// Size of the hidden state, in numbers.
    pub hidden_size: usize,
    /// Heads of the queries.
    pub num_attention_heads: usize,
    /// Heads of the keys and values, of which the cache has so many.
    pub num_key_value_heads: usize,
    /// Layers, of which the cache has so many.
    pub num_hidden_layers: usize,
    /// The graph's inputs.
    pub inputs: GenaiNames,
    /// The graph's outputs.
    pub outputs: GenaiNames,
}

/// Names of the graph's inputs or outputs by what they are for (`input_ids`, `logits`,
/// `past_key_names`, …); `%d` in a name stands for the layer.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct GenaiNames(BTreeMap<String, serde_json::Value>);

/// The section `search`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct GenaiSearch {
    /// False means greedy.
    pub do_sample: Option<bool>,
    /// Divides the logits.
    pub temperature: Option<f32>,
    /// Keeps so many of the likeliest tokens.
    pub top_k: Option<u32>,
    /// Keeps the likeliest tokens up to this probability.
    pub top_p: Option<f32>,
    /// Over 1: tokens that have been are made less likely.
    pub repetition_penalty: Option<f32>,
    /// The most tokens of prompt and answer together.
    pub max_length: Option<usize>,
    /// Whether past and present of the cache may be one buffer.
    pub past_present_share_buffer: bool,
}

// === impl GenaiConfig ===

impl GenaiConfig {
    /// Returns the graph's description.
    pub fn decoder(&self) -> &GenaiDecoder {
        &self.model.decoder
    }

    /// Returns how many tokens the model can see at once.
    pub fn context_length(&self) -> Option<usize> {
        self.model.context_length.filter(|length| *length > 0)
    }

    /// Returns the number of logits at each position; 0 where the file does not say.
    pub fn vocab_size(&self) -> usize {
        self.model.vocab_size
    }

    /// Returns the tokens that end a generation, as this file has them.
    pub fn eos_token_ids(&self) -> &[u32] {
        &self.model.eos_token_id
    }

    /// Returns the section `search` in the terms of `generation_config.json`.
    pub(super) fn defaults(&self) -> GenerationDefaults {
        GenerationDefaults {
            do_sample: self.search.do_sample,
            temperature: self.search.temperature,
            top_k: self.search.top_k,
            top_p: self.search.top_p,
            repetition_penalty: self.search.repetition_penalty,
            max_length: self.search.max_length,
            ..GenerationDefaults::default()
        }
    }
}

// === impl GenaiNames ===

impl GenaiNames {
    /// Returns the name of what is for `purpose`, such as `logits`.
    pub fn get(&self, purpose: &str) -> Option<&str> {
        self.0.get(purpose)?.as_str()
    }

    /// Returns the name of what is for `purpose` in one layer, such as `past_key_names`.
    pub fn of_layer(&self, purpose: &str, layer: usize) -> Option<String> {
        Some(self.get(purpose)?.replacen("%d", &layer.to_string(), 1))
    }
}
