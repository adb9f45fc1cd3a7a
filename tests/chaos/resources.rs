//! What the server holds: memory, threads, descriptors, children.

use std::fs;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::harness::processes::{children, resident_bytes, threads};
use crate::site::Site;

/// What one process holds at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Footprint {
    /// Bytes of it that are in memory.
    pub resident: u64,
    pub threads: usize,
    pub descriptors: usize,
    /// Children, workers all of them, that have not ended.
    pub children: usize,
    /// Children that have ended and were not reaped.
    pub zombies: usize,
}

/// Readings in a row that must agree before the server counts as being at rest.
const AGREEING: usize = 20;
const BETWEEN: Duration = Duration::from_millis(50);
/// A server that never comes to rest is measured as it is then.
const LONGEST: Duration = Duration::from_secs(15);

// === impl Footprint ===

impl Footprint {
    /// Returns what the server holds: nothing if it is gone.
    pub fn of(site: &Site) -> Self {
        if site.is_gone() {
            return Self::default();
        }
        let pid = site.server.pid();
        let children = children(pid);
        let zombies = children.iter().filter(|child| child.state == 'Z').count();
        Self {
            resident: resident_bytes(pid),
            threads: threads(pid).len(),
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(),
            children: children.len() - zombies,
            zombies,
        }
    }

    /// Waits until connections are closed, workers reaped and threads ended, and measures then.
    pub fn at_rest(site: &Site) -> Self {
        let deadline = Instant::now() + LONGEST;
        let mut last = Self::of(site);
        let mut agreeing = 1;
        while agreeing < AGREEING && Instant::now() < deadline {
            std::thread::park_timeout(BETWEEN);
            let now = Self::of(site);
            agreeing = if now.is_like(&last) { agreeing + 1 } else { 1 };
            last = now;
        }
        last
    }

    /// Memory comes and goes by a few pages without anything happening.
    fn is_like(&self, other: &Self) -> bool {
        let counted = |footprint: &Self| Self {
            resident: 0,
            ..*footprint
        };
        counted(self) == counted(other)
    }
}
