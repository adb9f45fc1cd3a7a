//! A thousand blocked threads in a row end at the cap, not in a thousand threads.
//!
//! A target of its own, because it counts what the whole process has.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use impetus_supervision::{ActorState, Backoff, Intensity, Significance, SupervisorSpec, System};

#[path = "supervision/support.rs"]
mod support;

use support::{Deed, Diary, Moment, Msg, SOON, in_real_time, millis, probe, scripted, secs, until};

const CAP: usize = 8;

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn a_thousand_blocks_in_a_row_end_at_the_cap() {
    let diary = Diary::default();
    // Blocks for ever in its first tick, a thousand times and more.
    let (blocks, _) = scripted("blocks", &diary, |_, moment| match moment {
        Moment::Tick => Deed::Block,
        _ => Deed::Well,
    });
    let unlimited = Intensity::try_new(1000, secs(3600)).unwrap();
    let at_once = Backoff::try_new(millis(0), millis(0), 0.0, secs(60)).unwrap();
    let blocks = blocks
        .tick(millis(1))
        .handle_deadline(millis(20))
        .intensity(unlimited)
        .backoff(at_once)
        .cool_down(millis(200));
    let (other, other_ref) = probe("other", &diary);
    let other = other.handle_deadline(millis(20)).intensity(unlimited);
    let running = System::builder()
        .leak_cap(CAP)
        .start(SupervisorSpec::new("root").child(blocks).child(other))
        .unwrap();
    let board = running.board();
    let state = |id: &str| board.get(&id.into()).unwrap().state;

    in_real_time(async {
        until(&board, "the cap", || state("blocks") == ActorState::Failed).await;
        assert_eq!(running.leaked(), CAP);
        // Others go on, and are still replaced when what they leave behind goes away by itself.
        other_ref.send(Msg::Stall, SOON).await.unwrap();
        until(&board, "a replacement of the other", || {
            other_ref
                .generation()
                .is_some_and(|generation| generation.get() == 2)
        })
        .await;
        assert_eq!(other_ref.ask(Msg::Total, SOON).await, Ok(0));
    });

    assert_eq!(running.leaked(), CAP);
    assert_eq!(
        board.get(&"blocks".into()).unwrap().generation.get(),
        CAP as u64
    );
    assert_eq!(running.verdict(), None);
    // The test's own threads, the runtime's, and the two live actors are all there is beside the leaked ones.
    assert!(threads() < CAP + 12, "{} threads", threads());
    drop(running);

    // The same from a significant actor: the system says so.
    let (vital, _) = scripted("vital", &diary, |_, moment| match moment {
        Moment::Tick => Deed::Block,
        _ => Deed::Well,
    });
    let vital = vital
        .tick(millis(1))
        .handle_deadline(millis(20))
        .intensity(unlimited)
        .backoff(at_once)
        .significance(Significance::Significant);
    let running = System::builder()
        .leak_cap(2)
        .start(SupervisorSpec::new("root").child(vital))
        .unwrap();
    let board = running.board();
    in_real_time(until(&board, "the verdict", || running.verdict().is_some()));

    let verdict = running.verdict().unwrap();
    assert_eq!(verdict.actor.as_str(), "vital");
    assert_eq!(
        verdict.reason,
        "too many threads have been abandoned and have not ended"
    );
    assert_eq!(running.leaked(), 2);
}
