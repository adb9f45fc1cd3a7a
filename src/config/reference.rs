//! The reference page of the configuration, made from the catalogue.
//!
//! `docs/configuration.md` is this text; a test compares the two, so the page
//! cannot fall behind the code.

use std::fmt::Write;

use super::catalogue::{Catalogue, Key, Section};

const INTRODUCTION: &str = include_str!("reference_introduction.md");

/// Renders the reference page as Markdown.
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    for section in Catalogue::get().sections() {
        push_section(&mut page, section).expect("a string takes all that is written to it");
    }
    page
}

fn push_section(page: &mut String, section: &Section) -> std::fmt::Result {
    match section.name.as_str() {
        "" => writeln!(page, "\n## Keys above all tables")?,
        name => writeln!(page, "\n## `[{name}]`\n\n{}", section.text)?,
    }
    for key in &section.keys {
        push_key(page, key)?;
    }
    Ok(())
}

fn push_key(page: &mut String, key: &Key) -> std::fmt::Result {
    writeln!(page, "\n### `{}`\n", key.path)?;
    writeln!(page, "{}\n", key.text)?;
    writeln!(page, "- Default: `{}`", key.default.to_string().trim())?;
    writeln!(page, "- Takes: {}{}", key.kind.name(), bounds(key))?;
    writeln!(page, "- Variable: `{}`", key.variable())
}

fn bounds(key: &Key) -> String {
    match (&key.least, &key.most) {
        (Some(least), Some(most)) => format!(", {least} to {most}"),
        (Some(least), None) => format!(", at least {least}"),
        (None, Some(most)) => format!(", at most {most}"),
        (None, None) => String::new(),
    }
}
