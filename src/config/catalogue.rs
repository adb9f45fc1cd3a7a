//! The list of all keys, read from the configuration's own types.
//!
//! The types describe themselves by a JSON schema; this module turns that
//! schema into what the rest of the configuration asks about a key: what kind
//! of value it takes, within which bounds, what it is by default, which
//! variable sets it, what it is for. Order is that of the struct's fields.
//!
//! It fails in one way only, at the first use in a test: a field whose schema
//! it does not understand, or which has no documentation, is a mistake in the
//! types and panics by name.

use std::sync::OnceLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json};
use toml::Value;

use super::Config;
use super::units::{Bytes, Period};

/// Every key there is, by section.
#[derive(Debug)]
pub struct Catalogue {
    sections: Vec<Section>,
}

/// A table of the configuration file.
#[derive(Debug)]
pub struct Section {
    /// Name of the table; empty for the keys that stand above all tables.
    pub name: String,
    /// What the section is about.
    pub text: String,
    /// Its keys, in their order.
    pub keys: Vec<Key>,
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// The whole name: `section.key`, or the bare key above all sections.
    pub path: String,
    /// The name within its section.
    pub name: String,
    /// What kind of value it takes.
    pub kind: Kind,
    /// What it is for.
    pub text: String,
    /// What holds when nobody sets it.
    pub default: Value,
    /// The least it may be.
    pub least: Option<Bound>,
    /// The most it may be.
    pub most: Option<Bound>,
}

/// The kinds of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A [`Period`].
    Period,
    /// A number of [`Bytes`].
    Size,
    /// One of these words.
    Choice(Vec<String>),
    /// A list of texts.
    List,
    /// A table of texts.
    Map,
}

/// A limit of a value: as it is written, and as a number that can be compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// The limit as it is written.
    pub text: String,
    /// The limit in the kind's base unit: seconds, bytes, or the number itself.
    pub magnitude: f64,
}

// === impl Catalogue ===

impl Catalogue {
    /// Returns the catalogue of [`Config`].
    pub fn get() -> &'static Self {
        static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
        CATALOGUE.get_or_init(Self::read)
    }

    /// Returns the sections in their order, the one without a name first.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Returns the section of this name.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// Returns all keys in their order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.sections.iter().flat_map(|section| &section.keys)
    }

    /// Returns the key of this whole name.
    pub fn key(&self, path: &str) -> Option<&Key> {
        self.keys().find(|key| key.path == path)
    }

    fn read() -> Self {
        let generator = SchemaSettings::draft2020_12()
            .with(|settings| settings.inline_subschemas = true)
            .into_generator();
        let schema = generator.into_root_schema_for::<Config>();
        let fields = properties(schema.as_value());
        let defaults = toml::Table::try_from(Config::default())
            .expect("the default configuration has only values that TOML has");

        let mut root = Section {
            name: String::new(),
            text: "Keys that stand above all tables.".to_owned(),
            keys: Vec::new(),
        };
        let mut sections = Vec::new();
        for (name, default) in &defaults {
            let field = &fields[name];
            match (default, field.get("properties")) {
                (Value::Table(defaults), Some(_)) => {
                    sections.push(Section::read(name, field, defaults));
                }
                _ => root.keys.push(Key::read("", name, field, default)),
            }
        }
        sections.insert(0, root);
        Self { sections }
    }
}

// === impl Section ===

impl Section {
    fn read(name: &str, schema: &Json, defaults: &toml::Table) -> Self {
        let fields = properties(schema);
        Self {
            name: name.to_owned(),
            text: text_of(name, schema),
            keys: defaults
                .iter()
                .map(|(key, default)| Key::read(name, key, &fields[key], default))
                .collect(),
        }
    }
}

// === impl Key ===

impl Key {
    /// Returns the name of the variable that sets this key.
    pub fn variable(&self) -> String {
        format!("IMPETUS_{}", self.path.replace('.', "__").to_uppercase())
    }

    /// Says in words what this key takes, bounds included: "a whole number from 1 to 100".
    pub fn expectation(&self) -> String {
        let range = match (&self.least, &self.most) {
            (Some(least), Some(most)) => format!(" from {least} to {most}"),
            (Some(least), None) => format!(" of at least {least}"),
            (None, Some(most)) => format!(" of at most {most}"),
            (None, None) => String::new(),
        };
        let comma = match self.kind {
            // Behind an example the range needs one: `such as "64MiB", from 1KiB to 4GiB`.
            Kind::Period | Kind::Size if !range.is_empty() => ",",
            _ => "",
        };
        format!("{}{comma}{range}", self.kind.expectation())
    }

