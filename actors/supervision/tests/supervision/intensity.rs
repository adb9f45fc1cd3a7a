//! How often is too often, how long to wait, and what follows when a child cannot be kept alive.

use impetus_supervision::{
    Actor, ActorError, ActorRef, ActorState, Backoff, ChildSpec, Context, EventKind, ExitReason,
    Intensity, Message, Running, Significance, SupervisorSpec, TestExecutor,
};

use crate::support::{Deed, Diary, Moment, Msg, World, millis, probe, scripted, secs};

fn at_once() -> Backoff {
    Backoff::try_new(millis(0), millis(0), 0.0, secs(60)).unwrap()
}

fn twice_in_ten_seconds(spec: ChildSpec) -> ChildSpec {
    spec.intensity(Intensity::try_new(2, secs(10)).unwrap())
        .backoff(at_once())
}

#[test]
fn the_intensity_window_slides() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(twice_in_ten_seconds(a)));

    // Two failures every ten seconds or so are borne for ever.
    for _ in 0..5 {
        world.send(&a_ref, Msg::Panic);
        world.advance(5.1);
        assert_eq!(world.state("a"), ActorState::Running);
    }
    // Three within ten seconds are not, whatever bucket they fall into.
    world.send(&a_ref, Msg::Panic);
    world.advance(4.0);
    world.send(&a_ref, Msg::Panic);

    assert_eq!(world.state("a"), ActorState::Failed);
}

#[test]
fn restarts_wait_first_not_at_all_then_twice_as_long_each_time() {
    let diary = Diary::default();
    let (a, _) = scripted("a", &diary, |_, moment| match moment {
        Moment::Started => Deed::Fail,
        _ => Deed::Well,
    });
    let a = a
        .intensity(Intensity::try_new(100, secs(1000)).unwrap())
        .backoff(Backoff::try_new(millis(100), millis(500), 0.0, secs(60)).unwrap());
    let world = World::start(SupervisorSpec::new("root").child(a));

    let starts_after = |world: &World, wait: f64| {
        world.advance(wait);
        world.generation("a")
    };
    assert_eq!(starts_after(&world, 0.0), 2);
    assert_eq!(starts_after(&world, 0.099), 2);
    assert_eq!(starts_after(&world, 0.001), 3);
    assert_eq!(starts_after(&world, 0.199), 3);
    assert_eq!(starts_after(&world, 0.001), 4);
    assert_eq!(starts_after(&world, 0.399), 4);
    assert_eq!(starts_after(&world, 0.001), 5);
    // The cap: 500 ms, not 800.
    assert_eq!(starts_after(&world, 0.499), 5);
    assert_eq!(starts_after(&world, 0.001), 6);
}

#[test]
fn a_stable_time_makes_the_next_restart_immediate_again() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a));
    world.send(&a_ref, Msg::Panic);
    world.send(&a_ref, Msg::Panic);
    assert_eq!(world.state("a"), ActorState::BackingOff);
    world.advance(61.0);

    world.send(&a_ref, Msg::Panic);

    assert_eq!(
        (world.generation("a"), world.state("a")),
        (4, ActorState::Running)
    );
}

#[test]
fn an_insignificant_actor_fails_cools_down_and_is_back() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let (b, _) = probe("b", &diary);
    let a = twice_in_ten_seconds(a).cool_down(secs(20));
    let world = World::start(SupervisorSpec::new("root").child(a).child(b));
    for _ in 0..3 {
        world.send(&a_ref, Msg::Panic);
    }
    assert_eq!(world.state("a"), ActorState::Failed);
    assert_eq!((world.generation("b"), world.running.verdict()), (1, None));
    // Its inbox waits with it.
    a_ref.try_send(Msg::Add(7)).unwrap();

    world.advance(19.9);
    assert_eq!(world.state("a"), ActorState::Failed);
    world.advance(0.2);

    assert_eq!(
        (world.generation("a"), world.state("a")),
        (4, ActorState::Running)
    );
    assert_eq!(world.total(&a_ref), 7);
    // The window is fresh: it can fail twice again.
    world.send(&a_ref, Msg::Panic);
    world.send(&a_ref, Msg::Panic);
    assert_eq!(world.state("a"), ActorState::Running);
}

#[test]
fn an_actor_that_never_starts_is_tried_for_ever() {
    let diary = Diary::default();
    let (a, _) = scripted("a", &diary, |birth, moment| match moment {
        Moment::Started if birth.generation.get() < 40 => Deed::Fail,
        _ => Deed::Well,
    });
    let world = World::start(SupervisorSpec::new("root").child(a));

    world.advance(600.0);
    world.board.ring_all();
    world.executor.settle();

    assert_eq!(
        (world.generation("a"), world.state("a")),
        (40, ActorState::Running)
    );
    assert_eq!(world.running.verdict(), None);
}

