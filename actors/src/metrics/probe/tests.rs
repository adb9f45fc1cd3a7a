use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::metrics::{Allowance, SystemHost};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// A machine of 16 GiB and 8 cores, half of each in use.
#[derive(Debug)]
struct FakeHost;

impl Host for FakeHost {
    fn memory(&mut self) -> Result<HostMemory, ResourceError> {
        Ok(HostMemory {
            total: 16 * GIB,
            used: 8 * GIB,
        })
    }

    fn cores(&mut self) -> Result<f64, ResourceError> {
        Ok(8.0)
    }

    fn cpu_percent(&mut self) -> Result<Option<f64>, ResourceError> {
        Ok(Some(50.0))
    }

    fn process_resident_bytes(&mut self) -> Result<u64, ResourceError> {
        Ok(32 * MIB)
    }
}

/// Writes a tree of files below a temporary root.
fn tree(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().expect("a temporary folder");
    for (path, text) in files {
        write(root.path(), path, text);
    }
    root
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("below the root")).expect("made");
    fs::write(path, text).expect("written");
}

fn probe(root: &Path) -> ResourceProbe {
    ResourceProbe::new(root.to_owned(), Box::new(FakeHost)).expect("a probe")
}

fn sample(root: &TempDir) -> ResourceSample {
    probe(root.path()).sample(Duration::ZERO).expect("a sample")
}

/// What a container sees with a group namespace of its own: its group is the mount.
fn container_v2() -> TempDir {
    tree(&[
        ("proc/self/cgroup", "0::/\n"),
        ("sys/fs/cgroup/cgroup.controllers", "cpu memory\n"),
        ("sys/fs/cgroup/memory.max", "1073741824\n"),
        ("sys/fs/cgroup/memory.current", "805306368\n"),
        (
            "sys/fs/cgroup/memory.stat",
            "anon 1\nfile 2\ninactive_file 268435456\n",
        ),
        ("sys/fs/cgroup/cpu.max", "150000 100000\n"),
        (
            "sys/fs/cgroup/cpu.stat",
            "usage_usec 1000000\nuser_usec 1\n",
        ),
    ])
}

#[test]
fn a_container_of_version_2_has_its_own_figures() {
    let root = container_v2();
    let mut probe = probe(root.path());
    let first = probe.sample(Duration::from_secs(10)).expect("a sample");
    let expected = ResourceSample {
        cpu_percent: None,
        cpu_cores: 1.5,
        cpu_source: Source::CgroupV2,
        memory_used_bytes: 512 * MIB,
        memory_limit_bytes: GIB,
        memory_percent: 50.0,
        memory_source: Source::CgroupV2,
        process_resident_bytes: 32 * MIB,
    };
    assert_eq!(first, expected);

    // 0.75 s of processor time in 2 s, of the 3 s that the quota allows in them.
    write(
        root.path(),
        "sys/fs/cgroup/cpu.stat",
        "usage_usec 1750000\n",
    );
    let second = probe.sample(Duration::from_secs(12)).expect("a sample");
    assert_eq!(second.cpu_percent, Some(25.0));

    // A pod may be resized while it runs.
    write(root.path(), "sys/fs/cgroup/memory.max", "2147483648\n");
    write(root.path(), "sys/fs/cgroup/cpu.max", "75000 100000\n");
    write(
        root.path(),
        "sys/fs/cgroup/cpu.stat",
        "usage_usec 2050000\n",
    );
    let resized = probe.sample(Duration::from_secs(13)).expect("a sample");
    assert_eq!((resized.memory_percent, resized.cpu_cores), (25.0, 0.75));
    assert_eq!(resized.cpu_percent, Some(40.0));
}

#[test]
fn a_container_without_limits_has_the_machine_s_figures() {
    let root = container_v2();
    write(root.path(), "sys/fs/cgroup/memory.max", "max\n");
    write(root.path(), "sys/fs/cgroup/cpu.max", "max 100000\n");
    let unlimited = sample(&root);
    assert_eq!(unlimited.memory_source, Source::Host);
    assert_eq!(
        (unlimited.memory_limit_bytes, unlimited.memory_percent),
        (16 * GIB, 50.0)
    );
    assert_eq!(unlimited.cpu_source, Source::Host);
    assert_eq!(
        (unlimited.cpu_cores, unlimited.cpu_percent),
        (8.0, Some(50.0))
    );

    // One of the two alone.
    write(root.path(), "sys/fs/cgroup/memory.max", "1073741824\n");
    let memory_only = sample(&root);
    assert_eq!(memory_only.memory_source, Source::CgroupV2);
    assert_eq!(memory_only.cpu_source, Source::Host);

    // Limits beyond the machine limit nothing.
    write(root.path(), "sys/fs/cgroup/memory.max", "1099511627776\n");
    write(root.path(), "sys/fs/cgroup/cpu.max", "1600000 100000\n");
    let beyond = sample(&root);
    assert_eq!(
        (beyond.memory_source, beyond.cpu_source),
        (Source::Host, Source::Host)
    );
}

