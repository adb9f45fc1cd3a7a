//! What can be read about the tree, by whom it was written, and when it is doubted.

use impetus_supervision::{ActorId, ActorState, ChildSpec, EventKind, StatusNode, SupervisorSpec};
use serde_json::json;

use crate::support::{Diary, Msg, World, probe, secs};

#[test]
fn a_silent_actor_is_unknown_after_its_ttl_and_running_again_when_it_answers_a_ring() {
    let diary = Diary::default();
    let (a, _) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a.status_ttl(secs(10))));

    world.advance(10.0);
    assert_eq!(world.state("a"), ActorState::Running);
    world.advance(0.1);
    assert_eq!(world.state("a"), ActorState::Unknown);

    world.board.ring_all();
    world.executor.settle();
    assert_eq!(world.state("a"), ActorState::Running);
    assert_eq!(world.board.age(&"a".into()), Some(secs(0)));
}

#[test]
fn a_ring_is_answered_ahead_of_a_full_inbox() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a.capacity(1)));
    world.advance(5.0);
    a_ref.try_send(Msg::Stall).unwrap();

    world.board.ring_all();
    world.executor.settle();

    assert_eq!(world.board.age(&"a".into()), Some(secs(0)));
}

#[test]
fn an_unanswered_ring_is_no_doubt_inside_a_declared_deadline() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let a = a.status_ttl(secs(2)).handle_deadline(secs(100));
    let world = World::start(SupervisorSpec::new("root").child(a));
    world.send(&a_ref, Msg::Declare("load", secs(30), secs(29)));

    world.board.ring_all();
    world.advance(28.0);

    // Silent for 28 s, and expected to be.
    assert_eq!(world.state("a"), ActorState::Running);
    assert_eq!(world.status("a").status_age_seconds, Some(28.0));
    world.advance(1.5);
    assert_eq!(world.board.age(&"a".into()), Some(secs(1) / 2));
}

#[test]
fn a_status_says_what_the_contract_says() {
    let diary = Diary::default();
    let (a, a_ref) = probe("model_loader", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a.capacity(8)));
    world.send(&a_ref, Msg::Panic);
    world.send(&a_ref, Msg::Work(secs(4)));
    world.send(&a_ref, Msg::Add(1));
    world.advance(1.5);

    let status = serde_json::to_value(world.status("model_loader")).unwrap();

    let expected = json!({
        "name": "model_loader",
        "parent": "root",
        "state": "running",
        "generation": 2,
        "restarts": 1,
        "last_exit": {"reason": "panic", "message": "told to", "at": "2025-01-01T00:00:00.000Z"},
        "last_status_at": "2025-01-01T00:00:00.000Z",
        "status_age_seconds": 1.5,
        "mailbox": {"depth": 1, "capacity": 8},
        "progress": {"item": "work", "elapsed_seconds": 1.5, "deadline_seconds": 10.0},
        "score": 90,
        "note": "total 0 of 2",
        "details": {},
        "significant": false,
        "leaked": 0,
    });
    assert_eq!(status, expected);
}

fn tree() -> World {
    let diary = Diary::default();
    let (worker, _) = probe("worker", &diary);
    let model = SupervisorSpec::new("model").child(worker);
    let (model, _) = ChildSpec::supervisor(model);
    let (loader, _) = probe("loader", &diary);
    let (beat, _) = probe("beat", &diary);
    let spec = SupervisorSpec::new("root");
    // Started before the loader that it is listed under.
    let spec = spec
        .child(model.listed_under("loader"))
        .child(beat)
        .child(loader);
    World::start(spec)
}

#[test]
fn a_snapshot_is_in_tree_order() {
    let world = tree();

    let snapshot = world.board.snapshot();

    let names: Vec<&str> = snapshot.iter().map(|actor| actor.name.as_str()).collect();
    assert_eq!(names, ["root", "beat", "loader", "model", "worker"]);
    let children = world.board.children_of(&ActorId::from("root"));
    let names: Vec<&str> = children.iter().map(|actor| actor.name.as_str()).collect();
    assert_eq!(names, ["beat", "loader"]);
}

#[test]
fn a_snapshot_nests_into_a_tree() {
    let world = tree();

    let nodes = StatusNode::nest(world.board.snapshot());

    fn shape(nodes: &[StatusNode]) -> serde_json::Value {
        let named = nodes
            .iter()
            .map(|node| (node.status.name.to_string(), shape(&node.children)));
        serde_json::Value::Object(named.collect())
    }
    let expected = json!({"root": {"beat": {}, "loader": {"model": {"worker": {}}}}});
    assert_eq!(shape(&nodes), expected);
    let root = serde_json::to_value(&nodes[0]).unwrap();
    assert_eq!(root["name"], "root");
    assert_eq!(root["children"][1]["children"][0]["parent"], "loader");
}

