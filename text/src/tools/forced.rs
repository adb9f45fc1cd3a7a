//! Calls that the client demands (`tool_choice`).
//!
//! A demanded call is held to a schema while it is generated, so that it cannot fail to be one: an
//! object with the name of one of the tools and arguments that its schema allows.

use serde_json::{Value, json};

use super::ToolFormat;

/// What `tool_choice` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model calls a tool or answers.
    #[default]
    Auto,
    /// The model answers, and sees no tools.
    None,
    /// The model calls one of the tools.
    Required,
    /// The model calls this tool.
    Named(String),
}

/// The schema of an answer that must be a call. What is generated under it is read with
/// [`ToolFormat::Json`].
#[derive(Debug, Clone, PartialEq)]
pub struct ForcedCall {
    /// A JSON schema for the whole answer.
    pub schema: Value,
}

/// A `tool_choice` that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToolChoice {
    /// It has another shape.
    #[error(
        "tool_choice must be \"none\", \"auto\", \"required\" or {{\"type\": \"function\", \"function\": {{\"name\": …}}}}"
    )]
    Shape,
    /// It names a tool that is not there.
    #[error("tool_choice names the function {name:?}, which is not among the tools")]
    Unknown {
        /// The name.
        name: String,
    },
    /// It demands a call, and there is nothing to call.
    #[error("tool_choice demands a call, but there are no tools; send them in `tools`")]
    NoTools,
}

// === impl ToolChoice ===

impl ToolChoice {
    /// Reads a `tool_choice` beside its `tools`; without one the model decides.
    ///
    /// # Errors
    /// [`InvalidToolChoice`] where it has another shape or demands what is not there.
    pub fn read(choice: Option<&Value>, tools: Option<&Value>) -> Result<Self, InvalidToolChoice> {
        let choice = match choice {
            None | Some(Value::Null) => return Ok(Self::Auto),
            Some(choice) => choice,
        };
        let name = choice.pointer("/function/name").and_then(Value::as_str);
        let demanded = match (choice.as_str(), name) {
            (Some("auto"), _) => return Ok(Self::Auto),
            (Some("none"), _) => return Ok(Self::None),
            (Some("required"), _) => Self::Required,
            (None, Some(name)) => Self::Named(name.to_owned()),
            _ => return Err(InvalidToolChoice::Shape),
        };
        let mut functions = functions(tools);
        match &demanded {
            _ if functions.clone().next().is_none() => Err(InvalidToolChoice::NoTools),
            Self::Named(name) if !functions.any(|it| name_of(it) == Some(name.as_str())) => {
                Err(InvalidToolChoice::Unknown { name: name.clone() })
            }
            _ => Ok(demanded),
        }
    }
}

// === impl ForcedCall ===

impl ForcedCall {
    /// Returns the schema for what `choice` demands of `tools`; `None` where it demands nothing, or
    /// nothing that is there. `format` decides under which key the arguments go, as the model was
    /// taught.
    pub fn grammar_for(tools: &Value, choice: &ToolChoice, format: ToolFormat) -> Option<Self> {
        let is_chosen = |function: &&Value| match choice {
            ToolChoice::Auto | ToolChoice::None => false,
            ToolChoice::Required => true,
            ToolChoice::Named(name) => name_of(function) == Some(name.as_str()),
        };
        let mut calls: Vec<Value> = functions(Some(tools))
            .filter(is_chosen)
            .filter_map(|function| call_schema(function, format))
            .collect();
        let only = calls.pop()?;
        let schema = if calls.is_empty() {
            only
        } else {
            calls.push(only);
            json!({ "anyOf": calls })
        };
        Some(Self { schema })
    }
}

/// Returns the functions among the tools, each as it stands in OpenAI's API.
fn functions(tools: Option<&Value>) -> impl Iterator<Item = &Value> + Clone {
    tools
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|tool| tool.get("function").unwrap_or(tool))
}

fn name_of(function: &Value) -> Option<&str> {
    function.get("name")?.as_str()
}

/// Returns the schema of a call of one function.
fn call_schema(function: &Value, format: ToolFormat) -> Option<Value> {
    let name = name_of(function)?;
    let key = format.arguments_key();
    let arguments = match function.get("parameters") {
        Some(schema) if schema.is_object() => schema.clone(),
        _ => json!({ "type": "object" }),
    };
    Some(json!({
        "type": "object",
        "properties": { "name": { "const": name }, key: arguments },
        "required": ["name", key],
        "additionalProperties": false,
    }))
}
