//! A request for text as the serving path takes it: prompts of tokens, and one sequence for each choice.

use std::sync::Arc;
use std::time::Instant;

use impetus_actors::serving::GenerateRequest;
use impetus_engine::generate::Sampling;
use impetus_text::{TextModel, ToolFormat};

use super::Refusal;
use super::choice::{Choice, Reading};
use super::common::{Bounds, Terms};

/// Most tokens of a prompt that a text which goes on from it has to know.
const TAIL: usize = 16;
/// As many times longer a text may be before its tokenizer has made it uniform.
const SHRINKS: usize = 4;

/// What is to be generated.
#[derive(Debug)]
pub struct Job {
    /// The prompts, each of which gets as many answers as the terms say.
    pub prompts: Vec<Prompt>,
    /// What holds for every answer.
    pub terms: Terms,
    /// Best tokens to tell with each one; `None` for no probabilities.
    pub logprobs: Option<usize>,
    /// Whether an answer begins with its prompt.
    pub echo: bool,
    /// How calls of tools are found in the answers.
    pub calls: Option<Calls>,
    /// Whether the answer is the rest of a text that the prompt begins.
    pub continues: bool,
}

/// What is to be continued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// It as it was sent, if that was text.
    pub text: Option<String>,
}

/// How calls of tools are found in an answer.
#[derive(Debug, Clone, Copy)]
pub struct Calls {
    /// How the model writes them.
    pub format: ToolFormat,
    /// Whether there may be more than one.
    pub parallel: bool,
}

/// Turns a text into tokens, unless it is so long that they cannot be few enough: making millions of them only to
/// count them would be a way to keep the server busy.
///
/// # Errors
/// It is; or it cannot be turned into tokens.
pub(super) fn tokens(
    text: &TextModel,
    prompt: &str,
    marked: bool,
    bounds: Bounds,
) -> Result<Vec<u32>, Refusal> {
    let tokenizer = text.tokenizer();
    if prompt.len() > bounds.room {
        let tokens = tokenizer.vocabulary().tokens.iter();
        let longest = tokens.map(|token| token.bytes.len()).max().unwrap_or(1);
        let most = bounds
            .room
            .saturating_mul(longest.max(1))
            .saturating_mul(SHRINKS);
        if prompt.len() > most {
            let message = format!(
                "the prompt has {} bytes, which are more tokens than the {} that there is room for",
                prompt.len(),
                bounds.room
            );
            return Err(Refusal::too_long(message));
        }
    }
    Ok(tokenizer.encode(prompt, marked)?)
}

// === impl Job ===

impl Job {
    /// Insists that there are not more answers than one request may have.
    ///
    /// # Errors
    /// There are.
    pub(super) fn within(self, bounds: Bounds) -> Result<Self, Refusal> {
        let answers = self.prompts.len() * self.terms.choices as usize;
        if answers <= bounds.max_choices {
            return Ok(self);
        }
        let message = format!(
            "has {} texts, for each of which {} are asked for; one request may ask for {} answers \
             (generation.max_choices)",
            self.prompts.len(),
            self.terms.choices,
            bounds.max_choices
        );
        Err(Refusal::invalid("prompt", message))
    }

    /// Returns how many tokens the prompts have.
    #[must_use]
    pub fn prompt_tokens(&self) -> usize {
        self.prompts.iter().map(|prompt| prompt.tokens.len()).sum()
    }

    /// Returns the sequences, those of the first prompt first.
    pub fn requests(
        &self,
        deadline: Instant,
        id: Option<&Arc<str>>,
    ) -> impl Iterator<Item = GenerateRequest> {
        let each = self
            .prompts
            .iter()
            .flat_map(|prompt| (0..self.terms.choices).map(move |choice| (prompt, choice)));
        each.map(move |(prompt, choice)| GenerateRequest {
            prompt: prompt.tokens.clone(),
            // What scores a prompt alone needs a step as well; its token is not told.
            max_tokens: self.terms.max_tokens.map(|most| most.max(1)),
            stop_tokens: self.terms.stop_tokens.clone(),
            sampling: Sampling {
                choice,
                ..self.terms.sampling.clone()
            },
            seeded: self.terms.seeded,
            grammar: self
                .terms
                .grammar
                .as_ref()
                .map(|(_, grammar)| grammar.clone()),
            logprobs: self.logprobs,
            prompt_logprobs: self.echo && self.logprobs.is_some(),
            deadline,
            id: id.cloned(),
        })
    }

    /// Returns what puts the answers together, in the order of the sequences.
    ///
    /// # Errors
    /// The end of a prompt cannot be turned into text.
    pub fn choices(&self, text: &Arc<TextModel>) -> Result<Vec<Choice>, Refusal> {
        let of_prompt = |prompt| (0..self.terms.choices).map(move |choice| (prompt, choice));
        let all = self.prompts.iter().flat_map(of_prompt).enumerate();
        all.map(|(index, (prompt, choice))| {
            let tail = prompt.tokens.len().saturating_sub(TAIL);
            Choice::new(Reading {
                text: Arc::clone(text),
                index,
                is_first_of_prompt: choice == 0,
                tail: match self.continues {
                    true => &prompt.tokens[tail..],
                    false => &[],
                },
                echoed: self.echo.then_some(prompt),
                stops: self.terms.stops.clone(),
                stop_tokens: self.terms.stop_tokens.clone(),
                logprobs: self.logprobs.is_some(),
                calls: self.calls,
                tells_nothing: self.terms.max_tokens == Some(0),
            })
        })
        .collect()
    }
}
