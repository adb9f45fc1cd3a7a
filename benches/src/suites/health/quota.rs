//! A CPU quota around processes that run already, as a container has one; version 1 and 2 of
//! control groups. Needs the right to make a group, which root has.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::process::{children, cores, pause};

/// The period of the quota, the kernel's usual one, in microseconds.
const PERIOD: u32 = 100_000;
/// How long processes may take to have left the group.
const PATIENCE: Duration = Duration::from_secs(2);

/// A control group with a quota; dropping it sets its processes free and removes it.
pub(super) struct Quota {
    group: PathBuf,
    /// Where its processes go when it ends: the group it was made in.
    above: PathBuf,
}

// === impl Quota ===

impl Quota {
    /// Puts a process and its children under a quota of one part in `share` of the machine.
    pub(super) fn of(share: u32, pid: u32) -> anyhow::Result<Self> {
        let first = Path::new("/sys/fs/cgroup/cpu");
        let second = Path::new("/sys/fs/cgroup");
        let old = first.join("cpu.cfs_quota_us").exists();
        let above = if old { first } else { second };
        let group = above.join(format!("impetus-bench-{}", std::process::id()));
        fs::create_dir(&group).with_context(|| group.display().to_string())?;
        let quota = Self {
            group,
            above: above.to_owned(),
        };
        let cores = u32::try_from(cores())?;
        let micros = cores * PERIOD / share;
        if old {
            quota.write("cpu.cfs_period_us", &PERIOD.to_string())?;
            quota.write("cpu.cfs_quota_us", &micros.to_string())?;
        } else {
            quota.write("cpu.max", &format!("{micros} {PERIOD}"))?;
        }
        for process in [pid].into_iter().chain(children(pid)) {
            quota.write("cgroup.procs", &process.to_string())?;
        }
        Ok(quota)
    }

    /// Returns in how many periods the group was throttled.
    pub(super) fn throttled(&self) -> u64 {
        let stat = fs::read_to_string(self.group.join("cpu.stat")).unwrap_or_default();
        stat.lines()
            .find_map(|line| line.strip_prefix("nr_throttled "))
            .and_then(|count| count.parse().ok())
            .unwrap_or_default()
    }

    fn write(&self, file: &str, text: &str) -> anyhow::Result<()> {
        let path = self.group.join(file);
        fs::write(&path, text).with_context(|| path.display().to_string())
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let members = fs::read_to_string(self.group.join("cgroup.procs")).unwrap_or_default();
            for pid in members.lines() {
                // One that has ended meanwhile is gone from the group as well.
                let _ = fs::write(self.above.join("cgroup.procs"), pid);
            }
            if fs::remove_dir(&self.group).is_ok() {
                return;
            }
            pause(Duration::from_millis(20));
        }
    }
}
