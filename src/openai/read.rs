//! The body of a request, read so that what is wrong in it has a name and a place.
//!
//! The fields that all requests have in common and those of one kind are read from the same body, one after the
//! other; each reading passes over what it does not know.

use serde::de::DeserializeOwned;

use super::Refusal;
use crate::oip::Kind;

/// Reads the fields that `T` has.
///
/// # Errors
/// The body is not JSON, which is said with the place; or a field has a value of another type, or one is missing,
/// which is said with its name.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first.is_some_and(|first| b"[\"-0123456789tfn".contains(first)) {
        let message = "the body must be a JSON object";
        return Err(Refusal::new(Kind::Invalid, "invalid_type", message));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        refused(&path, &error.into_inner())
    })?;
    reader.end().map_err(|error| not_json(&error))?;
    Ok(read)
}

fn refused(path: &str, error: &serde_json::Error) -> Refusal {
    if !error.is_data() {
        return not_json(error);
    }
    let words = in_plain_words(&error.to_string());
    if let Some(missing) = words
        .strip_prefix("missing field `")
        .and_then(|rest| rest.split('`').next())
    {
        let field = match path {
            "." => missing.to_owned(),
            path => format!("{path}.{missing}"),
        };
        let message = format!("`{field}` is missing");
        return Refusal::new(Kind::Invalid, "missing_required_parameter", message).of(field);
    }
    match path {
        "." => Refusal::new(
            Kind::Invalid,
            "invalid_type",
            format!("the body cannot be read: {words}"),
        ),
        path => Refusal::new(
            Kind::Invalid,
            "invalid_type",
            format!("`{path}` cannot be read: {words}"),
        )
        .of(path),
    }
}

fn not_json(error: &serde_json::Error) -> Refusal {
    let message = format!("the body is not JSON: {error}");
    Refusal::new(Kind::Invalid, "invalid_json", message)
}

/// Says a reader's complaint without the names of its types.
fn in_plain_words(complaint: &str) -> String {
    let Some((what, expected)) = complaint.rsplit_once("expected ") else {
        return complaint.to_owned();
    };
    let (kind, rest) = match expected.split_once(' ') {
        Some((kind, rest)) => (kind, format!(" {rest}")),
        None => (expected, String::new()),
    };
    let plain = match kind {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
        "i64" => "a whole number",
        "f32" | "f64" => "a number",
        other => other,
    };
    format!("{what}expected {plain}{rest}")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Fields {
        needed: String,
        count: Option<u32>,
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    struct Inner {
        share: Vec<f32>,
    }

    fn refusal(body: &str) -> (Option<String>, String) {
        let refusal = read::<Fields>(body.as_bytes()).unwrap_err();
        (
            refusal.param().map(str::to_owned),
            refusal.message().to_owned(),
        )
    }

    #[test]
    fn what_is_not_known_is_passed_over_and_null_is_absence() {
        let body = br#"{"needed": "a", "count": null, "unheard": {"of": [1]}}"#;
        let fields: Fields = read(body).unwrap();
        assert_eq!(fields.needed, "a");
        assert!(fields.count.is_none() && fields.inner.is_none());
        let body = br#"{"needed": "a", "inner": {"share": [1, 0.5]}}"#;
        let fields: Fields = read(body).unwrap();
        assert_eq!(fields.inner.unwrap().share, [1.0, 0.5]);
    }

    #[test]
    fn a_value_of_another_type_is_refused_by_its_name_in_plain_words() {
        let (param, message) = refusal(r#"{"needed": "a", "count": -1}"#);
        assert_eq!(param.as_deref(), Some("count"));
        assert!(
            message.contains("`count`") && message.contains("not negative"),
            "{message}"
        );
        let (param, message) = refusal(r#"{"needed": "a", "inner": {"share": [1, "x"]}}"#);
        assert_eq!(param.as_deref(), Some("inner.share[1]"));
        assert!(message.contains("expected a number"), "{message}");
        let (param, message) = refusal(r#"{"count": 1}"#);
        assert_eq!(param.as_deref(), Some("needed"));
        assert_eq!(message, "`needed` is missing");
        let (param, message) = refusal(r#"{"needed": "a", "inner": {}}"#);
        assert_eq!(param.as_deref(), Some("inner.share"), "{message}");
        for other in ["[]", " 7", "null", "\"text\""] {
            assert_eq!(
                refusal(other),
                (None, "the body must be a JSON object".to_owned())
            );
        }
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        let (param, message) = refusal("{\"needed\": \"a\",\n oops}");
        assert!(
            param.is_none() && message.contains("line 2 column"),
            "{message}"
        );
        let (_, message) = refusal("{\"needed\": \"a\"} {}");
        assert!(message.contains("trailing characters"), "{message}");
    }
}
