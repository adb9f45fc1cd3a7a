//! Server-sent events of an answer, as they come.

use std::io::{self, BufRead};

use serde_json::Value;

/// Longest line that is read: more is no event of a conversation.
const LONGEST: u64 = 16 * 1024 * 1024;

/// What an answer brings.
#[derive(Debug)]
pub(super) enum Event {
    /// More text.
    Text(String),
    /// It has as many tokens as it may.
    Cut,
    /// The server could not go on.
    Failed(String),
    /// The connection ended before the answer did.
    BrokenOff(io::Error),
}

/// The events of an answer, in their order.
pub(super) struct Events<R> {
    reader: R,
    /// What came of a line beside its first event.
    behind: Option<Event>,
    is_over: bool,
}

// === impl Events ===

impl<R: BufRead> Events<R> {
    pub(super) fn of(reader: R) -> Self {
        Self {
            reader,
            behind: None,
            is_over: false,
        }
    }

    /// Reads the next line; `None` at the end.
    fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        let read = io::Read::take(&mut self.reader, LONGEST).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        String::from_utf8(line)
            .map(Some)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Makes a line into an event, if it is one that matters here.
    fn read(&mut self, line: &str) -> Option<Event> {
        // Comments, empty lines and other fields say nothing of the conversation.
        let data = line.strip_prefix("data:")?.trim();
        if data == "[DONE]" {
            self.is_over = true;
            return None;
        }
        let chunk: Value = match serde_json::from_str(data) {
            Ok(chunk) => chunk,
            Err(error) => return Some(self.broken_off(error.into())),
        };
        if let Some(error) = chunk.get("error").filter(|error| !error.is_null()) {
            self.is_over = true;
            let message = error["message"].as_str().or(error.as_str());
            return Some(Event::Failed(
                message.unwrap_or("no reason was given").to_owned(),
            ));
        }
        let choice = &chunk["choices"][0];
        let cut = (choice["finish_reason"] == "length").then_some(Event::Cut);
        match choice["delta"]["content"].as_str() {
            Some(text) if !text.is_empty() => {
                self.behind = cut;
                Some(Event::Text(text.to_owned()))
            }
            _ => cut,
        }
    }

    fn broken_off(&mut self, reason: io::Error) -> Event {
        self.is_over = true;
        Event::BrokenOff(reason)
    }
}

impl<R: BufRead> Iterator for Events<R> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if let Some(behind) = self.behind.take() {
            return Some(behind);
        }
        while !self.is_over {
            match self.line() {
                Ok(Some(line)) => {
                    if let Some(event) = self.read(&line) {
                        return Some(event);
                    }
                }
                Ok(None) => {
                    let reason = io::Error::from(io::ErrorKind::UnexpectedEof);
                    return Some(self.broken_off(reason));
                }
                Err(error) => return Some(self.broken_off(error)),
            }
        }
        None
    }
}
