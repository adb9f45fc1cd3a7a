//! The configuration file: TOML, read with the line of every key.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use toml::{Spanned, Value};

use super::catalogue::Catalogue;
use super::error::ConfigError;
use super::load::{Assignment, Source};

/// Reads a file into one assignment per key, in the file's order.
///
/// A table that is no section is one assignment under the table's own name,
/// which whoever judges the assignments then finds unknown.
pub(super) fn read(path: &Path) -> Result<Vec<Assignment>, ConfigError> {
    let text = fs::read_to_string(path).map_err(|reason| ConfigError::Unreadable {
        path: path.to_owned(),
        reason,
    })?;
    let document = DeTable::parse(&text).map_err(|error| not_toml(path, &text, &error))?;

    let mut assignments = Vec::new();
    let mut add = |name: String, offset: usize, value: Spanned<DeValue<'_>>| {
        let value = Value::deserialize(ValueDeserializer::from(value))
            .map_err(|error| not_toml(path, &text, &error))?;
        assignments.push(Assignment {
            path: name,
            value,
            source: Source::File {
                path: path.to_owned(),
                line: position(&text, offset).0,
            },
        });
        Ok(())
    };
    for (name, value) in document.into_inner() {
        let offset = name.span().start;
        let is_section = Catalogue::get().section(name.get_ref()).is_some();
        match value.into_inner() {
            DeValue::Table(keys) if is_section => {
                for (key, value) in keys {
                    let path = format!("{}.{}", name.get_ref(), key.get_ref());
                    add(path, key.span().start, value)?;
                }
            }
            other => add(
                name.get_ref().to_string(),
                offset,
                Spanned::new(name.span(), other),
            )?,
        }
    }
    Ok(assignments)
}

fn not_toml(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let offset = error.span().map_or(0, |span| span.start);
    let (line, column) = position(text, offset);
    ConfigError::NotToml {
        path: path.to_owned(),
        line,
        column,
        message: error.message().replace('\n', ", "),
    }
}

/// Returns line and column, both counted from 1, of a byte offset.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    (line, column)
}
