//! Reads `{"data":[…]}` straight into floats; the numbers are never held as a tree of values.

use utoipa::ToSchema;

use super::ApiError;
use super::json::{Scanner, Trouble, excerpt, read_floats};

/// Bytes of text that a number has at least, with its comma.
const LEAST: usize = 2;
/// Bytes of a number.
const SIZE: usize = size_of::<f32>();

/// Numbers for a model with one input of float32.
#[derive(Debug, ToSchema)]
pub(super) struct Numbers {
    /// As many as one row of the model's input has, flat, in row-major order.
    // Kept as the bytes they are for the model, little-endian.
    #[schema(value_type = Vec<f32>, example = json!([0.25, 0.5, 0.75]))]
    pub(super) data: Vec<u8>,
    /// Which model; may be left out when there is only one. `?model=` goes before it.
    pub(super) model: Option<String>,
}

/// What has been read so far.
#[derive(Default)]
struct Partial {
    data: Option<Vec<u8>>,
    model: Option<String>,
    /// How many numbers there were before something was wrong among them.
    wrong_at: Option<usize>,
}

pub(super) fn parse(body: &[u8]) -> Result<Numbers, ApiError> {
    let mut scanner = Scanner::new(body);
    let mut partial = Partial::default();
    partial.read(&mut scanner).map_err(|trouble| {
        explain(
            &body[scanner.at()..],
            scanner.at(),
            trouble,
            partial.wrong_at,
        )
    })?;
    match partial.data {
        Some(data) => Ok(Numbers {
            data,
            model: partial.model,
        }),
        None => Err(wrong("missing_data", "missing field `data`")),
    }
}

// === impl Partial ===

impl Partial {
    fn read(&mut self, scanner: &mut Scanner<'_>) -> Result<(), Trouble> {
        let mut first = true;
        scanner.object()?;
        while let Some(key) = scanner.key(&mut first)? {
            match &*key {
                "data" => {
                    let mut data = Vec::with_capacity(scanner.left() / LEAST * SIZE);
                    if let Err(trouble) = read_floats(scanner, &mut data) {
                        self.wrong_at = Some(data.len() / SIZE);
                        return Err(trouble);
                    }
                    self.data = Some(data);
                }
                "model" => {
                    let _ = scanner.ahead();
                    self.model = match scanner.word("null") {
                        true => None,
                        false => Some(scanner.string()?.into_owned()),
                    };
                }
                _ => scanner.skip()?,
            }
        }
        scanner.end()
    }
}

/// Says what is wrong in words that help; JSON knows neither NaN nor infinity, but several
/// languages write them all the same.
fn explain(rest: &[u8], at: usize, trouble: Trouble, wrong_at: Option<usize>) -> ApiError {
    if let Some(place) = wrong_at {
        let words = ["-NaN", "NaN", "-Infinity", "Infinity", "nan", "-inf", "inf"];
        let word = words.iter().find(|word| rest.starts_with(word.as_bytes()));
        if let Some(word) = word {
            let message = format!(
                "{word} near data[{place}] is not a number that JSON or the model knows (byte {at})"
            );
            return ApiError::bad_request("not_a_number", message);
        }
    }
    let found = excerpt(rest);
    match (trouble, wrong_at) {
        (Trouble::Kind("an array"), Some(_)) => {
            let message = format!("data is {found}, expected a flat list of numbers");
            wrong("wrong_type", &message)
        }
        (Trouble::Kind(expected), Some(place)) => {
            let message = format!("data[{place}] is {found}, expected {expected}");
            wrong("wrong_type", &message)
        }
        (Trouble::Unfit, Some(place)) => {
            let message = format!("data[{place}] is {found}, which no float32 can hold");
            wrong("wrong_type", &message)
        }
        (Trouble::Kind(_), None) => wrong("wrong_type", &format!("{trouble} at byte {at}")),
        _ => {
            let message = format!("the body is not valid JSON: {trouble} at byte {at}");
            ApiError::bad_request("not_json", message)
        }
    }
}

fn wrong(code: &'static str, message: &str) -> ApiError {
    ApiError::bad_request(code, format!("{message}; send {{\"data\": [numbers]}}"))
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
        let expected = [1.0, -2.0, 0.5, 0.001, 18_446_744_073_709_551_615f32];
        assert_eq!(numbers.data, expected.map(f32::to_le_bytes).concat());
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
