//! As much of a streamed answer as is needed: where the body's chunks are, where its events are, and
//! which of them have text.

use std::io;

/// What an event is to whoever counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// It has text, or says why the answer is over.
    Text,
    /// It says how many tokens there were.
    Usage(usize),
    /// It is the last one.
    Done,
    /// Anything else, such as a comment.
    Other,
}

/// Takes HTTP's chunks apart as they come.
#[derive(Debug, Default)]
pub(super) struct Body {
    received: Vec<u8>,
    /// What of the events has not been read.
    text: Vec<u8>,
    is_over: bool,
}

// === impl Body ===

impl Body {
    pub(super) fn receive(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.received.extend_from_slice(bytes);
        let mut from = 0;
        while let Some((length, begin)) = chunk(&self.received[from..])? {
            let begin = from + begin;
            let end = begin + length;
            if self.received.len() < end + 2 {
                break;
            }
            self.text.extend_from_slice(&self.received[begin..end]);
            self.is_over |= length == 0;
            from = end + 2;
        }
        self.received.drain(..from);
        Ok(())
    }

    /// Returns the next event, if it is whole.
    pub(super) fn next(&mut self) -> io::Result<Option<Event>> {
        let Some(end) = find(&self.text, b"\n\n") else {
            return Ok(None);
        };
        let event = Event::of(&self.text[..end]);
        self.text.drain(..end + 2);
        event.map(Some)
    }

    /// Tells whether HTTP's end has come.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }
}

// === impl Event ===

impl Event {
    fn of(event: &[u8]) -> io::Result<Self> {
        let Some(data) = event.strip_prefix(b"data: ") else {
            return Ok(Self::Other);
        };
        if data == b"[DONE]" {
            return Ok(Self::Done);
        }
        if find(data, b"\"error\":{").is_some() {
            let text = String::from_utf8_lossy(data).into_owned();
            return Err(io::Error::other(text));
        }
        if let Some(tokens) = behind(data, b"\"completion_tokens\":") {
            let digits = tokens.iter().take_while(|byte| byte.is_ascii_digit());
            let tokens = digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
            return Ok(Self::Usage(tokens));
        }
        let has_text = behind(data, b"\"text\":\"").is_some_and(|text| !text.starts_with(b"\""));
        let ends = behind(data, b"\"finish_reason\":\"").is_some();
        Ok(if has_text || ends {
            Self::Text
        } else {
            Self::Other
        })
    }
}

/// Returns the length of the chunk at the beginning, and where its bytes begin.
fn chunk(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let Some(end) = find(bytes, b"\r\n") else {
        return Ok(None);
    };
    let length = std::str::from_utf8(&bytes[..end]).ok();
    let length = length.and_then(|length| usize::from_str_radix(length, 16).ok());
    let length = length.ok_or_else(|| io::Error::other("a chunk without its length"))?;
    Ok(Some((length, end + 2)))
}

fn behind<'a>(bytes: &'a [u8], what: &[u8]) -> Option<&'a [u8]> {
    find(bytes, what).map(|at| &bytes[at + what.len()..])
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|part| part == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_whatever_pieces_they_come_in() {
        let events = concat!(
            "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":null}]}\n\n",
            ": still here\n\n",
            "data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":null}]}\n\n",
            "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"length\"}]}\n\n",
            "data: {\"choices\":[],\"usage\":{\"completion_tokens\":64,\"total\":1}}\n\n",
            "data: [DONE]\n\n",
        );
        let wire = format!("{:x}\r\n{events}\r\n0\r\n\r\n", events.len());
        for size in [1, 7, 4096] {
            let mut body = Body::default();
            let mut found = Vec::new();
            for part in wire.as_bytes().chunks(size) {
                body.receive(part).unwrap();
                while let Some(event) = body.next().unwrap() {
                    found.push(event);
                }
            }
            assert!(body.is_over());
            let expected = [
                Event::Other,
                Event::Other,
                Event::Text,
                Event::Text,
                Event::Usage(64),
                Event::Done,
            ];
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn an_event_that_is_an_error_is_one() {
        let mut body = Body::default();
        let event = "data: {\"error\":{\"message\":\"broken off\"}}\n\n";
        let wire = format!("{:x}\r\n{event}\r\n", event.len());
        body.receive(wire.as_bytes()).unwrap();
        assert!(body.next().unwrap_err().to_string().contains("broken off"));
    }
}
