//! What templates take for granted because they were written for Python.
//!
//! minijinja writes values and has most methods as Python does. Here is the rest, found by holding
//! real templates against transformers: whitespace as Python understands it, methods that
//! `minijinja-contrib` lacks, and the statement `generation`, which only marks text for training.

use minijinja::value::{Kwargs, Tuple, Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, Output, State};
use minijinja_contrib::pycompat;

use super::json::python_float;

/// Writes a value into the text as Python's `str` does.
pub(super) fn write(
    out: &mut Output<'_>,
    _: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), Error> {
    out.write_str(&str_of(value)).map_err(Error::from)
}

/// The filter `string`.
pub(super) fn string(value: &Value) -> String {
    str_of(value)
}

/// The filter `trim`.
pub(super) fn trim(text: &Value, characters: Option<&str>) -> String {
    strip(&str_of(text), characters, true, true).to_owned()
}

/// The test `sequence`: in Python, what has a length and items, as strings and maps have.
pub(super) fn is_sequence(value: &Value) -> bool {
    matches!(
        value.kind(),
        ValueKind::Seq | ValueKind::String | ValueKind::Map | ValueKind::Undefined
    )
}

/// Calls a method that minijinja itself does not have.
pub(super) fn call_method(
    state: &mut State<'_, '_>,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    let own = match value.kind() {
        ValueKind::String => string_method(value.as_str().unwrap_or_default(), method, arguments)?,
        ValueKind::Seq => list_method(value, method, arguments)?,
        ValueKind::Map if method == "copy" => Some(value.clone()),
        _ => None,
    };
    match own {
        Some(result) => Ok(result),
        None => pycompat::unknown_method_callback(state, value, method, arguments),
    }
}

/// Makes `{% generation %}` and its end into blocks that do nothing but keep their variables, with
/// the same whitespace control.
pub(super) fn neutral_generation(source: &str) -> String {
    let mut neutral = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        neutral.push_str(before);
        let Some(end) = tag.find("%}") else {
            rest = tag;
            break;
        };
        let (tag, after) = tag.split_at(end + 2);
        let name = tag.trim_start_matches("{%").trim_end_matches("%}");
        match name.trim_matches(['-', '+']).trim() {
            "generation" => neutral.push_str(&tag.replace("generation", "with")),
            "endgeneration" => neutral.push_str(&tag.replace("endgeneration", "endwith")),
            _ => neutral.push_str(tag),
        }
        rest = after;
    }
    neutral.push_str(rest);
    neutral
}

/// Methods of strings; `None` for those that are left to others.
fn string_method(text: &str, method: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "strip" | "lstrip" | "rstrip" => {
            let (characters,): (Option<&str>,) = from_args(arguments)?;
            Value::from(strip(
                text,
                characters,
                method != "rstrip",
                method != "lstrip",
            ))
        }
        "split" | "rsplit" => split(text, method == "rsplit", arguments)?,
        "splitlines" => {
            let (keep,): (Option<bool>,) = from_args(arguments)?;
            lines(text, keep.unwrap_or(false))
        }
        "removeprefix" | "removesuffix" => {
            let (affix,): (&str,) = from_args(arguments)?;
            let rest = if method == "removeprefix" {
                text.strip_prefix(affix)
            } else {
                text.strip_suffix(affix)
            };
            Value::from(rest.unwrap_or(text))
        }
        "partition" => {
            let (separator,): (&str,) = from_args(arguments)?;
            let (before, after) = text.split_once(separator).unwrap_or((text, ""));
            let found = if before.len() == text.len() {
                ""
            } else {
                separator
            };
            Value::from(Tuple::from([
                Value::from(before),
                Value::from(found),
                Value::from(after),
            ]))
        }
        "rpartition" => {
            let (separator,): (&str,) = from_args(arguments)?;
            let (before, after) = text.rsplit_once(separator).unwrap_or(("", text));
            let found = if after.len() == text.len() {
                ""
            } else {
                separator
            };
            Value::from(Tuple::from([
                Value::from(before),
                Value::from(found),
                Value::from(after),
            ]))
        }
        _ => return Ok(None),
    }))
}

/// Methods of lists; `None` for those that are left to others.
fn list_method(list: &Value, method: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
    match method {
        "copy" => Ok(Some(list.clone())),
        "index" => {
            let (wanted,): (&Value,) = from_args(arguments)?;
            match list.try_iter()?.position(|item| item == *wanted) {
                Some(index) => Ok(Some(Value::from(index))),
                None => Err(Error::new(
                    ErrorKind::InvalidOperation,
                    "the value is not in the list",
                )),
            }
        }
        _ => Ok(None),
    }
}

/// Splits as `str.split` and `str.rsplit` do, with both arguments by place or by name.
fn split(text: &str, from_the_right: bool, arguments: &[Value]) -> Result<Value, Error> {
    let (places, names): (&[Value], Kwargs) = from_args(arguments)?;
    let given = |place: usize, name: &str| match places.get(place) {
        Some(value) => Ok(Some(value.clone())),
        None => names.get::<Option<Value>>(name),
    };
    let separator = given(0, "sep")?.filter(|value| !value.is_none());
    let most = match given(1, "maxsplit")? {
        Some(most) => usize::try_from(i64::try_from(most)?).ok(),
        None => None,
    };
    names.assert_all_used()?;
    let parts: Vec<&str> = match separator.as_ref().and_then(Value::as_str) {
        Some("") => return Err(Error::new(ErrorKind::InvalidOperation, "empty separator")),
        Some(separator) => match (most, from_the_right) {
            (None, _) => text.split(separator).collect(),
            (Some(most), false) => text.splitn(most + 1, separator).collect(),
            (Some(most), true) => reversed(text.rsplitn(most + 1, separator).collect()),
        },
        None => split_at_space(text, from_the_right, most),
    };
    Ok(parts.into_iter().map(Value::from).collect())
}

