//! Which file is asked for.

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, HeaderMap};

use super::encoder::Encode;
use crate::http::error::ApiError;

/// A kind of file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    Csv,
    JsonLines,
    Parquet,
}

// === impl Format ===

impl Format {
    const ALL: [Self; 3] = [Self::Csv, Self::JsonLines, Self::Parquet];

    /// Returns the format that is named, or the first that `Accept` does.
    ///
    /// # Errors
    /// One is named that there is not.
    pub(super) fn asked_for(named: Option<&str>, headers: &HeaderMap) -> Result<Self, ApiError> {
        if let Some(named) = named {
            let found = Self::ALL.into_iter().find(|format| format.name() == named);
            return found.ok_or_else(|| {
                let message = format!("`format` is csv, jsonl or parquet, not {named:?}");
                ApiError::bad_request("bad_query", message)
            });
        }
        let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
        let accepted = accepted.unwrap_or_default().split(',').find_map(|range| {
            match range.split(';').next().unwrap_or_default().trim() {
                "text/csv" => Some(Self::Csv),
                "application/x-ndjson" | "application/jsonl" => Some(Self::JsonLines),
                "application/vnd.apache.parquet" => Some(Self::Parquet),
                _ => None,
            }
        });
        Ok(accepted.unwrap_or(Self::Csv))
    }

    /// Returns the format's name, which is also how names of its files end.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::JsonLines => "jsonl",
            Self::Parquet => "parquet",
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::JsonLines => "application/x-ndjson",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// Returns what makes such a file.
    ///
    /// # Errors
    /// Nothing here does.
    pub(super) fn encoder(self) -> Result<Box<dyn Encode>, ApiError> {
        match self {
            Self::Csv => Ok(Box::new(super::csv::Csv::new())),
            Self::JsonLines => Ok(Box::new(super::json_lines::JsonLines::default())),
            Self::Parquet => parquet(),
        }
    }
}

#[cfg(feature = "parquet")]
fn parquet() -> Result<Box<dyn Encode>, ApiError> {
    match super::parquet::Parquet::new() {
        Ok(parquet) => Ok(Box::new(parquet)),
        Err(error) => Err(ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            error.to_string(),
        )),
    }
}

#[cfg(not(feature = "parquet"))]
fn parquet() -> Result<Box<dyn Encode>, ApiError> {
    Err(ApiError::new(
        StatusCode::NOT_IMPLEMENTED,
        "no_parquet",
        "this server was built without Parquet (the cargo feature `parquet`); ask for csv or jsonl",
    ))
}

#[cfg(test)]
mod tests {
    #[cfg(not(feature = "parquet"))]
    use actix_web::ResponseError;
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn a_format_is_named_or_accepted_or_csv() {
        for (named, accepted, expected) in [
            (None, "", Format::Csv),
            (None, "*/*", Format::Csv),
            (
                None,
                "text/html, application/x-ndjson;q=0.5",
                Format::JsonLines,
            ),
            (None, "application/vnd.apache.parquet", Format::Parquet),
            (Some("jsonl"), "text/csv", Format::JsonLines),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accepted));
            let format = Format::asked_for(named, &headers).unwrap();
            assert_eq!(format, expected, "{named:?} {accepted:?}");
        }
        let refused = Format::asked_for(Some("xlsx"), &HeaderMap::new()).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "`format` is csv, jsonl or parquet, not \"xlsx\""
        );
    }

    #[cfg(not(feature = "parquet"))]
    #[test]
    fn a_build_without_parquet_says_so() {
        let refused = Format::Parquet.encoder().err().unwrap();
        assert_eq!(refused.status_code(), StatusCode::NOT_IMPLEMENTED);
        assert!(
            refused.to_string().contains("built without Parquet"),
            "{refused}"
        );
    }
}
