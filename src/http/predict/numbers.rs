//! Reads `{"data":[…]}` straight into floats; the numbers are never held as a tree of values.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, SeqAccess, Visitor};
use utoipa::ToSchema;

use super::ApiError;

/// Numbers for which room is made before they have been read, whatever the length claims to be.
const ROOM: usize = 4096;

/// Numbers for a model with one input of float32.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Numbers {
    /// As many as one row of the model's input has, flat, in row-major order.
    #[schema(example = json!([0.25, 0.5, 0.75]))]
    #[serde(deserialize_with = "floats")]
    pub(super) data: Vec<f32>,
    /// Which model; may be left out when there is only one. `?model=` goes before it.
    #[serde(default)]
    pub(super) model: Option<String>,
}

pub(super) fn parse(body: &[u8]) -> Result<Numbers, ApiError> {
    serde_json::from_slice(body).map_err(|error| explain(body, &error))
}

fn floats<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f32>, D::Error> {
    deserializer.deserialize_seq(Floats)
}

struct Floats;

impl<'de> Visitor<'de> for Floats {
    type Value = Vec<f32>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a flat list of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<f32>, A::Error> {
        let mut data = Vec::with_capacity(seq.size_hint().unwrap_or(ROOM).min(ROOM));
        while let Some(number) = seq.next_element_seed(Element(data.len()))? {
            data.push(number);
        }
        Ok(data)
    }
}

/// One number; knows its place, so that an error can name it.
struct Element(usize);

impl<'de> DeserializeSeed<'de> for Element {
    type Value = f32;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<f32, D::Error> {
        deserializer.deserialize_f32(self)
    }
}

impl Visitor<'_> for Element {
    type Value = f32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a number at data[{}]", self.0)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<f32, E> {
        // Narrowing is the purpose; what does not fit is refused below.
        let narrow = value as f32;
        if narrow.is_finite() {
            Ok(narrow)
        } else {
            Err(E::custom(format!(
                "data[{}] is {value:e}, which no float32 can hold",
                self.0
            )))
        }
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<f32, E> {
        Ok(value as f32)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<f32, E> {
        Ok(value as f32)
    }
}

/// Says what is wrong in words that help; JSON knows neither NaN nor infinity, but several
/// languages write them all the same.
fn explain(body: &[u8], error: &serde_json::Error) -> ApiError {
    if error.is_data() {
        let code = if error.to_string().contains("missing field") {
            "missing_data"
        } else {
            "wrong_type"
        };
        return ApiError::bad_request(code, format!("{error}; send {{\"data\": [numbers]}}"));
    }
    let line = body
        .split(|byte| *byte == b'\n')
        .nth(error.line().saturating_sub(1))
        .unwrap_or_default();
    let around = &line[error.column().saturating_sub(2).min(line.len())..];
    let not_a_number = [
        &b"-NaN"[..],
        b"NaN",
        b"-Infinity",
        b"Infinity",
        b"nan",
        b"inf",
    ]
    .into_iter()
    .find(|word| around.starts_with(word) || around.get(1..).is_some_and(|a| a.starts_with(word)));
    if let Some(word) = not_a_number {
        let word = String::from_utf8_lossy(word);
        let place = line[..error.column().saturating_sub(1).min(line.len())]
            .iter()
            .filter(|b| **b == b',')
            .count();
        let message = format!(
            "{word} near data[{place}] is not a number that JSON or the model knows ({error})"
        );
        return ApiError::bad_request("not_a_number", message);
    }
    ApiError::bad_request("not_json", format!("the body is not valid JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError;

    use super::*;

    fn refused(body: &str) -> String {
        let error = parse(body.as_bytes()).unwrap_err();
        assert_eq!(error.status_code(), 400);
        error.to_string()
    }

    #[test]
    fn numbers_of_every_form_are_read() {
        let numbers =
            parse(br#"{"data": [1, -2, 0.5, 1e-3, 18446744073709551615], "other": {}}"#).unwrap();
        assert_eq!(
            numbers.data,
            [1.0, -2.0, 0.5, 0.001, 18_446_744_073_709_551_615.0]
        );
        assert_eq!(numbers.model, None);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        assert!(refused(r#"{"data": [1, 2, "3"]}"#).contains("data[2]"));
        assert!(refused(r#"{"data": [1, null]}"#).contains("data[1]"));
        assert!(refused(r#"{"data": [[1, 2]]}"#).contains("data[0]"));
        assert!(refused(r#"{"data": [0, 1e39]}"#).contains("data[1]"));
        assert!(refused(r#"{"data": 5}"#).contains("flat list"));
        assert!(refused(r#"{"dada": [1]}"#).contains("missing field `data`"));
        assert!(refused(r#"{"data": [1, 2"#).contains("not valid JSON"));
        assert!(refused("").contains("not valid JSON"));
    }

    #[test]
    fn a_nan_is_told_by_its_name() {
        for word in ["NaN", "Infinity", "-Infinity"] {
            let message = refused(&format!(r#"{{"data": [1.0, 2.0, {word}, 4.0]}}"#));
            assert!(
                message.contains(word) && message.contains("data[2]"),
                "{message}"
            );
        }
    }
}
