//! The environment as a layer of configuration.
//!
//! A pod's environment is not all ours. Kubernetes adds variables for every
//! service beside the pod, and a service named `impetus-llm` gives names that
//! begin like our own (`IMPETUS_LLM_SERVICE_PORT=tcp://…`). A strict reader
//! would refuse to start because of a neighbour; a lax one would swallow typing
//! errors. The double underscore decides: a name with one is meant for us and
//! must be right; a name without one is ours only when it is among the few
//! listed here, and is otherwise ignored with a [`Warning`].
//!
//! Two further rules keep a manifest's empty template from breaking a start: a
//! variable that is empty counts as not set (its name must be right all the
//! same), and white space around a value does not count.

use std::collections::BTreeMap;
use std::fmt;

use toml::{Table, Value};

use super::catalogue::{Catalogue, Key, Kind};
use super::error::Problem;
use super::load::{Assignment, Source};

const PREFIX: &str = "IMPETUS_";
const STORES: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];

/// The names without a double underscore, with their keys; where two stand for
/// one key, the earlier wins.
const LISTED: [(&str, &str); 6] = [
    ("IMPETUS_ENVIRONMENT", "environment"),
    ("IMPETUS_ENV", "environment"),
    ("IMPETUS_HOST", "host"),
    ("IMPETUS_PORT", "port"),
    ("IMPETUS_LOG_LEVEL", "log_level"),
    ("IMPETUS_ROLE", "role"),
];

/// Variables that were ignored, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// A name that begins like ours but stands for nothing.
    Unlisted {
        /// The variable.
        name: String,
        /// The variable that was probably meant.
        meant: Option<String>,
    },
    /// Names that Kubernetes made from services in the same namespace.
    ServiceLinks {
        /// The variables, sorted.
        names: Vec<String>,
    },
    /// A second name of a key, beside a first one that says something else.
    Overruled {
        /// The variable that was ignored.
        name: String,
        /// The variable that counts.
        by: String,
    },
}

/// What the environment has to say.
#[derive(Debug, Default)]
pub(super) struct Variables {
    pub(super) assignments: Vec<Assignment>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Warning>,
}

/// Returns the variables of this process whose names begin with `IMPETUS_`, in any case.
///
/// A value that is not UTF-8 has its wrong bytes replaced by U+FFFD, which the
/// loader then refuses by name.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn process_environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .map(|(name, value)| {
            let name = name.to_string_lossy().into_owned();
            (name, value.to_string_lossy().into_owned())
        })
        .filter(|(name, _)| is_ours(name))
        .collect()
}

/// Returns the variables by which the tools of stores are configured, in lower case: `AWS_…`, `GOOGLE_…` and
/// `AZURE_…`. One that is not UTF-8 is left out: none of them can be meant so.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
#[must_use]
pub fn store_environment() -> Vec<(String, String)> {
    let of_stores = |name: &str| STORES.iter().any(|prefix| name.starts_with(prefix));
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| of_stores(name))
        .map(|(name, value)| (name.to_lowercase(), value))
        .collect()
}

pub(super) fn read(env: impl IntoIterator<Item = (String, String)>) -> Variables {
    // Sorted, so that what is reported does not depend on the order of the environment.
    let ours: BTreeMap<String, String> =
        env.into_iter().filter(|(name, _)| is_ours(name)).collect();
    let mut variables = Variables::default();
    let mut links = Vec::new();
    for (name, value) in &ours {
        let value = value.trim();
        if is_service_link(name, value) {
            links.push(name.clone());
        } else if let Some(path) = path_of(name) {
            variables.take(name, path, value);
        } else {
            variables.warnings.push(Warning::Unlisted {
                name: name.clone(),
                meant: meant_by(name),
            });
        }
    }
    if !links.is_empty() {
        variables
            .warnings
            .push(Warning::ServiceLinks { names: links });
    }
    variables
}

// === impl Variables ===

impl Variables {
    fn take(&mut self, name: &str, path: String, text: &str) {
        let source = Source::Variable(name.to_owned());
        let key = Catalogue::get().key(&path);
        if text.is_empty() && key.is_some() {
            return;
        }
        // An unknown key is found with those of the file; it needs no value for that.
        let value = match key {
            Some(key) => parse(key, text),
            None => Ok(Value::String(text.to_owned())),
        };
        let value = match value {
            Ok(value) => value,
            Err(message) => {
                self.problems.push(Problem {
                    key: path,
                    message,
                    origins: vec![source],
                });
                return;
            }
        };
        let assignment = Assignment {
            path,
            value,
            source,
        };
        match self
            .assignments
            .iter()
            .position(|a| a.path == assignment.path)
        {
            Some(earlier) => self.settle(earlier, assignment),
            None => self.assignments.push(assignment),
        }
    }

