//! Models as a table.

use serde_json::Value;

use crate::cli::table::{Align, Cell, Table};
use crate::cli::words::{faint, mebibytes, number, one_line, scalar, state, warning};

/// Renders what `/api/models/list` answers.
pub(super) fn render(models: &[Value], problem: Option<&str>, width: Option<usize>) -> String {
    let mut text = String::new();
    if let Some(problem) = problem {
        let line = Cell::new(one_line(problem), warning());
        text.push_str(&crate::cli::table::flow(&[line], width));
    }
    if models.is_empty() {
        text.push_str("no models\n");
        return text;
    }
    let mut table = Table::new(&[
        ("MODEL", Align::Left),
        ("VERSION", Align::Left),
        ("STATE", Align::Left),
        ("STANDING", Align::Left),
        ("SIZE", Align::Right),
        ("WORKERS", Align::Right),
        ("MEMORY", Align::Right),
        ("ANSWERED", Align::Right),
        ("REASON", Align::Left),
    ]);
    for model in models {
        table.row(row(model));
    }
    text.push_str(&table.render(width));
    text
}

fn row(model: &Value) -> Vec<Cell> {
    let workers = model["workers"].as_array().map_or(0, Vec::len);
    let memory = model["memory_bytes"].as_u64().filter(|bytes| *bytes > 0);
    vec![
        Cell::plain(scalar(&model["name"])),
        Cell::plain(scalar(&model["version"])),
        state(model["state"].as_str().unwrap_or_default()),
        Cell::new(scalar(&model["standing"]), faint()),
        Cell::plain(size(model)),
        Cell::plain(workers.to_string()),
        Cell::plain(memory.map(mebibytes).unwrap_or_default()),
        Cell::plain(number(model["predictions"].as_u64())),
        Cell::plain(scalar(&model["reason"])),
    ]
}

/// Writes the size of a model, and how much of it is here where that is not all.
fn size(model: &Value) -> String {
    let (done, total) = (model["bytes_done"].as_u64(), model["bytes_total"].as_u64());
    match (done, total) {
        (Some(done), Some(total)) if done < total => {
            format!("{} of {}", mebibytes(done), mebibytes(total))
        }
        (_, Some(total)) if total > 0 => mebibytes(total),
        _ => String::new(),
    }
}
