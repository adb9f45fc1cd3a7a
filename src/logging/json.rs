//! One flat JSON object per event.
//!
//! The library's own JSON form nests spans, so that an actor's name would be
//! `span.id` in one line and `actor` in another. Here spans are laid flat, and a
//! span's `id` is written under the span's own name: `actor`.

use std::fmt;

use serde::ser::{SerializeMap, Serializer};
use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::fmt::format::{FormatEvent, JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Keys that every line has; a field of the same name gets a prefix.
const RESERVED: [&str; 4] = ["timestamp", "level", "target", "message"];

/// The form of a line: `timestamp`, `level`, `message`, the spans' fields, the
/// event's fields, `target`.
pub(super) struct FlatJson;

// === impl FlatJson ===

impl<S> FormatEvent<S, JsonFields> for FlatJson
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut own = String::new();
        JsonFields::new().format_fields(Writer::new(&mut own), event)?;
        let mut own = object(&own);
        let message = own.remove("message").unwrap_or_default();

        let mut fields = Map::new();
        for span in context
            .event_scope()
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            let extensions = span.extensions();
            let Some(of_span) = extensions.get::<FormattedFields<JsonFields>>() else {
                continue;
            };
            for (name, value) in object(of_span) {
                let name = if name == "id" {
                    span.name().to_owned()
                } else {
                    name
                };
                fields.insert(unreserved(name), value);
            }
        }
        fields.extend(
            own.into_iter()
                .map(|(name, value)| (unreserved(name), value)),
        );

        // Events that come from the `log` crate carry their true origin in fields.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;

        let mut line = Vec::new();
        write_line(&mut line, &timestamp, metadata, &message, &fields).map_err(|_| fmt::Error)?;
        writeln!(writer, "{}", String::from_utf8_lossy(&line))
    }
}

fn write_line(
    line: &mut Vec<u8>,
    timestamp: &str,
    metadata: &tracing::Metadata<'_>,
    message: &Value,
    fields: &Map<String, Value>,
) -> Result<(), serde_json::Error> {
    let mut serializer = serde_json::Serializer::new(line);
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry("timestamp", timestamp)?;
    map.serialize_entry("level", metadata.level().as_str())?;
    map.serialize_entry("message", message.as_str().unwrap_or_default())?;
    for (name, value) in fields {
        map.serialize_entry(name, value)?;
    }
    map.serialize_entry("target", metadata.target())?;
    map.end()
}

/// Reads the fields that the library has formatted; what is no object has no fields.
fn object(fields: &str) -> Map<String, Value> {
    serde_json::from_str(fields).unwrap_or_default()
}

fn unreserved(name: String) -> String {
    match RESERVED.contains(&name.as_str()) {
        true => format!("field_{name}"),
        false => name,
    }
}
