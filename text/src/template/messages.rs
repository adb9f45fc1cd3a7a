//! Messages: prepared for a template as transformers prepares them, and made from what clients send.

use serde_json::{Map, Value};

use super::Chat;
use crate::TemplateError;

/// The names under which a message's reasoning goes; the first is the one that templates read.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// Marks the end of the message that is to be continued. Its last character is a space, so that it
/// shows whether the template trims messages.
const MARK: &str = "CONTINUE_FINAL_MESSAGE_TAG ";

/// A last message in which the model writes on.
pub(super) struct Continued {
    text: String,
}

/// Returns the messages without fields that are null, and with reasoning under all of its names.
pub(super) fn normalized(messages: &Value) -> Result<Vec<Value>, TemplateError> {
    let list = messages
        .as_array()
        .ok_or_else(|| shape("messages must be a list".to_owned()))?;
    if list.is_empty() {
        return Err(shape("there must be at least one message".to_owned()));
    }
    let message = |(index, message): (usize, &Value)| {
        let object = message
            .as_object()
            .ok_or_else(|| shape(format!("message {index} must be an object")))?;
        let kept = object.iter().filter(|(_, value)| !value.is_null());
        Ok(Value::Object(with_reasoning(
            kept.map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        )))
    };
    list.iter().enumerate().map(message).collect()
}

/// Gives a message's reasoning all of its names.
fn with_reasoning(message: Map<String, Value>) -> Map<String, Value> {
    let Some(reasoning) = REASONING
        .iter()
        .find_map(|name| message.get(*name))
        .cloned()
    else {
        return message;
    };
    let mut named = Map::new();
    named.insert("thinking".to_owned(), reasoning.clone());
    named.extend(message);
    named.insert(REASONING[0].to_owned(), reasoning);
    named
}

/// Returns whether a template goes through the parts of a message's content itself.
pub(super) fn reads_parts(source: &str) -> bool {
    source.split("{%").skip(1).any(|tag| {
        let tag = tag
            .split("%}")
            .next()
            .unwrap_or_default()
            .trim_matches(['-', '+'])
            .trim();
        let Some((_, subject)) = tag
            .strip_prefix("for ")
            .and_then(|rest| rest.split_once(" in "))
        else {
            return false;
        };
        let subject = subject.split(" if ").next().unwrap_or_default().trim();
        ["content", "['content']", "[\"content\"]"]
            .iter()
            .any(|name| subject.ends_with(name))
    })
}

/// Makes messages as clients send them into what templates expect.
pub(super) fn adapted(messages: &Value, keeps_parts: bool) -> Result<Value, TemplateError> {
    let mut messages = messages.clone();
    for (index, message) in messages.as_array_mut().into_iter().flatten().enumerate() {
        if !keeps_parts && let Some(parts) = message.get("content").and_then(Value::as_array) {
            let text = joined(index, parts)?;
            message["content"] = Value::String(text);
        }
        for call in message
            .get_mut("tool_calls")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let Some(arguments) = call.pointer_mut("/function/arguments") else {
                continue;
            };
            if let Some(text) = arguments.as_str() {
                *arguments = parsed(index, text)?;
            }
        }
    }
    Ok(messages)
}

/// Joins the texts of a content's parts, a line each.
fn joined(index: usize, parts: &[Value]) -> Result<String, TemplateError> {
    let text = |part: &Value| match part
        .get("text")
        .and_then(Value::as_str)
        .or_else(|| part.as_str())
    {
        Some(text) => Ok(text.to_owned()),
        None => {
            let kind = part
                .get("type")
                .and_then(Value::as_str)
                .unwrap_or("unknown");
            Err(shape(format!(
                "message {index} has a part of type {kind}; this model takes text alone"
            )))
        }
    };
    Ok(parts
        .iter()
        .map(text)
        .collect::<Result<Vec<String>, _>>()?
        .join("\n"))
}

/// Reads the arguments of a tool call; none at all is how some clients write an empty object.
fn parsed(index: usize, text: &str) -> Result<Value, TemplateError> {
    if text.trim().is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    serde_json::from_str(text).map_err(|error| {
        shape(format!(
            "message {index} has a tool call whose arguments are not JSON: {error}"
        ))
    })
}

// === impl Continued ===

impl Continued {
    /// Marks the end of the last message, if that is to be continued.
    pub(super) fn mark(
        chat: &Chat<'_>,
        source: &str,
        messages: &mut [Value],
    ) -> Result<Option<Self>, TemplateError> {
        if !chat.continue_final_message {
            return Ok(None);
        }
        if chat.add_generation_prompt {
            let reason = "continue_final_message and add_generation_prompt exclude each other; set one of them";
            return Err(shape(reason.to_owned()));
        }
        if !source.contains("content") {
            return Err(TemplateError::Broken(
                "it reads no content, so that none can be continued".to_owned(),
            ));
        }
        let missing = || shape("the final message has no text to continue".to_owned());
        let content = messages
            .last_mut()
            .and_then(|message| message.get_mut("content"))
            .ok_or_else(missing)?;
        let end = match content {
            Value::Array(parts) => parts
                .iter_mut()
                .rev()
                .find_map(|part| part.get_mut("text"))
                .ok_or_else(missing)?,
            text => text,
        };
        let Value::String(text) = end else {
            return Err(missing());
        };
        let original = text.clone();
        text.push_str(MARK);
        Ok(Some(Self { text: original }))
    }

    /// Cuts the rendered prompt where the last message ends.
    pub(super) fn cut(self, mut rendered: String) -> Result<String, TemplateError> {
        let at = match rendered.rfind(MARK.trim_end()) {
            Some(at) if rendered.contains(self.text.trim()) => at,
            _ => return Err(shape("the template does not show the final message as it is, so that it cannot be continued".to_owned())),
        };
        let keeps_spaces = rendered[at..].starts_with(MARK);
        rendered.truncate(at);
        if !keeps_spaces {
            rendered.truncate(rendered.trim_end().len());
        }
        Ok(rendered)
    }
}

fn shape(reason: String) -> TemplateError {
    TemplateError::Conversation(reason)
}