/// Splits at runs of whitespace, at most so many times.
fn split_at_space(text: &str, from_the_right: bool, most: Option<usize>) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = strip(text, None, !from_the_right, from_the_right);
    while !rest.is_empty() && most.is_none_or(|most| parts.len() < most) {
        let cut = if from_the_right {
            rest.rsplit_once(is_space)
                .map(|(rest, part)| (part, strip(rest, None, false, true)))
        } else {
            rest.split_once(is_space)
                .map(|(part, rest)| (part, strip(rest, None, true, false)))
        };
        let Some((part, remaining)) = cut else { break };
        parts.push(part);
        rest = remaining;
    }
    if !rest.is_empty() {
        parts.push(rest);
    }
    if from_the_right {
        reversed(parts)
    } else {
        parts
    }
}

fn reversed(mut parts: Vec<&str>) -> Vec<&str> {
    parts.reverse();
    parts
}

/// Splits at line ends as `str.splitlines` does, which knows more of them than most.
fn lines(text: &str, keep: bool) -> Value {
    let mut lines = Vec::new();
    let mut start = 0;
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        if !matches!(
            letter,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'
                ..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        ) {
            continue;
        }
        let mut end = at + letter.len_utf8();
        if letter == '\r' && letters.next_if(|(_, next)| *next == '\n').is_some() {
            end += 1;
        }
        lines.push(Value::from(&text[start..if keep { end } else { at }]));
        start = end;
    }
    if start < text.len() {
        lines.push(Value::from(&text[start..]));
    }
    Value::from(lines)
}

/// Strips characters, or else whitespace, off the ends of a text.
fn strip<'t>(text: &'t str, characters: Option<&str>, left: bool, right: bool) -> &'t str {
    let goes =
        |letter: char| characters.map_or_else(|| is_space(letter), |set| set.contains(letter));
    let text = if left {
        text.trim_start_matches(goes)
    } else {
        text
    };
    if right {
        text.trim_end_matches(goes)
    } else {
        text
    }
}

/// Whitespace as `str.isspace` has it.
fn is_space(letter: char) -> bool {
    letter.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&letter)
}

/// A value as Python's `str` writes it.
fn str_of(value: &Value) -> String {
    match value.kind() {
        ValueKind::Number | ValueKind::Seq | ValueKind::Map => {
            let mut out = String::new();
            repr(value, &mut out);
            out
        }
        _ => value.to_string(),
    }
}

/// Writes a value as Python's `repr` does.
fn repr(value: &Value, out: &mut String) {
    match value.kind() {
        ValueKind::String => repr_string(value.as_str().unwrap_or_default(), out),
        ValueKind::Number if !value.is_integer() => match f64::try_from(value.clone()) {
            Ok(number) if number.is_finite() => out.push_str(&python_float(number)),
            _ => out.push_str(&value.to_string().to_lowercase()),
        },
        ValueKind::Seq => {
            let (open, close) = if value.is_tuple() {
                ('(', ')')
            } else {
                ('[', ']')
            };
            out.push(open);
            repr_items(value, out, |_, _| ());
            if value.is_tuple() && value.len() == Some(1) {
                out.push(',');
            }
            out.push(close);
        }
        ValueKind::Map if !value.is_kwargs() => {
            out.push('{');
            repr_items(value, out, |key, out| {
                out.push_str(": ");
                repr(&value.get_item(key).unwrap_or_default(), out);
            });
            out.push('}');
        }
        _ => out.push_str(&value.to_string()),
    }
}

/// Writes items with commas between them, and after each what `then` writes.
fn repr_items(items: &Value, out: &mut String, then: impl Fn(&Value, &mut String)) {
    for (index, item) in items.try_iter().into_iter().flatten().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        repr(&item, out);
        then(&item, out);
    }
}

/// Writes a string in the quotes that need fewer escapes, and escapes what is not printable.
fn repr_string(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if letter == quote => out.extend(['\\', letter]),
            _ if is_printable(letter) => out.push(letter),
            _ => out.push_str(&match u32::from(letter) {
                code @ ..=0xff => format!("\\x{code:02x}"),
                code @ ..=0xffff => format!("\\u{code:04x}"),
                code => format!("\\U{code:08x}"),
            }),
        }
    }
    out.push(quote);
}

/// Returns whether `str.isprintable` holds. The standard library escapes by the same categories
/// when it writes for debugging, but for marks at the beginning, so one does not look at the beginning.
fn is_printable(letter: char) -> bool {
    if letter.is_ascii() {
        return !letter.is_ascii_control();
    }
    let mut buffer = String::from("a");
    buffer.push(letter);
    buffer.escape_debug().count() == 2
}
