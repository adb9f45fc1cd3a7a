//! Predictions as a table, one a line, the newest first.
//!
//! What a prediction lacks, or says in a way that is not understood, is left out of its line.

use owo_colors::Style;
use serde_json::Value;

use crate::cli::table::{Align, Cell, Table};
use crate::cli::words::{bad, faint, good, one_line, scalar, time_of_day};

/// Characters that a line must leave to what was found, or the date goes.
const LEAST_ROOM: usize = 24;
/// The longest name that a terminal is shown whole.
const LONGEST_NAME: usize = 32;

/// Renders predictions as coloured text; lines are cut to `width` characters where there is one.
pub(super) fn render(predictions: &[Value], is_all: bool, width: Option<usize>) -> String {
    if predictions.is_empty() {
        return "no predictions\n".to_owned();
    }
    let whole = table(predictions, width, date_and_time);
    let mut text = match whole.room_for_text(width) {
        Some(room) if room < LEAST_ROOM => table(predictions, width, time_of_day).render(width),
        _ => whole.render(width),
    };
    if !is_all {
        let more = Cell::new(
            "there are more: --limit, --from and --to say which",
            faint(),
        );
        text.push_str(&crate::cli::table::flow(&[more], width));
    }
    text
}

fn table(predictions: &[Value], width: Option<usize>, time: fn(&str) -> String) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("TIME", Left),
        ("DEVICE", Left),
        ("MODEL", Left),
        ("MS", Right),
        ("DEFECT", Left),
        ("FOUND", Left),
    ]);
    for prediction in predictions {
        let at = prediction["timestamp"].as_str().unwrap_or_default();
        let model = Cell::plain(scalar(&prediction["model_name"]));
        let version = format!(" {}", scalar(&prediction["model_version"]));
        table.row(vec![
            Cell::new(time(&one_line(at)), faint()),
            name(Cell::plain(scalar(&prediction["edge_device_id"])), width),
            name(model.and(version, faint()), width),
            Cell::plain(millis(&prediction["inference_time_ms"])),
            defect(&prediction["defect_detected"]),
            found(prediction),
        ]);
    }
    table
}

/// Returns day and time of a timestamp to the second; all of it when it is none.
fn date_and_time(at: &str) -> String {
    match at.split_once('T') {
        Some((date, _)) => format!("{date} {}", time_of_day(at)),
        None => at.to_owned(),
    }
}

fn name(cell: Cell, width: Option<usize>) -> Cell {
    match width {
        Some(_) => cell.cut(LONGEST_NAME),
        None => cell,
    }
}

pub(super) fn millis(value: &Value) -> String {
    match value.as_f64() {
        Some(millis) if millis.abs() >= 100.0 => format!("{millis:.0}"),
        Some(millis) if millis.abs() >= 10.0 => format!("{millis:.1}"),
        Some(millis) => format!("{millis:.2}"),
        None => String::new(),
    }
}

fn defect(value: &Value) -> Cell {
    match value.as_bool() {
        Some(true) => Cell::new("✖ yes", bad()),
        Some(false) => Cell::new("● no", good()),
        None => Cell::default(),
    }
}

/// Returns what was found, the surest first.
fn found(prediction: &Value) -> Cell {
    let detections = prediction["detections"].as_array();
    let mut found: Vec<(String, f64)> = detections
        .into_iter()
        .flatten()
        .map(|found| {
            let confidence = found["confidence"].as_f64();
            (scalar(&found["class"]), confidence.unwrap_or_default())
        })
        .collect();
    found.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut cell = Cell::default();
    for (index, (class, confidence)) in found.into_iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        let style = match index {
            0 => Style::new(),
            _ => faint(),
        };
        cell = cell
            .and(format!("{separator}{class}"), style)
            .and(format!(" {confidence:.2}"), faint());
    }
    cell
}
