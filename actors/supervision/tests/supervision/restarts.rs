//! A child that ends is back with fresh state, and nobody else notices.

use impetus_supervision::{
    ActorId, ActorRef, ActorState, ChildSpec, Intensity, Restart, SupervisorError, SupervisorSpec,
};

use crate::support::{Deed, Diary, Moment, Msg, World, millis, probe, scripted, secs};

/// A tree of an actor that may be hurt and one that must not notice.
fn world_of_two(a: ChildSpec, diary: &Diary) -> (World, ActorRef<Msg>) {
    let (b, b_ref) = probe("b", diary);
    let world = World::start(SupervisorSpec::new("root").child(a).child(b));
    world.send(&b_ref, Msg::Add(5));
    (world, b_ref)
}

fn assert_untouched(world: &World, b_ref: &ActorRef<Msg>) {
    assert_eq!((world.generation("b"), world.total(b_ref)), (1, 5));
}

#[test]
fn a_panic_in_a_handler_brings_the_actor_back_with_fresh_state() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let (world, b_ref) = world_of_two(a, &diary);
    world.send(&a_ref, Msg::Add(3));

    world.send(&a_ref, Msg::Panic);

    let status = world.status("a");
    assert_eq!(status.state, ActorState::Running);
    assert_eq!((status.generation.get(), status.restarts), (2, 1));
    let reason = status.last_exit.unwrap().reason;
    assert_eq!(
        (reason.kind(), reason.to_string()),
        ("panic", "told to".to_owned())
    );
    assert_eq!(world.total(&a_ref), 0);
    assert_untouched(&world, &b_ref);
}

#[test]
fn a_panic_in_started_brings_the_actor_back() {
    let diary = Diary::default();
    let (a, a_ref) = scripted("a", &diary, |birth, moment| match moment {
        Moment::Started if birth.generation.get() == 1 => Deed::Panic,
        _ => Deed::Well,
    });
    let (world, b_ref) = world_of_two(a, &diary);

    world.send(&a_ref, Msg::Add(2));

    assert_eq!((world.generation("a"), world.last_exit("a")), (2, "panic"));
    assert_eq!(world.total(&a_ref), 2);
    assert_untouched(&world, &b_ref);
}

#[test]
fn an_error_from_started_is_a_failed_start_and_is_tried_again() {
    let diary = Diary::default();
    let (a, _) = scripted("a", &diary, |birth, moment| match moment {
        Moment::Started if birth.generation.get() <= 2 => Deed::Fail,
        _ => Deed::Well,
    });
    let (world, b_ref) = world_of_two(a, &diary);
    assert_eq!(
        (world.generation("a"), world.last_exit("a")),
        (2, "failed_start")
    );
    assert_eq!(world.state("a"), ActorState::BackingOff);

    world.advance(0.2);

    assert_eq!(
        (world.generation("a"), world.state("a")),
        (3, ActorState::Running)
    );
    assert_untouched(&world, &b_ref);
}

#[test]
fn a_panic_in_the_factory_brings_the_actor_back() {
    let diary = Diary::default();
    let (a, a_ref) = scripted("a", &diary, |birth, moment| match moment {
        Moment::Factory if birth.generation.get() == 2 => Deed::Panic,
        _ => Deed::Well,
    });
    let (world, b_ref) = world_of_two(a, &diary);

    world.send(&a_ref, Msg::Panic);
    world.advance(0.2);

    let status = world.status("a");
    assert_eq!(
        (status.generation.get(), status.state),
        (3, ActorState::Running)
    );
    assert_eq!(
        status.last_exit.unwrap().reason.to_string(),
        "the factory broke"
    );
    assert_untouched(&world, &b_ref);
}

#[test]
fn a_panic_in_a_tick_brings_the_actor_back() {
    let diary = Diary::default();
    let (a, _) = scripted("a", &diary, |birth, moment| match moment {
        Moment::Tick if birth.generation.get() == 1 => Deed::Panic,
        _ => Deed::Well,
    });
    let (world, b_ref) = world_of_two(a.tick(millis(500)), &diary);

    world.advance(0.6);

    assert_eq!((world.generation("a"), world.last_exit("a")), (2, "panic"));
    world.advance(0.5);
    assert_eq!(diary.with("a tick"), ["a tick 1", "a tick 2"]);
    assert_untouched(&world, &b_ref);
}

#[test]
fn a_panic_in_a_spawned_task_is_a_panic_of_its_actor() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let (world, b_ref) = world_of_two(a, &diary);

    world.send(
        &a_ref,
        Msg::Run(Box::new(|ctx| {
            let sleep = ctx.clock().sleep(millis(300));
            ctx.spawn(async move {
                sleep.await;
                panic!("the task broke");
            });
        })),
    );
    assert_eq!(world.generation("a"), 1);
    world.advance(0.4);

    assert_eq!((world.generation("a"), world.last_exit("a")), (2, "panic"));
    assert_untouched(&world, &b_ref);
}

#[test]
fn an_error_from_a_handler_brings_the_actor_back() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let (world, b_ref) = world_of_two(a, &diary);

    world.send(&a_ref, Msg::Fail);

    let reason = world.status("a").last_exit.unwrap().reason;
    assert_eq!(
        (reason.kind(), reason.to_string()),
        ("error", "told to fail".to_owned())
    );
    assert_eq!(world.generation("a"), 2);
    assert_untouched(&world, &b_ref);
}