    /// Returns whether a value of the right kind lies within this key's bounds.
    pub fn admits(&self, value: &Value) -> bool {
        let Some(magnitude) = self.kind.magnitude(value) else {
            return true;
        };
        let above = self.least.as_ref().is_none_or(|b| magnitude >= b.magnitude);
        let below = self.most.as_ref().is_none_or(|b| magnitude <= b.magnitude);
        above && below
    }

    fn read(section: &str, name: &str, schema: &Json, default: &Value) -> Self {
        let path = match section {
            "" => name.to_owned(),
            section => format!("{section}.{name}"),
        };
        let kind = Kind::read(&path, schema);
        let bound = |number: &str, text: &str| {
            let written = match (schema.get(text), schema.get(number)) {
                (Some(Json::String(text)), _) => Value::String(text.clone()),
                (_, Some(Json::Number(number))) => Value::try_from(number).ok()?,
                _ => return None,
            };
            let magnitude = kind.magnitude(&written)?;
            let text = match written {
                Value::String(text) => text,
                _ => magnitude.to_string(),
            };
            Some(Bound { text, magnitude })
        };
        Self {
            least: bound("minimum", "x-min"),
            most: bound("maximum", "x-max"),
            text: text_of(&path, schema),
            name: name.to_owned(),
            default: default.clone(),
            path,
            kind,
        }
    }
}

// === impl Kind ===

impl Kind {
    /// Returns the kind's name for the reference page.
    pub fn name(&self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Flag => "`true` or `false`".to_owned(),
            Self::Integer => "whole number".to_owned(),
            Self::Number => "number".to_owned(),
            Self::Period => "duration".to_owned(),
            Self::Size => "size".to_owned(),
            Self::Choice(words) => format!("`\"{}\"`", words.join("\"`, `\"")),
            Self::List => "list of texts".to_owned(),
            Self::Map => "table of texts".to_owned(),
        }
    }

    fn expectation(&self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Integer => "a whole number".to_owned(),
            Self::Number => "a number".to_owned(),
            Self::Period => "a duration such as \"250ms\" or \"30s\"".to_owned(),
            Self::Size => "a size such as \"64MiB\"".to_owned(),
            Self::Choice(words) => format!("one of \"{}\"", words.join("\", \"")),
            Self::List => "a list of texts".to_owned(),
            Self::Map => "a table of texts".to_owned(),
        }
    }

    /// Returns the value in the kind's base unit, where the kind has one and the value is of it.
    fn magnitude(&self, value: &Value) -> Option<f64> {
        match (self, value) {
            (Self::Integer | Self::Number | Self::Size, Value::Integer(number)) => {
                Some(*number as f64)
            }
            (Self::Number, Value::Float(number)) => Some(*number),
            (Self::Period, Value::String(text)) => {
                text.parse::<Period>().ok().map(|p| p.as_secs_f64())
            }
            (Self::Size, Value::String(text)) => text.parse::<Bytes>().ok().map(|b| b.get() as f64),
            _ => None,
        }
    }

    fn read(path: &str, schema: &Json) -> Self {
        if let Some(words) = choices(schema) {
            return Self::Choice(words);
        }
        let format = schema.get("format").and_then(Json::as_str);
        let kind = schema.get("type").and_then(Json::as_str);
        match (kind, format) {
            (_, Some("period")) => Self::Period,
            (_, Some("size")) => Self::Size,
            (Some("string"), _) => Self::Text,
            (Some("boolean"), _) => Self::Flag,
            (Some("integer"), _) => Self::Integer,
            (Some("number"), _) => Self::Number,
            (Some("array"), _) => Self::List,
            (Some("object"), _) => Self::Map,
            _ => panic!("{path} has a type that the catalogue does not know: {schema}"),
        }
    }
}

// === impl Bound ===

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

fn properties(schema: &Json) -> &Map<String, Json> {
    schema
        .get("properties")
        .and_then(Json::as_object)
        .expect("a configuration struct has fields")
}

/// Returns the words of an enum, whether its variants are documented or not.
fn choices(schema: &Json) -> Option<Vec<String>> {
    let plain = schema
        .get("enum")
        .and_then(Json::as_array)
        .map(Vec::as_slice);
    let documented = schema.get("oneOf").and_then(Json::as_array);
    let words: Vec<String> = match (plain, documented) {
        (Some(words), _) => words
            .iter()
            .filter_map(Json::as_str)
            .map(str::to_owned)
            .collect(),
        (None, Some(variants)) => variants
            .iter()
            .filter_map(|variant| variant.get("const")?.as_str())
            .map(str::to_owned)
            .collect(),
        (None, None) => return None,
    };
    Some(words)
}

fn text_of(path: &str, schema: &Json) -> String {
    let text = schema
        .get("description")
        .and_then(Json::as_str)
        .unwrap_or_else(|| panic!("{path} is not documented"));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
