//! How the authors of a model would have it sampled.

use serde::{Deserialize, Deserializer};

/// What `generation_config.json` sets; what it leaves out is the server's to decide.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct GenerationDefaults {
    /// False means greedy, whatever the temperature says.
    pub do_sample: Option<bool>,
    /// Divides the logits.
    pub temperature: Option<f32>,
    /// Keeps so many of the likeliest tokens; 0 keeps all.
    pub top_k: Option<u32>,
    /// Keeps the likeliest tokens up to this probability.
    pub top_p: Option<f32>,
    /// Keeps tokens at least so likely, as a share of the likeliest.
    pub min_p: Option<f32>,
    /// Over 1: tokens that have been are made less likely.
    pub repetition_penalty: Option<f32>,
    /// The most tokens to generate.
    pub max_new_tokens: Option<usize>,
    /// The most tokens of prompt and answer together.
    pub max_length: Option<usize>,
    /// The tokens that end a generation, as this file has them.
    #[serde(deserialize_with = "one_or_many")]
    pub eos_token_id: Vec<u32>,
}

/// A token id, several of them, or null.
#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    One(u32),
    Many(Vec<u32>),
}

/// Reads what is an id, a list of ids, or null.
pub(super) fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u32>, D::Error> {
    Ok(match Option::<Ids>::deserialize(from)? {
        None => Vec::new(),
        Some(Ids::One(id)) => vec![id],
        Some(Ids::Many(ids)) => ids,
    })
}
