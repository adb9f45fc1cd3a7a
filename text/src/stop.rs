//! Stop strings, wherever the borders of tokens fall.
//!
//! A stop string may begin in one token and end three tokens later, and nothing of it may be seen
//! by the client. So the end of the text is held back for as long as it may become the beginning of
//! one, never longer: what is held is the longest end of the text that begins a stop string. The
//! result does not depend on how the text was cut: generation stops at the stop string that is
//! complete first, and the text ends where that one begins (of several that are complete at the same
//! place, where the longest begins).

/// Watches a text for stop strings.
#[derive(Debug, Clone)]
pub struct StopStrings {
    stops: Vec<String>,
    held: String,
    stopped: Option<usize>,
}

/// What became of a piece of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopping {
    /// What the client may see now, without any of the stop string.
    pub text: String,
    /// The index of the stop string that ended the text; nothing more follows.
    pub stopped: Option<usize>,
}

/// A stop string is empty, so that it would stop every text before it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stop string {index} is empty; leave it out")]
pub struct EmptyStop {
    /// Its place in the list.
    pub index: usize,
}

// === impl StopStrings ===

impl StopStrings {
    /// Watches for any of `stops`; for none if there are none.
    ///
    /// # Errors
    /// [`EmptyStop`] where one of them is empty.
    pub fn try_new(stops: Vec<String>) -> Result<Self, EmptyStop> {
        match stops.iter().position(String::is_empty) {
            Some(index) => Err(EmptyStop { index }),
            None => Ok(Self {
                stops,
                held: String::new(),
                stopped: None,
            }),
        }
    }

    /// Takes the next piece of text and returns what may be shown of it and of what was held back.
    pub fn push(&mut self, piece: &str) -> Stopping {
        if self.stopped.is_some() {
            return Stopping {
                text: String::new(),
                stopped: self.stopped,
            };
        }
        let mut text = std::mem::take(&mut self.held);
        text.push_str(piece);
        if let Some((start, index)) = self.first_complete(&text) {
            text.truncate(start);
            self.stopped = Some(index);
        } else {
            self.held = text.split_off(self.border(&text));
        }
        Stopping {
            text,
            stopped: self.stopped,
        }
    }

    /// Ends the text and returns what was held back: it has become no stop string.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Returns the start and the index of the stop string that is complete first.
    fn first_complete(&self, text: &str) -> Option<(usize, usize)> {
        let found = |(index, stop): (usize, &String)| {
            let start = text.find(stop.as_str())?;
            Some((start + stop.len(), start, index))
        };
        self.stops
            .iter()
            .enumerate()
            .filter_map(found)
            .min()
            .map(|(_, start, index)| (start, index))
    }

    /// Returns where the longest end of `text` begins that is the beginning of a stop string.
    fn border(&self, text: &str) -> usize {
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let earliest = (text.len() + 1).saturating_sub(longest);
        let begins = |at: &usize| {
            text.is_char_boundary(*at)
                && self.stops.iter().any(|stop| stop.starts_with(&text[*at..]))
        };
        (earliest..text.len()).find(begins).unwrap_or(text.len())
    }
}
