//! A request for the continuation of texts.

use impetus_text::TextModel;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Refusal;
use super::chat::MOST_LOGPROBS;
use super::common::{Bounds, Common};
use super::input::{Prompts, PromptsShape};
use super::job::{self, Job, Prompt};

/// Tokens of an answer where the request does not say how many.
const USUAL_TOKENS: usize = 16;

/// The fields that only a request for completions has.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OpenAiCompletionFields)]
pub struct CompletionFields {
    /// What is to be continued: a string, a list of strings, a list of token ids, or a list of such lists.
    #[schema(value_type = PromptsShape, example = "Impetus is")]
    pub prompt: Prompts,
    /// Whether the answer begins with the prompt.
    pub echo: Option<bool>,
    /// Answers of which the best ones are told; no more than `n`.
    pub best_of: Option<u32>,
    /// The most likely tokens to tell at each place, and the probability of the one that was chosen.
    #[schema(maximum = 20)]
    pub logprobs: Option<usize>,
    /// Whether the tokenizer adds what begins a text for the model; it does by default.
    pub add_special_tokens: Option<bool>,
    /// What comes behind the answer; not supported.
    #[schema(ignore)]
    pub suffix: Option<Value>,
}

/// What a request says, and what it is held to.
#[derive(Debug)]
pub struct CompletionRequest {
    /// What it has in common with others.
    pub common: Common,
    /// What only it has.
    pub fields: CompletionFields,
    /// The seed, where it has none.
    pub drawn_seed: u64,
    /// What it is held to.
    pub bounds: Bounds,
}

// === impl CompletionRequest ===

impl CompletionRequest {
    /// Returns what is to be generated. Takes time that grows with the prompts.
    ///
    /// # Errors
    /// Names the field with a value that is not possible.
    pub fn job(self, text: &TextModel) -> Result<Job, Refusal> {
        let mut terms = self.common.terms(text, self.bounds, self.drawn_seed)?;
        terms.max_tokens = Some(terms.max_tokens.unwrap_or(USUAL_TOKENS));
        let fields = self.fields;
        if fields.suffix.is_some_and(|suffix| suffix != "") {
            let message = "is not supported: the answer is always at the end";
            return Err(Refusal::unsupported("suffix", message));
        }
        if let Some(best_of) = fields.best_of.filter(|best_of| *best_of != terms.choices) {
            let message = format!(
                "is {best_of}, and only as many answers as are told (`n` = {}) are generated",
                terms.choices
            );
            return Err(Refusal::unsupported("best_of", message));
        }
        if let Some(logprobs) = fields.logprobs.filter(|logprobs| *logprobs > MOST_LOGPROBS) {
            let message = format!("must be 0 to {MOST_LOGPROBS}, not {logprobs}");
            return Err(Refusal::invalid("logprobs", message));
        }
        let prompts = match fields.prompt {
            Prompts::Texts(texts) => {
                within(texts.len(), self.bounds)?;
                let marked = fields.add_special_tokens.unwrap_or(true);
                let read = texts
                    .into_iter()
                    .map(|prompt| tokenized(text, prompt, marked, self.bounds));
                read.collect::<Result<_, _>>()?
            }
            Prompts::Tokens(lists) => {
                within(lists.len(), self.bounds)?;
                let read = lists.into_iter().map(|tokens| known(text, tokens));
                read.collect::<Result<_, _>>()?
            }
        };
        let job = Job {
            prompts,
            terms,
            logprobs: fields.logprobs,
            echo: fields.echo == Some(true),
            calls: None,
            continues: true,
        };
        job.within(self.bounds)
    }
}

/// Insists that there are not more prompts than can be answered, before any is looked at.
fn within(prompts: usize, bounds: Bounds) -> Result<(), Refusal> {
    if prompts <= bounds.max_choices {
        return Ok(());
    }
    let most = bounds.max_choices;
    let message = format!("may have {most} texts (generation.max_choices), not {prompts}");
    Err(Refusal::invalid("prompt", message))
}

fn tokenized(
    text: &TextModel,
    prompt: String,
    marked: bool,
    bounds: Bounds,
) -> Result<Prompt, Refusal> {
    let mut tokens = job::tokens(text, &prompt, marked, bounds)
        .map_err(|refusal| refusal.of_one("prompt", None))?;
    if tokens.is_empty() {
        tokens.extend(text.bos_token());
    }
    if tokens.is_empty() {
        return Err(Refusal::invalid("prompt", "must not be empty"));
    }
    Ok(Prompt {
        tokens,
        text: Some(prompt),
    })
}

/// Insists that tokens are such as the model knows.
fn known(text: &TextModel, tokens: Vec<u32>) -> Result<Prompt, Refusal> {
    let known = text.tokenizer().vocabulary().tokens.len();
    if let Some(unknown) = tokens.iter().find(|token| **token as usize >= known) {
        let last = known.saturating_sub(1);
        let message = format!("has the token {unknown}; the model's are 0 to {last}");
        return Err(Refusal::invalid("prompt", message));
    }
    if tokens.is_empty() {
        return Err(Refusal::invalid("prompt", "must not have an empty list"));
    }
    Ok(Prompt { tokens, text: None })
}