#[test]
fn a_lost_process_is_told_apart_from_an_error() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let (world, b_ref) = world_of_two(a, &diary);

    world.send(&a_ref, Msg::LoseProcess);

    let reason = world.status("a").last_exit.unwrap().reason;
    assert_eq!(reason.kind(), "process_lost");
    assert_eq!(reason.to_string(), "process 4711 was ended by signal 9");
    assert_untouched(&world, &b_ref);
}

#[test]
fn messages_that_wait_survive_the_death_of_the_one_they_wait_for() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a));

    a_ref.try_send(Msg::Add(1)).unwrap();
    a_ref.try_send(Msg::Panic).unwrap();
    a_ref.try_send(Msg::Add(10)).unwrap();
    a_ref.try_send(Msg::Add(100)).unwrap();

    assert_eq!(world.total(&a_ref), 110);
    assert_eq!(
        diary.with("add"),
        ["a add 1 in 1", "a add 10 in 2", "a add 100 in 2"]
    );
}

#[test]
fn the_old_state_is_dropped_before_the_new_one_is_built() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a));

    world.send(&a_ref, Msg::Panic);

    let lines = diary.lines();
    assert_eq!(lines[1..3], ["a started 1", "a dropped 1"]);
    assert_eq!(lines[3], "a starting 2");
}

#[test]
fn a_permanent_actor_comes_back_even_from_a_normal_end() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a));

    world.send(&a_ref, Msg::Stop);

    assert_eq!((world.generation("a"), world.last_exit("a")), (2, "normal"));
    assert_eq!(diary.with("stopping"), ["a stopping 1"]);
}

#[test]
fn a_transient_actor_comes_back_from_an_error_but_not_from_a_normal_end() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let spec = SupervisorSpec::new("root").child(a.restart(Restart::Transient));
    let world = World::start(spec);

    world.send(&a_ref, Msg::Fail);
    assert_eq!(
        (world.generation("a"), world.state("a")),
        (2, ActorState::Running)
    );

    world.send(&a_ref, Msg::Stop);
    world.advance(100.0);
    assert_eq!(
        (world.generation("a"), world.state("a")),
        (2, ActorState::Stopped)
    );
}

#[test]
fn a_temporary_actor_never_comes_back() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let (world, b_ref) = world_of_two(a.restart(Restart::Temporary), &diary);

    world.send(&a_ref, Msg::Panic);
    world.advance(100.0);

    assert_eq!(
        (world.generation("a"), world.state("a")),
        (1, ActorState::Stopped)
    );
    assert!(diary.with("stopping").is_empty());
    assert_untouched(&world, &b_ref);
}

#[test]
fn the_next_incarnation_is_told_how_the_last_one_ended() {
    let diary = Diary::default();
    let seen = diary.clone();
    let (a, a_ref) = scripted("a", &diary, move |birth, moment| {
        if moment == Moment::Factory {
            let last = birth.last_exit.as_ref().map_or("none", |exit| exit.kind());
            seen.write(format!("last exit {last}"));
        }
        Deed::Well
    });
    let world = World::start(SupervisorSpec::new("root").child(a));

    world.send(&a_ref, Msg::Fail);

    assert_eq!(
        diary.with("last exit"),
        ["last exit none", "last exit error"]
    );
}

#[test]
fn an_actor_is_restarted_by_name_wherever_it_is_supervised_and_whatever_it_is_listed_under() {
    let diary = Diary::default();
    let (worker, worker_ref) = probe("worker:a/0", &diary);
    let (model, _) = ChildSpec::supervisor(SupervisorSpec::new("model").child(worker));
    let (models, _) =
        ChildSpec::supervisor(SupervisorSpec::new("models").child(model.listed_under("loader")));
    let (loader, _) = probe("loader", &diary);
    let world = World::start(SupervisorSpec::new("root").child(models).child(loader));
    let restart = |id: &str| {
        let id = ActorId::from(id);
        let done = world
            .executor
            .run_until(world.running.restart(&id, secs(5)));
        world.executor.settle();
        done
    };

    restart("worker:a/0").unwrap();
    assert_eq!(world.generation("worker:a/0"), 2);
    assert!(diary.lines().contains(&"worker:a/0 stopping 1".to_owned()));
    restart("model").unwrap();
    assert_eq!(
        (world.generation("model"), world.generation("worker:a/0")),
        (2, 3)
    );

    assert_eq!(world.generation("loader"), 1);
    world.send(&worker_ref, Msg::Add(4));
    assert_eq!(world.total(&worker_ref), 4);
    let unknown = SupervisorError::Unknown("worker".into());
    assert_eq!(restart("worker"), Err(unknown));
    assert_eq!(restart("root"), Err(SupervisorError::Itself("root".into())));
}

#[test]
fn an_actor_in_its_cool_down_that_is_restarted_by_name_starts_at_once_with_nothing_held_against_it()
{
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let a = a.intensity(Intensity::try_new(1, secs(100)).unwrap());
    let world = World::start(SupervisorSpec::new("root").child(a));
    world.send(&a_ref, Msg::Panic);
    world.send(&a_ref, Msg::Panic);
    assert_eq!(world.state("a"), ActorState::Failed);

    let id = ActorId::from("a");
    let restart = world.running.restart(&id, secs(5));
    world.executor.run_until(restart).unwrap();
    world.executor.settle();
    assert_eq!(world.state("a"), ActorState::Running);
    world.send(&a_ref, Msg::Panic);

    assert_eq!(
        (world.state("a"), world.generation("a")),
        (ActorState::Running, 4)
    );
}
