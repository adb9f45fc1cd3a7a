//! Conversations to prompts, byte for byte as transformers renders them.
//!
//! A model has been trained on prompts in one exact form, and its folder says by a Jinja template
//! which one. Templates are written and tested against Python's Jinja with transformers' additions,
//! so those are imitated here, on top of minijinja: blocks are trimmed, `raise_exception`,
//! `strftime_now` and transformers' own `tojson` are there (`json`), Python's methods work on
//! strings, lists and maps (`python`), and messages are prepared in the way transformers prepares
//! them (`messages`): fields that are null are dropped, and reasoning goes by all of its names.
//!
//! What a client sends is not quite what templates expect: the arguments of its tool calls are JSON in
//! a string, and content may be a list of parts. [`ChatTemplate::adapt`] makes the one into the other.

mod clock;
mod json;
mod messages;
mod python;

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Value as Jinja};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::{TemplateError, ToolFormat};

/// The names of the two templates within their environment.
const DEFAULT: &str = "default";
const TOOL_USE: &str = "tool_use";

/// A model's chat template; cheap to clone.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    environment: Environment<'static>,
    source: String,
    tool_source: Option<String>,
    specials: BTreeMap<String, String>,
}

/// A conversation, and how it is to be rendered.
#[derive(Debug, Clone, Copy)]
pub struct Chat<'a> {
    /// A list of objects with `role` and `content`, in the shape that templates expect.
    pub messages: &'a Value,
    /// A list of tools as OpenAI's API has them; `None` is not the same as an empty list.
    pub tools: Option<&'a Value>,
    /// Whether the prompt ends with what begins the model's turn.
    pub add_generation_prompt: bool,
    /// Whether the prompt ends within the last message, so that the model writes on in it.
    pub continue_final_message: bool,
    /// More variables for the template (`chat_template_kwargs`).
    pub extra: &'a Map<String, Value>,
    /// What the clock says, in the offset in which dates are to be written.
    pub now: OffsetDateTime,
}

/// The words in which a template refuses a conversation.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);

// === impl ChatTemplate ===

impl ChatTemplate {
    /// Compiles a template, and the one that takes its place where there are tools, if there is one.
    /// `specials` are the special tokens by name (`bos_token`, …), which templates may write.
    ///
    /// # Errors
    /// [`TemplateError::Broken`] where a template is not valid Jinja.
    pub fn new(
        default: &str,
        tool_use: Option<&str>,
        specials: BTreeMap<String, String>,
    ) -> Result<Self, TemplateError> {
        let mut environment = environment();
        let mut add =
            |name, source| environment.add_template_owned(name, python::neutral_generation(source));
        add(DEFAULT, default).map_err(|error| broken(&error))?;
        if let Some(source) = tool_use {
            add(TOOL_USE, source).map_err(|error| broken(&error))?;
        }
        let inner = Inner {
            environment,
            source: default.to_owned(),
            tool_source: tool_use.map(str::to_owned),
            specials,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Renders a conversation as transformers' `apply_chat_template` does, with the model's special
    /// tokens in it: to be encoded without adding any.
    ///
    /// # Errors
    /// [`TemplateError::Refused`] in the template's own words, [`TemplateError::Conversation`] where
    /// the messages have not the shape of messages, [`TemplateError::Broken`] where the template
    /// fails.
    pub fn render(&self, chat: &Chat<'_>) -> Result<String, TemplateError> {
        let (name, source) = self.chosen(chat.tools.is_some());
        let mut messages = messages::normalized(chat.messages)?;
        let continued = messages::Continued::mark(chat, source, &mut messages)?;
        let template = self
            .inner
            .environment
            .get_template(name)
            .map_err(|error| broken(&error))?;
        let rendered = template
            .render(self.variables(chat, &messages))
            .map_err(|error| failure(&error))?;
        match continued {
            Some(continued) => continued.cut(rendered),
            None => Ok(rendered),
        }
    }

    /// Makes messages as clients send them into messages as templates expect them: arguments of tool
    /// calls become objects, and a list of text parts becomes one text unless the template reads
    /// parts itself.
    ///
    /// # Errors
    /// [`TemplateError::Conversation`] where arguments are not JSON, or where a part is no text and
    /// the template reads no parts.
    pub fn adapt(&self, messages: &Value) -> Result<Value, TemplateError> {
        messages::adapted(messages, messages::reads_parts(&self.inner.source))
    }

    /// Returns the format in which the model was taught to call tools, by what its template says of
    /// them.
    pub fn tool_format(&self) -> Option<ToolFormat> {
        ToolFormat::of_template(self.chosen(true).1)
    }

    /// Returns the template's text.
    pub fn source(&self) -> &str {
        &self.inner.source
    }

    /// Returns the name and the text of the template for a conversation with or without tools.
    fn chosen(&self, has_tools: bool) -> (&'static str, &str) {
        match &self.inner.tool_source {
            Some(source) if has_tools => (TOOL_USE, source),
            _ => (DEFAULT, &self.inner.source),
        }
    }

    /// Returns everything that the template can see.
    fn variables(&self, chat: &Chat<'_>, messages: &[Value]) -> Jinja {
        let specials = self
            .inner
            .specials
            .iter()
            .map(|(name, token)| (name.as_str(), Jinja::from(token.as_str())));
        let mut all: BTreeMap<&str, Jinja> = specials.collect();
        all.insert("documents", Jinja::from(()));
        all.extend(
            chat.extra
                .iter()
                .map(|(name, value)| (name.as_str(), Jinja::from(Serde(value)))),
        );
        all.insert("messages", Jinja::from(Serde(messages)));
        all.insert(
            "tools",
            chat.tools
                .map_or(Jinja::from(()), |tools| Jinja::from(Serde(tools))),
        );
        all.insert(
            "add_generation_prompt",
            Jinja::from(chat.add_generation_prompt),
        );
        let now = chat.now;
        all.insert(
            "strftime_now",
            Jinja::from_function(move |format: &str| clock::strftime(now, format)),
        );
        Jinja::from_pairs(all)
    }
}

/// Returns an environment in which templates behave as in transformers.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build();
    environment.set_syntax(syntax.expect("the delimiters are Jinja's own"));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(python::write);
    environment.set_unknown_method_callback(python::call_method);
    environment.add_filter("tojson", json::tojson);
    environment.add_filter("trim", python::trim);
    environment.add_filter("string", python::string);
    environment.add_test("sequence", python::is_sequence);
    environment.add_function("raise_exception", raise_exception);
    environment
}

/// The function by which a template refuses a conversation.
fn raise_exception(message: &str) -> Result<String, Error> {
    let refusal = Refusal(message.to_owned());
    Err(Error::new(
        ErrorKind::InvalidOperation,
        "the template refuses the conversation",
    )
    .with_source(refusal))
}

/// Tells a refusal from a template that fails.
fn failure(error: &Error) -> TemplateError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(Refusal(message)) = current.downcast_ref() {
            return TemplateError::Refused(message.clone());
        }
        cause = current.source();
    }
    broken(error)
}

fn broken(error: &Error) -> TemplateError {
    TemplateError::Broken(error.to_string())
}
