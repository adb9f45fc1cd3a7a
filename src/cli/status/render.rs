//! The picture that `impetus status` draws.
//!
//! From top to bottom: the tree of actors, the models, the components' scores,
//! how the last run ended, and at the very end, where the eye is when the
//! prompt comes back, the verdict in one line with its reasons.

use owo_colors::Style;
use serde_json::Value;

use super::report::{Model, Report, Step};
use super::tree;
use crate::cli::table::{Align, Cell, Table, flow};
use crate::cli::words::{ago, bad, faint, good, mebibytes, one_line, scalar, state, warning};

/// Renders a report as coloured text; lines are cut to `width` characters where there is one.
pub fn render(report: &Report, width: Option<usize>) -> String {
    let parts = [
        tree::actors(report, width),
        models(report, width),
        components(report, width),
        verdict(report, width),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("\n")
}

fn models(report: &Report, width: Option<usize>) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("MODEL", Left),
        ("VERSION", Left),
        ("STATE", Left),
        ("WORKERS", Right),
        ("MEMORY", Right),
        ("PROVIDER", Left),
        ("REASON", Left),
    ]);
    for model in report.models.iter().filter(|model| !model.name.is_empty()) {
        table.row(vec![
            Cell::plain(one_line(&model.name)),
            Cell::plain(model.version.as_ref().map(scalar).unwrap_or_default()),
            state(model.state.as_deref().unwrap_or("unknown")),
            Cell::plain(workers(model)),
            Cell::plain(memory(model)),
            provider(model),
            Cell::plain(model.reason.as_deref().map(one_line).unwrap_or_default()),
        ]);
    }
    table.render(width)
}

/// Writes how many workers serve, and of how many.
fn workers(model: &Model) -> String {
    match &model.workers {
        Some(Value::Array(workers)) => {
            let serves = |worker: &&Value| worker.get("state") == Some(&Value::from("ready"));
            let ready = workers.iter().filter(serves).count();
            format!("{ready}/{}", workers.len())
        }
        Some(other) => scalar(other),
        None => String::new(),
    }
}

fn memory(model: &Model) -> String {
    let bytes = model.memory_bytes.filter(|bytes| *bytes > 0);
    bytes.map(mebibytes).unwrap_or_default()
}

/// Writes what runs the model where that is not the CPU alone, as it was meant to be.
fn provider(model: &Model) -> Cell {
    let provider = model.provider.as_deref().map(one_line).unwrap_or_default();
    let wanted: Vec<String> = model
        .passed_over
        .iter()
        .filter_map(|one| one.get("provider").map(scalar))
        .collect();
    match (provider.as_str(), wanted.is_empty()) {
        ("cpu", true) => Cell::default(),
        (_, true) => Cell::plain(provider),
        (_, false) => Cell::new(format!("{provider}, not {}", wanted.join(", ")), warning()),
    }
}

fn components(report: &Report, width: Option<usize>) -> String {
    if report.components.is_empty() {
        return String::new();
    }
    let scores = report.components.iter().map(|(name, component)| {
        let style = match component.status.as_deref() {
            Some("unhealthy") => bad(),
            Some("degraded") => warning(),
            _ => Style::new(),
        };
        let value = component
            .score
            .map_or_else(|| "–".to_owned(), |score| score.to_string());
        Cell::new(format!("  {name} "), faint()).and(value, style)
    });
    let pieces: Vec<Cell> = std::iter::once(Cell::new("SCORES", faint()))
        .chain(scores)
        .collect();
    flow(&pieces, width)
}

