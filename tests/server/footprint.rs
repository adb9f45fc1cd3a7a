//! What is in the server's memory, and what is not.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;

use rustix::process::Signal;

use crate::contract::onnx::install_fussy_model;
use crate::harness::processes::{children, descriptors, has_mapped, resident_bytes, threads};
use crate::harness::{Server, Setup, load, signal_process};

/// "Under 40 MB resident", and megabytes are decimal.
const MOST_RESIDENT: u64 = 40_000_000;

#[test]
fn the_runtime_is_mapped_into_the_workers_and_never_into_the_server() {
    let server = Setup::new().start_ready();
    server.wait_all_workers();
    for worker in server.workers() {
        assert!(
            has_mapped(worker, "libonnxruntime"),
            "worker {worker} has no runtime"
        );
    }
    let complaints = load::run(&server, 4, 20, &AtomicUsize::new(0));
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert!(!has_mapped(server.pid(), "libonnxruntime"));
}

#[test]
fn a_server_that_has_served_stays_under_40_megabytes() {
    let server = Setup::new().start_ready();
    server.wait_all_workers();
    let complaints = load::run(&server, 8, 50, &AtomicUsize::new(0));
    assert!(complaints.is_empty(), "{complaints:#?}");
    let resident = resident_bytes(server.pid());
    assert!(resident < MOST_RESIDENT, "{resident} bytes are resident");
}

/// Deaths after which everything that is made once has been made.
const WARM_UP: usize = 50;
const DEATHS: usize = 1000;
/// What a thousand deaths may add to the server's memory. The history of events fills up in that time
/// (1,024 of them, some 200 bytes each, and what the allocator leaves between them); each death that
/// left a thread (8 KiB at the least), an arena or a log line behind would add more than this.
const MOST_GROWTH: u64 = 4 << 20;

#[test]
fn a_thousand_worker_deaths_leave_nothing_behind() {
    let setup = Setup::without_models();
    install_fussy_model(&setup.path().join("models"));
    let server = setup
        .set("models.workers", "4")
        .set("models.backoff_min", "\"1ms\"")
        .set("models.backoff_max", "\"1ms\"")
        .set("supervision.restarts", "1000")
        .start_ready();
    let mut killed = BTreeSet::new();
    kill_workers(&server, &mut killed, WARM_UP);
    let before = Footprint::of(&server);
    kill_workers(&server, &mut killed, DEATHS);
    // A file that is being read or a connection that is being closed is there for a moment.
    let mut after = Footprint::of(&server);
    server.wait_for(&format!("no more than {before:?}"), || {
        after = Footprint::of(&server);
        after.descriptors <= before.descriptors && after.threads == before.threads
    });
    let growth = after.resident.saturating_sub(before.resident);
    assert!(growth < MOST_GROWTH, "{growth} bytes: {before:?} {after:?}");
    let restarts: u64 = (0..4)
        .map(|index| server.expect_actor(&format!("worker:fussy/{index}")))
        .map(|worker| worker["restarts"].as_u64().unwrap())
        .sum();
    assert_eq!(usize::try_from(restarts).unwrap(), DEATHS);
}

/// What a server takes up while it does nothing.
#[derive(Debug)]
struct Footprint {
    descriptors: usize,
    threads: Vec<String>,
    resident: u64,
}

// === impl Footprint ===

impl Footprint {
    /// Waits until every worker serves and everybody else has ended.
    fn of(server: &Server) -> Self {
        server.wait_all_workers();
        let pid = server.pid();
        server.wait_for("the dead to be reaped", || children(pid).len() == 4);
        let mut names = threads(pid);
        names.sort();
        Self {
            descriptors: descriptors(pid),
            threads: names,
            resident: resident_bytes(pid),
        }
    }
}

/// Kills each worker as soon as it serves, until so many have been killed in all.
fn kill_workers(server: &Server, killed: &mut BTreeSet<u32>, in_all: usize) {
    while killed.len() < in_all {
        let mut fresh = Vec::new();
        server.wait_for("workers that serve", || {
            fresh = server.workers();
            fresh.retain(|pid| !killed.contains(pid));
            !fresh.is_empty()
        });
        fresh.truncate(in_all - killed.len());
        for pid in fresh {
            signal_process(pid, Signal::KILL);
            killed.insert(pid);
        }
    }
}
