//! Dates as Python's `strftime` writes them.

use minijinja::{Error, ErrorKind};
use time::OffsetDateTime;
use time::format_description::parse_strftime_owned;

/// Writes `now` by `format`. As transformers passes a time without a zone, `%z` and `%Z` are empty.
pub(super) fn strftime(now: OffsetDateTime, format: &str) -> Result<String, Error> {
    let mut plain = String::with_capacity(format.len());
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        match (letter, letters.clone().next()) {
            ('%', Some('z' | 'Z')) => _ = letters.next(),
            ('%', Some('f')) => {
                letters.next();
                plain.push_str(&format!("{:06}", now.microsecond()));
            }
            ('%', Some(next)) => {
                letters.next();
                plain.extend([letter, next]);
            }
            (letter, _) => plain.push(letter),
        }
    }
    let refused = |reason: String| {
        Error::new(
            ErrorKind::InvalidOperation,
            format!("strftime_now cannot write {format:?}: {reason}"),
        )
    };
    let items = parse_strftime_owned(&plain).map_err(|error| refused(error.to_string()))?;
    now.format(&items)
        .map_err(|error| refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn dates_are_written_as_python_writes_them() {
        let now = datetime!(2024-07-04 09:05:07.000042 +2);
        let written = |format| strftime(now, format).unwrap();
        assert_eq!(written("%d %b %Y"), "04 Jul 2024");
        assert_eq!(
            written("%A, %B %-d, %Y at %I:%M %p"),
            "Thursday, July 4, 2024 at 09:05 AM"
        );
        assert_eq!(
            written("%Y-%m-%dT%H:%M:%S.%f%z%Z %j %y 100%%"),
            "2024-07-04T09:05:07.000042 186 24 100%"
        );
    }

    #[test]
    fn a_directive_that_does_not_exist_is_an_error() {
        assert!(strftime(datetime!(2024-07-04 09:05:07 UTC), "%Q").is_err());
    }
}