fn verdict(report: &Report, width: Option<usize>) -> String {
    let mut text = String::new();
    if let Some(run) = &report.previous_run {
        let at = run.ended_at.as_deref().or(run.last_seen_at.as_deref());
        let age = at.and_then(|at| report.seconds_since(at));
        let when = age
            .map(|age| format!(" {} ago", ago(age)))
            .unwrap_or_default();
        if let Some(reason) = run.reason.as_deref().map(one_line) {
            let line = format!("previous run ended{when}: {reason}");
            text.push_str(&flow(&[Cell::new(line, faint())], None));
        }
        // Of an end in which all went well, its reason says enough.
        let went_wrong = run.steps.iter().filter(|step| !step.went_well());
        for line in went_wrong.map(in_words) {
            text.push_str(&flow(&[Cell::new(format!("  {line}"), faint())], None));
        }
    }
    if let Some(lifecycle) = &report.lifecycle {
        for step in &lifecycle.steps {
            let left = lifecycle.left_seconds.filter(|_| step.is_under_way());
            let left = left.map(|left| format!(", {} left", ago(left)));
            let line = format!("! end: {}{}", in_words(step), left.unwrap_or_default());
            text.push_str(&flow(&[Cell::new(line, warning())], None));
        }
    }
    for (reason, style) in reasons(report) {
        let line = format!("! {}", one_line(&reason));
        text.push_str(&flow(&[Cell::new(line, style)], None));
    }
    for switch in switches(report) {
        text.push_str(&flow(&[Cell::new(format!("! {switch}"), warning())], None));
    }
    text.push_str(&flow(&headline(report), width));
    text
}

/// Says how a step of the end went.
fn in_words(step: &Step) -> String {
    let name = one_line(&step.step.replace('_', " "));
    let outcome = one_line(&step.outcome.replace('_', " "));
    let detail = step.detail.as_deref().map(one_line);
    let took = step.seconds.map(|seconds| {
        format!(
            " {} {}",
            if step.is_under_way() { "for" } else { "after" },
            ago(seconds)
        )
    });
    let detail = detail.map(|detail| format!(" ({detail})"));
    format!(
        "{name} {outcome}{}{}",
        took.unwrap_or_default(),
        detail.unwrap_or_default()
    )
}

/// Returns what an operator has switched and not switched back.
fn switches(report: &Report) -> Vec<String> {
    let mut switches = Vec::new();
    if let Some(healing) = report.healing.as_ref().filter(|h| h.paused == Some(true)) {
        let left = healing.resumes_in_seconds.map(ago);
        let until = left.map(|left| format!(" (for another {left})"));
        let until = until.unwrap_or_default();
        switches.push(format!(
            "healing is paused{until}: what falls is not started again"
        ));
    }
    if report.drained == Some(true) {
        switches.push("drained by an operator: not ready, serving on".to_owned());
    }
    switches
}

/// Returns what the server says about why it is not healthy, the components' own reasons included.
fn reasons(report: &Report) -> Vec<(String, Style)> {
    let said = report.reason.iter().chain(&report.reasons);
    let mut reasons: Vec<(String, Style)> = said.map(|reason| (reason.clone(), bad())).collect();
    for (name, component) in &report.components {
        let style = match component.status.as_deref() {
            Some("unhealthy") => bad(),
            Some("degraded") => warning(),
            _ => continue,
        };
        let of_component = component.reasons().into_iter();
        reasons.extend(of_component.map(|reason| (format!("{name}: {reason}"), style)));
    }
    reasons
}

fn headline(report: &Report) -> Vec<Cell> {
    let (mark, style) = match report.status.as_str() {
        "healthy" => ("●", good()),
        "degraded" => ("◐", warning()),
        _ => ("✖", bad()),
    };
    let failures = report.consecutive_failures.filter(|failures| *failures > 0);
    let phase = report.phase.clone().filter(|phase| phase != "serving");
    let facts = [
        phase.map(|phase| phase.replace('_', " ")),
        report.score.map(|score| format!("score {score}")),
        report
            .version
            .as_ref()
            .map(|version| format!("impetus {version}")),
        report.environment.clone(),
        report.uptime_seconds.map(|up| format!("up {}", ago(up))),
        report
            .heartbeat_age_seconds
            .map(|age| format!("last beat {} ago", ago(age))),
        failures.map(|failures| format!("unhealthy {failures} times in a row")),
    ];
    let facts = facts.into_iter().flatten();
    let facts = facts.map(|fact| Cell::new(format!(" · {}", one_line(&fact)), faint()));
    let verdict = Cell::new(format!("{mark} {}", one_line(&report.status)), style.bold());
    std::iter::once(verdict).chain(facts).collect()
}