    /// Decides between two variables for one key.
    fn settle(&mut self, earlier: usize, later: Assignment) {
        let earlier = &mut self.assignments[earlier];
        if earlier.value == later.value {
            return;
        }
        let (first, second) = (earlier.source.to_string(), later.source.to_string());
        match (rank(&first), rank(&second)) {
            (Some(a), Some(b)) if a != b => {
                let (by, name) = if a < b {
                    (first, second)
                } else {
                    (second, first)
                };
                self.warnings.push(Warning::Overruled { name, by });
                if b < a {
                    *earlier = later;
                }
            }
            _ => self.problems.push(Problem {
                key: later.path,
                message: "set by two variables to different values".to_owned(),
                origins: vec![earlier.source.clone(), later.source],
            }),
        }
    }
}

// === impl Warning ===

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlisted { name, meant } => {
                write!(f, "ignored variable {name}, which stands for no key")?;
                match meant {
                    Some(meant) => write!(f, "; did you mean {meant}?"),
                    None => Ok(()),
                }
            }
            Self::ServiceLinks { names } => write!(
                f,
                "ignored variables that kubernetes made from services ({}); \
                 enableServiceLinks: false keeps them away",
                names.join(", ")
            ),
            Self::Overruled { name, by } => {
                write!(
                    f,
                    "ignored variable {name}, because {by} says something else"
                )
            }
        }
    }
}

fn is_ours(name: &str) -> bool {
    name.get(..PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// Returns the place of a name among the listed ones.
fn rank(name: &str) -> Option<usize> {
    LISTED
        .iter()
        .position(|(listed, _)| listed.eq_ignore_ascii_case(name))
}

/// Returns the key that a name stands for, whether it exists or not; nothing
/// for a name that is not meant for us.
fn path_of(name: &str) -> Option<String> {
    if let Some(rank) = rank(name) {
        return Some(LISTED[rank].1.to_owned());
    }
    let rest = &name[PREFIX.len()..];
    name.contains("__")
        .then(|| rest.to_lowercase().replace("__", "."))
}

/// Recognises what Kubernetes injects for a service whose name begins with `impetus`.
///
/// A service named `impetus` gives even `IMPETUS_PORT=tcp://10.0.0.1:8080`, a
/// name that is ours with a value that cannot be.
fn is_service_link(name: &str, value: &str) -> bool {
    let name = name.to_uppercase();
    let is_address = ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| value.starts_with(scheme));
    let of_service = name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT");
    let of_port = ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| {
        ["", "_PROTO", "_PORT", "_ADDR"]
            .iter()
            .any(|part| name.ends_with(&format!("{protocol}{part}")))
    });
    !name.contains("__") && (of_service || of_port || (is_address && name.ends_with("_PORT")))
}

/// Returns the variable that differs from this one only by an underscore or a letter or two.
fn meant_by(name: &str) -> Option<String> {
    const ALIKE: f64 = 0.95;
    let name = name.to_uppercase();
    let sections = Catalogue::get()
        .keys()
        .map(Key::variable)
        .filter(|variable| variable.contains("__"));
    LISTED
        .iter()
        .map(|(listed, _)| (*listed).to_owned())
        .chain(sections)
        .map(|variable| (strsim::jaro_winkler(&name, &variable), variable))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, variable)| variable)
}

/// Reads a variable's text as the kind of value its key takes.
///
/// A text that is not of that kind stays a text, and is refused with the same
/// words as in a file.
fn parse(key: &Key, text: &str) -> Result<Value, String> {
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return Err("the value is not UTF-8".to_owned());
    }
    let literal = || Value::String(text.to_owned());
    Ok(match key.kind {
        Kind::Integer => text.parse().map_or_else(|_| literal(), Value::Integer),
        Kind::Number => text.parse().map_or_else(|_| literal(), Value::Float),
        Kind::Flag => match text.to_lowercase().as_str() {
            "true" => Value::Boolean(true),
            "false" => Value::Boolean(false),
            _ => literal(),
        },
        Kind::List if text.starts_with('[') => inline(text)?,
        Kind::List => Value::Array(items(text).map(Value::from).collect()),
        Kind::Map if text.starts_with('{') => inline(text)?,
        Kind::Map => Value::Table(pairs(text)?),
        Kind::Text | Kind::Choice(_) | Kind::Period | Kind::Size => literal(),
    })
}

fn inline(text: &str) -> Result<Value, String> {
    let mut table: Table = toml::from_str(&format!("value = {text}"))
        .map_err(|error| format!("{text} is not TOML: {}", error.message()))?;
    Ok(table.remove("value").expect("the line has just set it"))
}

fn pairs(text: &str) -> Result<Table, String> {
    items(text)
        .map(|item| match item.split_once('=') {
            Some((name, value)) => Ok((name.trim().to_owned(), Value::from(value.trim()))),
            None => Err(format!("\"{item}\" is not of the form name=value")),
        })
        .collect()
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}