/// The smallest limit above the process bites first, and siblings count against it.
#[test]
fn the_smallest_limit_on_the_way_up_counts_with_its_own_usage() {
    let root = tree(&[
        ("proc/self/cgroup", "0::/pods/pod/box\n"),
        ("sys/fs/cgroup/cgroup.controllers", "cpu memory\n"),
        ("sys/fs/cgroup/pods/memory.max", "8589934592\n"),
        ("sys/fs/cgroup/pods/pod/memory.max", "1073741824\n"),
        ("sys/fs/cgroup/pods/pod/memory.current", "1010827264\n"),
        ("sys/fs/cgroup/pods/pod/memory.stat", "inactive_file 0\n"),
        ("sys/fs/cgroup/pods/pod/cpu.max", "100000 100000\n"),
        ("sys/fs/cgroup/pods/pod/cpu.stat", "usage_usec 7\n"),
        ("sys/fs/cgroup/pods/pod/box/memory.max", "2147483648\n"),
        ("sys/fs/cgroup/pods/pod/box/cpu.max", "max 100000\n"),
    ]);
    let found = sample(&root);
    assert_eq!(found.memory_limit_bytes, GIB);
    assert_eq!(found.memory_used_bytes, 964 * MIB);
    assert_eq!(found.cpu_cores, 1.0);
    assert_eq!(Allowance::from(&found).threads(8), 1);
}

/// A pod's quota stands above its container's, and may be a part of a core.
#[test]
fn a_quota_below_one_core_is_found_wherever_it_is_set_and_still_gets_a_thread() {
    let v2 = tree(&[
        ("proc/self/cgroup", "0::/pod/box\n"),
        ("sys/fs/cgroup/cgroup.controllers", "cpu memory\n"),
        ("sys/fs/cgroup/pod/cpu.max", "25000 100000\n"),
        ("sys/fs/cgroup/pod/cpu.stat", "usage_usec 7\n"),
        ("sys/fs/cgroup/pod/box/cpu.max", "400000 100000\n"),
    ]);
    let v1 = tree(&[
        ("proc/self/cgroup", "4:cpu,cpuacct:/pod/box\n"),
        ("sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_quota_us", "25000\n"),
        (
            "sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_period_us",
            "100000\n",
        ),
        ("sys/fs/cgroup/cpu,cpuacct/pod/cpuacct.usage", "7\n"),
        ("sys/fs/cgroup/cpu,cpuacct/pod/box/cpu.cfs_quota_us", "-1\n"),
        (
            "sys/fs/cgroup/cpu,cpuacct/pod/box/cpu.cfs_period_us",
            "100000\n",
        ),
    ]);
    // Accounting in a hierarchy that does not know the group: a quota all the same.
    let apart = tree(&[
        ("proc/self/cgroup", "4:cpu:/pod/box\n5:cpuacct:/\n"),
        ("sys/fs/cgroup/cpuacct/cpuacct.usage", "7\n"),
        ("sys/fs/cgroup/cpu/pod/cpu.cfs_quota_us", "25000\n"),
        ("sys/fs/cgroup/cpu/pod/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/cpu/pod/box/cpu.cfs_quota_us", "-1\n"),
        ("sys/fs/cgroup/cpu/pod/box/cpu.cfs_period_us", "100000\n"),
    ]);
    let trees = [
        (v2, Source::CgroupV2),
        (v1, Source::CgroupV1),
        (apart, Source::CgroupV1),
    ];
    for (root, source) in trees {
        let allowance = Allowance::from(&sample(&root));
        assert_eq!((allowance.cores, allowance.cpu_source), (0.25, source));
        assert_eq!(allowance.threads(8), 1);
    }
}

