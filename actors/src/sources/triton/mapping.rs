//! A field with its path, read as what it should be; and the lines about those that are not used.

use std::collections::BTreeSet;

use super::tree::{Field, Message, Value};

/// Keys that a message has once. Protocol buffers refuse a second one, and so does this: which of
/// two is meant is for whoever wrote them to say.
const SINGULAR: [&str; 30] = [
    "allow_timeout_override",
    "backend",
    "batch_size",
    "count",
    "data_type",
    "decoupled",
    "default_model_filename",
    "default_priority_level",
    "default_queue_policy",
    "default_timeout_microseconds",
    "dynamic_batching",
    "input_data_file",
    "key",
    "label_filename",
    "max_batch_size",
    "max_queue_delay_microseconds",
    "max_queue_size",
    "model_transaction_policy",
    "name",
    "num_versions",
    "optimization",
    "platform",
    "preserve_ordering",
    "priority_levels",
    "random_data",
    "reshape",
    "timeout_action",
    "value",
    "version_policy",
    "zero_data",
];

/// A field, and the way to it.
#[derive(Debug, Clone)]
pub(super) struct Key<'a> {
    pub(super) field: &'a Field,
    pub(super) path: String,
}

/// Lines about what is not used, one for each key.
#[derive(Debug)]
pub(super) struct Notes {
    stated_in: &'static str,
    seen: BTreeSet<String>,
    lines: Vec<String>,
}

// === impl Key ===

impl<'a> Key<'a> {
    /// Returns the fields of the outermost message.
    pub(super) fn all(tree: &'a Message) -> Result<Vec<Self>, String> {
        keys_of(tree, "")
    }

    /// Returns the field's own name.
    pub(super) fn name(&self) -> &'a str {
        &self.field.name
    }

    /// Returns the fields of the message that this is.
    pub(super) fn keys(&self) -> Result<Vec<Key<'a>>, String> {
        match &self.field.value {
            Value::Message(message) => keys_of(message, &self.path),
            _ => self.must("be a message"),
        }
    }

    pub(super) fn text(&self) -> Result<&'a str, String> {
        match &self.field.value {
            Value::Text(text) => Ok(text),
            _ => self.must("be a text"),
        }
    }

    /// Returns an enum's word, which JSON writes as a text.
    pub(super) fn word(&self) -> Result<&'a str, String> {
        match &self.field.value {
            Value::Word(word) | Value::Text(word) => Ok(word),
            _ => self.must("be a word"),
        }
    }

    pub(super) fn truth(&self) -> Result<bool, String> {
        match &self.field.value {
            Value::Word(word) => match word.as_str() {
                "true" | "True" | "t" => Ok(true),
                "false" | "False" | "f" => Ok(false),
                _ => self.must("be true or false"),
            },
            Value::Integer(0) => Ok(false),
            Value::Integer(1) => Ok(true),
            _ => self.must("be true or false"),
        }
    }

    /// Returns a whole number, which JSON writes as a text where it has 64 bits.
    pub(super) fn whole(&self) -> Result<i128, String> {
        match &self.field.value {
            Value::Integer(number) => Ok(*number),
            Value::Text(text) => match text.parse() {
                Ok(number) => Ok(number),
                Err(_) => self.must("be a whole number"),
            },
            _ => self.must("be a whole number"),
        }
    }

    /// Returns a whole number that is not negative.
    pub(super) fn count<T: TryFrom<i128>>(&self) -> Result<T, String> {
        match T::try_from(self.whole()?) {
            Ok(count) if self.whole()? >= 0 => Ok(count),
            _ => self.must("not be negative, nor larger than its type"),
        }
    }

    /// Refuses the value.
    pub(super) fn must<T>(&self, what: &str) -> Result<T, String> {
        let Field { place, value, .. } = self.field;
        let shown = match value {
            Value::Integer(number) => format!("is {number}"),
            Value::Word(word) => format!("is {word}"),
            Value::Text(text) => format!("is {text:?}"),
            other => format!("is {}", other.kind()),
        };
        Err(format!("{}{place} must {what}, and {shown}", self.path))
    }

    /// Refuses the model.
    pub(super) fn cannot<T>(&self, why: &str) -> Result<T, String> {
        Err(format!("{}{}: {why}", self.path, self.field.place))
    }
}

fn keys_of<'a>(message: &'a Message, path: &str) -> Result<Vec<Key<'a>>, String> {
    let mut once = BTreeSet::new();
    let mut keys = Vec::with_capacity(message.fields.len());
    for field in &message.fields {
        let path = match path {
            "" => field.name.clone(),
            path => format!("{path}.{}", field.name),
        };
        let key = Key { field, path };
        if SINGULAR.contains(&key.name()) && !once.insert(key.name()) {
            return key.cannot("it is there twice");
        }
        keys.push(key);
    }
    Ok(keys)
}

/// Returns the key of an entry of a map.
fn key_of(message: &Message) -> Option<&str> {
    let key = message.fields.iter().find(|field| field.name == "key")?;
    match &key.value {
        Value::Text(key) => Some(key),
        _ => None,
    }
}

// === impl Notes ===

impl Notes {
    pub(super) fn new(stated_in: &'static str) -> Self {
        Self {
            stated_in,
            seen: BTreeSet::new(),
            lines: Vec::new(),
        }
    }

    /// Returns the lines, in the order of what they are about.
    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines
    }

    /// Adds a line about a key that is understood and does something else here than there.
    pub(super) fn add(&mut self, key: &Key<'_>, means: &str) {
        self.line(&key.path, key.field, means);
    }

    /// Adds a line about every key below this one, or about this one if there is none.
    pub(super) fn unused(&mut self, key: &Key<'_>, means: &str) {
        self.unused_below(&key.path, key.field, means);
    }

    fn unused_below(&mut self, path: &str, field: &Field, means: &str) {
        match &field.value {
            Value::Message(message) => match key_of(message) {
                Some(key) => self.line(&format!("{path}.{key}"), field, means),
                None if message.fields.is_empty() => self.line(path, field, means),
                None => {
                    for field in &message.fields {
                        self.unused_below(&format!("{path}.{}", field.name), field, means);
                    }
                }
            },
            _ => self.line(path, field, means),
        }
    }

    fn line(&mut self, path: &str, field: &Field, means: &str) {
        if self.seen.insert(path.to_owned()) {
            let place = field.place;
            self.lines
                .push(format!("{}: {path}{place} {means}", self.stated_in));
        }
    }
}
