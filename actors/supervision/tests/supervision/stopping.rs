//! Everything stops in reverse, each with its deadline, and what does not stop holds nobody up.

use impetus_supervision::{
    ActorState, AskError, ChildSpec, Clock as _, Shutdown, SupervisorError, SupervisorSpec,
    TrySendError,
};

use crate::support::{Deed, Diary, Moment, Msg, SOON, World, probe, scripted, secs};

#[test]
fn children_stop_in_reverse_order() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let (b, _) = probe("b", &diary);
    let (c, _) = probe("c", &diary);
    let (middle, _) = ChildSpec::supervisor(SupervisorSpec::new("middle").child(b).child(c));
    let (d, _) = probe("d", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a).child(middle).child(d));
    diary.take();

    let report = world.executor.run_until(world.running.stop(secs(60)));

    let stops = ["d", "c", "b", "a"];
    let lines = stops.map(|id| [format!("{id} stopping 1"), format!("{id} dropped 1")]);
    assert_eq!(diary.lines(), lines.concat());
    assert!(report.clean);
    let stopped: Vec<&str> = report.stopped.iter().map(|stop| stop.id.as_str()).collect();
    assert_eq!(stopped, ["d", "c", "b", "middle", "a"]);
    assert!(matches!(
        a_ref.try_send(Msg::Add(1)),
        Err(TrySendError::Closed(_))
    ));
    assert!(
        world
            .board
            .snapshot()
            .iter()
            .all(|actor| actor.state == ActorState::Stopped)
    );
    assert_eq!(world.running.verdict(), None);
}

#[test]
fn a_child_that_does_not_stop_is_abandoned_at_its_deadline_and_the_others_stop() {
    let diary = Diary::default();
    let (a, _) = probe("a", &diary);
    let (stubborn, _) = scripted("stubborn", &diary, |_, moment| match moment {
        Moment::Stopping => Deed::Stall,
        _ => Deed::Well,
    });
    let (c, _) = probe("c", &diary);
    let spec = SupervisorSpec::new("root").child(a);
    let stubborn = stubborn.shutdown(Shutdown::Within(secs(2)));
    let world = World::start(spec.child(stubborn).child(c));
    diary.take();

    let before = world.executor.clock().now();
    let report = world.executor.run_until(world.running.stop(secs(60)));
    let took = world.executor.clock().now() - before;

    assert_eq!(took, secs(2));
    assert!(!report.clean);
    let outcomes: Vec<(&str, bool)> = report
        .stopped
        .iter()
        .map(|stop| (stop.id.as_str(), stop.in_order))
        .collect();
    assert_eq!(outcomes, [("c", true), ("stubborn", false), ("a", true)]);
    assert!(diary.lines().contains(&"a stopping 1".to_owned()));
}

#[test]
fn a_stop_ends_at_its_own_deadline_whatever_the_children_do() {
    let diary = Diary::default();
    let (a, _) = probe("a", &diary);
    let (stubborn, _) = scripted("stubborn", &diary, |_, moment| match moment {
        Moment::Stopping => Deed::Stall,
        _ => Deed::Well,
    });
    let stubborn = stubborn.shutdown(Shutdown::Within(secs(500)));
    let world = World::start(SupervisorSpec::new("root").child(a).child(stubborn));

    let before = world.executor.clock().now();
    let report = world.executor.run_until(world.running.stop(secs(3)));

    assert_eq!(world.executor.clock().now() - before, secs(3));
    assert!(!report.clean);
    world.executor.settle();
    assert_eq!(diary.with("dropped").len(), 2);
}

#[test]
fn a_message_in_hand_is_finished_before_an_orderly_stop() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a));
    world.send(&a_ref, Msg::Work(secs(3)));
    diary.take();

    let report = world.executor.run_until(world.running.stop(secs(60)));

    assert!(report.clean);
    assert_eq!(diary.lines(), ["a worked 1", "a stopping 1", "a dropped 1"]);
}

