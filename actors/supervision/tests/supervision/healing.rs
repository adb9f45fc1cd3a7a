//! A tree whose healing is paused holds still, and heals what is due when the pause is over.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use impetus_supervision::{
    ActorId, ActorState, Backoff, EventKind, Healing, Intensity, Strategy, SupervisorSpec,
    TestExecutor,
};

use crate::support::{Deed, Diary, Moment, Msg, World, millis, probe, scripted, secs};

const HELD: &str = "waits until healing is resumed";

fn history_of(world: &World, id: &str) -> Vec<(EventKind, String)> {
    let events = world.board.events(100).into_iter();
    let of_actor = events.filter(|event| event.actor.as_str() == id);
    of_actor.map(|event| (event.kind, event.message)).collect()
}

#[test]
fn a_child_that_ends_in_a_pause_waits_and_says_why_until_healing_is_resumed() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a));
    world.running.healing().pause(secs(600));

    world.send(&a_ref, Msg::Panic);
    a_ref.try_send(Msg::Add(7)).unwrap();
    world.advance(599.0);
    let status = world.status("a");
    assert_eq!((status.state, status.restarts), (ActorState::BackingOff, 0));
    assert_eq!(status.note.as_deref(), Some(HELD));
    world.running.healing().resume();
    world.executor.settle();

    let status = world.status("a");
    assert_eq!((status.state, status.restarts), (ActorState::Running, 1));
    assert_ne!(status.note.as_deref(), Some(HELD));
    assert_eq!(world.total(&a_ref), 7);
    let waits = "restart waits until healing is resumed".to_owned();
    assert!(history_of(&world, "a").contains(&(EventKind::BackingOff, waits)));
}

#[test]
fn a_pause_runs_out_by_itself_and_what_is_due_starts_at_that_moment() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a));
    // Supervisors look every 100 ms anyway; this ends between two looks.
    let pause = secs(600) + millis(50);
    world.running.healing().pause(pause);
    world.send(&a_ref, Msg::Panic);

    world.executor.advance(pause - millis(1));
    assert_eq!(world.state("a"), ActorState::BackingOff);
    world.executor.advance(millis(1));

    assert_eq!(world.state("a"), ActorState::Running);
    assert_eq!(world.running.healing().paused_for(), None);
}

#[test]
fn the_history_of_the_root_tells_of_every_pause_and_of_its_end() {
    let world = World::start(SupervisorSpec::new("root"));
    let healing = world.running.healing();

    healing.pause(secs(60));
    healing.pause(secs(120));
    healing.resume();
    healing.resume();
    healing.pause(secs(30));
    world.advance(31.0);

    let notes: Vec<String> = history_of(&world, "root")
        .into_iter()
        .filter(|(kind, _)| *kind == EventKind::Note)
        .map(|(_, message)| message)
        .collect();
    let expected = [
        "healing is paused until 2025-01-01T00:01:00.000Z",
        "healing is paused until 2025-01-01T00:02:00.000Z",
        "healing goes on: it was resumed",
        "healing is paused until 2025-01-01T00:00:30.000Z",
        "healing goes on: the pause has run out",
    ];
    assert_eq!(notes, expected);
}

#[test]
fn a_child_that_hangs_in_a_pause_is_judged_when_it_is_over() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a.handle_deadline(secs(5))));
    world.running.healing().pause(secs(600));

    world.send(&a_ref, Msg::Stall);
    world.advance(599.0);
    assert_eq!(
        (world.generation("a"), world.state("a")),
        (1, ActorState::Unknown)
    );
    world.advance(1.0);

    assert_eq!(world.generation("a"), 2);
    assert_eq!(world.last_exit("a"), "hang");
}

#[test]
fn a_child_that_was_idle_all_through_a_pause_is_not_taken_for_hung_when_it_ends() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a.handle_deadline(secs(5))));
    world.running.healing().pause(secs(600));
    world.advance(599.9);

    // The message comes after its supervisor was told to look, and before it does.
    let mut resumed = false;
    world.executor.run_until(poll_fn(|cx| {
        if std::mem::replace(&mut resumed, true) {
            a_ref.try_send(Msg::Add(1)).unwrap();
            return Poll::Ready(());
        }
        world.running.healing().resume();
        cx.waker().wake_by_ref();
        Poll::Pending
    }));
    world.advance(1.0);

    assert_eq!((world.generation("a"), world.total(&a_ref)), (1, 1));
}

