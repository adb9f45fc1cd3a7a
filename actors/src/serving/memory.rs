//! Who may take how much memory, so that no worker takes the container down with it.
//!
//! The kubelet kills the whole container when one process is out of memory. So each worker has a
//! claim: what it had when it was loaded and warm, and headroom for its runs. The kernel enforces
//! the headroom for what it allocates (`RLIMIT_DATA`), so a run that explodes fails inside its worker
//! with an error. What that limit does not see (pages of files, shared memory) is watched: at the
//! soft limit a worker makes room for a fresh one, at the hard one it is killed.
//!
//! **Invariant:** the hard limits of all workers and what the server itself needs stay within a
//! share of what the container has. A worker whose claim would break that is not loaded, and the
//! refusal shows the arithmetic.
//!
//! Headroom that nobody states is the worker's fair share of what is free, within reason: four times
//! what it had when loaded, or a gigabyte, is enough for whatever a run needs on top.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::metrics::{ResourceProbe, SystemHost, oom_kills};

const MIB: u64 = 1 << 20;
/// The most headroom that is given unasked to a worker that is small itself.
const SMALL_HEADROOM: u64 = 1024 * MIB;
/// The most headroom that is given unasked, as a multiple of what the worker has when loaded.
const HEADROOM_MULTIPLE: u64 = 4;
/// What a worker takes before it has a model: the runtime's library, buffers, stacks.
const BARE_WORKER: u64 = 64 * MIB;

/// The bounds of the guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemorySettings {
    /// What there is, in bytes, if less than the container or the machine has.
    pub limit: Option<u64>,
    /// Share of the limit that may be claimed, in percent.
    pub usable_percent: u8,
    /// What is set aside for the server itself, in bytes.
    pub server_reserve: u64,
    /// Headroom of every worker in bytes, where it is stated.
    pub headroom: Option<u64>,
    /// The least headroom with which a worker is loaded at all.
    pub headroom_min: u64,
    /// Least time between two recyclings of one worker.
    pub recycle_pause: Duration,
}

/// Keeps the claims.
#[derive(Debug)]
pub struct MemoryGuard {
    settings: MemorySettings,
    /// Read when a worker is loaded, so that looking at the figures reads nothing.
    probe: Mutex<Option<ResourceProbe>>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Bytes by the number of the claim.
    claims: BTreeMap<u64, u64>,
    next: u64,
    /// What the container or the machine has.
    found: Option<u64>,
    /// What the server itself has.
    server: u64,
}

/// A worker's share of memory; given back when it is dropped.
#[derive(Debug)]
pub struct Claim {
    guard: Arc<MemoryGuard>,
    id: u64,
    room: u64,
}

/// What a worker may take, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerMemory {
    /// Resident when it was loaded and warm.
    pub base_bytes: u64,
    /// What it may have allocated (`RLIMIT_DATA`).
    pub data_limit_bytes: u64,
    /// Resident memory at which it makes room for a fresh worker.
    pub soft_limit_bytes: u64,
    /// Resident memory at which it is killed.
    pub hard_limit_bytes: u64,
}

/// What a worker that is loaded and warm has, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Resident memory.
    pub resident: u64,
    /// Memory of its own that it may write, resident or not (`VmData`).
    pub data: u64,
    /// Memory it shares with the server.
    pub shared: u64,
    /// Headroom that its model states.
    pub headroom: Option<u64>,
}

/// The arithmetic at one moment, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryFigures {
    /// What there is.
    pub limit_bytes: u64,
    /// What may be claimed of it.
    pub usable_bytes: u64,
    /// What is set aside for the server.
    pub server_bytes: u64,
    /// The hard limits of all workers together.
    pub workers_bytes: u64,
    /// What is left for further workers.
    pub free_bytes: u64,
}

/// A worker that does not fit, with the arithmetic.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "it does not fit into memory: it needs {need} ({base} and {headroom} of headroom), and {free} is left: \
     {usable} of {limit} may be used, less {server} for the server and {workers} for other workers; \
     give the container more memory, run fewer workers, or state less headroom (memory.headroom)",
    need = Mib(*base + *headroom),
    base = Mib(*base),
    headroom = Mib(*headroom),
    free = Mib(figures.free_bytes),
    usable = Mib(figures.usable_bytes),
    limit = Mib(figures.limit_bytes),
    server = Mib(figures.server_bytes),
    workers = Mib(figures.workers_bytes),
)]
pub struct NoRoom {
    /// What the worker itself takes.
    pub base: u64,
    /// What it needs beside that.
    pub headroom: u64,
    /// What there is.
    pub figures: MemoryFigures,
}

// === impl MemoryGuard ===

impl MemoryGuard {
    /// Makes a guard without claims.
    #[must_use]
    pub fn new(settings: MemorySettings) -> Self {
        // A machine whose memory cannot be read is guarded by what is configured, or not at all.
        let probe = SystemHost::new()
            .and_then(|host| ResourceProbe::new("/".into(), Box::new(host)))
            .ok();
        Self {
            settings,
            probe: Mutex::new(probe),
            inner: Mutex::default(),
        }
    }

