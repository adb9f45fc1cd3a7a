//! The effective configuration, with the origin of every value that is not a default.
//!
//! The TOML form is a configuration file: fed back in, it gives the same
//! configuration. The origins are comments in it.

use std::fmt::Write;

use serde_json::json;
use toml::{Table, Value};

use super::Config;
use super::catalogue::{Catalogue, Section};
use super::load::{Loaded, Sources};

/// Renders a loaded configuration as an annotated configuration file.
pub fn as_toml(loaded: &Loaded) -> String {
    let mut text = String::from(
        "# Effective configuration: defaults, then the file, then the environment.\n\
         # A comment behind a value says who set it.\n",
    );
    let values = table(&loaded.config);
    for section in Catalogue::get().sections() {
        text.push('\n');
        match values.get(&section.name) {
            Some(Value::Table(values)) => {
                push(&mut text, &format!("[{}]", section.name));
                push_section(&mut text, section, values, &loaded.sources);
            }
            _ => push_section(&mut text, section, &values, &loaded.sources),
        }
        if section.name == "lifecycle" {
            let longest = humantime::format_duration(loaded.config.lifecycle.longest_stop());
            push(
                &mut text,
                &format!(
                    "# together {longest}: a pod's terminationGracePeriodSeconds must be longer"
                ),
            );
        }
    }
    text
}

/// Renders a loaded configuration as a JSON object of `config`, `sources` and `warnings`.
pub fn as_json(loaded: &Loaded) -> serde_json::Value {
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    json!({
        "config": loaded.config,
        "sources": loaded.sources,
        "warnings": warnings,
    })
}

fn push_section(text: &mut String, section: &Section, values: &Table, sources: &Sources) {
    let lines: Vec<(String, Option<String>)> = section
        .keys
        .iter()
        .filter_map(|key| {
            let line = format!("{} = {}", key.name, values.get(&key.name)?);
            let origin = sources.of(&key.path).map(ToString::to_string);
            Some((line, origin))
        })
        .collect();
    let annotated = lines.iter().filter(|(_, origin)| origin.is_some());
    let column = annotated
        .map(|(line, _)| line.chars().count())
        .max()
        .unwrap_or(0);
    for (line, origin) in &lines {
        match origin {
            Some(origin) => push(text, &format!("{line:column$}  # {origin}")),
            None => push(text, line),
        }
    }
}

fn push(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a string takes all that is written to it");
}

fn table(config: &Config) -> Table {
    Table::try_from(config).expect("a configuration that was loaded has only values that TOML has")
}
