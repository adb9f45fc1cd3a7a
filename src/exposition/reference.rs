//! The reference page of the metrics, made from their descriptions.
//!
//! `docs/metrics.md` is this text; a test compares the two, so the page cannot fall behind the
//! code.

use std::fmt::{self, Write};

use impetus_actors::predlog::Stats;

use super::SUBJECTS;
use super::descriptor::{Descriptor, Kind, Label, Present, Values};

const INTRODUCTION: &str = include_str!("reference_introduction.md");

/// Buckets of a histogram that has bounds, and the one without.
const LINES_OF_A_HISTOGRAM: usize = 16;

/// Renders the reference page as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    for subject in SUBJECTS {
        write!(page, "\n## {}\n", subject.title).expect("a string takes all that is written to it");
        for metric in subject.metrics {
            push(&mut page, metric).expect("a string takes all that is written to it");
        }
    }
    page
}

/// Returns the name of every series, as an expression names it: a histogram has three.
#[must_use]
pub fn names() -> Vec<String> {
    let metrics = SUBJECTS.iter().flat_map(|subject| subject.metrics);
    metrics.flat_map(|metric| metric.series()).collect()
}

fn push(page: &mut String, metric: &Descriptor) -> fmt::Result {
    writeln!(page, "\n### `{}`\n", metric.name)?;
    writeln!(page, "{}\n", metric.help)?;
    writeln!(page, "- Type: {}, in {}", metric.kind.as_str(), metric.unit)?;
    for label in metric.labels {
        writeln!(page, "- Label `{}`: {}", label.name, values(label))?;
    }
    write!(page, "- Present: {}", present(metric.present))?;
    match metric.except {
        "" => writeln!(page)?,
        except => writeln!(page, ", but {except}")?,
    }
    writeln!(page, "- Series: {}", bound(metric))
}

fn values(label: &Label) -> String {
    match &label.values {
        Values::Words(words) => quoted(&words()),
        Values::OneOf(words) => format!("one at a time of {}", quoted(&words())),
        Values::Model => "name of a model".to_owned(),
        Values::LoggedModel => {
            "name of a model in the prediction log, the thousand with the most".to_owned()
        }
        Values::Version => "version of that model".to_owned(),
        Values::ModelOrNone => "name of a model, or `none`".to_owned(),
        Values::Actor => "name of an actor".to_owned(),
        Values::Stage => "alias or stage by which a registry was asked for the model, or else the stage that its version is in; `none` for a model from nowhere else".to_owned(),
        Values::Constant(what) => (*what).to_owned(),
    }
}

fn quoted(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

fn present(present: Present) -> &'static str {
    match present {
        Present::Always => "always",
        Present::Inference => "where models are served (role `both` or `inference`)",
        Present::Logging => {
            "where there is a prediction log (role `both` or `logging`, or `inference` with a sink)"
        }
        Present::LoggingService => "in the logging service (role `both` or `logging`)",
        Present::Sink => "where predictions go to a sink (`sink.kind`)",
    }
}

/// Returns how many series there are at most.
fn bound(metric: &Descriptor) -> String {
    let mut factors: Vec<String> = Vec::new();
    let mut count = match metric.kind {
        Kind::Counter | Kind::Gauge => 1,
        Kind::Histogram => LINES_OF_A_HISTOGRAM,
    };
    let by_version = |label: &Label| matches!(label.values, Values::Version);
    let has_version = metric.labels.iter().any(by_version);
    for label in metric.labels {
        match &label.values {
            Values::Words(words) => count *= words().len(),
            // A version is one of one model.
            Values::Model if has_version => factors.push("*V*".to_owned()),
            Values::Model => factors.push("*M*".to_owned()),
            Values::ModelOrNone => factors.push("(*M* + 1)".to_owned()),
            Values::LoggedModel => count *= Stats::MAX_GROUPS,
            Values::Actor => factors.push("*A*".to_owned()),
            Values::OneOf(_) | Values::Constant(_) | Values::Version | Values::Stage => {}
        }
    }
    if count > 1 || factors.is_empty() {
        factors.push(count.to_string());
    }
    factors.join(" × ")
}
