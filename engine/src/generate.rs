//! Text generation: what server and worker say to each other about it.
//!
//! A generation model is run step by step. The worker holds the keys and values of every sequence in
//! a *slot* of shared buffers, and in each step either prefills a chunk of one prompt or decodes one
//! token of every running sequence at once, so that a long prompt never stalls the others for more
//! than a chunk. It reports every step ([`Step`]): what it has taken is the sign that it is alive, and
//! the tokens in it are all that a server needs to go on with another worker. For that a
//! [`Generate`] says what has been generated already; random numbers are keyed by seed, choice and
//! position ([`Sampling::seed`]), so a generation that is resumed goes on as it would have.
//!
//! The worker knows token ids and nothing of text; tokenizers, templates and stop strings are the
//! server's. Only for structured output it is told the bytes of each token ([`Vocabulary`]).

mod decoder;
mod grammar;
mod sampling;
mod scheduler;

use serde::{Deserialize, Serialize};

use crate::error::EngineError;

pub use decoder::{Decoder, DecoderShape, Row};
pub use grammar::{Conforming, Grammars};
pub use scheduler::{Probe, Report, Scheduler};

/// How a model generates: what the graph itself does not say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationSpec {
    /// Sequences that may run at a time, each in a slot of its own.
    pub slots: usize,
    /// Tokens that a slot has room for, prompt and answer together.
    pub max_len: usize,
    /// Most tokens of a prompt that one step takes in.
    pub prefill_chunk: usize,
    /// Whether keys and values of past and present share one buffer (GroupQueryAttention); otherwise
    /// the graph concatenates them, and one sequence runs at a time.
    pub shared_buffers: bool,
    /// Numbers in one key of one head, where the graph itself does not state them.
    pub head_dim: Option<usize>,
    /// Names of the graph's inputs and outputs.
    pub names: GraphNames,
}

/// Names of inputs and outputs; `%d` stands for the layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphNames {
    /// Token ids, i64 `[batch, sequence]`.
    pub input_ids: String,
    /// 1 for each position that counts, i64 `[batch, total]`.
    pub attention_mask: String,
    /// Positions, i64 `[batch, sequence]`, of graphs that ask for them.
    pub position_ids: String,
    /// Keys so far, `[batch, kv_heads, past, head_dim]`.
    pub past_key: String,
    /// Values so far.
    pub past_value: String,
    /// Keys with those of this step.
    pub present_key: String,
    /// Values with those of this step.
    pub present_value: String,
    /// Scores, f32 or f16 `[batch, sequence, vocabulary]`.
    pub logits: String,
}

/// What a loaded model says of itself, beside what every model says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationInfo {
    /// Sequences that run at a time.
    pub slots: usize,
    /// Tokens that a slot has room for.
    pub max_len: usize,
    /// Tokens that the model knows.
    pub vocabulary: usize,
    /// Layers with keys and values.
    pub layers: usize,
    /// Bytes of keys and values of all slots.
    pub cache_bytes: u64,
}

/// One sequence that is to be generated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generate {
    /// The server's name for it, never used twice.
    pub id: u64,
    /// The prompt, and behind it what has been generated so far.
    pub tokens: Vec<u32>,
    /// How many of these are the prompt.
    pub prompt_len: usize,
    /// Most tokens to generate in all, what there is already included.
    pub max_tokens: usize,
    /// Tokens that end it.
    pub stop_tokens: Vec<u32>,
    /// How a token is chosen.
    pub sampling: Sampling,
    /// What the answer must conform to.
    pub grammar: Option<Grammar>,
    /// Best tokens to tell with each one that is chosen; `None` for no probabilities at all.
    pub logprobs: Option<usize>,
    /// Whether to tell the probabilities of the prompt's tokens as well.
    pub prompt_logprobs: bool,
}

