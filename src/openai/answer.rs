//! Answers as they go over the wire.

use impetus_text::ToolCall;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;
use uuid::Uuid;

use super::choice::{Called, Delta, FinishReason};
use super::generation::Counts;
use super::probabilities::{Likely, Told};

/// What every answer begins with.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = OpenAiAnswerHead)]
pub struct Head {
    /// Its name.
    pub id: String,
    /// What it is.
    pub object: &'static str,
    /// When it was begun, in seconds since 1970.
    pub created: u64,
    /// The model.
    pub model: String,
    /// Changes with the model's files and with this server.
    pub system_fingerprint: String,
}

/// How many tokens there were.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = OpenAiUsage)]
pub struct Usage {
    /// In the prompts.
    pub prompt_tokens: usize,
    /// In the answers.
    pub completion_tokens: usize,
    /// In both.
    pub total_tokens: usize,
    /// More about the prompts.
    pub prompt_tokens_details: PromptDetails,
}

/// More about the tokens of prompts.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = OpenAiPromptTokensDetails)]
pub struct PromptDetails {
    /// Tokens that did not have to be computed, because another prompt had begun with them.
    pub cached_tokens: usize,
}

/// The next message of a conversation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiChatCompletion)]
pub struct ChatCompletion {
    #[serde(flatten)]
    head: Head,
    choices: Vec<ChatChoice>,
    usage: Usage,
}

/// One answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiChatChoice)]
struct ChatChoice {
    index: usize,
    message: Message,
    logprobs: Option<ChatLogprobs>,
    #[schema(value_type = String, example = "stop")]
    finish_reason: Option<&'static str>,
}

/// The message that was generated.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiMessage)]
struct Message {
    #[schema(example = "assistant")]
    role: &'static str,
    /// Its text; null where it is calls alone.
    content: Option<String>,
    /// Always null.
    refusal: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<CallOnWire>,
}

/// A part of the next message of a conversation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiChatChunk)]
pub struct ChatChunk {
    #[serde(flatten)]
    head: Head,
    choices: Vec<ChunkChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Usage>)]
    usage: Option<Option<Usage>>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiChunkChoice)]
struct ChunkChoice {
    index: usize,
    delta: MessageDelta,
    logprobs: Option<ChatLogprobs>,
    finish_reason: Option<&'static str>,
}

#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = OpenAiMessageDelta)]
struct MessageDelta {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<CallOnWire>,
}

/// A call of a tool. It always comes whole.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiToolCall)]
struct CallOnWire {
    /// In a stream: which of the calls it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    function: FunctionOnWire,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiFunctionCall)]
struct FunctionOnWire {
    name: String,
    /// A JSON object, as text.
    arguments: String,
}

/// The probabilities of an answer's tokens.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiChatLogprobs)]
struct ChatLogprobs {
    content: Vec<TokenOnWire>,
    /// Always null.
    refusal: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiTokenLogprob)]
struct TokenOnWire {
    #[serde(flatten)]
    token: LikelyOnWire,
    top_logprobs: Vec<LikelyOnWire>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiTopLogprob)]
struct LikelyOnWire {
    token: String,
    logprob: f32,
    bytes: Vec<u8>,
}

/// Continuations of texts, or in a stream a part of one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiCompletion)]
pub struct Completion {
    #[serde(flatten)]
    head: Head,
    choices: Vec<CompletionChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Usage>)]
    usage: Option<Option<Usage>>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiCompletionChoice)]
struct CompletionChoice {
    text: String,
    index: usize,
    logprobs: Option<CompletionLogprobs>,
    finish_reason: Option<&'static str>,
}

/// The probabilities of a text's tokens; each list has an element for every token.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiCompletionLogprobs)]
struct CompletionLogprobs {
    tokens: Vec<String>,
    token_logprobs: Vec<Option<f32>>,
    #[schema(value_type = Vec<Option<std::collections::BTreeMap<String, f32>>>)]
    top_logprobs: Vec<Option<Named>>,
    /// Characters of the text before the token.
    text_offset: Vec<usize>,
}

