//! Statistics of a prediction log for a terminal: totals, models, devices, the last hours.

use owo_colors::Style;
use serde_json::Value;

use super::listing::millis;
use crate::cli::table::{Align, Cell, Table, flow};
use crate::cli::words::{bad, faint, one_line, scalar, warning};

/// The most devices that are shown; `--output json` has them all.
const DEVICES: usize = 20;
/// Hours that are shown, and the longest of their bars.
const HOURS: usize = 24;
const BAR: usize = 30;

/// Renders statistics as coloured text; lines are cut to `width` characters where there is one.
pub(super) fn render(stats: &Value, width: Option<usize>) -> String {
    let parts = [
        hours(stats, width),
        devices(stats, width),
        models(stats, width),
        totals(stats, width),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("\n")
}

fn totals(stats: &Value, width: Option<usize>) -> String {
    let total = count(&stats["total"]);
    let mut pieces = vec![Cell::new(
        format!("{total} predictions"),
        Style::new().bold(),
    )];
    let mut fact = |text: String| pieces.push(Cell::new(format!(" · {text}"), faint()));
    if stats["defects"].as_u64().is_some() {
        let defects = count(&stats["defects"]);
        fact(format!("{defects} with a defect ({})", rate(stats)));
    }
    let span = [&stats["first_timestamp"], &stats["last_timestamp"]];
    if let [Some(first), Some(last)] = span.map(Value::as_str) {
        fact(format!("from {} to {}", one_line(first), one_line(last)));
    }
    flow(&pieces, width)
}

fn models(stats: &Value, width: Option<usize>) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("MODEL", Left),
        ("PREDICTIONS", Right),
        ("DEFECTS", Right),
        ("P50 MS", Right),
        ("P90", Right),
        ("P99", Right),
        ("DRIFT", Left),
    ]);
    for (name, model) in largest(&stats["by_model"]) {
        let latency = &model["latency_ms"];
        table.row(vec![
            Cell::plain(one_line(name)),
            Cell::plain(count(&model["total"])),
            Cell::plain(rate(model)),
            Cell::plain(millis(&latency["p50"])),
            Cell::plain(millis(&latency["p90"])),
            Cell::plain(millis(&latency["p99"])),
            drift(&stats["drift"][name]),
        ]);
    }
    table.render(width)
}

/// Shows the larger of both indices, coloured by the rule of thumb.
fn drift(drift: &Value) -> Cell {
    let indices = [&drift["classes"], &drift["confidence"]].map(Value::as_f64);
    let [Some(classes), Some(confidence)] = indices else {
        return Cell::default();
    };
    let style = |index: f64| match index {
        0.25.. => bad(),
        0.1.. => warning(),
        _ => faint(),
    };
    Cell::new(format!("classes {classes:.2}"), style(classes))
        .and(format!(", confidence {confidence:.2}"), style(confidence))
}

fn devices(stats: &Value, width: Option<usize>) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[("DEVICE", Left), ("PREDICTIONS", Right), ("DEFECTS", Right)]);
    let all = largest(&stats["by_device"]);
    for (name, device) in all.iter().take(DEVICES) {
        table.row(vec![
            Cell::plain(one_line(name)),
            Cell::plain(count(&device["total"])),
            Cell::plain(rate(device)),
        ]);
    }
    if all.len() > DEVICES {
        let more = stats["devices"]
            .as_u64()
            .map_or(all.len(), |all| all as usize)
            - DEVICES;
        table.line(Cell::new(format!("and {more} more"), faint()));
    }
    table.render(width)
}

fn hours(stats: &Value, width: Option<usize>) -> String {
    use Align::{Left, Right};
    let hours = stats["by_hour"].as_array();
    let mut hours: Vec<&Value> = hours.into_iter().flatten().take(HOURS).collect();
    hours.reverse();
    let total = |hour: &Value| hour["total"].as_u64().unwrap_or_default();
    let most = hours.iter().map(|hour| total(hour)).max().unwrap_or(0);
    let mut table = Table::new(&[
        ("HOUR", Left),
        ("PREDICTIONS", Right),
        ("DEFECTS", Right),
        ("", Left),
    ]);
    for hour in hours {
        let at = hour["hour"].as_str().map(one_line).unwrap_or_default();
        let at = at.replace('T', " ").replace(":00:00Z", ":00");
        table.row(vec![
            Cell::new(at, faint()),
            Cell::plain(count(&hour["total"])),
            Cell::plain(rate(hour)),
            bar(hour, total(hour), most),
        ]);
    }
    table.render(width)
}

/// Draws a bar as long as an hour's part of the busiest one, its defects in red.
fn bar(hour: &Value, total: u64, most: u64) -> Cell {
    let length = |part: u64| match most {
        0 => 0,
        most => (part as f64 / most as f64 * BAR as f64).ceil() as usize,
    };
    let defects = length(hour["defects"].as_u64().unwrap_or_default()).min(length(total));
    Cell::new("█".repeat(defects), bad()).and("█".repeat(length(total) - defects), faint())
}

/// Returns groups by size, those of the same size in the order of their names.
fn largest(groups: &Value) -> Vec<(&str, &Value)> {
    let groups = groups.as_object().into_iter().flatten();
    let mut groups: Vec<_> = groups.map(|(name, group)| (name.as_str(), group)).collect();
    groups.sort_by_key(|(name, group)| (std::cmp::Reverse(group["total"].as_u64()), *name));
    groups
}

fn count(value: &Value) -> String {
    scalar(value)
}

fn rate(group: &Value) -> String {
    match group["defect_rate"].as_f64() {
        Some(rate) => format!("{:.1}%", rate * 100.0),
        None => String::new(),
    }
}