/// How a token is chosen from its scores, in this order: logit bias, penalties, temperature, top-k,
/// top-p, min-p. A temperature of 0 takes the best one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Divides the scores; 0 is greedy.
    pub temperature: f32,
    /// How many of the best are considered; 0 for all.
    pub top_k: usize,
    /// The least sum of probabilities of the best that are considered; 1 for all.
    pub top_p: f32,
    /// The least share of the best one's probability; 0 for all.
    pub min_p: f32,
    /// Divides positive scores and multiplies negative ones of every token that has occurred, in the
    /// prompt too; 1 for none.
    pub repetition_penalty: f32,
    /// Taken from the score of every token that has been generated.
    pub presence_penalty: f32,
    /// Taken from the score of a token for each time that it has been generated.
    pub frequency_penalty: f32,
    /// Added to the scores of these tokens.
    pub logit_bias: Vec<(u32, f32)>,
    /// Tokens to generate before one of the stop tokens may be chosen.
    pub min_tokens: usize,
    /// With [`choice`](Self::choice) and a token's position what its random number is made of.
    pub seed: u64,
    /// Which of several answers to the same request it is.
    pub choice: u32,
}

/// What an answer must conform to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grammar {
    /// A JSON schema, as text.
    JsonSchema(String),
    /// A regular expression for the whole answer.
    Regex(String),
    /// A grammar in Lark's notation.
    Lark(String),
}

/// The bytes of every token, for structured output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vocabulary {
    /// By token id: its bytes, and whether it is a special one, which stands for no text.
    pub tokens: Vec<(Vec<u8>, bool)>,
    /// Tokens that end an answer.
    pub end: Vec<u32>,
}

/// What one step has brought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Tokens that were chosen, at most one of each sequence.
    pub tokens: Vec<Chosen>,
    /// Sequences that were begun, in the step or since the one before.
    pub begun: Vec<Begun>,
    /// How long the runtime took, in microseconds; 0 of a report between two steps.
    pub run_micros: u64,
    /// How long everything else took, in microseconds: sampling, grammar, copies.
    pub own_micros: u64,
    /// Sequences in the step.
    pub batch: usize,
    /// Tokens of a prompt that were taken in.
    pub prefilled: usize,
    /// Tokens in the slots of sequences that run.
    pub cached: usize,
}

/// A token that was chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// The sequence.
    pub id: u64,
    /// Its place behind the prompt, from 0.
    pub position: usize,
    /// The token.
    pub token: u32,
    /// Its probability and the best ones, where asked for.
    pub logprobs: Option<TokenLogprobs>,
    /// Why it is the last one, if it is.
    pub finish: Option<Finish>,
}

/// Natural logarithms of probabilities at one position, by the scores as the model gave them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprobs {
    /// That of the token itself.
    pub chosen: f32,
    /// The best tokens, best first.
    pub best: Vec<(u32, f32)>,
}

/// A sequence that has been taken in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Begun {
    /// The sequence.
    pub id: u64,
    /// Tokens whose keys and values were there already.
    pub reused: usize,
    /// Probabilities of the prompt's tokens, one for each but the first, where asked for.
    pub prompt_logprobs: Vec<TokenLogprobs>,
}

/// Why a sequence has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Finish {
    /// It chose a stop token, or its grammar was complete.
    Stop,
    /// It has as many tokens as it may.
    Length,
}

/// A sequence that cannot be generated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerationFailed {
    /// The sequence.
    pub id: u64,
    /// What is wrong with it.
    pub error: EngineError,
}

// === impl GraphNames ===

impl Default for GraphNames {
    /// Returns the names that onnxruntime-genai's builder gives.
    fn default() -> Self {
        Self {
            input_ids: "input_ids".into(),
            attention_mask: "attention_mask".into(),
            position_ids: "position_ids".into(),
            past_key: "past_key_values.%d.key".into(),
            past_value: "past_key_values.%d.value".into(),
            present_key: "present.%d.key".into(),
            present_value: "present.%d.value".into(),
            logits: "logits".into(),
        }
    }
}

// === impl Step ===

impl Step {
    /// Returns a report in which nothing has come of anything yet.
    #[must_use]
    pub fn between() -> Self {
        Self {
            tokens: Vec::new(),
            begun: Vec::new(),
            run_micros: 0,
            own_micros: 0,
            batch: 0,
            prefilled: 0,
            cached: 0,
        }
    }
}

// === impl Sampling ===

impl Default for Sampling {
    /// Returns what takes the best token every time.
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            min_tokens: 0,
            seed: 0,
            choice: 0,
        }
    }
}
