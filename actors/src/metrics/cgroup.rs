//! Reading the control groups this process lives in.
//!
//! A container's limits are those of its control group, and of every group above it that can be
//! seen from inside: the limit that bites first is the smallest one, and what counts against it is
//! the usage of the group that sets it, siblings included. Which hierarchy holds a controller is
//! told by `/proc/self/cgroup`: a controller named there belongs to a hierarchy of the first
//! version, any other to the unified one, so a hybrid machine needs no special case.
//!
//! The path in `/proc/self/cgroup` is often that of the host while `/sys/fs/cgroup` shows only the
//! container's part; then the path does not exist and the mount itself is the group.
//!
//! **Invariant:** a limit that is not there is no limit, and a limit that cannot be understood is
//! an error; the two are never confused. Sources: the kernel's `cgroup-v2.rst`,
//! `cgroup-v1/memory.rst` and `scheduler/sched-bwc.rst`.

use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use super::sample::{ResourceError, Source};

/// The groups of this process, one hierarchy per controller.
#[derive(Debug)]
pub(crate) struct Cgroups {
    memory: Option<Hierarchy>,
    cpu: Option<Hierarchy>,
    /// Where the first version accounts for usage; the unified hierarchy does it in `cpu`.
    cpu_accounting: Option<Hierarchy>,
}

/// Memory under a group's limit, in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct GroupMemory {
    pub(crate) limit: u64,
    pub(crate) working_set: u64,
    pub(crate) source: Source,
}

/// Processor time under a group's quota.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GroupCpu {
    /// The quota, in cores.
    pub(crate) cores: f64,
    /// Time used so far, in nanoseconds; `None` where nobody counts it for this group.
    pub(crate) used_nanos: Option<u64>,
    /// The group that sets the quota; usage of another group is no continuation of this one's.
    pub(crate) group: PathBuf,
    pub(crate) source: Source,
}

/// One mounted hierarchy and this process's place in it.
#[derive(Clone, Debug)]
struct Hierarchy {
    mount: PathBuf,
    /// Path of the group below the mount, empty for the mount itself.
    group: PathBuf,
    unified: bool,
}

// === impl Cgroups ===

impl Cgroups {
    /// Finds this process's groups below `root` (`/` but for tests). A machine without control
    /// groups has none, which is no error.
    pub(crate) fn locate(root: &Path) -> Result<Self, ResourceError> {
        let membership = read_optional(&root.join("proc/self/cgroup"))?.unwrap_or_default();
        let mounts = root.join("sys/fs/cgroup");
        let locate = |controller| Hierarchy::locate(&mounts, &membership, controller);
        Ok(Self {
            memory: locate("memory"),
            cpu: locate("cpu"),
            cpu_accounting: locate("cpuacct").filter(|hierarchy| !hierarchy.unified),
        })
    }

    /// Reads the memory under the smallest limit below `ceiling` bytes, `None` where no group sets
    /// one.
    pub(crate) fn memory(&self, ceiling: u64) -> Result<Option<GroupMemory>, ResourceError> {
        let Some(hierarchy) = &self.memory else {
            return Ok(None);
        };
        let files = if hierarchy.unified {
            &MEMORY_V2
        } else {
            &MEMORY_V1
        };
        let mut smallest: Option<(u64, PathBuf)> = None;
        for group in hierarchy.groups() {
            let limit = read_limit(&hierarchy.directory(&group).join(files.limit))?;
            let bound = smallest.as_ref().map_or(ceiling, |(limit, _)| *limit);
            if let Some(limit) = limit.filter(|&limit| limit < bound) {
                smallest = Some((limit, group));
            }
        }
        let Some((limit, group)) = smallest else {
            return Ok(None);
        };
        let directory = hierarchy.directory(&group);
        let usage = read_number(&directory.join(files.usage))?;
        let inactive = read_field(&directory.join("memory.stat"), files.inactive_file)?;
        let working_set = usage.saturating_sub(inactive);
        Ok(Some(GroupMemory {
            limit,
            working_set,
            source: hierarchy.source(),
        }))
    }

    /// Reads the processor time under the smallest quota below `ceiling` cores, `None` where no
    /// group sets one.
    pub(crate) fn cpu(&self, ceiling: f64) -> Result<Option<GroupCpu>, ResourceError> {
        let Some(hierarchy) = &self.cpu else {
            return Ok(None);
        };
        let mut smallest: Option<(f64, PathBuf)> = None;
        for group in hierarchy.groups() {
            let quota = hierarchy.read_quota(&group)?;
            let bound = smallest.as_ref().map_or(ceiling, |(cores, _)| *cores);
            if let Some(cores) = quota.filter(|&cores| cores < bound) {
                smallest = Some((cores, group));
            }
        }
        let Some((cores, group)) = smallest else {
            return Ok(None);
        };
        let used_nanos = self.read_cpu_usage(hierarchy, &group)?;
        Ok(Some(GroupCpu {
            cores,
            used_nanos,
            group,
            source: hierarchy.source(),
        }))
    }

    /// The first version may account in a hierarchy of its own, in which this group need not exist.
    fn read_cpu_usage(
        &self,
        quota: &Hierarchy,
        group: &Path,
    ) -> Result<Option<u64>, ResourceError> {
        if quota.unified {
            let micros = read_field(&quota.directory(group).join("cpu.stat"), "usage_usec")?;
            return Ok(Some(micros.saturating_mul(1_000)));
        }
        let accounting = self.cpu_accounting.as_ref().unwrap_or(quota);
        let file = accounting.directory(group).join("cpuacct.usage");
        let Some(text) = read_optional(&file)? else {
            return Ok(None);
        };
        let used = text.trim().parse();
        used.map(Some).map_err(|_| not_understood(&file, &text))
    }
}