/// Probabilities by the names of their tokens, the best first.
#[derive(Debug)]
struct Named(Vec<(String, Option<f32>)>);

/// In which of the two forms answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As messages of a conversation.
    Chat,
    /// As continuations of texts.
    Completion,
}

/// Writes answers to one request.
#[derive(Debug, Clone)]
pub struct Writer {
    form: Form,
    head: Head,
    /// Whether the request asks for probabilities: then they are there even where they are empty.
    logprobs: bool,
}

// === impl Form ===

impl Form {
    fn prefix(self) -> &'static str {
        match self {
            Self::Chat => "chatcmpl",
            Self::Completion => "cmpl",
        }
    }

    fn object(self, streamed: bool) -> &'static str {
        match (self, streamed) {
            (Self::Chat, false) => "chat.completion",
            (Self::Chat, true) => "chat.completion.chunk",
            (Self::Completion, _) => "text_completion",
        }
    }
}

// === impl Writer ===

impl Writer {
    /// Begins an answer under a new name.
    #[must_use]
    pub fn new(form: Form, streamed: bool, head: Head, logprobs: bool) -> Self {
        let id = format!("{}-{}", form.prefix(), Uuid::new_v4().simple());
        Self {
            form,
            head: Head {
                id,
                object: form.object(streamed),
                ..head
            },
            logprobs,
        }
    }

    /// Writes whole answers, in the order of their indices.
    #[must_use]
    pub fn whole(&self, answers: Vec<Delta>, counts: Counts) -> Vec<u8> {
        let head = self.head.clone();
        let usage = Usage::from(counts);
        match self.form {
            Form::Chat => to_json(&ChatCompletion {
                head,
                choices: answers
                    .into_iter()
                    .map(|answer| self.chat_choice(answer))
                    .collect(),
                usage,
            }),
            Form::Completion => to_json(&Completion {
                head,
                choices: answers
                    .into_iter()
                    .map(|answer| self.completion_choice(answer))
                    .collect(),
                usage: Some(Some(usage)),
            }),
        }
    }

    /// Writes that an answer has begun, where the form has something to say of that.
    #[must_use]
    pub fn begun(&self, index: usize, usage: Option<Option<Counts>>) -> Option<Vec<u8>> {
        let delta = MessageDelta {
            role: Some("assistant"),
            content: Some(String::new()),
            ..MessageDelta::default()
        };
        let choice = ChunkChoice {
            index,
            delta,
            logprobs: None,
            finish_reason: None,
        };
        match self.form {
            Form::Chat => Some(to_json(&self.chat_chunk(vec![choice], usage))),
            Form::Completion => None,
        }
    }

    /// Writes what has come of an answer.
    #[must_use]
    pub fn chunk(&self, delta: Delta, usage: Option<Option<Counts>>) -> Vec<u8> {
        match self.form {
            Form::Completion => {
                let choices = vec![self.completion_choice(delta)];
                to_json(&self.completion(choices, usage))
            }
            Form::Chat => {
                let calls = delta.calls.into_iter();
                let calls = calls.map(|called| CallOnWire::new(called, true)).collect();
                let choice = ChunkChoice {
                    index: delta.index,
                    delta: MessageDelta {
                        role: None,
                        content: Some(delta.text).filter(|text| !text.is_empty()),
                        tool_calls: calls,
                    },
                    logprobs: ChatLogprobs::of(delta.tokens),
                    finish_reason: delta.finish.map(FinishReason::as_str),
                };
                to_json(&self.chat_chunk(vec![choice], usage))
            }
        }
    }

    /// Writes how many tokens there were.
    #[must_use]
    pub fn usage(&self, counts: Counts) -> Vec<u8> {
        match self.form {
            Form::Chat => to_json(&self.chat_chunk(Vec::new(), Some(Some(counts)))),
            Form::Completion => to_json(&self.completion(Vec::new(), Some(Some(counts)))),
        }
    }

    fn chat_chunk(&self, choices: Vec<ChunkChoice>, usage: Option<Option<Counts>>) -> ChatChunk {
        ChatChunk {
            head: self.head.clone(),
            choices,
            usage: usage.map(|usage| usage.map(Usage::from)),
        }
    }

