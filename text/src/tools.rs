//! Tool calls in what a model writes.
//!
//! A model calls a tool by writing JSON in the form in which it was trained, somewhere in its text.
//! The client must get it as a call and see nothing of it as text, while the text around it streams
//! on. So the end of the text is held back for as long as it may begin a call, a call is collected
//! until its JSON is complete, and what turns out to be none is given out as the text that it is.
//! Whitespace next to a call belongs to the call. Three forms are in use:
//!
//! | format | families | how a call looks |
//! |---|---|---|
//! | [`Hermes`](ToolFormat::Hermes) | Hermes, Qwen, SmolLM | `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, anywhere, several |
//! | [`Llama3`](ToolFormat::Llama3) | Llama 3.1 and later | `{"name": …, "parameters": {…}}` as the whole answer, with or without `<\|python_tag\|>` before it, several with `;` between |
//! | [`Mistral`](ToolFormat::Mistral) | Mistral | `[TOOL_CALLS][{"name": …, "arguments": {…}}]`, or `[TOOL_CALLS]name[ARGS]{…}` |
//!
//! Where the client demands a call, [`ForcedCall`] is the schema to which the answer is held; the
//! answer is then [`Json`](ToolFormat::Json) and nothing else.

mod call;
mod forced;
mod parser;
mod scan;

pub use call::ToolCall;
pub use forced::{ForcedCall, InvalidToolChoice, ToolChoice};
pub use parser::{Parsed, ToolCallParser};

/// The form in which a model writes tool calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolFormat {
    /// JSON between `<tool_call>` and `</tool_call>`.
    Hermes,
    /// JSON as the whole answer, with or without `<|python_tag|>`.
    Llama3,
    /// A list, or names with arguments, after `[TOOL_CALLS]`.
    Mistral,
    /// JSON and nothing else, as [`ForcedCall`] demands it.
    Json,
}

// === impl ToolFormat ===

impl ToolFormat {
    /// Recognises the format by what a chat template says of it.
    pub fn of_template(source: &str) -> Option<Self> {
        if source.contains("<tool_call>") {
            Some(Self::Hermes)
        } else if source.contains("[TOOL_CALLS]") {
            Some(Self::Mistral)
        } else if source.contains("<|python_tag|>")
            || source.contains("\"parameters\": dictionary of argument")
        {
            Some(Self::Llama3)
        } else {
            None
        }
    }

    /// Returns the tokens that begin and end calls. Some tokenizers have them as special tokens,
    /// which a [`Detokenizer`](crate::Detokenizer) must be told to keep.
    pub fn marks(self) -> &'static [&'static str] {
        match self {
            Self::Hermes => &["<tool_call>", "</tool_call>"],
            Self::Llama3 => &["<|python_tag|>"],
            Self::Mistral => &["[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"],
            Self::Json => &[],
        }
    }

    /// Returns the key under which the arguments of a call go.
    pub(crate) fn arguments_key(self) -> &'static str {
        match self {
            Self::Llama3 => "parameters",
            Self::Hermes | Self::Mistral | Self::Json => "arguments",
        }
    }
}
