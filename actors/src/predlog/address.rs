//! The address of a sink as it is shown to people, who need not know its password.

use reqwest::Url;

/// Returns an address without the name and the password in it, if it has any.
///
/// One that cannot be read is not shown at all: nobody knows where in it a password would be.
pub(super) fn without_password(url: &str) -> String {
    let Ok(mut parsed) = Url::parse(url) else {
        return "an address that cannot be read".to_owned();
    };
    // Both fail for addresses that cannot have either.
    let _ = parsed.set_username("");
    let _ = parsed.set_password(None);
    parsed.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_name_and_password() {
        for (url, shown) in [
            ("http://log:8001", "http://log:8001"),
            ("https://user:s3cret@log:8001/", "https://log:8001"),
            ("https://s3cret@log/below", "https://log/below"),
            (
                "http://user:s3cret/1@log:8001",
                "an address that cannot be read",
            ),
        ] {
            assert_eq!(without_password(url), shown, "{url}");
        }
    }
}
