//! Nothing grows: ten thousand restarts leave the process with the threads and descriptors it had.
//!
//! A target of its own, because it counts what the whole process has.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use impetus_supervision::{Backoff, Intensity, SupervisorSpec, System};

#[path = "supervision/support.rs"]
mod support;

use support::{Diary, Msg, SOON, eventually, in_real_time, probe, until};

fn entries_of(folder: &str) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

fn threads() -> usize {
    entries_of("/proc/self/task")
}

fn descriptors() -> usize {
    entries_of("/proc/self/fd")
}

#[test]
fn ten_thousand_restarts_leave_threads_and_descriptors_where_they_were() {
    // Ten thousand reports of the same panic help nobody.
    std::panic::set_hook(Box::new(|_| {}));
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let none = Duration::ZERO;
    let a = a
        .intensity(Intensity::try_new(u32::MAX, Duration::from_secs(1)).unwrap())
        .backoff(Backoff::try_new(none, none, 0.0, none).unwrap());
    let running = System::builder()
        .start(SupervisorSpec::new("root").child(a))
        .unwrap();
    let board = running.board();
    let at_generation = |generation: u64| {
        let a_ref = &a_ref;
        move || {
            a_ref
                .generation()
                .is_some_and(|now| now.get() >= generation)
        }
    };

    in_real_time(async {
        running.started().await;
        let before = (threads(), descriptors());
        for generation in 1..=10_000 {
            until(&board, "the next generation", at_generation(generation)).await;
            a_ref.send(Msg::Panic, SOON).await.unwrap();
        }
        until(&board, "the last generation", at_generation(10_001)).await;
        assert_eq!(a_ref.ask(Msg::Total, SOON).await, Ok(0));
        eventually("the threads that were replaced to end", || {
            threads() <= before.0 && descriptors() <= before.1
        });
    });

    assert_eq!(running.leaked(), 0);
    assert_eq!(diary.with("dropped").len(), 10_000);
    assert!(in_real_time(running.stop(SOON)).clean);
}
