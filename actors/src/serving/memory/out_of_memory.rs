//! Kills by the kernel for want of memory, told apart from those by somebody else.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::metrics::{oom_counter, oom_kills};

/// What the kernel has killed in this container for want of memory, so that a kill can be told from
/// one that somebody else is behind. Each such kill explains the loss of one worker, and only one
/// that comes at about the same time.
#[derive(Debug, Default)]
pub struct OutOfMemory {
    counter: OnceLock<Option<PathBuf>>,
    kills: Mutex<OomKills>,
}

#[derive(Debug, Default)]
struct OomKills {
    /// Kills that can explain no loss any more.
    explained: u64,
    /// Kills when it was last looked, and since when there were so many.
    seen: Option<(u64, Instant)>,
}

/// How long a kill may explain a loss: longer than it takes to notice one.
const EXPLAINS_FOR: Duration = Duration::from_secs(2);

// === impl OutOfMemory ===

impl OutOfMemory {
    /// Looks how many there are. Done several times a second, so that old ones explain nothing.
    pub fn look(&self) {
        if let Some(count) = self.count() {
            self.lock().note(count, Instant::now());
        }
    }

    /// Tells whether a kill that has just been found may have been the kernel's.
    #[must_use]
    pub fn explains_a_kill(&self) -> bool {
        self.count()
            .is_some_and(|count| self.lock().explain(count, Instant::now()))
    }

    fn count(&self) -> Option<u64> {
        let counter = self.counter.get_or_init(|| oom_counter(Path::new("/")));
        oom_kills(counter.as_deref()?)
    }

    fn lock(&self) -> MutexGuard<'_, OomKills> {
        self.kills.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl OomKills ===

impl OomKills {
    fn note(&mut self, count: u64, now: Instant) {
        match self.seen {
            None => self.explained = count,
            Some((seen, since)) if seen == count => {
                if now.saturating_duration_since(since) >= EXPLAINS_FOR {
                    self.explained = count;
                }
                return;
            }
            Some(_) => {}
        }
        self.seen = Some((count, now));
    }

    fn explain(&mut self, count: u64, now: Instant) -> bool {
        self.note(count, now);
        let explains = count > self.explained;
        self.explained += u64::from(explains);
        explains
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_kill_of_the_kernel_explains_one_loss_and_only_at_its_time() {
        let mut kills = OomKills::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!kills.explain(7, at(0)), "it was before our time");
        assert!(kills.explain(8, at(10)));
        assert!(!kills.explain(8, at(10)), "one loss each");
        kills.note(9, at(20));
        kills.note(9, at(23));
        assert!(!kills.explain(9, at(24)), "that was somebody else");
        assert!(kills.explain(10, at(25)));
    }
}
