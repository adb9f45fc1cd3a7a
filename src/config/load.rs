//! Puts the layers on top of each other, and finds everything that is wrong with them.
//!
//! Each layer is a list of assignments: key, value, origin. Every assignment
//! is judged on its own, by reading a configuration that consists of it alone;
//! so an error belongs to exactly one line or variable, and a wrong value is
//! found also where a later layer would have covered it. Only when all of them
//! are sound are they merged and the rules between keys applied.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::catalogue::{Catalogue, Key, Kind};
use super::environment::{self, Warning};
use super::error::{ConfigError, Problem};
use super::units::Period;
use super::{Config, Violation, file};

/// What a configuration is loaded from.
#[derive(Clone, Debug)]
pub struct LoadArgs<E> {
    /// The TOML file of `--config`.
    pub file: Option<PathBuf>,
    /// The process environment; names that do not begin with `IMPETUS_` are skipped.
    pub env: E,
}

/// A sound configuration, and what its reader may want to know about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What was ignored, to be logged once there is a log.
    pub warnings: Vec<Warning>,
    /// Where the values came from that are not defaults.
    pub sources: Sources,
}

/// The origin of every value that somebody set, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Sources(BTreeMap<String, Source>);

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// In the configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
    },
    /// In this environment variable.
    Variable(String),
}

/// One value for one key, as one layer has it.
#[derive(Clone, Debug)]
pub(super) struct Assignment {
    pub(super) path: String,
    pub(super) value: Value,
    pub(super) source: Source,
}

pub(super) fn load<E>(args: LoadArgs<E>) -> Result<Loaded, ConfigError>
where
    E: IntoIterator<Item = (String, String)>,
{
    let mut assignments = match &args.file {
        Some(path) => file::read(path)?,
        None => Vec::new(),
    };
    let variables = environment::read(args.env);
    assignments.extend(variables.assignments);

    let mut problems: Vec<Problem> = assignments.iter().filter_map(problem_with).collect();
    problems.extend(variables.problems);
    if !problems.is_empty() {
        return Err(ConfigError::Wrong(problems));
    }

    let (config, sources) = merge(assignments);
    if let Err(violations) = config.validate() {
        let problems = violations.into_iter().map(|v| sources.blame(v)).collect();
        return Err(ConfigError::Wrong(problems));
    }
    Ok(Loaded {
        config,
        warnings: variables.warnings,
        sources,
    })
}

// === impl Sources ===

impl Sources {
    /// Returns where this key was set; nothing when its default holds.
    pub fn of(&self, key: &str) -> Option<&Source> {
        self.0.get(key)
    }

    /// Returns all keys that somebody set, each with the origin that won.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Source)> {
        self.0.iter().map(|(key, source)| (key.as_str(), source))
    }

    fn blame(&self, violation: Violation) -> Problem {
        let origins = violation.keys.iter().filter_map(|key| self.of(key));
        Problem {
            origins: origins.cloned().collect(),
            key: violation.keys.into_iter().next().unwrap_or_default(),
            message: violation.message,
        }
    }
}

// === impl Source ===

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// Returns what is wrong with one assignment, taken by itself.
fn problem_with(assignment: &Assignment) -> Option<Problem> {
    let message = match Catalogue::get().key(&assignment.path) {
        None => no_such_key(assignment),
        Some(key) if !reads(key, &assignment.value) || !key.admits(&assignment.value) => {
            not_expected(key, &assignment.value)
        }
        Some(_) => return None,
    };
    Some(Problem {
        key: assignment.path.clone(),
        message,
        origins: vec![assignment.source.clone()],
    })
}

/// Returns whether the configuration can be read with nothing set but this key.
fn reads(key: &Key, value: &Value) -> bool {
    let mut table = Table::new();
    set(&mut table, &key.path, value.clone());
    Config::deserialize(table).is_ok()
}

