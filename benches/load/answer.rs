//! As much of an answer as is needed to know when it ends and whether it was 200.

use std::io;

/// The head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// Bytes of head and body together.
    pub(super) total: usize,
    /// Whether the server closes the connection after it.
    pub(super) closes: bool,
}

// === impl Head ===

impl Head {
    /// Reads the head at the beginning of `bytes`; `None` while it is not whole.
    ///
    /// # Errors
    /// When it is no HTTP, or an answer whose length does not stand in its head.
    pub(super) fn read(bytes: &[u8]) -> io::Result<Option<Self>> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes[..end]).map_err(|_| bad("is no HTTP"))?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(|status| status.parse().ok());
        let (mut length, mut closes) = (None, false);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse::<usize>().ok();
            } else if name.eq_ignore_ascii_case("connection") {
                closes = value.trim().eq_ignore_ascii_case("close");
            }
        }
        Ok(Some(Self {
            status: status.ok_or_else(|| bad("is no HTTP"))?,
            total: end + 4 + length.ok_or_else(|| bad("does not say its length"))?,
            closes,
        }))
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("an answer {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nconnection: Close\r\n\r\nok";
        assert_eq!(Head::read(&answer[..30]).unwrap(), None);
        let head = Head::read(answer).unwrap().unwrap();
        assert_eq!((head.status, head.total), (200, answer.len()));
        assert!(head.closes);
    }

    #[test]
    fn an_answer_whose_end_nobody_knows_is_an_error() {
        assert!(Head::read(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(Head::read(b"nonsense\r\ncontent-length: 1\r\n\r\n").is_err());
    }
}
