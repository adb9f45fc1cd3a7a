//! Addresses as they may be shown.

/// Returns an address, or a text with addresses in it, without what may be a credential: what stands
/// before an `@` in an address and what follows a `?`.
#[must_use]
pub fn without_secrets(text: &str) -> String {
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '(' | ')');
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, address) = rest.split_at(at + 3);
        shown.push_str(before);
        let end = address.find(ends).unwrap_or(address.len());
        let (address, after) = address.split_at(end);
        let (plain, query) = match address.split_once('?') {
            Some((plain, _)) => (plain, "?…"),
            None => (address, ""),
        };
        let (host, path) = plain.split_at(plain.find('/').unwrap_or(plain.len()));
        match host.rsplit_once('@') {
            // The container of abfss://CONTAINER@ACCOUNT is no secret.
            Some((user, host)) if before.ends_with("http://") || before.ends_with("https://") => {
                let _ = user;
                shown.push_str("…@");
                shown.push_str(host);
            }
            _ => shown.push_str(host),
        }
        shown.push_str(path);
        shown.push_str(query);
        rest = after;
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_addresses_are_cut_out() {
        let cases = [
            ("https://u:p@h/a?sig=x&y", "https://…@h/a?…"),
            ("https://h/a@b", "https://h/a@b"),
            (
                "GET https://h/a?sig=x in 3s (http://i/?t)",
                "GET https://h/a?… in 3s (http://i/?…)",
            ),
            ("abfss://c@acc.x/p", "abfss://c@acc.x/p"),
            ("no address?", "no address?"),
        ];
        for (text, shown) in cases {
            assert_eq!(without_secrets(text), shown);
        }
    }
}
