//! Passes over values that nobody asks for, or not yet.

use super::{Scanner, Trouble};

/// How deeply a request may be nested, tensors included.
pub const DEEPEST: usize = 64;

// === impl Scanner ===

impl Scanner<'_> {
    /// Passes over a value, which must be JSON.
    ///
    /// # Errors
    /// It is none, or is nested too deeply.
    pub fn skip(&mut self) -> Result<(), Trouble> {
        self.skip_at(0)
    }

    fn skip_at(&mut self, depth: usize) -> Result<(), Trouble> {
        if depth >= DEEPEST {
            return Err(Trouble::TooDeep);
        }
        let mut first = true;
        match self.ahead() {
            Some(b'{') => {
                self.object()?;
                while self.key(&mut first)?.is_some() {
                    self.skip_at(depth + 1)?;
                }
            }
            Some(b'[') => {
                self.array()?;
                while self.item(&mut first)? {
                    self.skip_at(depth + 1)?;
                }
            }
            Some(b'"') => {
                self.string()?;
            }
            Some(b't' | b'f') => {
                self.bool()?;
            }
            Some(b'n') if self.word("null") => {}
            Some(b'N') if self.word("NaN") => {}
            Some(b'I') if self.word("Infinity") => {}
            Some(b'-') if self.word("-Infinity") => {}
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
            }
            _ => return Err(Trouble::Expected("a value")),
        }
        Ok(())
    }

    /// Passes over a value that will be read later, and then be found out if it is no JSON: looks
    /// only for its end.
    ///
    /// # Errors
    /// It has none.
    pub fn pass(&mut self) -> Result<(), Trouble> {
        if self.ahead() != Some(b'[') {
            return self.skip();
        }
        let mut open = 0usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'[' | b'{' => open += 1,
                b']' | b'}' => open -= 1,
                _ => {}
            }
            self.advance(1);
            if open == 0 {
                return Ok(());
            }
        }
        Err(Trouble::Expected("the end of the array"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skipped(text: &str) -> Result<(), Trouble> {
        let mut scanner = Scanner::new(text.as_bytes());
        scanner.skip()?;
        scanner.end()
    }

    #[test]
    fn whatever_is_json_is_passed_over_and_nothing_else() {
        for text in [
            r#"{"a": [1, -2.5e+3, {"b": null}], "c": "}", "d": true}"#,
            "[]",
            " false ",
            "-0",
            "[NaN, -Infinity]",
        ] {
            assert_eq!(skipped(text), Ok(()), "{text}");
        }
        for text in [
            "", "{", "[1 2]", "[1,]", "{\"a\"}", "{a: 1}", "nul", "01", "1.", "1e", "-", "]", "+1",
        ] {
            assert!(skipped(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_nested_too_deeply_is_refused() {
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert_eq!(skipped(&deep(DEEPEST)), Ok(()));
        assert_eq!(skipped(&deep(DEEPEST + 1)), Err(Trouble::TooDeep));
        assert_eq!(skipped(&"[".repeat(1_000_000)), Err(Trouble::TooDeep));
    }
}