#[test]
fn first_starts_orderly_stops_and_restarts_by_name_go_on_in_a_pause() {
    let diary = Diary::default();
    let (a, _a) = probe("a", &diary);
    let (b, b_ref) = probe("b", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a));
    let root = world.running.root();
    let healing = world.running.healing();
    healing.pause(secs(600));

    let soon = secs(5);
    world.executor.run_until(root.start_child(b, soon)).unwrap();
    world.executor.settle();
    assert_eq!(world.state("b"), ActorState::Running);
    world.send(&b_ref, Msg::Panic);
    assert_eq!(world.state("b"), ActorState::BackingOff);
    let b = ActorId::from("b");
    let restart = root.restart_child(&b, soon);
    world.executor.run_until(restart).unwrap();
    world.executor.settle();
    assert_eq!(
        (world.state("b"), world.generation("b")),
        (ActorState::Running, 2)
    );
    // That was once: its next end waits again.
    world.send(&b_ref, Msg::Panic);
    assert_eq!(world.state("b"), ActorState::BackingOff);
    let a = ActorId::from("a");
    let stop = root.stop_child(&a, soon);
    world.executor.run_until(stop).unwrap();

    assert!(world.board.get(&"a".into()).is_none());
    assert!(healing.paused_for().is_some());
}

#[test]
fn an_end_in_a_pause_counts_once_towards_the_intensity() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let a = a
        .intensity(Intensity::try_new(2, secs(1000)).unwrap())
        .backoff(Backoff::try_new(millis(0), millis(0), 0.0, secs(60)).unwrap());
    let world = World::start(SupervisorSpec::new("root").child(a));

    for generation in 2..=3 {
        world.running.healing().pause(secs(60));
        world.send(&a_ref, Msg::Panic);
        world.advance(61.0);
        assert_eq!(
            (world.generation("a"), world.state("a")),
            (generation, ActorState::Running)
        );
    }
    world.send(&a_ref, Msg::Panic);

    assert_eq!(world.state("a"), ActorState::Failed);
}

#[test]
fn a_child_in_its_cool_down_is_not_tried_again_in_a_pause() {
    let diary = Diary::default();
    let (a, _) = scripted("a", &diary, |birth, moment| match moment {
        Moment::Started if birth.generation.get() == 1 => Deed::Fail,
        _ => Deed::Well,
    });
    let a = a
        .intensity(Intensity::try_new(0, secs(10)).unwrap())
        .cool_down(secs(20));
    let world = World::start(SupervisorSpec::new("root").child(a));
    assert_eq!(world.state("a"), ActorState::Failed);
    world.running.healing().pause(secs(60));

    world.advance(59.0);
    let status = world.status("a");
    assert_eq!(
        (status.state, status.note.as_deref()),
        (ActorState::Failed, Some(HELD))
    );
    world.advance(1.1);

    assert_eq!(world.state("a"), ActorState::Running);
}

#[test]
fn a_failure_in_a_pause_stops_no_sibling_of_its_group() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let (b, b_ref) = probe("b", &diary);
    let spec = SupervisorSpec::new("root").strategy(Strategy::OneForAll);
    let world = World::start(spec.child(a).child(b));
    world.running.healing().pause(secs(60));

    world.send(&a_ref, Msg::Panic);
    world.send(&b_ref, Msg::Add(5));
    world.advance(59.0);
    assert_eq!((world.generation("b"), world.total(&b_ref)), (1, 5));
    world.running.healing().resume();
    world.executor.settle();

    assert_eq!((world.generation("a"), world.generation("b")), (2, 2));
}

#[test]
fn a_pause_that_began_before_the_tree_holds_in_it_and_is_in_its_history() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let executor = TestExecutor::new();
    let healing = Healing::new(executor.clock());
    healing.pause(Duration::MAX);
    let builder = executor.system().healing(healing.clone());
    let running = builder.start(SupervisorSpec::new("root").child(a)).unwrap();
    executor.settle();

    a_ref.try_send(Msg::Panic).unwrap();
    executor.advance(secs(1000));

    let board = running.board();
    assert_eq!(
        board.get(&"a".into()).unwrap().state,
        ActorState::BackingOff
    );
    let notes = board.events(100).into_iter();
    let notes: Vec<_> = notes.filter(|e| e.kind == EventKind::Note).collect();
    // For ever is a year.
    assert_eq!(
        notes[0].message,
        "healing is paused until 2026-01-01T00:00:00.000Z"
    );
    assert_eq!(notes[0].actor.as_str(), "root");
}
