//! Blocked threads: real ones, in real time, with deadlines instead of sleeps.

use std::sync::mpsc;

use impetus_supervision::{
    ActorState, ChildSpec, EventKind, ExitReason, Fault, Running, Shutdown, Significance,
    SupervisorSpec, System,
};

use crate::support::{Diary, Msg, SOON, eventually, in_real_time, millis, probe, secs, until};

fn start(spec: SupervisorSpec) -> Running {
    System::builder().start(spec).unwrap()
}

#[test]
fn a_blocked_actor_is_fenced_leaked_and_replaced_and_changes_nothing_when_it_wakes() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let (b, b_ref) = probe("b", &diary);
    let a = a.handle_deadline(millis(100));
    let running = start(SupervisorSpec::new("root").child(a).child(b));
    let board = running.board();
    let (wake, blocked) = mpsc::sync_channel(1);

    in_real_time(async {
        running.started().await;
        b_ref.send(Msg::Add(5), SOON).await.unwrap();
        a_ref.send(Msg::Block(blocked), SOON).await.unwrap();
        a_ref.send(Msg::Add(3), SOON).await.unwrap();
        let replaced = |event: &impetus_supervision::Event| event.kind == EventKind::Restarted;
        until(&board, "a replacement", || {
            board.events(9).iter().any(replaced)
        })
        .await;
        // The message behind the blocked one was handled by the replacement.
        assert_eq!(a_ref.ask(Msg::Total, SOON).await, Ok(3));
        let b_is = (
            b_ref.ask(Msg::Total, SOON).await,
            b_ref.generation().unwrap().get(),
        );
        assert_eq!(b_is, (Ok(5), 1));
    });
    assert_eq!(running.leaked(), 1);
    let status = board.get(&"a".into()).unwrap();
    assert_eq!((status.generation.get(), status.leaked), (2, 1));
    let reason = status.last_exit.unwrap().reason;
    assert!(matches!(reason, ExitReason::Hang { item, .. } if item == "block"));

    a_ref
        .try_send(Msg::Run(Box::new(|ctx| ctx.progress("note", SOON))))
        .unwrap();
    drop(wake);
    eventually("the abandoned thread to end", || running.leaked() == 0);

    // It woke, could take nothing from the inbox, and its last word reached nobody.
    assert_eq!(
        diary.with("awake"),
        ["a awake, stolen false, current false, 1"]
    );
    let status = board.get(&"a".into()).unwrap();
    assert_eq!(status.note.as_deref(), Some("total 3 of 2"));
    assert_eq!(
        (status.generation.get(), status.state),
        (2, ActorState::Running)
    );
    assert_eq!(diary.with("dropped"), ["a dropped 1"]);
}

#[test]
fn a_killed_arbiter_thread_is_noticed() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let running = start(SupervisorSpec::new("root").child(a));
    let board = running.board();

    in_real_time(async {
        running.started().await;
        // Behind the runtime's back: the arbiter under the actor is stopped.
        let stop = Msg::Run(Box::new(|_| {
            actix_rt::Arbiter::current().stop();
        }));
        a_ref.send(stop, SOON).await.unwrap();
        until(&board, "a replacement", || {
            a_ref.generation().is_some_and(|g| g.get() == 2)
        })
        .await;
        assert_eq!(a_ref.ask(Msg::Total, SOON).await, Ok(0));
    });

    let reason = board.get(&"a".into()).unwrap().last_exit.unwrap().reason;
    assert_eq!(reason, ExitReason::Killed);
}

#[test]
fn a_stop_does_not_wait_for_a_blocked_thread() {
    let diary = Diary::default();
    let (a, _) = probe("a", &diary);
    let (b, b_ref) = probe("b", &diary);
    let b = b.shutdown(Shutdown::Within(millis(100)));
    let running = start(SupervisorSpec::new("root").child(a).child(b));
    let board = running.board();
    let (wake, blocked) = mpsc::sync_channel(1);

    let report = in_real_time(async {
        running.started().await;
        b_ref.send(Msg::Block(blocked), SOON).await.unwrap();
        eventually("b to block", || {
            board.get(&"b".into()).unwrap().progress.is_some()
        });
        running.stop(SOON).await
    });

    assert!(!report.clean);
    let outcomes: Vec<(&str, bool)> = report
        .stopped
        .iter()
        .map(|stop| (stop.id.as_str(), stop.in_order))
        .collect();
    assert_eq!(outcomes, [("b", false), ("a", true)]);
    assert_eq!(running.leaked(), 1);
    drop(wake);
    eventually("the abandoned thread to end", || running.leaked() == 0);
}

#[test]
fn a_blocked_root_is_noticed_by_the_watchdog_and_the_tree_answers_on() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let (tell, told) = mpsc::sync_channel(1);
    let running = System::builder()
        .watchdog(millis(400), move |verdict| tell.send(verdict).unwrap())
        .start(SupervisorSpec::new("root").child(a))
        .unwrap();
    in_real_time(running.started());

    running
        .faults()
        .arm(&"root".into(), Fault::Block(secs(3)), 1);
    let verdict = told.recv_timeout(SOON).unwrap();

    assert_eq!(verdict.actor.as_str(), "root");
    assert_eq!(
        verdict.reason,
        "the root supervisor has not turned for 400ms"
    );
    assert!(running.board().root_age().unwrap() >= millis(300));
    assert_eq!(running.verdict(), Some(verdict));
    assert_eq!(in_real_time(a_ref.ask(Msg::Total, SOON)), Ok(0));
}

