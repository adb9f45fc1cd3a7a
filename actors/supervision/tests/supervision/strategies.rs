//! Who goes down with whom, and in which order they come back.

use impetus_supervision::{ActorRef, ActorState, Restart, Strategy, SupervisorSpec};

use crate::support::{Deed, Diary, Moment, Msg, World, probe, scripted};

fn three(strategy: Strategy, diary: &Diary) -> (World, [ActorRef<Msg>; 3]) {
    let (a, a_ref) = probe("a", diary);
    let (b, b_ref) = probe("b", diary);
    let (c, c_ref) = probe("c", diary);
    let spec = SupervisorSpec::new("root").strategy(strategy);
    let world = World::start(spec.child(a).child(b).child(c));
    (world, [a_ref, b_ref, c_ref])
}

fn generations(world: &World) -> [u64; 3] {
    ["a", "b", "c"].map(|id| world.generation(id))
}

#[test]
fn one_for_one_restarts_only_the_one_that_ended() {
    let diary = Diary::default();
    let (world, [_, b, _]) = three(Strategy::OneForOne, &diary);

    world.send(&b, Msg::Panic);

    assert_eq!(generations(&world), [1, 2, 1]);
    assert!(diary.with("stopping").is_empty());
}

#[test]
fn one_for_all_stops_the_others_in_reverse_and_starts_all_in_order() {
    let diary = Diary::default();
    let (world, [_, b, _]) = three(Strategy::OneForAll, &diary);
    diary.take();

    world.send(&b, Msg::Panic);

    assert_eq!(generations(&world), [2, 2, 2]);
    let steps: Vec<String> = diary.lines();
    let expected = [
        "b dropped 1",
        "c stopping 1",
        "c dropped 1",
        "a stopping 1",
        "a dropped 1",
        "a starting 2",
        "a started 2",
        "b starting 2",
        "b started 2",
        "c starting 2",
        "c started 2",
    ];
    assert_eq!(steps, expected);
    assert_eq!(world.last_exit("a"), "shutdown");
}

#[test]
fn rest_for_one_leaves_those_alone_that_were_started_before() {
    let diary = Diary::default();
    let (world, [_, b, _]) = three(Strategy::RestForOne, &diary);
    diary.take();

    world.send(&b, Msg::Panic);

    assert_eq!(generations(&world), [1, 2, 2]);
    let expected = [
        "b dropped 1",
        "c stopping 1",
        "c dropped 1",
        "b starting 2",
        "b started 2",
        "c starting 2",
        "c started 2",
    ];
    assert_eq!(diary.lines(), expected);
}

#[test]
fn a_group_restart_is_charged_to_the_one_that_caused_it() {
    let diary = Diary::default();
    let (world, [a, b, _]) = three(Strategy::OneForAll, &diary);

    // Five failures of `b` use up its intensity; that of `a` is untouched by the five restarts it took part in.
    for _ in 0..5 {
        world.send(&b, Msg::Panic);
        world.advance(2.0);
    }
    assert_eq!(generations(&world), [6, 6, 6]);
    world.send(&a, Msg::Panic);

    assert_eq!(generations(&world), [7, 7, 7]);
    assert_eq!(world.state("a"), ActorState::Running);
}

#[test]
fn a_group_waits_for_the_backoff_of_its_culprit() {
    let diary = Diary::default();
    let (world, [_, b, _]) = three(Strategy::OneForAll, &diary);

    world.send(&b, Msg::Panic);
    world.send(&b, Msg::Panic);

    let states = ["a", "b", "c"].map(|id| world.state(id));
    let down = ActorState::Stopped;
    assert_eq!(states, [down, ActorState::BackingOff, down]);
    world.advance(0.2);
    assert_eq!(generations(&world), [3, 3, 3]);
}

#[test]
fn a_temporary_member_of_a_group_stays_down() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let (b, _) = probe("b", &diary);
    let spec = SupervisorSpec::new("root").strategy(Strategy::OneForAll);
    let world = World::start(spec.child(a).child(b.restart(Restart::Temporary)));

    world.send(&a_ref, Msg::Panic);

    assert_eq!(
        (world.generation("a"), world.state("a")),
        (2, ActorState::Running)
    );
    assert_eq!(
        (world.generation("b"), world.state("b")),
        (1, ActorState::Stopped)
    );
}

#[test]
fn children_start_in_order_each_after_the_one_before_has_started() {
    let diary = Diary::default();
    let (a, _) = probe("a", &diary);
    let (slow, _) = scripted("slow", &diary, |_, moment| match moment {
        Moment::Started => Deed::Stall,
        _ => Deed::Well,
    });
    let (b, _) = probe("b", &diary);
    let spec = SupervisorSpec::new("root").child(a).child(slow).child(b);
    let world = World::start(spec);

    assert_eq!(
        diary.lines(),
        ["a starting 1", "a started 1", "slow starting 1"]
    );
    assert_eq!(world.state("b"), ActorState::Starting);
    assert!(!world.board.started());

    // Its start deadline passes; the next one does not have to wait for its second try.
    world.advance(30.2);
    assert_eq!(diary.with("b "), ["b starting 1", "b started 1"]);
    assert_eq!(world.last_exit("slow"), "hang");
    assert!(world.board.started());
}

#[test]
fn a_failure_elsewhere_does_not_wait_for_a_slow_start() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let (slow, _) = scripted("slow", &diary, |_, moment| match moment {
        Moment::Started => Deed::Stall,
        _ => Deed::Well,
    });
    let world = World::start(SupervisorSpec::new("root").child(a).child(slow));

    world.send(&a_ref, Msg::Panic);

    assert_eq!(
        (world.generation("a"), world.state("a")),
        (2, ActorState::Running)
    );
}
