//! transformers' `tojson`, which is Python's `json.dumps`.
//!
//! Jinja's own filter escapes `<` and `&` for HTML; a model that was trained without would read
//! something else. So the keywords of `json.dumps` work here, its separators are used, and numbers are
//! written as Python writes them.

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// What has been written, and how the rest is to be.
struct Writer {
    out: String,
    depth: usize,
    ensure_ascii: bool,
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
    sort_keys: bool,
}

/// The filter: `x | tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
pub(super) fn tojson(
    value: &Value,
    indent: Option<Value>,
    options: Kwargs,
) -> Result<String, Error> {
    let mut writer = Writer::new(indent, &options)?;
    options.assert_all_used()?;
    writer.write(value)?;
    Ok(writer.out)
}

/// Writes a number as Python's `repr` does: the shortest digits, with an exponent below 1e-4 and from
/// 1e16 on.
pub(super) fn python_float(number: f64) -> String {
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => format!("{number:?}"),
    }
}

// === impl Writer ===

impl Writer {
    fn new(indent: Option<Value>, options: &Kwargs) -> Result<Self, Error> {
        let indent = match indent {
            Some(indent) => Some(indent),
            None => options.get::<Option<Value>>("indent")?,
        };
        let indent = match indent {
            Some(value) if value.kind() == ValueKind::String => Some(value.to_string()),
            Some(value) if !value.is_none() => Some(" ".repeat(usize::try_from(value)?)),
            _ => None,
        };
        let between = if indent.is_some() { "," } else { ", " };
        let (item_separator, key_separator) = match options.get::<Option<Value>>("separators")? {
            Some(both) if !both.is_none() => (
                both.get_item_by_index(0)?.to_string(),
                both.get_item_by_index(1)?.to_string(),
            ),
            _ => (between.to_owned(), ": ".to_owned()),
        };
        Ok(Self {
            out: String::new(),
            depth: 0,
            ensure_ascii: options
                .get::<Option<bool>>("ensure_ascii")?
                .unwrap_or(false),
            indent,
            item_separator,
            key_separator,
            sort_keys: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        })
    }

    fn write(&mut self, value: &Value) -> Result<(), Error> {
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self
                .out
                .push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.out.push_str(&number(value)?),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq => self.list(value)?,
            ValueKind::Map => self.map(value)?,
            kind => {
                let reason = format!("a value of type {kind} is not JSON serializable");
                return Err(Error::new(ErrorKind::BadSerialization, reason));
            }
        }
        Ok(())
    }

    fn list(&mut self, list: &Value) -> Result<(), Error> {
        self.open('[');
        let mut is_empty = true;
        for item in list.try_iter()? {
            self.item(is_empty);
            self.write(&item)?;
            is_empty = false;
        }
        self.close(']', is_empty);
        Ok(())
    }

    fn map(&mut self, map: &Value) -> Result<(), Error> {
        let mut keys: Vec<Value> = map.try_iter()?.collect();
        if self.sort_keys {
            keys.sort();
        }
        self.open('{');
        for (index, key) in keys.iter().enumerate() {
            self.item(index == 0);
            self.string(&key_text(key)?);
            self.out.push_str(&self.key_separator);
            self.write(&map.get_item(key)?)?;
        }
        self.close('}', keys.is_empty());
        Ok(())
    }

    fn open(&mut self, bracket: char) {
        self.out.push(bracket);
        self.depth += 1;
    }

    /// Comes before each item: what separates it from the one before, and a new line.
    fn item(&mut self, is_first: bool) {
        if !is_first {
            self.out.push_str(&self.item_separator);
        }
        self.line();
    }

    fn close(&mut self, bracket: char, is_empty: bool) {
        self.depth -= 1;
        if !is_empty {
            self.line();
        }
        self.out.push(bracket);
    }

    /// Begins a new line, if there is an indent.
    fn line(&mut self) {
        if let Some(indent) = &self.indent {
            self.out.push('\n');
            self.out
                .extend(std::iter::repeat_n(indent.as_str(), self.depth));
        }
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for letter in text.chars() {
            match letter {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                control if control < ' ' => escape(control, &mut self.out),
                other if self.ensure_ascii && !(' '..='~').contains(&other) => {
                    escape(other, &mut self.out)
                }
                other => self.out.push(other),
            }
        }
        self.out.push('"');
    }
}

/// Writes a character as one or two escapes of UTF-16.
fn escape(letter: char, out: &mut String) {
    for unit in letter.encode_utf16(&mut [0; 2]) {
        out.push_str(&format!("\\u{unit:04x}"));
    }
}

/// Returns a key as `json.dumps` makes it a string.
fn key_text(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::String => Ok(key.to_string()),
        ValueKind::Number => number(key),
        ValueKind::None => Ok("null".to_owned()),
        ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.to_owned()),
        kind => Err(Error::new(
            ErrorKind::BadSerialization,
            format!("a value of type {kind} cannot be a key"),
        )),
    }
}

fn number(value: &Value) -> Result<String, Error> {
    if value.is_integer() {
        return Ok(value.to_string());
    }
    let number = f64::try_from(value.clone())?;
    Ok(match number {
        _ if number.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        finite => python_float(finite),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_python_writes_them() {
        let cases = [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (1e5, "100000.0"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.25e-7, "1.25e-07"),
            (123456789.125, "123456789.125"),
            (-0.0, "-0.0"),
        ];
        for (number, text) in cases {
            assert_eq!(python_float(number), text);
        }
    }
}