#[test]
fn a_brutal_stop_asks_nobody() {
    let diary = Diary::default();
    let (a, _) = probe("a", &diary);
    let a = a.shutdown(Shutdown::Brutal);
    let world = World::start(SupervisorSpec::new("root").child(a));

    let report = world.executor.run_until(world.running.stop(secs(60)));
    world.executor.settle();

    assert!(report.clean);
    assert!(diary.with("stopping").is_empty());
    assert_eq!(diary.with("dropped"), ["a dropped 1"]);
}

#[test]
fn a_child_can_be_added_stopped_and_added_again_while_the_tree_runs() {
    let diary = Diary::default();
    let world = World::start(SupervisorSpec::new("root"));
    let root = world.running.root();
    let (a, a_ref) = probe("a", &diary);

    world.executor.run_until(root.start_child(a, SOON)).unwrap();
    world.send(&a_ref, Msg::Add(2));
    assert_eq!(world.total(&a_ref), 2);
    let (twin, twin_ref) = probe("a", &diary);
    let refused = world.executor.run_until(root.start_child(twin, SOON));
    assert_eq!(refused, Err(SupervisorError::Duplicate("a".into())));
    assert!(matches!(
        twin_ref.try_send(Msg::Add(1)),
        Err(TrySendError::Closed(_))
    ));

    world
        .executor
        .run_until(root.stop_child(&"a".into(), SOON))
        .unwrap();
    assert_eq!(diary.with("stopping"), ["a stopping 1"]);
    assert!(world.board.get(&"a".into()).is_none());
    let lost = world.executor.run_until(a_ref.ask(Msg::Total, SOON));
    assert_eq!(lost, Err(AskError::Closed));
    let unknown = world.executor.run_until(root.stop_child(&"a".into(), SOON));
    assert_eq!(unknown, Err(SupervisorError::Unknown("a".into())));

    let (again, again_ref) = probe("a", &diary);
    world
        .executor
        .run_until(root.start_child(again, SOON))
        .unwrap();
    assert_eq!(world.total(&again_ref), 0);
}

#[test]
fn a_restart_on_request_is_orderly_and_forgives_all_failures() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a));
    let root = world.running.root();
    world
        .executor
        .run_until(root.restart_child(&"a".into(), SOON))
        .unwrap();
    world.executor.settle();
    assert_eq!(diary.with("stopping"), ["a stopping 1"]);
    assert_eq!(
        (world.generation("a"), world.last_exit("a")),
        (2, "shutdown")
    );

    // Six panics within the window: given up.
    for _ in 0..6 {
        world.send(&a_ref, Msg::Panic);
        world.advance(2.0);
    }
    assert_eq!(world.state("a"), ActorState::Failed);
    world
        .executor
        .run_until(root.restart_child(&"a".into(), SOON))
        .unwrap();
    world.executor.settle();

    assert_eq!(world.state("a"), ActorState::Running);
    world.send(&a_ref, Msg::Panic);
    assert_eq!(world.state("a"), ActorState::Running);
}

#[test]
fn children_added_later_survive_the_restart_of_their_supervisor() {
    let diary = Diary::default();
    let (middle, middle_ref) = ChildSpec::supervisor(SupervisorSpec::new("middle"));
    let world = World::start(SupervisorSpec::new("root").child(middle));
    let (a, a_ref) = probe("a", &diary);
    world
        .executor
        .run_until(middle_ref.start_child(a, SOON))
        .unwrap();
    world.executor.settle();

    let fault = impetus_supervision::Fault::Panic;
    world.running.faults().arm(&"middle".into(), fault, 1);
    world.executor.settle();

    assert_eq!((world.generation("middle"), world.generation("a")), (2, 2));
    world.send(&a_ref, Msg::Add(1));
    assert_eq!(world.total(&a_ref), 1);
}

#[test]
fn dropping_a_running_tree_takes_it_down() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let World {
        executor, running, ..
    } = World::start(SupervisorSpec::new("root").child(a));

    drop(running);
    executor.settle();

    assert_eq!(diary.with("dropped"), ["a dropped 1"]);
    assert!(matches!(
        a_ref.try_send(Msg::Add(1)),
        Err(TrySendError::Closed(_))
    ));
}