fn not_expected(key: &Key, value: &Value) -> String {
    let expectation = key.expectation();
    let text = value.as_str().unwrap_or_default();
    let hint = match &key.kind {
        Kind::Period => match text.parse::<Period>() {
            Err(reason) if !text.is_empty() => format!(": {reason}"),
            _ => String::new(),
        },
        Kind::Choice(words) => match nearest(text, words.iter().map(String::as_str)) {
            Some(word) => format!(", did you mean \"{word}\"?"),
            None => String::new(),
        },
        _ => String::new(),
    };
    format!("{value} is not {expectation}{hint}")
}

/// Says that a key does not exist, and which ones are like it or beside it.
fn no_such_key(assignment: &Assignment) -> String {
    let catalogue = Catalogue::get();
    let path = assignment.path.as_str();
    if catalogue.section(path).is_some() {
        return format!("is a section, not a key; write its keys under [{path}]");
    }
    if assignment.value.is_table() {
        return no_such_section(path);
    }
    let written = |key: &&Key| match assignment.source {
        Source::File { .. } => key.path.clone(),
        Source::Variable(_) => key.variable(),
    };
    let alike: Vec<String> = keys_like(path).iter().map(written).collect();
    if !alike.is_empty() {
        return format!("no such key, did you mean {}?", alike.join(" or "));
    }
    let (section, _) = path.split_once('.').unwrap_or((path, ""));
    match catalogue.section(section) {
        Some(section) => {
            let names: Vec<&str> = section.keys.iter().map(|key| key.name.as_str()).collect();
            format!("no such key; [{}] has {}", section.name, names.join(", "))
        }
        None => no_such_section(section),
    }
}

fn no_such_section(section: &str) -> String {
    match nearest(section, section_names()) {
        Some(name) => format!("no such section, did you mean [{name}]?"),
        None => {
            let all: Vec<&str> = section_names().collect();
            format!("no such key; the sections are {}", all.join(", "))
        }
    }
}

/// Returns the keys that were probably meant by a name that does not exist: the
/// likeliest of its section, or else those of the same last name in other sections.
fn keys_like(path: &str) -> Vec<&'static Key> {
    let catalogue = Catalogue::get();
    let tidy = path.trim_matches(['.', '_']).replace('-', "_");
    let (section, name) = tidy.rsplit_once('.').unwrap_or(("", &tidy));
    let home = catalogue
        .section(section)
        .or_else(|| catalogue.section(nearest(section, section_names())?));
    let neighbour = home.and_then(|home| {
        let meant = nearest(name, home.keys.iter().map(|key| key.name.as_str()))?;
        home.keys.iter().find(|key| key.name == meant)
    });
    match neighbour {
        Some(key) => vec![key],
        None => catalogue.keys().filter(|key| key.name == name).collect(),
    }
}

fn section_names() -> impl Iterator<Item = &'static str> {
    let names = Catalogue::get().sections().iter();
    names
        .map(|section| section.name.as_str())
        .filter(|name| !name.is_empty())
}

/// Returns the candidate that is most like the text, if one is like enough to be a slip of the pen.
pub(super) fn nearest<'a>(
    text: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    const ALIKE: f64 = 0.85;
    candidates
        .map(|candidate| (strsim::jaro_winkler(text, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Puts sound assignments over the defaults; the last one for a key wins.
fn merge(assignments: Vec<Assignment>) -> (Config, Sources) {
    let mut table = Table::new();
    let mut sources = BTreeMap::new();
    for Assignment {
        path,
        value,
        source,
    } in assignments
    {
        set(&mut table, &path, value);
        sources.insert(path, source);
    }
    let config = Config::deserialize(table).expect("each of these values was read on its own");
    (config, Sources(sources))
}

fn set(table: &mut Table, path: &str, value: Value) {
    let Some((section, name)) = path.split_once('.') else {
        table.insert(path.to_owned(), value);
        return;
    };
    let section = table
        .entry(section)
        .or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(section) = section {
        section.insert(name.to_owned(), value);
    }
}