    /// Returns the least time between two recyclings of one worker.
    #[must_use]
    pub fn recycle_pause(&self) -> Duration {
        self.settings.recycle_pause
    }

    /// Claims room for a worker that is about to be loaded, which may allocate its share of what is
    /// free until it has been measured. `expected` is what the last worker of its model had, if
    /// there was one, and `planned` how many workers of the model, this one included, are to share.
    ///
    /// # Errors
    /// It would not fit, whatever its headroom.
    pub fn admit(
        self: &Arc<Self>,
        file: u64,
        expected: Option<u64>,
        planned: usize,
    ) -> Result<Claim, NoRoom> {
        let base = expected.unwrap_or(BARE_WORKER.saturating_add(file.saturating_mul(2)));
        let headroom = self.settings.headroom_min;
        self.read();
        let mut inner = self.lock();
        let figures = self.figures_of(&inner);
        let need = base.saturating_add(headroom);
        if need > figures.free_bytes {
            return Err(NoRoom {
                base,
                headroom,
                figures,
            });
        }
        inner.next += 1;
        let id = inner.next;
        inner.claims.insert(id, need);
        Ok(Claim {
            guard: Arc::clone(self),
            id,
            room: (figures.free_bytes / planned.max(1) as u64).max(need),
        })
    }

    /// Sets the limits of a worker that is loaded and warm. `planned` is how many workers of its
    /// model, this one included, have yet to be given theirs.
    ///
    /// # Errors
    /// With what it has and the least headroom, or the one stated, it does not fit.
    fn settle(&self, id: u64, measured: Measured, planned: usize) -> Result<WorkerMemory, NoRoom> {
        let base = measured.resident.saturating_add(measured.shared);
        self.read();
        let mut inner = self.lock();
        inner.claims.remove(&id);
        let figures = self.figures_of(&inner);
        let share = figures.free_bytes / planned.max(1) as u64;
        let stated = measured.headroom.or(self.settings.headroom);
        let least = stated.unwrap_or(self.settings.headroom_min);
        let free = figures.free_bytes.saturating_sub(base);
        if base > figures.free_bytes || least > free {
            return Err(NoRoom {
                base,
                headroom: least,
                figures,
            });
        }
        let enough = SMALL_HEADROOM.max(base.saturating_mul(HEADROOM_MULTIPLE));
        let headroom =
            stated.unwrap_or_else(|| share.saturating_sub(base).clamp(least, enough.max(least)));
        let headroom = headroom.min(free);
        let hard = base.saturating_add(headroom);
        inner.claims.insert(id, hard);
        Ok(WorkerMemory {
            base_bytes: measured.resident,
            data_limit_bytes: measured.data.saturating_add(headroom),
            soft_limit_bytes: base.saturating_add(headroom / 2),
            hard_limit_bytes: hard,
        })
    }

    /// Returns the arithmetic as it is now.
    #[must_use]
    pub fn figures(&self) -> MemoryFigures {
        self.figures_of(&self.lock())
    }

    fn figures_of(&self, inner: &Inner) -> MemoryFigures {
        let found = inner.found.unwrap_or(u64::MAX);
        let limit = self.settings.limit.unwrap_or(u64::MAX).min(found);
        let usable = limit / 100 * u64::from(self.settings.usable_percent.min(100));
        let server = inner.server.max(self.settings.server_reserve);
        let workers = inner
            .claims
            .values()
            .fold(0, |sum: u64, claim| sum.saturating_add(*claim));
        MemoryFigures {
            limit_bytes: limit,
            usable_bytes: usable,
            server_bytes: server,
            workers_bytes: workers,
            free_bytes: usable.saturating_sub(server).saturating_sub(workers),
        }
    }

    /// Reads what there is, and what the server itself has; what cannot be read stays as it was.
    fn read(&self) {
        let mut probe = self.probe.lock().unwrap_or_else(PoisonError::into_inner);
        // The time only matters to figures of the processor, which nobody reads here.
        if let Some(sample) = probe.as_mut().and_then(|p| p.sample(Duration::ZERO).ok()) {
            let mut inner = self.lock();
            inner.found = Some(sample.memory_limit_bytes);
            inner.server = sample.process_resident_bytes;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Claim ===

impl Claim {
    /// Returns what the worker may allocate until it has been measured, in bytes.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.room
    }

    /// Makes the claim what a worker that is loaded and warm needs, and returns its limits.
    /// `planned` is how many workers of its model, this one included, have yet to be given theirs.
    ///
    /// # Errors
    /// With what it has and the least headroom, or the one stated, it does not fit.
    pub fn settle(&self, measured: Measured, planned: usize) -> Result<WorkerMemory, NoRoom> {
        self.guard.settle(self.id, measured, planned)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.guard.lock().claims.remove(&self.id);
    }
}

/// What the kernel has killed in this container for want of memory, so that a kill can be told from
/// one that somebody else is behind. Each such kill explains the loss of one worker, and only one
/// that comes at about the same time.
#[derive(Debug, Default)]
pub struct OutOfMemory(Mutex<OomKills>);

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
        if let Some(count) = oom_kills(Path::new("/")) {
            self.lock().note(count, Instant::now());
        }
    }

