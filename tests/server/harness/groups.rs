//! Real control groups of the first version: a pod's, and in it a container's.

use std::fs;
use std::path::{Path, PathBuf};

use super::processes::wait_until;

/// Where the kernel shows the hierarchies of the two controllers that matter here.
const HIERARCHIES: [&str; 2] = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/memory"];

/// A pod's group in each hierarchy, with a container's group inside; taken away when dropped, so
/// that whoever runs in it must have ended by then.
pub struct Pod {
    name: String,
}

// === impl Pod ===

impl Pod {
    /// Makes the groups, if this machine has such hierarchies and this process may.
    ///
    /// Where it may not, what the test is about is tested with made-up trees only, and the test says
    /// so. Root on a machine that has the hierarchies may: then it is a failure.
    pub fn try_new(name: &str) -> Option<Self> {
        let is_root = rustix::process::geteuid().is_root();
        let there = |hierarchy: &&str| Path::new(hierarchy).join("cgroup.procs").exists();
        if !is_root || !HIERARCHIES.iter().all(there) {
            eprintln!(
                "NOT TESTED HERE: real control groups need root and the first version's cpu and memory hierarchies; \
                 made-up trees are tested in impetus-actors (metrics::probe)"
            );
            return None;
        }
        let pod = Self {
            name: format!("impetus-test-{}-{name}", std::process::id()),
        };
        for hierarchy in HIERARCHIES {
            fs::create_dir_all(pod.group(hierarchy).join("container")).unwrap();
        }
        Some(pod)
    }

    /// Limits the pod, and so what is in its container, to a share of the cores.
    pub fn limit_cpu(&self, quota_us: i64) {
        let group = self.group(HIERARCHIES[0]);
        fs::write(group.join("cpu.cfs_period_us"), "100000").unwrap();
        fs::write(group.join("cpu.cfs_quota_us"), quota_us.to_string()).unwrap();
    }

    /// Limits the pod's memory.
    pub fn limit_memory(&self, bytes: u64) {
        let group = self.group(HIERARCHIES[1]);
        fs::write(group.join("memory.limit_in_bytes"), bytes.to_string()).unwrap();
    }

    /// Returns a line for a shell by which it goes into the container.
    pub fn enter(&self) -> String {
        let lines = HIERARCHIES.map(|hierarchy| {
            let procs = self.group(hierarchy).join("container/cgroup.procs");
            format!("echo $$ > {}", procs.display())
        });
        lines.join(" && ")
    }

    fn group(&self, hierarchy: &str) -> PathBuf {
        Path::new(hierarchy).join(&self.name)
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        for hierarchy in HIERARCHIES {
            let pod = self.group(hierarchy);
            // Whoever was in it may have ended a moment ago; the kernel takes its time to notice.
            wait_until("the control group is empty", || {
                fs::remove_dir(pod.join("container")).is_ok() || std::thread::panicking()
            });
            let _ = fs::remove_dir(pod);
        }
    }
}