#[test]
fn the_history_tells_what_happened_in_order_and_is_bounded() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a));
    world.send(&a_ref, Msg::Panic);
    world.send(&a_ref, Msg::Panic);

    let kinds = |limit| -> Vec<EventKind> {
        let events = world.board.events(limit);
        let of_a = events.iter().filter(|event| event.actor.as_str() == "a");
        of_a.map(|event| event.kind).collect()
    };
    let expected = [
        EventKind::Started,
        EventKind::Exited,
        EventKind::Restarted,
        EventKind::Exited,
        EventKind::BackingOff,
    ];
    assert_eq!(kinds(100), expected);
    assert_eq!(kinds(2), expected[3..]);
}

#[test]
fn the_history_keeps_no_more_events_than_it_was_told_to() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let executor = impetus_supervision::TestExecutor::new();
    let builder = executor.system().event_capacity(4);
    let running = builder.start(SupervisorSpec::new("root").child(a)).unwrap();
    for _ in 0..5 {
        a_ref.try_send(Msg::Panic).unwrap();
        executor.advance(secs(10));
    }

    let kinds: Vec<&str> = running
        .board()
        .events(100)
        .iter()
        .map(|event| event.kind.as_str())
        .collect();

    assert_eq!(kinds, ["restarted", "exited", "backing_off", "restarted"]);
    assert_eq!(*running.board().watch_events().borrow(), 15);
}

#[test]
fn a_chatty_actor_pushes_out_nobody_elses_events() {
    let diary = Diary::default();
    let (chatty, chatty_ref) = probe("chatty", &diary);
    let (quiet, _) = probe("quiet", &diary);
    let executor = impetus_supervision::TestExecutor::new();
    let builder = executor.system().events_per_actor(3).event_capacity(100);
    let spec = SupervisorSpec::new("root").child(chatty).child(quiet);
    let running = builder.start(spec).unwrap();
    executor.settle();
    for _ in 0..50 {
        chatty_ref.try_send(Msg::Panic).unwrap();
        executor.advance(secs(100));
    }

    let board = running.board();
    let of = |id: &str| board.events_of(&ActorId::from(id), 100);
    let kinds = |id| {
        of(id)
            .iter()
            .map(|event| event.kind.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(kinds("quiet"), ["started"]);
    assert_eq!(kinds("chatty"), ["restarted", "exited", "restarted"]);
    let last = of("chatty").pop().unwrap().seq;
    assert_eq!(*board.watch_events().borrow(), last);
    assert_eq!(board.events_since(last - 1, 100), of("chatty")[2..]);
    assert_eq!(board.events_since(last, 100), []);
}

#[test]
fn the_events_of_an_actor_that_is_gone_can_still_be_read() {
    let diary = Diary::default();
    let (a, _) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a));
    let (root, a) = (world.running.root(), ActorId::from("a"));
    world
        .executor
        .run_until(root.stop_child(&a, secs(5)))
        .unwrap();

    let events = world.board.events_of(&a, 1);

    assert!(world.board.get(&a).is_none());
    assert_eq!(events[0].kind, EventKind::Stopped);
}

#[test]
fn the_root_shows_how_long_ago_its_own_loop_turned() {
    let world = tree();

    world.advance(5.0);

    assert!(world.board.root_age().unwrap() <= secs(1) / 10);
    assert_eq!(world.state("root"), ActorState::Running);
    assert!(!world.status("root").significant || world.status("root").parent.is_none());
}

#[test]
fn an_actor_that_has_not_been_started_yet_is_on_the_board() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let (b, _) = probe("b", &diary);
    let executor = impetus_supervision::TestExecutor::new();
    let running = executor
        .system()
        .start(SupervisorSpec::new("root").child(a).child(b))
        .unwrap();

    let status = running.board().get(&"b".into()).unwrap();

    assert_eq!(
        (status.state, status.generation.get()),
        (ActorState::Starting, 0)
    );
    assert_eq!((status.last_status_at, status.last_exit), (None, None));
    assert_eq!(running.board().age(&"b".into()), None);
    drop(a_ref);
}

#[test]
fn two_actors_cannot_have_one_name() {
    let diary = Diary::default();
    let (a, _) = probe("a", &diary);
    let (twin, _) = probe("a", &diary);
    let (middle, _) = ChildSpec::supervisor(SupervisorSpec::new("middle").child(twin));
    let executor = impetus_supervision::TestExecutor::new();

    let refused = executor
        .system()
        .start(SupervisorSpec::new("root").child(a).child(middle));

    assert_eq!(refused.unwrap_err().to_string(), "two actors are named a");
}
