//! An actor that stops making progress is abandoned and replaced, whatever it is doing. Under virtual time: stalls.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use impetus_supervision::{
    ActorState, AskError, BoxFuture, Clock, EventKind, ExitReason, SupervisorSpec, TestClock,
    TestExecutor,
};

use crate::support::{Deed, Diary, Moment, Msg, SOON, World, millis, probe, scripted, secs};

#[test]
fn an_async_stall_is_dropped_and_replaced_and_leaves_nothing_behind() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a));
    world.send(&a_ref, Msg::Stall);
    let progress = world.status("a").progress.unwrap();
    assert_eq!(
        (progress.item.as_str(), progress.deadline_seconds),
        ("stall", 10.0)
    );

    world.advance(10.0);
    assert_eq!(world.generation("a"), 1);
    world.advance(0.2);

    assert_eq!(
        (world.generation("a"), world.state("a")),
        (2, ActorState::Running)
    );
    let reason = world.status("a").last_exit.unwrap().reason;
    assert!(
        matches!(reason, ExitReason::Hang { item, overdue_ms } if item == "stall" && overdue_ms <= 100)
    );
    assert_eq!(diary.with("dropped"), ["a dropped 1"]);
    assert_eq!(world.running.leaked(), 0);
    assert!(
        world
            .board
            .events(100)
            .iter()
            .any(|event| event.kind == EventKind::Fenced)
    );
}

#[test]
fn a_stall_in_started_is_judged_by_the_start_deadline() {
    let diary = Diary::default();
    let (a, _) = scripted("a", &diary, |birth, moment| match moment {
        Moment::Started if birth.generation.get() == 1 => Deed::Stall,
        _ => Deed::Well,
    });
    let a = a.start_deadline(secs(3)).handle_deadline(secs(60));
    let world = World::start(SupervisorSpec::new("root").child(a));

    world.advance(2.9);
    assert_eq!(
        (world.generation("a"), world.state("a")),
        (1, ActorState::Starting)
    );
    world.advance(0.3);

    assert_eq!(
        (world.generation("a"), world.state("a")),
        (2, ActorState::Running)
    );
}

#[test]
fn a_stall_in_a_tick_is_a_hang_too() {
    let diary = Diary::default();
    let (a, _) = scripted("a", &diary, |birth, moment| match moment {
        Moment::Tick if birth.generation.get() == 1 => Deed::Stall,
        _ => Deed::Well,
    });
    let a = a.tick(secs(1)).handle_deadline(secs(2));
    let world = World::start(SupervisorSpec::new("root").child(a));

    world.advance(3.3);

    assert_eq!((world.generation("a"), world.last_exit("a")), (2, "hang"));
}

#[test]
fn what_an_actor_declares_replaces_the_default_deadline() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a));

    world.send(
        &a_ref,
        Msg::Run(Box::new(|ctx| ctx.progress("unused", secs(1)))),
    );
    // A declaration holds for its own message only.
    world.advance(5.0);
    assert_eq!(world.generation("a"), 1);
    assert_eq!(world.status("a").progress, None);

    // Work for a minute that is declared as such is no hang.
    world.send(&a_ref, Msg::Declare("long work", secs(70), secs(60)));
    world.advance(59.0);
    assert_eq!(world.status("a").progress.unwrap().item, "long work");
    assert_eq!(
        (world.generation("a"), world.state("a")),
        (1, ActorState::Running)
    );
    world.advance(2.0);
    assert_eq!(
        (world.generation("a"), world.status("a").progress),
        (1, None)
    );
}

#[test]
fn those_who_wait_for_a_stalled_actor_learn_that_it_is_lost() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a));

    let kept = a_ref.ask(Msg::Keep, secs(60));
    let answer = world.executor.run_until(async {
        let stall = async { a_ref.try_send(Msg::Stall).unwrap() };
        futures_util::future::join(kept, stall).await.0
    });

    assert_eq!(answer, Err(AskError::Lost));
    assert_eq!(world.generation("a"), 2);
}

#[test]
fn messages_behind_a_stalled_one_are_handled_by_the_replacement() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a));

    world.send(&a_ref, Msg::Stall);
    world.send(&a_ref, Msg::Add(4));
    let total = world.executor.run_until(a_ref.ask(Msg::Total, secs(20)));

    assert_eq!(total, Ok(4));
}

#[test]
fn hangs_count_towards_the_intensity() {
    let diary = Diary::default();
    let (a, _) = scripted("a", &diary, |_, moment| match moment {
        Moment::Tick => Deed::Stall,
        _ => Deed::Well,
    });
    let a = a.tick(millis(10)).handle_deadline(millis(50));
    let world = World::start(SupervisorSpec::new("root").child(a));

    world.advance(10.0);

    assert_eq!(
        (world.generation("a"), world.state("a")),
        (6, ActorState::Failed)
    );
    assert_eq!(world.running.leaked(), 0);
}

#[test]
fn a_stalled_supervisor_is_abandoned_with_its_children_and_replaced() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let (middle, _) =
        impetus_supervision::ChildSpec::supervisor(SupervisorSpec::new("middle").child(a));
    let world = World::start(SupervisorSpec::new("root").child(middle));
    world.send(&a_ref, Msg::Add(1));

    let fault = impetus_supervision::Fault::Starve;
    world.running.faults().arm(&"middle".into(), fault, 1);
    world.advance(10.3);

    assert_eq!(
        (world.generation("middle"), world.last_exit("middle")),
        (2, "hang")
    );
    assert_eq!((world.generation("a"), world.last_exit("a")), (2, "killed"));
    assert_eq!(world.executor.run_until(a_ref.ask(Msg::Total, SOON)), Ok(0));
    assert_eq!(diary.with("dropped"), ["a dropped 1"]);
}

/// A clock that can jump, as the monotonic clock seems to when the whole process has been frozen.
struct Jumping {
    inner: Arc<TestClock>,
    jumped: Mutex<Duration>,
}

impl Clock for Jumping {
    fn now(&self) -> Duration {
        self.inner.now() + *self.jumped.lock().unwrap()
    }

    fn wall(&self) -> SystemTime {
        self.inner.wall()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.inner.sleep(duration)
    }
}

#[test]
fn a_process_that_was_frozen_as_a_whole_takes_nobody_for_hung() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let executor = TestExecutor::new();
    let clock = Arc::new(Jumping {
        inner: executor.clock(),
        jumped: Mutex::default(),
    });
    let builder = executor
        .system()
        .clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let running = builder.start(SupervisorSpec::new("root").child(a)).unwrap();
    executor.settle();
    a_ref.try_send(Msg::Work(secs(4))).unwrap();
    executor.advance(secs(2));

    *clock.jumped.lock().unwrap() = secs(30);
    executor.advance(secs(3));

    assert_eq!(diary.with("worked"), ["a worked 1"]);
    // What really hangs is still found, once the lost time has been given back.
    a_ref.try_send(Msg::Stall).unwrap();
    executor.advance(secs(40));
    let status = running.board().get(&"a".into()).unwrap();
    assert_eq!(status.generation.get(), 2);
}

#[test]
fn a_message_of_megabytes_is_cut_before_it_is_kept() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a));

    world.send(
        &a_ref,
        Msg::Run(Box::new(|_| panic!("{}", "é".repeat(1_000_000)))),
    );

    let reason = world.status("a").last_exit.unwrap().reason.to_string();
    assert_eq!(reason.len(), 2048);
}
