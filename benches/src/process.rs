//! Processes as `/proc` shows them, and the one place where a benchmark waits in real time.

use std::fs;
use std::io;
use std::time::Duration;

use anyhow::Context;

/// CPU time of one or more processes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cpu {
    ticks: u64,
}

/// What a process's threads have done so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Switches {
    /// Times a thread went to sleep by itself.
    pub(crate) voluntary: u64,
    /// Times it was made to give its core up.
    pub(crate) involuntary: u64,
}

// === impl Cpu ===

impl Cpu {
    /// Returns the time of a process and of those of its children that it has waited for.
    pub(crate) fn of_process(pid: u32) -> anyhow::Result<Self> {
        Self::read(pid).with_context(|| format!("process {pid} cannot be read"))
    }

    /// Returns the time of a process and of everything it has started.
    pub(crate) fn of_tree(pid: u32) -> anyhow::Result<Self> {
        let mut all = Self::of_process(pid)?;
        for child in children(pid) {
            // One that ends in between is counted by its parent.
            all = all.plus(Self::read(child).unwrap_or_default());
        }
        Ok(all)
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            ticks: self.ticks + other.ticks,
        }
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self {
            ticks: self.ticks.saturating_sub(other.ticks),
        }
    }

    /// Adds what the kernel's figures cut off: half a tick for each process on average.
    pub(crate) fn with_cut_ticks(self, processes: usize) -> Self {
        Self {
            ticks: self.ticks + (processes as u64).div_ceil(2),
        }
    }

    pub(crate) fn seconds(self) -> f64 {
        self.ticks as f64 / ticks()
    }

    fn read(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name may hold spaces and brackets; what follows it does not.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks = fields
            .split_whitespace()
            .skip(11)
            .take(4)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        Ok(Self { ticks })
    }
}

// === impl Switches ===

impl Switches {
    /// Returns the context switches of all threads of a process and of those it has started.
    pub(crate) fn of_tree(pid: u32) -> Self {
        let mut all = Self::default();
        for process in [pid].into_iter().chain(children(pid)) {
            for task in tasks(process) {
                let status = fs::read_to_string(format!("/proc/{process}/task/{task}/status"));
                let status = status.unwrap_or_default();
                all.voluntary += field(&status, "voluntary_ctxt_switches:").unwrap_or_default();
                all.involuntary +=
                    field(&status, "nonvoluntary_ctxt_switches:").unwrap_or_default();
            }
        }
        all
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            voluntary: self.voluntary.saturating_sub(earlier.voluntary),
            involuntary: self.involuntary.saturating_sub(earlier.involuntary),
        }
    }
}

/// Returns the processes that a process has started and that have not ended.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let of_task = |task: u32| {
        let list = fs::read_to_string(format!("/proc/{pid}/task/{task}/children"));
        let list = list.unwrap_or_default();
        let children: Vec<u32> = list
            .split_whitespace()
            .filter_map(|child| child.parse().ok())
            .collect();
        children
    };
    tasks(pid).into_iter().flat_map(of_task).collect()
}

/// Returns a figure of `/proc/<pid>/status` such as `VmRSS:`, in the unit it has there.
pub(crate) fn status(pid: u32, name: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    field(&status, name).with_context(|| format!("process {pid} has no {name}"))
}

/// Tells whether every thread of a process has been stopped, or has ended.
pub(crate) fn stands_still(pid: u32) -> bool {
    tasks(pid).into_iter().all(|task| {
        let stat = fs::read_to_string(format!("/proc/{pid}/task/{task}/stat"));
        let stat = stat.unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        matches!(fields.trim_start().chars().next(), Some('T') | None)
    })
}

/// Returns how many cores there are.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Returns the kernel's ticks in a second.
pub(crate) fn ticks() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// Lets time pass.
#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark paces itself in real time, on a thread of its own"
)]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

fn tasks(pid: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn field(status: &str, name: &str) -> Option<u64> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}
