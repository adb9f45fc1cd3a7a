//! Where a JSON value ends, found as its text comes in, at a cost per character.

/// Looks for the end of an object or a list.
#[derive(Debug, Clone, Default)]
pub(super) struct JsonEnd {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// How many bytes have been looked at.
    seen: usize,
}

// === impl JsonEnd ===

impl JsonEnd {
    /// Looks at what has been added to `text`, which begins with the value, and returns where the
    /// value ends once it does.
    pub(super) fn find(&mut self, text: &str) -> Option<usize> {
        let new = text.as_bytes().get(self.seen..).unwrap_or_default();
        for byte in new {
            self.seen += 1;
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            if self.depth == 0 {
                return Some(self.seen);
            }
        }
        None
    }
}