#[test]
fn a_container_of_version_1_has_its_own_figures() {
    let root = tree(&[
        (
            "proc/self/cgroup",
            "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/x\n",
        ),
        // The host's path is not there: the mount is the container's own group.
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n"),
        ("sys/fs/cgroup/memory/memory.usage_in_bytes", "402653184\n"),
        (
            "sys/fs/cgroup/memory/memory.stat",
            "inactive_file 9\ntotal_inactive_file 134217728\n",
        ),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpuacct.usage", "1000000000\n"),
    ]);
    let mut probe = probe(root.path());
    let first = probe.sample(Duration::ZERO).expect("a sample");
    assert_eq!(
        (first.memory_source, first.cpu_source),
        (Source::CgroupV1, Source::CgroupV1)
    );
    assert_eq!(
        (first.memory_used_bytes, first.memory_percent),
        (256 * MIB, 50.0)
    );
    assert_eq!(first.cpu_cores, 0.5);
    write(
        root.path(),
        "sys/fs/cgroup/cpu,cpuacct/cpuacct.usage",
        "1250000000\n",
    );
    let second = probe.sample(Duration::from_secs(1)).expect("a sample");
    assert_eq!(second.cpu_percent, Some(50.0));
}

/// The first version says "no limit" with a huge number and with -1.
#[test]
fn no_limit_in_version_1_means_the_machine() {
    let root = tree(&[
        ("proc/self/cgroup", "4:memory:/\n3:cpu:/\n2:cpuacct:/\n"),
        (
            "sys/fs/cgroup/memory/memory.limit_in_bytes",
            "9223372036854771712\n",
        ),
        ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
        ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
    ]);
    let found = sample(&root);
    assert_eq!(
        (found.memory_source, found.cpu_source),
        (Source::Host, Source::Host)
    );
}

/// Memory in a hierarchy of the first version, processors in the unified one beside it.
#[test]
fn a_hybrid_machine_is_read_controller_by_controller() {
    let root = tree(&[
        ("proc/self/cgroup", "2:memory:/svc\n0::/svc\n"),
        (
            "sys/fs/cgroup/memory/svc/memory.limit_in_bytes",
            "1073741824\n",
        ),
        (
            "sys/fs/cgroup/memory/svc/memory.usage_in_bytes",
            "1073741824\n",
        ),
        (
            "sys/fs/cgroup/memory/svc/memory.stat",
            "total_inactive_file 0\n",
        ),
        ("sys/fs/cgroup/unified/cgroup.controllers", "cpu\n"),
        ("sys/fs/cgroup/unified/svc/cpu.max", "200000 100000\n"),
        ("sys/fs/cgroup/unified/svc/cpu.stat", "usage_usec 5\n"),
    ]);
    let found = sample(&root);
    assert_eq!(
        (found.memory_source, found.memory_percent),
        (Source::CgroupV1, 100.0)
    );
    assert_eq!((found.cpu_source, found.cpu_cores), (Source::CgroupV2, 2.0));
}

#[test]
fn a_machine_without_control_groups_is_no_error() {
    let found = sample(&tree(&[]));
    assert_eq!(
        (found.memory_source, found.cpu_source),
        (Source::Host, Source::Host)
    );
    let outside = tree(&[
        ("proc/self/cgroup", "0::/../elsewhere\n"),
        ("sys/fs/cgroup/cgroup.controllers", "memory\n"),
        ("sys/fs/elsewhere/memory.max", "1\n"),
    ]);
    assert_eq!(sample(&outside).memory_source, Source::Host);
}

/// What cannot be understood must not be taken for "no limit".
#[test]
fn a_figure_that_makes_no_sense_is_an_error_that_names_its_file() {
    for (file, text) in [
        ("memory.max", "lots"),
        ("memory.current", ""),
        ("memory.stat", "anon 1\n"),
        ("cpu.max", "150000"),
        ("cpu.max", "150000 0"),
        ("cpu.stat", "nr_periods 3\n"),
    ] {
        let root = container_v2();
        write(root.path(), &format!("sys/fs/cgroup/{file}"), text);
        let error = probe(root.path()).sample(Duration::ZERO).expect_err(text);
        assert!(error.what.ends_with(file), "{error}");
    }
}

/// The machine this test runs on can be read, whatever it is.
#[test]
fn this_machine_can_be_read() {
    let host = SystemHost::new().expect("sources");
    let mut probe = ResourceProbe::new(PathBuf::from("/"), Box::new(host)).expect("a probe");
    let found = probe.sample(Duration::ZERO).expect("a sample");
    assert!(found.memory_used_bytes > 0 && found.memory_percent <= 100.0);
    assert!(found.cpu_cores > 0.0);
    assert!(found.process_resident_bytes > MIB && found.process_resident_bytes < GIB);
}