    /// Tells whether a kill that has just been found may have been the kernel's.
    #[must_use]
    pub fn explains_a_kill(&self) -> bool {
        oom_kills(Path::new("/")).is_some_and(|count| self.lock().explain(count, Instant::now()))
    }

    fn lock(&self) -> MutexGuard<'_, OomKills> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Bytes in words.
struct Mib(u64);

impl fmt::Display for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} MiB", self.0 as f64 / MIB as f64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn guard(limit: u64) -> Arc<MemoryGuard> {
        Arc::new(MemoryGuard {
            settings: MemorySettings {
                limit: Some(limit),
                usable_percent: 90,
                server_reserve: 64 * MIB,
                headroom: None,
                headroom_min: 64 * MIB,
                recycle_pause: Duration::from_secs(60),
            },
            probe: Mutex::new(None),
            inner: Mutex::default(),
        })
    }

    /// Loads a worker and has it measured.
    fn load(
        guard: &Arc<MemoryGuard>,
        measured: Measured,
        planned: usize,
    ) -> Result<(Claim, WorkerMemory), NoRoom> {
        let claim = guard.admit(0, Some(measured.resident), planned)?;
        let memory = claim.settle(measured, planned)?;
        Ok((claim, memory))
    }

    fn measured(resident: u64) -> Measured {
        Measured {
            resident: resident * MIB,
            data: 30 * MIB,
            shared: 0,
            headroom: None,
        }
    }

    #[test]
    fn workers_share_what_is_free_and_stay_within_it_together() {
        let guard = guard(1000 * MIB);
        let (_first, first) = load(&guard, measured(70), 2).unwrap();
        let (_second, second) = load(&guard, measured(70), 1).unwrap();
        let spent = first.hard_limit_bytes + second.hard_limit_bytes;
        assert!(spent <= guard.figures().usable_bytes - 64 * MIB);
        // Neither took the share of the other.
        assert!(first.hard_limit_bytes.abs_diff(second.hard_limit_bytes) <= MIB);
        assert!(first.soft_limit_bytes < first.hard_limit_bytes);
        assert_eq!(
            first.data_limit_bytes - 30 * MIB,
            first.hard_limit_bytes - 70 * MIB
        );
    }

    #[test]
    fn on_a_large_machine_headroom_is_within_reason() {
        let guard = guard(1 << 40);
        let (_small, small) = load(&guard, measured(70), 1).unwrap();
        assert_eq!(small.hard_limit_bytes, 70 * MIB + SMALL_HEADROOM);
        let (_large, large) = load(&guard, measured(5000), 1).unwrap();
        assert_eq!(large.hard_limit_bytes, 5000 * MIB * 5);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_arithmetic() {
        let guard = guard(300 * MIB);
        let (first, _) = load(&guard, measured(70), 1).unwrap();
        let refusal = guard.admit(0, Some(70 * MIB), 1).unwrap_err();
        let text = refusal.to_string();
        for part in [
            "134.0 MiB",
            "70.0 MiB",
            "64.0 MiB",
            "270.0 MiB",
            "300.0 MiB",
            "206.0 MiB",
        ] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
        drop(first);
        guard.admit(0, Some(70 * MIB), 1).unwrap();
    }

    #[test]
    fn a_stated_headroom_is_given_or_refused_but_never_cut() {
        let guard = guard(1000 * MIB);
        let stated = |headroom| Measured {
            headroom: Some(headroom * MIB),
            ..measured(70)
        };
        let (_given, given) = load(&guard, stated(300), 1).unwrap();
        assert_eq!(given.hard_limit_bytes, 370 * MIB);
        let refused = load(&guard, stated(700), 1).unwrap_err();
        assert_eq!(refused.headroom, 700 * MIB);
    }

    #[test]
    fn a_claim_is_given_back_with_whoever_had_it() {
        let guard = guard(1000 * MIB);
        let (claim, _) = load(&guard, measured(70), 1).unwrap();
        assert!(guard.figures().workers_bytes > 70 * MIB);
        // Also one whose worker did not fit in the end.
        let too_large = guard.admit(0, Some(70 * MIB), 1);
        drop(too_large);
        drop(claim);
        assert_eq!(guard.figures().workers_bytes, 0);
    }

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

    proptest! {
        #[test]
        fn claims_never_exceed_what_may_be_used(
            limit in 100_u64..100_000,
            workers in prop::collection::vec((1_u64..4000, 1_usize..5), 1..20),
        ) {
            let guard = guard(limit * MIB);
            let mut loaded = Vec::new();
            for (resident, planned) in workers {
                // Refusals are part of the game.
                loaded.extend(load(&guard, measured(resident), planned));
                let figures = guard.figures();
                prop_assert!(figures.workers_bytes + figures.server_bytes <= figures.usable_bytes
                    || figures.workers_bytes == 0);
            }
        }
    }
}
