//! What a worker writes to its standard error: passed on, and the end of it kept.
//!
//! The last lines of a process that crashed or hung are often all there is to say why. So a worker
//! gets a pipe, a thread of its own passes what comes on to the server's standard error, line by
//! line, and keeps the tail. The thread ends with the pipe, that is with the worker.
//!
//! **How it fails.** A reader of the server's log that stands still must not stand still the
//! workers: a line that cannot be written within a moment is dropped from the log (the tail has
//! it), so the pipe is always emptied.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Bytes of the tail.
const TAIL: usize = 16 * 1024;
/// The longest piece that is passed on with one call: what a pipe takes as a whole.
const LINE: usize = 4096;
/// How long the server's own standard error may refuse a line.
const PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};

/// The last bytes that a worker wrote.
#[derive(Debug, Clone, Default)]
pub(super) struct Tail(Arc<Mutex<VecDeque<u8>>>);

// === impl Tail ===

impl Tail {
    /// Starts the thread that passes on what comes out of `pipe`.
    pub(super) fn follow(pipe: OwnedFd) -> io::Result<Self> {
        let tail = Self::default();
        let kept = tail.clone();
        std::thread::Builder::new()
            .name("worker-stderr".to_owned())
            .stack_size(128 * 1024)
            .spawn(move || {
                let mut reader = BufReader::with_capacity(LINE, File::from(pipe));
                let mut line = Vec::with_capacity(LINE);
                let mut patience = PATIENCE;
                while read_line(&mut reader, &mut line) {
                    kept.add(&line);
                    // One that was refused has waited for all that follow.
                    patience = match pass_on(&line, &patience) {
                        true => PATIENCE,
                        false => Timespec::default(),
                    };
                    line.clear();
                }
            })?;
        Ok(tail)
    }

    /// Returns the tail as text.
    pub(super) fn text(&self) -> String {
        let bytes: Vec<u8> = self.lock().iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn add(&self, bytes: &[u8]) {
        let mut tail = self.lock();
        tail.extend(bytes);
        let excess = tail.len().saturating_sub(TAIL);
        tail.drain(..excess);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a line, or a piece of one that is too long; returns whether there was one.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> bool {
    let mut limited = reader.take(LINE as u64);
    matches!(limited.read_until(b'\n', line), Ok(read) if read > 0)
}

/// Writes a line to the server's own standard error, if that takes it in time; returns whether it did.
fn pass_on(line: &[u8], patience: &Timespec) -> bool {
    let stderr = io::stderr();
    let mut polled = [PollFd::new(&stderr, PollFlags::OUT)];
    let taken = matches!(poll(&mut polled, Some(patience)), Ok(ready) if ready > 0);
    if taken {
        // A log that is gone is nothing that a worker's last words could mend.
        let _ = stderr.lock().write_all(line);
    }
    taken
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn the_tail_keeps_the_end_and_no_more() {
        let tail = Tail::default();
        tail.add(&[b'a'; TAIL]);
        tail.add(b"the end");
        let text = tail.text();
        assert_eq!(text.len(), TAIL);
        assert!(text.ends_with("the end"));
    }

    #[test]
    fn a_line_without_an_end_comes_in_pieces() {
        let mut reader = Cursor::new([vec![b'x'; LINE + 10], b"\nshort\n".to_vec()].concat());
        let mut lengths = Vec::new();
        let mut line = Vec::new();
        while read_line(&mut reader, &mut line) {
            lengths.push(line.len());
            line.clear();
        }
        assert_eq!(lengths, [LINE, 11, 6]);
    }
}
