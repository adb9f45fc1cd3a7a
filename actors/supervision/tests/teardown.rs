//! A tree that has been stopped leaves nothing of itself behind, its own helpers included.
//!
//! A target of its own, because it counts what the whole process has.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use impetus_supervision::{SupervisorSpec, System};

#[path = "supervision/support.rs"]
mod support;

use support::{Diary, Msg, SOON, eventually, in_real_time, probe, secs};

fn entries_of(folder: &str) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_hundred_trees_started_and_stopped_leave_no_thread_and_no_descriptor() {
    let resources = || (entries_of("/proc/self/task"), entries_of("/proc/self/fd"));
    // The first tokio runtime of a process opens what all of them share.
    in_real_time(async {});
    let before = resources();

    for round in 0..100 {
        let diary = Diary::default();
        let (a, a_ref) = probe("a", &diary);
        let running = System::builder()
            .watchdog(secs(60), |_| {})
            .start(SupervisorSpec::new("root").child(a))
            .unwrap();
        in_real_time(async {
            assert_eq!(a_ref.ask(Msg::Total, SOON).await, Ok(0));
            // Every other tree is dropped as it is, without a stop.
            if round % 2 == 0 {
                assert!(running.stop(SOON).await.clean);
            }
        });
    }

    eventually("threads and descriptors to be given back", || {
        resources() <= before
    });
}
