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

mod out_of_memory;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use crate::metrics::{ResourceProbe, SystemHost};

pub use out_of_memory::OutOfMemory;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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

/// Bytes in words.
struct Mib(u64);

impl fmt::Display for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} MiB", self.0 as f64 / MIB as f64)
    }
}

#[cfg(test)]
mod tests;