    fn completion(
        &self,
        choices: Vec<CompletionChoice>,
        usage: Option<Option<Counts>>,
    ) -> Completion {
        Completion {
            head: self.head.clone(),
            choices,
            usage: usage.map(|usage| usage.map(Usage::from)),
        }
    }

    fn chat_choice(&self, answer: Delta) -> ChatChoice {
        let calls: Vec<CallOnWire> = answer
            .calls
            .into_iter()
            .map(|called| CallOnWire::new(called, false))
            .collect();
        let is_calls_alone = !calls.is_empty() && answer.text.trim().is_empty();
        ChatChoice {
            index: answer.index,
            message: Message {
                role: "assistant",
                content: (!is_calls_alone).then_some(answer.text),
                refusal: None,
                tool_calls: calls,
            },
            logprobs: self.logprobs.then(|| ChatLogprobs::all(answer.tokens)),
            finish_reason: answer.finish.map(FinishReason::as_str),
        }
    }

    fn completion_choice(&self, answer: Delta) -> CompletionChoice {
        CompletionChoice {
            text: answer.text,
            index: answer.index,
            logprobs: self.logprobs.then(|| CompletionLogprobs::of(answer.tokens)),
            finish_reason: answer.finish.map(FinishReason::as_str),
        }
    }
}

// === impl Usage ===

impl From<Counts> for Usage {
    fn from(counts: Counts) -> Self {
        Self {
            prompt_tokens: counts.prompt,
            completion_tokens: counts.completion,
            total_tokens: counts.prompt + counts.completion,
            prompt_tokens_details: PromptDetails {
                cached_tokens: counts.cached,
            },
        }
    }
}

// === impl CallOnWire ===

impl CallOnWire {
    fn new(called: Called, streamed: bool) -> Self {
        let Called { index, call } = called;
        let ToolCall { name, arguments } = call;
        Self {
            index: streamed.then_some(index),
            id: format!("call_{}", Uuid::new_v4().simple()),
            kind: "function",
            function: FunctionOnWire { name, arguments },
        }
    }
}

// === impl ChatLogprobs ===

impl ChatLogprobs {
    /// Returns them where there are any.
    fn of(tokens: Vec<Told>) -> Option<Self> {
        (!tokens.is_empty()).then(|| Self::all(tokens))
    }

    fn all(tokens: Vec<Told>) -> Self {
        let content = tokens.into_iter().map(|told| TokenOnWire {
            token: LikelyOnWire::from(told.token),
            top_logprobs: told
                .best
                .into_iter()
                .flatten()
                .map(LikelyOnWire::from)
                .collect(),
        });
        Self {
            content: content.collect(),
            refusal: None,
        }
    }
}

impl From<Likely> for LikelyOnWire {
    fn from(likely: Likely) -> Self {
        Self {
            token: likely.text(),
            logprob: likely.logprob.unwrap_or_default(),
            bytes: likely.bytes,
        }
    }
}

// === impl CompletionLogprobs ===

impl CompletionLogprobs {
    fn of(told: Vec<Told>) -> Self {
        Self {
            top_logprobs: told.iter().map(Named::of).collect(),
            tokens: told.iter().map(|told| told.token.name()).collect(),
            token_logprobs: told.iter().map(|told| told.token.logprob).collect(),
            text_offset: told.iter().map(|told| told.offset).collect(),
        }
    }
}

// === impl Named ===

impl Named {
    /// Returns the most likely tokens, and as OpenAI has it the one that was chosen.
    fn of(told: &Told) -> Option<Self> {
        let named = |likely: &Likely| (likely.name(), likely.logprob);
        let mut all: Vec<_> = told.best.as_ref()?.iter().map(named).collect();
        let chosen = named(&told.token);
        if all.iter().all(|(name, _)| *name != chosen.0) {
            all.push(chosen);
        }
        Some(Self(all))
    }
}

impl Serialize for Named {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, logprob)| (name, logprob)))
    }
}

fn to_json(answer: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(answer).expect("every part of it has text for keys")
}
