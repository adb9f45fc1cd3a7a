//! The JSON form of a message.
//!
//! Protocol buffers' own mapping: names in camel case or as they are declared, numbers of 64 bits
//! as texts, enums by name, maps as objects. Maps become what they are in the text format, messages
//! of `key` and `value`, so that one reader serves both.

use serde_json::{Map, Number, Value as Json};

use super::tree::{Field, Message, Place, Value};
use super::{MAX_BYTES, MAX_DEPTH, Problem};

/// The fields of a model's configuration that are maps.
const MAPS: [&str; 5] = [
    "cc_model_filenames",
    "inputs",
    "metric_tags",
    "parameters",
    "priority_queue_policy",
];

/// Parses a text into the message that it is.
pub(super) fn parse(text: &str) -> Result<Message, Problem> {
    let refused = |what: String| Problem::at(Place { line: 1, column: 1 }, what);
    if text.len() > MAX_BYTES {
        let what = format!(
            "the text has {} bytes, at most {MAX_BYTES} are read",
            text.len()
        );
        return Err(refused(what));
    }
    let json: Json = serde_json::from_str(text).map_err(|error| Problem {
        line: error.line(),
        column: error.column(),
        what: error.to_string(),
    })?;
    match json {
        Json::Object(members) => message(members, 0).map_err(refused),
        _ => Err(refused("a configuration is an object".to_owned())),
    }
}

fn message(members: Map<String, Json>, depth: usize) -> Result<Message, String> {
    if depth > MAX_DEPTH {
        return Err(format!("messages are nested more than {MAX_DEPTH} deep"));
    }
    let mut message = Message::default();
    for (name, json) in members {
        let name = snake_case(&name);
        match json {
            Json::Null => {}
            Json::Object(entries) if MAPS.contains(&name.as_str()) => {
                for (key, json) in entries {
                    let value = value(json, depth + 2)?;
                    message.push(&name, Value::Message(entry(key, value)));
                }
            }
            Json::Array(items) => {
                for item in items {
                    message.push(&name, value(item, depth + 1)?);
                }
            }
            other => message.push(&name, value(other, depth + 1)?),
        }
    }
    Ok(message)
}

fn value(json: Json, depth: usize) -> Result<Value, String> {
    Ok(match json {
        Json::Object(members) => Value::Message(message(members, depth)?),
        Json::String(text) => Value::Text(text),
        Json::Bool(truth) => Value::Word(truth.to_string()),
        Json::Number(number) => self::number(&number),
        Json::Array(_) => return Err("a list within a list".to_owned()),
        Json::Null => return Err("null within a list".to_owned()),
    })
}

fn number(number: &Number) -> Value {
    let whole = number.as_i64().map(i128::from);
    match whole.or_else(|| number.as_u64().map(i128::from)) {
        Some(whole) => Value::Integer(whole),
        None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
    }
}

fn entry(key: String, value: Value) -> Message {
    let mut entry = Message::default();
    entry.push("key", Value::Text(key));
    entry.push("value", value);
    entry
}

/// `maxBatchSize` as `max_batch_size`; a name that is so already stays.
fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

// === impl Message ===

impl Message {
    fn push(&mut self, name: &str, value: Value) {
        self.fields.push(Field {
            name: name.to_owned(),
            place: Place::default(),
            value,
        });
    }
}