#[test]
fn the_watchdog_passes_on_that_a_significant_actor_was_given_up() {
    let diary = Diary::default();
    let (a, _) = probe("a", &diary);
    let (tell, told) = mpsc::sync_channel(1);
    let running = System::builder()
        .watchdog(secs(60), move |verdict| tell.send(verdict).unwrap())
        .start(SupervisorSpec::new("root").child(a.significance(Significance::Significant)))
        .unwrap();

    running.faults().arm(&"a".into(), Fault::Panic, 6);

    assert_eq!(told.recv_timeout(SOON).unwrap().actor.as_str(), "a");
}

#[test]
fn a_blocked_supervisor_is_replaced_and_cannot_touch_the_children_of_its_successor() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let (middle, _) = ChildSpec::supervisor(SupervisorSpec::new("middle").child(a));
    let middle = middle.handle_deadline(millis(100));
    let running = start(SupervisorSpec::new("root").child(middle));
    let board = running.board();

    in_real_time(async {
        running.started().await;
        running
            .faults()
            .arm(&"middle".into(), Fault::Block(millis(600)), 1);
        until(&board, "a second generation of both", || {
            let generation = |id: &str| board.get(&id.into()).unwrap().generation.get();
            generation("middle") == 2 && generation("a") == 2
        })
        .await;
        assert_eq!(a_ref.ask(Msg::Total, SOON).await, Ok(0));
    });
    eventually("the blocked supervisor to wake and end", || {
        running.leaked() == 0
    });

    let status = board.get(&"a".into()).unwrap();
    assert_eq!(
        (status.generation.get(), status.state),
        (2, ActorState::Running)
    );
    assert_eq!(in_real_time(a_ref.ask(Msg::Total, SOON)), Ok(0));
}

#[test]
fn a_task_that_blocks_the_thread_of_an_idle_actor_is_a_hang() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let running = start(SupervisorSpec::new("root").child(a.handle_deadline(millis(100))));
    let board = running.board();
    let (wake, blocked) = mpsc::sync_channel::<()>(1);

    in_real_time(async {
        running.started().await;
        let spawn = Msg::Run(Box::new(move |ctx| {
            ctx.spawn(async move {
                let _ = blocked.recv();
            });
        }));
        a_ref.send(spawn, SOON).await.unwrap();
        until(&board, "a replacement", || {
            a_ref.generation().is_some_and(|g| g.get() == 2)
        })
        .await;
    });

    let reason = board.get(&"a".into()).unwrap().last_exit.unwrap().reason;
    assert!(matches!(reason, ExitReason::Hang { item, .. } if item == "task"));
    drop(wake);
    eventually("the abandoned thread to end", || running.leaked() == 0);
}

#[test]
fn an_idle_loop_whose_thread_was_taken_by_something_undeclared_is_a_hang() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let running = start(SupervisorSpec::new("root").child(a.handle_deadline(millis(100))));
    let board = running.board();
    let (wake, blocked) = mpsc::sync_channel::<()>(1);
    let (blocking, is_blocking) = mpsc::sync_channel::<()>(1);

    in_real_time(async {
        running.started().await;
        // Not the actor's own task, but one on its thread.
        let spawn = Msg::Run(Box::new(move |_| {
            actix_rt::spawn(async move {
                drop(blocking);
                let _ = blocked.recv();
            });
        }));
        a_ref.send(spawn, SOON).await.unwrap();
        // The channel closes when the task has begun to block.
        assert!(is_blocking.recv_timeout(SOON).is_err());
        a_ref.send(Msg::Add(2), SOON).await.unwrap();
        assert_eq!(a_ref.ask(Msg::Total, SOON).await, Ok(2));
    });

    let reason = board.get(&"a".into()).unwrap().last_exit.unwrap().reason;
    assert!(matches!(reason, ExitReason::Hang { item, .. } if item == "inbox"));
    drop(wake);
    eventually("the abandoned thread to end", || running.leaked() == 0);
}

#[test]
fn the_runtime_needs_no_actix_system_around_it() {
    assert!(!actix_rt::System::is_registered());
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let _running = start(SupervisorSpec::new("root").child(a));

    let thread = in_real_time(async {
        let (tell, told) = tokio::sync::oneshot::channel();
        let name = Msg::Run(Box::new(move |_| {
            let path = "/proc/thread-self/comm";
            tell.send(std::fs::read_to_string(path)).unwrap();
        }));
        a_ref.send(name, SOON).await.unwrap();
        told.await.unwrap()
    });

    assert!(!actix_rt::System::is_registered());
    if cfg!(target_os = "linux") {
        assert_eq!(thread.unwrap().trim(), "a");
    }
}

#[test]
fn a_tree_can_be_started_and_stopped_from_inside_another_actix_system() {
    actix_rt::System::new().block_on(async {
        let outer = actix_rt::System::current().id();
        let diary = Diary::default();
        let (a, a_ref) = probe("a", &diary);
        let running = start(SupervisorSpec::new("root").child(a));
        running.started().await;
        assert_eq!(a_ref.ask(Msg::Total, SOON).await, Ok(0));
        assert!(running.stop(SOON).await.clean);
        assert_eq!(actix_rt::System::current().id(), outer);
    });
}
