//! What the machine does while something is measured, and whether that spoils the measurement.
//!
//! A shared machine lies in two ways: the hypervisor gives the core to somebody else (*steal*), and
//! other programs of this machine take it (*foreign* time). Both are read from `/proc/stat`
//! around each round. A round with too much of either is rejected and taken again, a bounded number
//! of times; a figure that no quiet round stands behind is marked as such.
//!
//! Figures of the kernel are in ticks of 10 ms, so a round has to last a second or so.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;

use crate::process::{self, Cpu};

/// Most steal of a round that counts, as a share of all cores.
const MOST_STEAL: f64 = 0.04;
/// Most time of other programs in a round that counts, as a share of all cores.
const MOST_FOREIGN: f64 = 0.05;

/// What others did during a round, as shares of the time of all cores.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Noise {
    pub(crate) steal: f64,
    pub(crate) foreign: f64,
}

/// A round that is being watched.
pub(crate) struct Watch {
    began: Instant,
    stat: Stat,
    own: Cpu,
}

#[derive(Debug, Clone, Copy)]
struct Stat {
    busy: f64,
    steal: f64,
}

/// The machine in words; no name that leads to it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    cores: usize,
    cpu: String,
    kernel: String,
    memory_mib: u64,
}

// === impl Noise ===

impl Noise {
    pub(crate) fn is_quiet(self) -> bool {
        self.steal <= MOST_STEAL && self.foreign <= MOST_FOREIGN
    }
}

impl fmt::Display for Noise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "steal {:.1}%, foreign {:.1}%{}",
            self.steal * 1e2,
            self.foreign * 1e2,
            if self.is_quiet() { "" } else { ": rejected" }
        )
    }
}

// === impl Watch ===

impl Watch {
    /// Begins to watch; the trees of `roots` and this process are no noise.
    pub(crate) fn begin(roots: &[u32]) -> anyhow::Result<Self> {
        Ok(Self {
            own: own(roots)?,
            stat: Stat::read()?,
            began: Instant::now(),
        })
    }

    /// Ends the round. `roots` may differ from those at the beginning when what ended has been
    /// waited for; `ended` is the time of what could not be.
    pub(crate) fn end(&self, roots: &[u32], ended: Cpu) -> anyhow::Result<Noise> {
        let all = self.began.elapsed().as_secs_f64() * process::cores() as f64;
        let stat = Stat::read()?;
        let own = (own(roots)?.seconds() + ended.seconds() - self.own.seconds()).max(0.0);
        Ok(Noise {
            steal: (stat.steal - self.stat.steal) / all,
            foreign: (stat.busy - self.stat.busy - own).max(0.0) / all,
        })
    }
}

fn own(roots: &[u32]) -> anyhow::Result<Cpu> {
    let mut own = Cpu::of_process(std::process::id())?;
    for root in roots {
        own = own.plus(Cpu::of_tree(*root)?);
    }
    Ok(own)
}

// === impl Stat ===

impl Stat {
    fn read() -> anyhow::Result<Self> {
        let stat =
            std::fs::read_to_string("/proc/stat").context("benchmarks need Linux's /proc")?;
        let line = stat.lines().next().unwrap_or_default();
        let ticks: Vec<f64> = line
            .split_whitespace()
            .skip(1)
            .filter_map(|field| field.parse().ok())
            .collect();
        let at = |index: usize| ticks.get(index).copied().unwrap_or_default() / process::ticks();
        // user, nice, system; interrupts belong to nobody in particular.
        Ok(Self {
            busy: at(0) + at(1) + at(2),
            steal: at(7),
        })
    }
}

/// Waits for a quiet second, `patience` at most; says whether one came.
pub(crate) fn wait_for_quiet(roots: &[u32], patience: Duration) -> anyhow::Result<bool> {
    let end = Instant::now() + patience;
    while Instant::now() < end {
        let watch = Watch::begin(roots)?;
        process::pause(Duration::from_millis(500));
        if watch.end(roots, Cpu::default())?.is_quiet() {
            return Ok(true);
        }
    }
    Ok(false)
}

// === impl Machine ===

impl Machine {
    pub(crate) fn read() -> Self {
        let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(|rest| rest.trim_start_matches([' ', '\t', ':']).trim().to_owned())
                .unwrap_or_default()
        };
        let memory = field(&file("/proc/meminfo"), "MemTotal");
        let kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
        // Release numbers only: what a builder appends may name the place.
        let release = file("/proc/sys/kernel/osrelease");
        let kernel = release.trim().split('-').next().unwrap_or_default();
        Self {
            cores: process::cores(),
            cpu: field(&file("/proc/cpuinfo"), "model name"),
            kernel: kernel.to_owned(),
            memory_mib: kib / 1024,
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cores, {}, {} GiB, Linux {}",
            self.cores,
            self.cpu,
            self.memory_mib.div_ceil(1024),
            self.kernel
        )
    }
}