/// Returns the file in which the kernel counts the processes of this container that it has killed for
/// want of memory, `None` where there is none. A process does not change its group by itself, so the
/// file is looked for once.
pub(crate) fn oom_counter(root: &Path) -> Option<PathBuf> {
    let hierarchy = Cgroups::locate(root).ok()?.memory?;
    let file = if hierarchy.unified {
        "memory.events"
    } else {
        "memory.oom_control"
    };
    Some(hierarchy.directory(&hierarchy.group).join(file))
}

/// Reads such a count, `None` where this kernel keeps none.
pub(crate) fn oom_kills(counter: &Path) -> Option<u64> {
    read_field(counter, "oom_kill").ok()
}

/// Names of the files that tell about memory in one version of the hierarchy.
struct MemoryFiles {
    limit: &'static str,
    usage: &'static str,
    inactive_file: &'static str,
}

const MEMORY_V2: MemoryFiles = MemoryFiles {
    limit: "memory.max",
    usage: "memory.current",
    inactive_file: "inactive_file",
};

const MEMORY_V1: MemoryFiles = MemoryFiles {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    inactive_file: "total_inactive_file",
};

// === impl Hierarchy ===

impl Hierarchy {
    fn locate(mounts: &Path, membership: &str, controller: &str) -> Option<Self> {
        let mut unified = None;
        for line in membership.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
                continue;
            };
            if controllers.is_empty() {
                unified = Some(path);
            } else if controllers.split(',').any(|name| name == controller) {
                let mount = [controllers, controller].map(|name| mounts.join(name));
                let mount = mount.into_iter().find(|mount| mount.is_dir())?;
                return Some(Self::new(mount, path, false));
            }
        }
        let is_unified = |mount: &PathBuf| mount.join("cgroup.controllers").exists();
        let mount = [mounts.to_owned(), mounts.join("unified")]
            .into_iter()
            .find(is_unified)?;
        Some(Self::new(mount, unified?, true))
    }

    fn new(mount: PathBuf, path: &str, unified: bool) -> Self {
        let group = PathBuf::from(path.trim_start_matches('/'));
        // `..` shows a group outside this process's view; what it can see then is the mount.
        let is_below = group
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        let group = if is_below && mount.join(&group).is_dir() {
            group
        } else {
            PathBuf::new()
        };
        Self {
            mount,
            group,
            unified,
        }
    }

    /// Returns the process's group and all those above it, up to the mount.
    fn groups(&self) -> impl Iterator<Item = PathBuf> {
        self.group.ancestors().map(Path::to_owned)
    }

    fn directory(&self, group: &Path) -> PathBuf {
        self.mount.join(group)
    }

    fn source(&self) -> Source {
        if self.unified {
            Source::CgroupV2
        } else {
            Source::CgroupV1
        }
    }

    /// Reads a group's quota in cores; `None` where it has none.
    fn read_quota(&self, group: &Path) -> Result<Option<f64>, ResourceError> {
        let directory = self.directory(group);
        let (file, text) = if self.unified {
            let file = directory.join("cpu.max");
            let Some(text) = read_optional(&file)? else {
                return Ok(None);
            };
            (file, text)
        } else {
            let file = directory.join("cpu.cfs_quota_us");
            let Some(quota) = read_optional(&file)? else {
                return Ok(None);
            };
            let period = read_number(&directory.join("cpu.cfs_period_us"))?;
            (file, format!("{} {period}", quota.trim()))
        };
        parse_quota(&text).ok_or_else(|| not_understood(&file, &text))
    }
}

/// Reads `<quota> <period>` in microseconds. The outer `None` stands for text that is no quota,
/// the inner one for no limit (`max`, or -1 in the first version).
fn parse_quota(text: &str) -> Option<Option<f64>> {
    let (quota, period) = text.trim().split_once(char::is_whitespace)?;
    if quota == "max" || quota == "-1" {
        return Some(None);
    }
    let quota: u64 = quota.parse().ok()?;
    let period: u64 = period.trim().parse().ok().filter(|&period| period > 0)?;
    Some(Some(quota as f64 / period as f64))
}

/// Reads a limit in bytes; no file and `max` both mean that there is none.
fn read_limit(path: &Path) -> Result<Option<u64>, ResourceError> {
    match read_optional(path)? {
        None => Ok(None),
        Some(text) if text.trim() == "max" => Ok(None),
        Some(text) => text
            .trim()
            .parse()
            .map(Some)
            .map_err(|_| not_understood(path, &text)),
    }
}

fn read_number(path: &Path) -> Result<u64, ResourceError> {
    let text = read(path)?;
    text.trim().parse().map_err(|_| not_understood(path, &text))
}

/// Reads one number of a file that has a name and a number on each line.
fn read_field(path: &Path, name: &str) -> Result<u64, ResourceError> {
    let text = read(path)?;
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let value = lines
        .find(|(field, _)| *field == name)
        .and_then(|(_, value)| value.parse().ok());
    value.ok_or_else(|| ResourceError::new(path.display(), format!("no number for {name}")))
}

fn read(path: &Path) -> Result<String, ResourceError> {
    fs::read_to_string(path).map_err(|error| ResourceError::new(path.display(), error))
}

fn read_optional(path: &Path) -> Result<Option<String>, ResourceError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ResourceError::new(path.display(), error)),
    }
}

fn not_understood(path: &Path, text: &str) -> ResourceError {
    let shown: String = text.trim().chars().take(40).collect();
    ResourceError::new(path.display(), format!("`{shown}` is not understood"))
}
