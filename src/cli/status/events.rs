//! `impetus status --events`: what has happened to the actors, one event a line, newest last.
//!
//! As in the picture of the status, ages are differences between timestamps that the server wrote.
//! What an event lacks, or says in a way that is not understood, is left out of its line.

use owo_colors::Style;
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::report::{lenient, lenient_list};
use crate::cli::table::{Align, Cell, Table};
use crate::cli::words::{ago, bad, faint, good, number, one_line, time_of_day, warning};

/// Characters that a line must leave to the message, or the date goes.
const LEAST_ROOM: usize = 40;

/// The history of a server or of one of its actors.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct History {
    #[serde(deserialize_with = "lenient")]
    timestamp: Option<String>,
    #[serde(deserialize_with = "lenient_list")]
    events: Vec<Event>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Event {
    #[serde(deserialize_with = "lenient")]
    at: Option<String>,
    #[serde(deserialize_with = "lenient")]
    actor: Option<String>,
    #[serde(deserialize_with = "lenient")]
    generation: Option<u64>,
    #[serde(deserialize_with = "lenient")]
    kind: Option<String>,
    #[serde(deserialize_with = "lenient")]
    message: Option<String>,
}

// === impl History ===

impl History {
    /// Reads a history; nothing when the answer is none at all.
    pub(super) fn read(answer: &Value) -> Option<Self> {
        answer.get("events").filter(|events| events.is_array())?;
        serde_json::from_value(answer.clone()).ok()
    }

    /// Renders the history as coloured text; lines are cut to `width` characters where there is one.
    pub(super) fn render(&self, width: Option<usize>) -> String {
        if self.events.is_empty() {
            return "no events\n".to_owned();
        }
        let whole = self.table(whole_time);
        match whole.room_for_text(width) {
            Some(room) if room < LEAST_ROOM => self.table(time_of_day).render(width),
            _ => whole.render(width),
        }
    }

    fn table(&self, time: fn(&str) -> String) -> Table {
        use Align::{Left, Right};
        let mut table = Table::new(&[
            ("TIME", Left),
            ("AGO", Right),
            ("ACTOR", Left),
            ("GEN", Right),
            ("EVENT", Left),
            ("MESSAGE", Left),
        ]);
        for event in &self.events {
            let at = event.at.as_deref().unwrap_or_default();
            let age = self.seconds_since(at).map(ago).unwrap_or_default();
            let kind = event.kind.as_deref().map(one_line).unwrap_or_default();
            let style = style(&kind);
            let text = |text: &Option<String>| text.as_deref().map(one_line).unwrap_or_default();
            table.row(vec![
                Cell::new(time(&one_line(at)), faint()),
                Cell::plain(age),
                Cell::plain(text(&event.actor)),
                Cell::plain(number(event.generation)),
                Cell::new(kind.replace('_', " "), style),
                Cell::plain(text(&event.message)),
            ]);
        }
        table
    }

    fn seconds_since(&self, at: &str) -> Option<f64> {
        let now = OffsetDateTime::parse(self.timestamp.as_deref()?, &Rfc3339).ok()?;
        let at = OffsetDateTime::parse(at, &Rfc3339).ok()?;
        Some((now - at).as_seconds_f64().max(0.0))
    }
}

fn whole_time(at: &str) -> String {
    at.to_owned()
}

fn style(kind: &str) -> Style {
    match kind {
        "failed" | "escalated" => bad(),
        "exited" | "fenced" | "backing_off" => warning(),
        "started" | "restarted" => good(),
        "stopped" => faint(),
        _ => Style::new(),
    }
}
