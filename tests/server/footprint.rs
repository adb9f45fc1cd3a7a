//! What is in the server's memory, and what is not.

use std::sync::atomic::AtomicUsize;

use crate::harness::processes::{has_mapped, resident_bytes};
use crate::harness::{Setup, load};

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
