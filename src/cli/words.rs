//! How tables and pictures write numbers, spans of time and states, and in which colours.

use owo_colors::Style;
use serde_json::Value;

use super::table::Cell;

/// Writes a state behind the mark of its colour.
pub(super) fn state(state: &str) -> Cell {
    let (mark, style) = match state {
        "running" | "ready" => ("●", good()),
        "failed" => ("✖", bad()),
        "stopped" | "absent" => ("○", faint()),
        _ => ("◐", warning()),
    };
    Cell::new(
        format!("{mark} {}", one_line(state).replace('_', " ")),
        style,
    )
}

/// Writes a time span in its two largest units, or in tenths of a second.
pub(super) fn ago(seconds: f64) -> String {
    let whole = seconds as u64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60);
    match whole {
        0..10 => format!("{seconds:.1}s"),
        10..60 => format!("{whole}s"),
        60..3600 => format!("{minutes}m {}s", whole % 60),
        3600..86_400 => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

pub(super) fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1024 * 1024))
}

pub(super) fn number(number: Option<u64>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

pub(super) fn scalar(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => one_line(text),
        other => other.to_string(),
    }
}

/// Joins the lines of a text, and takes out what would steer the terminal.
pub(super) fn one_line(text: &str) -> String {
    text.split(char::is_control)
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Returns hours, minutes and seconds of a timestamp; all of it when it is none.
pub(super) fn time_of_day(at: &str) -> String {
    let time = at.split_once('T').map_or(at, |(_, time)| time);
    time.split(['.', 'Z']).next().unwrap_or(time).to_owned()
}

pub(super) fn good() -> Style {
    Style::new().green()
}

pub(super) fn warning() -> Style {
    Style::new().yellow()
}

pub(super) fn bad() -> Style {
    Style::new().red()
}

pub(super) fn faint() -> Style {
    Style::new().dimmed()
}
