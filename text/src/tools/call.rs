//! One call, read from its JSON.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// The arguments: the text of a JSON object, as the model wrote it.
    pub arguments: String,
}

/// A call as models write it.
#[derive(Deserialize)]
struct Written<'a> {
    name: Option<String>,
    #[serde(borrow, default, alias = "parameters", deserialize_with = "present")]
    arguments: Option<&'a RawValue>,
    /// Some write the whole of OpenAI's shape.
    #[serde(borrow)]
    function: Option<&'a RawValue>,
}

// === impl ToolCall ===

impl ToolCall {
    /// Reads a call with arguments of its own.
    pub(super) fn named(name: &str, arguments: &str) -> Option<Self> {
        let arguments: &RawValue = serde_json::from_str(arguments).ok()?;
        Some(Self {
            name: name.to_owned(),
            arguments: object_text(Some(arguments))?,
        })
    }

    /// Reads an object that is a call; `None` where it is none.
    pub(super) fn read(text: &str) -> Option<Self> {
        let written: Written<'_> = serde_json::from_str(text).ok()?;
        match (written.name, written.function) {
            (Some(name), _) => Some(Self {
                name,
                arguments: object_text(written.arguments)?,
            }),
            (None, Some(function)) => {
                let inner: Written<'_> = serde_json::from_str(function.get()).ok()?;
                Some(Self {
                    name: inner.name?,
                    arguments: object_text(inner.arguments)?,
                })
            }
            (None, None) => None,
        }
    }

    /// Reads an object that is a call, and shows it by having arguments.
    pub(super) fn read_with_arguments(text: &str) -> Option<Self> {
        let written: Written<'_> = serde_json::from_str(text).ok()?;
        (written.arguments.is_some() || written.function.is_some()).then(|| Self::read(text))?
    }

    /// Reads one call or a list of them; `None` where anything in it is no call.
    pub(super) fn read_all(text: &str) -> Option<Vec<Self>> {
        if !text.starts_with('[') {
            return Self::read(text).map(|call| vec![call]);
        }
        let list: Vec<&RawValue> = serde_json::from_str(text).ok()?;
        if list.is_empty() {
            return None;
        }
        list.into_iter()
            .map(|call| Self::read(call.get()))
            .collect()
    }
}

/// Tells arguments that are null from arguments that are missing.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// Returns the text of an object; none at all is an empty one, and a string may hold one.
fn object_text(arguments: Option<&RawValue>) -> Option<String> {
    let text = arguments.map_or("null", RawValue::get);
    match text.as_bytes().first() {
        Some(b'{') => Some(text.to_owned()),
        Some(b'n') => Some("{}".to_owned()),
        Some(b'"') => {
            let inner: String = serde_json::from_str(text).ok()?;
            let object: &RawValue = serde_json::from_str(&inner).ok()?;
            object
                .get()
                .starts_with('{')
                .then(|| object.get().to_owned())
        }
        _ => None,
    }
}
