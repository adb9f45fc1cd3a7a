//! The fault kit does what the real faults do.

use impetus_supervision::{ActorState, ChildSpec, Fault, SupervisorSpec};

use crate::support::{Diary, Msg, World, probe, secs};

fn world() -> (World, Diary) {
    let diary = Diary::default();
    let (a, _) = probe("a", &diary);
    let (b, _) = probe("b", &diary);
    (
        World::start(SupervisorSpec::new("root").child(a).child(b)),
        diary,
    )
}

fn arm(world: &World, id: &str, fault: Fault, times: u32) {
    world.running.faults().arm(&id.into(), fault, times);
    world.executor.settle();
}

#[test]
fn an_armed_panic_strikes_an_idle_actor_at_once_and_only_once() {
    let (world, _) = world();

    arm(&world, "a", Fault::Panic, 1);

    assert_eq!((world.generation("a"), world.last_exit("a")), (2, "panic"));
    world.advance(100.0);
    assert_eq!((world.generation("a"), world.generation("b")), (2, 1));
}

#[test]
fn an_armed_error_strikes_as_often_as_it_was_armed() {
    let (world, _) = world();

    arm(&world, "a", Fault::Error, 3);
    world.advance(5.0);

    assert_eq!((world.generation("a"), world.last_exit("a")), (4, "error"));
}

#[test]
fn a_killed_incarnation_is_noticed_although_it_says_nothing() {
    let (world, diary) = world();

    arm(&world, "a", Fault::Kill, 1);

    assert_eq!((world.generation("a"), world.last_exit("a")), (2, "killed"));
    assert_eq!(diary.with("a dropped"), ["a dropped 1"]);
}

#[test]
fn a_starved_actor_is_found_by_its_handle_deadline() {
    let (world, _) = world();

    arm(&world, "a", Fault::Starve, 1);
    assert_eq!(world.status("a").progress.unwrap().item, "fault");
    world.advance(10.2);

    assert_eq!((world.generation("a"), world.last_exit("a")), (2, "hang"));
}

#[test]
fn a_fault_can_be_taken_back() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a));
    world.send(&a_ref, Msg::Work(secs(3)));
    world.running.faults().arm(&"a".into(), Fault::Panic, 5);

    world.running.faults().disarm(&"a".into());
    world.advance(5.0);

    assert_eq!(
        (world.generation("a"), world.state("a")),
        (1, ActorState::Running)
    );
}

#[test]
fn a_supervisor_that_panics_comes_back_with_its_children() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let (middle, _) = ChildSpec::supervisor(SupervisorSpec::new("middle").child(a));
    let world = World::start(SupervisorSpec::new("root").child(middle));

    arm(&world, "middle", Fault::Panic, 1);

    assert_eq!(
        (world.generation("middle"), world.last_exit("middle")),
        (2, "panic")
    );
    assert_eq!(
        (world.generation("a"), world.state("a")),
        (2, ActorState::Running)
    );
    assert_eq!(world.total(&a_ref), 0);
}

#[test]
fn a_root_that_panics_is_the_verdict_and_its_children_live_on() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a));
    world.send(&a_ref, Msg::Add(1));

    arm(&world, "root", Fault::Panic, 1);

    let verdict = world.running.verdict().unwrap();
    assert_eq!(verdict.actor.as_str(), "root");
    assert_eq!(verdict.reason, "the root supervisor ended: injected panic");
    assert_eq!((world.generation("a"), world.total(&a_ref)), (1, 1));
    // Nobody is left to stop it in order.
    let report = world.executor.run_until(world.running.stop(secs(5)));
    assert!(!report.clean);
    world.executor.settle();
    assert_eq!(diary.with("dropped"), ["a dropped 1"]);
}
