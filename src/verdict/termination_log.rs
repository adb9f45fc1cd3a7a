//! The file in which the kubelet looks for why a container has ended.
//!
//! It is written at the verdict, because what follows it may be a SIGKILL, and emptied when the
//! verdict is taken back, because the kubelet would show it as the reason of a later end.
//!
//! **Invariant.** Whoever has something to say never waits for the disk: a thread of its own writes
//! the newest text and knows no older one. **How it fails.** With one line in the log, however
//! often: a server outside Kubernetes has no such file and needs none.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::SystemTime;

use crossbeam_channel::{Sender, bounded};
use impetus_supervision::{Event, Timestamp};
use tracing::warn;

/// What the kubelet reads at most.
const MOST: usize = 4096;

/// The file, and the thread that writes it.
pub(super) struct TerminationLog {
    slot: Arc<Mutex<Option<String>>>,
    bell: Sender<()>,
}

// === impl TerminationLog ===

impl TerminationLog {
    /// Starts the thread; without a path there is neither.
    pub(super) fn start(path: PathBuf) -> io::Result<Self> {
        let (bell, rung) = bounded(1);
        let slot = Arc::new(Mutex::new(None));
        if !path.as_os_str().is_empty() {
            let newest = Arc::clone(&slot);
            let take = move || lock(&newest).take();
            let mut file = File {
                path,
                has_text: false,
                complained: false,
            };
            thread::Builder::new()
                .name("termination-log".to_owned())
                .spawn(move || {
                    while rung.recv().is_ok() {
                        if let Some(text) = take() {
                            file.replace(&text);
                        }
                    }
                })?;
        }
        Ok(Self { slot, bell })
    }

    /// Leaves the reason and the events, newest last, to be written. Never waits.
    pub(super) fn say(&self, reason: &str, at: SystemTime, events: &[Event]) {
        self.leave(text(reason, at, events));
    }

    /// Leaves the file to be emptied. Never waits.
    pub(super) fn empty(&self) {
        self.leave(String::new());
    }

    fn leave(&self, text: String) {
        *lock(&self.slot) = Some(text);
        // A full bell has been rung and not heard yet; without a listener there is no file.
        let _ = self.bell.try_send(());
    }
}

fn lock(slot: &Mutex<Option<String>>) -> std::sync::MutexGuard<'_, Option<String>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the thread knows of the file.
struct File {
    path: PathBuf,
    /// Whether it holds something of ours.
    has_text: bool,
    complained: bool,
}

// === impl File ===

impl File {
    fn replace(&mut self, text: &str) {
        // A file that we have not written is not ours to empty.
        if text.is_empty() && !self.has_text {
            return;
        }
        match write(&self.path, text) {
            Ok(()) => self.has_text = !text.is_empty(),
            Err(error) if !self.complained => {
                self.complained = true;
                warn!(file = %self.path.display(), %error, "termination log not written");
            }
            Err(_) => {}
        }
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).open(path)?;
    file.write_all(text.as_bytes())
}

/// Returns one line that says all, and the events that fit after it, the newest first.
fn text(reason: &str, at: SystemTime, events: &[Event]) -> String {
    let head = format!(
        "not alive since {at}, impetus {version}, pid {pid}: {reason}",
        at = Timestamp::from(at),
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
    );
    let mut text = line(&head);
    for event in events.iter().rev() {
        let Event {
            at,
            actor,
            generation,
            kind,
            message,
            ..
        } = event;
        let event = line(&format!(
            "{at} {actor} (generation {}) {}: {message}",
            generation.get(),
            kind.as_str()
        ));
        if text.len() + event.len() > MOST {
            break;
        }
        text.push_str(&event);
    }
    text
}

/// Returns the text as one line that the kubelet reads to its end.
fn line(text: &str) -> String {
    let mut line = text.replace(['\n', '\r'], " ");
    line.truncate(line.floor_char_boundary(MOST - 1));
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, UNIX_EPOCH};

    use impetus_supervision::example;
    use tempfile::TempDir;

    use super::*;
    use crate::logging::tests::captured;

    fn noon() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_735_732_800)
    }

    /// Returns so many events, the message of each made from its number.
    fn events(count: usize, message: impl Fn(usize) -> String) -> Vec<Event> {
        let tree = example::tree().unwrap();
        let board = tree.running.board();
        for number in 0..count {
            board.note(&"counter".into(), message(number));
        }
        board.events(count)
    }

    #[test]
    fn the_first_line_says_all_and_the_newest_event_comes_next() {
        let events = events(3, |number| format!("event {number}"));
        let text = text("heartbeat_stale: the last beat", noon(), &events);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            format!(
                "not alive since 2025-01-01T12:00:00.000Z, impetus {}, pid {}: heartbeat_stale: the last beat",
                env!("CARGO_PKG_VERSION"),
                std::process::id()
            )
        );
        assert!(
            lines[1].contains("counter (generation 1) note: event 2"),
            "{text}"
        );
        assert!(lines[3].contains("event 0"), "{text}");
    }

    #[test]
    fn no_more_is_written_than_the_kubelet_reads_and_no_event_in_part() {
        let events = events(50, |number| {
            format!("event {number} {}\nsecond line", "ü".repeat(200))
        });
        let text = text("a reason", noon(), &events);
        assert!(text.len() <= MOST, "{}", text.len());
        assert!(text.lines().count() > 5, "{text}");
        assert!(
            text.lines()
                .skip(1)
                .all(|line| line.ends_with("second line"))
        );
    }

    #[test]
    fn a_reason_longer_than_the_file_may_be_is_cut() {
        let text = text(
            &"ü".repeat(5000),
            noon(),
            &events(1, |_| "event".to_owned()),
        );
        assert!((MOST - 2..=MOST).contains(&text.len()), "{}", text.len());
    }

    #[test]
    fn a_file_is_written_and_emptied_and_one_of_others_is_left_alone() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, "somebody else's, and longer than ours").unwrap();
        let mut file = File {
            path: path.clone(),
            has_text: false,
            complained: false,
        };
        file.replace("");
        assert!(fs::read_to_string(&path).unwrap().starts_with("somebody"));
        file.replace("a reason");
        assert_eq!(fs::read_to_string(&path).unwrap(), "a reason");
        file.replace("");
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
    }

    #[test]
    fn a_folder_that_is_not_there_is_one_log_line_however_often() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("not/there/log");
        let (log, ()) = captured(|| {
            let mut file = File {
                path: path.clone(),
                has_text: false,
                complained: false,
            };
            for _ in 0..3 {
                file.replace("a reason");
            }
        });
        assert_eq!(
            log.matches("termination log not written").count(),
            1,
            "{log}"
        );
        assert!(!path.parent().unwrap().exists());
    }
}
