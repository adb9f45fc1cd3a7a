//! What requests for text have in common, whichever endpoint they come to.

use std::collections::BTreeMap;

use impetus_engine::generate::{Grammar, Sampling};
use impetus_text::TextModel;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Refusal;
use super::input::{Texts, TextsShape};
use super::structure::{self, ResponseFormat, Structured};

/// Most stop strings. OpenAI allows four.
const MOST_STOPS: usize = 16;
/// Most bytes of a stop string; so much of an answer may be held back.
const LONGEST_STOP: usize = 256;
/// Most tokens that end an answer besides the model's own.
const MOST_STOP_TOKENS: usize = 256;

/// Fields that requests for chat and for completions have in common.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = OpenAiCommonFields)]
pub struct Common {
    /// Which model; may be left out when there is only one.
    #[schema(example = "tiny-chat")]
    pub model: Option<String>,
    /// Most tokens of an answer. By default 16 for a completion, and for chat as many as there is room for. What
    /// there is no room for is cut, and the answer ends with `length`.
    pub max_tokens: Option<usize>,
    /// How freely tokens are chosen; 0 takes the best one every time. By default what the model's
    /// `generation_config.json` says, and else 1.
    #[schema(minimum = 0, maximum = 2)]
    pub temperature: Option<f32>,
    /// The least sum of probabilities of the best tokens that are considered.
    #[schema(minimum = 0, maximum = 1)]
    pub top_p: Option<f32>,
    /// How many of the best tokens are considered; 0 or -1 for all.
    #[schema(minimum = -1)]
    pub top_k: Option<i64>,
    /// The least share of the best token's probability that is considered.
    #[schema(minimum = 0, maximum = 1)]
    pub min_p: Option<f32>,
    /// How much less likely tokens are that have occurred, in the prompt too; 1 for no less.
    pub repetition_penalty: Option<f32>,
    /// How much less likely tokens are that have been generated.
    #[schema(minimum = -2, maximum = 2)]
    pub presence_penalty: Option<f32>,
    /// How much less likely tokens are for each time that they have been generated.
    #[schema(minimum = -2, maximum = 2)]
    pub frequency_penalty: Option<f32>,
    /// What is added to the scores of tokens, by their ids.
    pub logit_bias: Option<BTreeMap<String, f32>>,
    /// The same seed with the same request gives the same answer.
    pub seed: Option<i64>,
    /// How many answers, of which each costs as much as a request of its own.
    #[schema(minimum = 1, default = 1)]
    pub n: Option<u32>,
    /// A text, or up to 16, before which the answer ends.
    #[schema(value_type = Option<TextsShape>)]
    pub stop: Option<Texts>,
    /// Tokens that end the answer, beside the model's own.
    pub stop_token_ids: Option<Vec<u32>>,
    /// Tokens to generate before one may end the answer.
    pub min_tokens: Option<usize>,
    /// Whether to go on after the tokens that end an answer.
    pub ignore_eos: Option<bool>,
    /// Whether the answer is to come as it is generated, as server-sent events.
    pub stream: Option<bool>,
    /// What else a stream is to have.
    pub stream_options: Option<StreamOptions>,
    /// What the answer must conform to.
    pub response_format: Option<ResponseFormat>,
    /// A regular expression that the whole answer must match.
    pub regex: Option<String>,
    /// A grammar in Lark's notation that the answer must conform to.
    pub grammar: Option<String>,
    /// A JSON schema, as vLLM's clients send it.
    pub guided_json: Option<Value>,
    /// As `regex`.
    pub guided_regex: Option<String>,
    /// As `grammar`.
    pub guided_grammar: Option<String>,
    /// Texts of which the answer must be one.
    pub guided_choice: Option<Vec<String>>,
    /// All of these under the names that vLLM has for them now.
    pub structured_outputs: Option<Structured>,
}