#[test]
fn a_significant_child_of_the_root_leads_to_the_verdict_and_the_rest_lives_on() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let (b, b_ref) = probe("b", &diary);
    let a = twice_in_ten_seconds(a).significance(Significance::Significant);
    let world = World::start(SupervisorSpec::new("root").child(a).child(b));
    world.send(&b_ref, Msg::Add(1));

    for _ in 0..3 {
        assert_eq!(world.running.verdict(), None);
        world.send(&a_ref, Msg::Panic);
    }

    let verdict = world.running.verdict().unwrap();
    assert_eq!(verdict.actor.as_str(), "a");
    assert_eq!(
        verdict.reason,
        "more than 2 restarts within 10s; last: told to"
    );
    assert_eq!(world.board.given_up(), Some(verdict));
    assert_eq!(world.state("a"), ActorState::Failed);
    world.advance(1000.0);
    assert_eq!(world.generation("a"), 3);
    assert_eq!((world.generation("b"), world.total(&b_ref)), (1, 1));
}

/// root → middle (significant) → { a (significant), b }
fn nested(diary: &Diary) -> (World, impl Fn(&World)) {
    let (a, a_ref) = probe("a", diary);
    let (b, _) = probe("b", diary);
    let (c, _) = probe("c", diary);
    let a = twice_in_ten_seconds(a).significance(Significance::Significant);
    let (middle, _) = ChildSpec::supervisor(SupervisorSpec::new("middle").child(a).child(b));
    let middle = twice_in_ten_seconds(middle).significance(Significance::Significant);
    let world = World::start(SupervisorSpec::new("root").child(middle).child(c));
    let exhaust = move |world: &World| {
        for _ in 0..3 {
            world.send(&a_ref, Msg::Panic);
        }
    };
    (world, exhaust)
}

#[test]
fn a_significant_child_takes_its_supervisor_with_it_which_is_restarted_by_its_own() {
    let diary = Diary::default();
    let (world, exhaust) = nested(&diary);
    diary.take();

    exhaust(&world);

    let exit = world.status("middle").last_exit.unwrap();
    assert!(matches!(&exit.reason, ExitReason::Escalated { child, .. } if child.as_str() == "a"));
    assert_eq!(world.generation("middle"), 2);
    // The sibling was stopped in order, and both are back.
    assert_eq!(
        diary.with("b "),
        ["b stopping 1", "b dropped 1", "b starting 2", "b started 2",]
    );
    assert_eq!(world.state("a"), ActorState::Running);
    assert_eq!((world.generation("c"), world.running.verdict()), (1, None));
}

#[test]
fn escalation_climbs_to_the_root_and_ends_in_the_verdict() {
    let diary = Diary::default();
    let (world, exhaust) = nested(&diary);

    for _ in 0..3 {
        assert_eq!(world.running.verdict(), None);
        exhaust(&world);
    }

    assert_eq!(world.running.verdict().unwrap().actor.as_str(), "middle");
    assert_eq!(world.state("middle"), ActorState::Failed);
    assert_eq!(world.state("c"), ActorState::Running);
    let escalated = |event: &impetus_supervision::Event| event.kind == EventKind::Escalated;
    let events = world.board.events(1000);
    assert_eq!(events.iter().filter(|event| escalated(event)).count(), 4);
}

/// An actor that ends when it is told to, or in its start, and says that it is not to blame.
struct Innocent {
    comes_up: bool,
}

struct End;

impl Message for End {}

impl Actor for Innocent {
    type Msg = End;

    async fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        ctx.excuse();
        match self.comes_up {
            true => Ok(()),
            false => Err(ActorError::failed("ended in its start")),
        }
    }

    async fn handle(&mut self, _: End, _: &mut Context<Self>) -> Result<(), ActorError> {
        Err(ActorError::failed("ended from outside"))
    }
}

/// Starts a tree with that actor alone, which may be restarted twice.
fn with_an_innocent(executor: &TestExecutor, comes_up: bool) -> (Running, ActorRef<End>) {
    let (spec, innocent) = ChildSpec::actor("innocent", move |_| Innocent { comes_up });
    let spec = spec.intensity(Intensity::try_new(2, secs(1000)).unwrap());
    let root = SupervisorSpec::new("root").child(spec);
    (executor.system().start(root).unwrap(), innocent)
}

#[test]
fn an_end_that_is_excused_is_charged_to_nobody_and_healed_at_once() {
    let executor = TestExecutor::new();
    let (running, innocent) = with_an_innocent(&executor, true);
    for restarts in 1..=50 {
        innocent.try_send(End).unwrap();
        executor.settle();
        let status = running.board().get(&"innocent".into()).unwrap();
        assert_eq!(
            (status.state, status.restarts),
            (ActorState::Running, restarts)
        );
    }
}

#[test]
fn an_incarnation_that_never_came_to_run_cannot_be_excused() {
    let executor = TestExecutor::new();
    let (running, _innocent) = with_an_innocent(&executor, false);
    executor.advance(secs(10));
    let status = running.board().get(&"innocent".into()).unwrap();
    assert_eq!(status.state, ActorState::Failed);
}
