//! A request for the next message of a conversation.

use impetus_text::{Chat, ChatTemplate, TextModel};
use serde::Deserialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::common::{Bounds, Common, Terms};
use super::job::{self, Job, Prompt};
use super::tools::Tools;
use super::{Refusal, messages};
use crate::oip::Kind;

/// Most tokens of which the probabilities are told at each place.
pub(super) const MOST_LOGPROBS: usize = 20;

/// The fields that only a request for chat has.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OpenAiChatFields)]
pub struct ChatFields {
    /// The conversation. Content is a string or a list of parts of type `text`; an assistant's may have `tool_calls`.
    #[schema(min_items = 1, example = json!([{"role": "user", "content": "How do I start the server?"}]))]
    pub messages: Vec<Value>,
    /// As `max_tokens`, which it goes before.
    pub max_completion_tokens: Option<usize>,
    /// Whether to tell the probability of each token.
    pub logprobs: Option<bool>,
    /// The most likely tokens to tell at each place.
    #[schema(maximum = 20)]
    pub top_logprobs: Option<usize>,
    /// Functions that the model may call.
    pub tools: Option<Vec<Value>>,
    /// `none`, `auto`, `required`, or the function that is to be called.
    pub tool_choice: Option<Value>,
    /// Whether there may be more than one call.
    pub parallel_tool_calls: Option<bool>,
    /// More variables for the chat template.
    pub chat_template_kwargs: Option<Map<String, Value>>,
    /// Whether the prompt ends with what begins the model's turn; it does by default.
    pub add_generation_prompt: Option<bool>,
    /// Whether the model writes on in the last message.
    pub continue_final_message: Option<bool>,
    /// What OpenAI had before `tools`.
    #[schema(ignore)]
    pub functions: Option<Value>,
    /// What OpenAI had before `tool_choice`.
    #[schema(ignore)]
    pub function_call: Option<Value>,
}

/// What a request says, and what it is held to.
#[derive(Debug)]
pub struct ChatRequest {
    /// What it has in common with others.
    pub common: Common,
    /// What only it has.
    pub fields: ChatFields,
    /// The seed, where it has none.
    pub drawn_seed: u64,
    /// What it is held to.
    pub bounds: Bounds,
    /// What the clock says, for templates that write the date.
    pub now: OffsetDateTime,
}

// === impl ChatRequest ===

impl ChatRequest {
    /// Returns what is to be generated. Takes time that grows with the conversation.
    ///
    /// # Errors
    /// Names the field with a value that is not possible, or says in the template's words what it does not take.
    pub fn job(self, model: &str, text: &TextModel) -> Result<Job, Refusal> {
        let Some(template) = text.template() else {
            let message = format!(
                "model {model:?} has no chat template, so that it can only continue a text: ask \
                 /v1/completions, or put a chat_template.jinja into its folder"
            );
            return Err(Refusal::new(Kind::Unsupported, "no_chat_template", message).of("model"));
        };
        let mut terms = self.terms(text)?;
        let logprobs = self.logprobs()?;
        let continues = self.fields.continue_final_message == Some(true);
        let fields = self.fields;
        for (name, given) in [
            ("functions", &fields.functions),
            ("function_call", &fields.function_call),
        ] {
            if given.is_some() {
                let message = "is of an older API; use `tools` and `tool_choice`";
                return Err(Refusal::unsupported(name, message));
            }
        }
        let parallel = fields.parallel_tool_calls != Some(false);
        let tools = Tools::read(
            fields.tools,
            fields.tool_choice.as_ref(),
            parallel,
            template,
        )?;
        if tools.grammar.is_some() && terms.grammar.is_some() {
            let message = "demands a call, and another field says what the answer must conform to";
            return Err(Refusal::invalid("tool_choice", message));
        }
        let demanded = tools.grammar.map(|grammar| ("tools", grammar));
        terms.grammar = terms.grammar.or(demanded);
        let extra = fields.chat_template_kwargs.unwrap_or_default();
        let messages = messages::checked(fields.messages, template.source().contains("developer"))?;
        let rendered = render(
            template,
            &Chat {
                messages: &Value::Array(messages),
                tools: tools.shown.as_ref(),
                add_generation_prompt: fields.add_generation_prompt.unwrap_or(!continues),
                continue_final_message: continues,
                extra: &extra,
                now: self.now,
            },
        )?;
        let tokens = job::tokens(text, &rendered, false, self.bounds)
            .map_err(|refusal| refusal.of_one("messages", None))?;
        Ok(Job {
            prompts: vec![Prompt { tokens, text: None }],
            terms,
            logprobs,
            echo: false,
            calls: tools.calls,
            continues,
        })
    }

    fn terms(&self, text: &TextModel) -> Result<Terms, Refusal> {
        let mut terms = self.common.terms(text, self.bounds, self.drawn_seed)?;
        let (name, given) = match self.fields.max_completion_tokens {
            Some(most) => ("max_completion_tokens", Some(most)),
            None => ("max_tokens", self.common.max_tokens),
        };
        if given == Some(0) {
            return Err(Refusal::invalid(name, "must be at least 1"));
        }
        terms.max_tokens = given.or(text.defaults().max_new_tokens);
        Ok(terms)
    }

    fn logprobs(&self) -> Result<Option<usize>, Refusal> {
        let best = self.fields.top_logprobs;
        match (self.fields.logprobs == Some(true), best) {
            (false, Some(1..)) => {
                let message = "is for requests with `logprobs` set to true";
                Err(Refusal::invalid("top_logprobs", message))
            }
            (_, Some(best)) if best > MOST_LOGPROBS => {
                let message = format!("must be 0 to {MOST_LOGPROBS}, not {best}");
                Err(Refusal::invalid("top_logprobs", message))
            }
            (true, best) => Ok(Some(best.unwrap_or(0))),
            (false, _) => Ok(None),
        }
    }
}

fn render(template: &ChatTemplate, chat: &Chat<'_>) -> Result<String, Refusal> {
    let messages = template.adapt(chat.messages)?;
    Ok(template.render(&Chat {
        messages: &messages,
        ..*chat
    })?)
}