/// What a stream is to have beside the answer.
#[derive(Debug, Default, Clone, Copy, Deserialize, ToSchema)]
#[schema(as = OpenAiStreamOptions)]
pub struct StreamOptions {
    /// Whether the last event says how many tokens there were.
    pub include_usage: Option<bool>,
    /// Whether every event says how many tokens there were so far.
    pub continuous_usage_stats: Option<bool>,
}

/// What a request is held to.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most answers to one request.
    pub max_choices: usize,
    /// Most tokens of a prompt and its answer together.
    pub room: usize,
}

/// What holds for every answer to a request.
#[derive(Debug, Clone)]
pub struct Terms {
    /// How many answers to each prompt.
    pub choices: u32,
    /// Most tokens of an answer, where the request says.
    pub max_tokens: Option<usize>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Whether the request has named the seed.
    pub seeded: bool,
    /// Tokens that end an answer.
    pub stop_tokens: Vec<u32>,
    /// Texts before which an answer ends.
    pub stops: Vec<String>,
    /// What an answer must conform to, with the field that says it.
    pub grammar: Option<(&'static str, Grammar)>,
}

/// How the answer is to come as it is generated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Streamed {
    /// With a last event that says how many tokens there were.
    pub usage: bool,
    /// With the number so far in every event.
    pub usage_so_far: bool,
}

// === impl Common ===

impl Common {
    /// Returns how the answer is to be streamed, if it is.
    ///
    /// # Errors
    /// There are options for a stream, and there is to be none.
    pub fn streamed(&self) -> Result<Option<Streamed>, Refusal> {
        let options = self.stream_options.unwrap_or_default();
        if self.stream != Some(true) {
            return match self.stream_options {
                Some(_) => Err(Refusal::invalid(
                    "stream_options",
                    "is for streams alone: set `stream` to true, or leave it out",
                )),
                None => Ok(None),
            };
        }
        let usage_so_far = options.continuous_usage_stats == Some(true);
        Ok(Some(Streamed {
            usage: options.include_usage == Some(true),
            usage_so_far,
        }))
    }

    /// Returns what holds for every answer. `drawn` is the seed where the request has none.
    ///
    /// # Errors
    /// Names the first field with a value that is not possible.
    pub fn terms(&self, text: &TextModel, bounds: Bounds, drawn: u64) -> Result<Terms, Refusal> {
        let choices = self.n.unwrap_or(1);
        if choices == 0 || choices as usize > bounds.max_choices {
            let most = bounds.max_choices;
            let message = format!("must be 1 to {most} (generation.max_choices), not {choices}");
            return Err(Refusal::invalid("n", message));
        }
        let sampling = self.sampling(text, drawn)?;
        Ok(Terms {
            choices,
            max_tokens: self.max_tokens,
            sampling,
            seeded: self.seed.is_some(),
            stop_tokens: self.stop_tokens(text)?,
            stops: self.stops()?,
            grammar: structure::grammar(self)?,
        })
    }

    fn stops(&self) -> Result<Vec<String>, Refusal> {
        let stops = self.stop.clone().unwrap_or_default().0;
        if stops.len() > MOST_STOPS {
            let message = format!("may have {MOST_STOPS} texts, not {}", stops.len());
            return Err(Refusal::invalid("stop", message));
        }
        for stop in &stops {
            if stop.is_empty() {
                return Err(Refusal::invalid("stop", "must not have an empty text"));
            }
            if stop.len() > LONGEST_STOP {
                let message = format!("may have texts of {LONGEST_STOP} bytes, not {}", stop.len());
                return Err(Refusal::invalid("stop", message));
            }
        }
        Ok(stops)
    }

    fn stop_tokens(&self, text: &TextModel) -> Result<Vec<u32>, Refusal> {
        let given = self.stop_token_ids.as_deref().unwrap_or_default();
        if given.len() > MOST_STOP_TOKENS {
            let message = format!("may have {MOST_STOP_TOKENS} tokens, not {}", given.len());
            return Err(Refusal::invalid("stop_token_ids", message));
        }
        let own = match self.ignore_eos {
            Some(true) => &[],
            _ => text.eos_tokens(),
        };
        Ok(own.iter().chain(given).copied().collect())
    }
}
