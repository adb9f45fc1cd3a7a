//! Messages: what overtakes what, what is refused, what is answered, and what is handled twice.

use std::sync::{Arc, Mutex};

use impetus_supervision::{
    Actor, ActorError, ActorState, AskError, ChildSpec, Context, Message, Reply, SendError,
    SupervisorSpec, TrySendError,
};

use crate::support::{Diary, Msg, SOON, World, millis, probe, secs};

#[test]
fn the_priority_lane_overtakes_the_normal_one() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a));

    a_ref.try_send(Msg::Add(1)).unwrap();
    a_ref.try_send(Msg::Add(2)).unwrap();
    a_ref.try_send_priority(Msg::Add(3)).unwrap();
    world.executor.settle();

    assert_eq!(
        diary.with("add"),
        ["a add 3 in 1", "a add 1 in 1", "a add 2 in 1"]
    );
}

#[test]
fn a_full_inbox_refuses_and_gives_the_message_back() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a.capacity(2)));
    a_ref.try_send(Msg::Add(1)).unwrap();
    a_ref.try_send(Msg::Add(2)).unwrap();

    let refused = a_ref.try_send(Msg::Add(4)).unwrap_err();
    assert!(matches!(refused, TrySendError::Full(_)));
    assert!(matches!(refused.into_message(), Msg::Add(4)));
    assert_eq!((a_ref.depth(), a_ref.capacity()), (2, 2));
    let asked = world.executor.run_until(async {
        let question = a_ref.ask(Msg::Total, SOON);
        question.await
    });
    assert_eq!(asked, Err(AskError::Full));
    // The lanes are bounded apart.
    a_ref.try_send_priority(Msg::Add(8)).unwrap();

    assert_eq!(world.total(&a_ref), 11);
}

#[test]
fn a_sender_waits_for_room_until_its_deadline() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a.capacity(1)));
    world.send(&a_ref, Msg::Work(secs(3)));
    a_ref.try_send(Msg::Add(1)).unwrap();

    let too_short = world.executor.run_until(a_ref.send(Msg::Add(2), secs(1)));
    let long_enough = world.executor.run_until(a_ref.send(Msg::Add(4), secs(5)));

    assert_eq!((too_short, long_enough), (Err(SendError::Timeout), Ok(())));
    world.advance(5.0);
    assert_eq!(world.total(&a_ref), 5);
}

#[test]
fn every_sender_that_waits_gets_its_room() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a.capacity(1)));

    let sends = (0..50).map(|_| a_ref.send(Msg::Add(1), secs(5)));
    let outcomes = world
        .executor
        .run_until(futures_util::future::join_all(sends));

    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(world.total(&a_ref), 50);
}

#[test]
fn an_answer_that_does_not_come_in_time_is_a_timeout() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a));

    let answer = world.executor.run_until(a_ref.ask(Msg::Keep, secs(5)));

    assert_eq!(answer, Err(AskError::Timeout));
    assert_eq!(
        (world.generation("a"), world.state("a")),
        (1, ActorState::Running)
    );
}

#[test]
fn an_asker_learns_at_once_that_the_actor_died_with_the_question() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a));

    let answer = world.executor.run_until(async {
        let asked = a_ref.ask(Msg::Keep, secs(60));
        let panics = async { a_ref.try_send(Msg::Panic).unwrap() };
        futures_util::future::join(asked, panics).await.0
    });

    assert_eq!(answer, Err(AskError::Lost));
    assert!(AskError::Lost.is_retryable());
    assert_eq!(
        world.board.events(10).last().unwrap().at.to_string(),
        "2025-01-01T00:00:00.000Z"
    );
}

#[test]
fn a_delayed_message_comes_in_time_and_dies_with_its_incarnation() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a));
    let remind = |n| Msg::Run(Box::new(move |ctx| ctx.send_after(secs(2), Msg::Add(n))));

    world.send(&a_ref, remind(1));
    world.advance(1.9);
    assert!(diary.with("add").is_empty());
    world.advance(0.2);
    assert_eq!(diary.with("add"), ["a add 1 in 1"]);

    world.send(&a_ref, remind(2));
    world.send(&a_ref, Msg::Panic);
    world.advance(10.0);
    assert_eq!(diary.with("add").len(), 1);
}

/// A message that may be handled twice; the first time it is, it kills its reader.
struct Careful {
    number: u32,
    deadly: Arc<Mutex<u32>>,
}

impl Message for Careful {
    fn replay(&self) -> Option<Self> {
        Some(Self {
            number: self.number,
            deadly: Arc::clone(&self.deadly),
        })
    }
}

struct Reader {
    diary: Diary,
    batch: usize,
}

impl Actor for Reader {
    type Msg = Careful;

    async fn handle(&mut self, msg: Careful, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        let mut batch = vec![msg];
        while batch.len() < self.batch
            && let Some(next) = ctx.try_next()
        {
            batch.push(next);
        }
        for Careful { number, deadly } in batch {
            self.diary
                .write(format!("{number} in {}", ctx.generation()));
            let mut deaths = deadly
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            if *deaths > 0 {
                *deaths -= 1;
                panic!("deadly");
            }
        }
        Ok(())
    }
}

fn reader(diary: &Diary, batch: usize) -> (World, impl Fn(u32, u32)) {
    let seen = diary.clone();
    let (spec, reader) = ChildSpec::actor("reader", move |_| Reader {
        diary: seen.clone(),
        batch,
    });
    let world = World::start(SupervisorSpec::new("root").child(spec));
    let send = move |number, deaths| {
        let deadly = Arc::new(Mutex::new(deaths));
        reader.try_send(Careful { number, deadly }).unwrap();
    };
    (world, send)
}

#[test]
fn a_message_that_allows_it_is_handled_again_in_its_place_after_a_restart() {
    let diary = Diary::default();
    let (world, send) = reader(&diary, 1);

    send(1, 1);
    send(2, 0);
    world.executor.settle();

    assert_eq!(diary.lines(), ["1 in 1", "1 in 2", "2 in 2"]);
}

#[test]
fn a_message_is_handled_again_only_once() {
    let diary = Diary::default();
    let (world, send) = reader(&diary, 1);

    send(1, 2);
    send(2, 0);
    world.advance(1.0);

    assert_eq!(diary.lines(), ["1 in 1", "1 in 2", "2 in 3"]);
}

#[test]
fn a_whole_batch_in_hand_is_handled_again_in_order() {
    let diary = Diary::default();
    let (world, send) = reader(&diary, 3);

    for (number, deaths) in [(1, 0), (2, 0), (3, 1), (4, 0)] {
        send(number, deaths);
    }
    world.executor.settle();

    let expected = [
        "1 in 1", "2 in 1", "3 in 1", "1 in 2", "2 in 2", "3 in 2", "4 in 2",
    ];
    assert_eq!(diary.lines(), expected);
}

#[test]
fn a_handle_made_before_the_tree_starts_queues_messages_for_it() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    a_ref.try_send(Msg::Add(6)).unwrap();
    assert_eq!(a_ref.generation(), None);

    let world = World::start(SupervisorSpec::new("root").child(a));

    assert_eq!(world.total(&a_ref), 6);
    assert_eq!(a_ref.generation().unwrap().get(), 1);
}

#[test]
fn a_busy_actor_still_gets_its_ticks_and_its_timers() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a.tick(millis(10))));
    let again = a_ref.clone();
    // A message that puts itself back for ever would starve everything else if the loop let it.
    fn again_and_again(to: impetus_supervision::ActorRef<Msg>) -> Msg {
        Msg::Run(Box::new(move |ctx| {
            let sleep = ctx.clock().sleep(millis(1));
            let next = to.clone();
            ctx.spawn(async move {
                sleep.await;
                let _ = to.try_send(again_and_again(next));
            });
        }))
    }
    world.send(&a_ref, again_and_again(again));

    world.advance(0.1);

    assert!(diary.with("tick").len() >= 8);
}

#[test]
fn a_reply_knows_that_nobody_waits_for_it_any_more() {
    let diary = Diary::default();
    let (a, a_ref) = probe("a", &diary);
    let world = World::start(SupervisorSpec::new("root").child(a));
    let slot: Arc<Mutex<Option<Reply<u64>>>> = Arc::default();
    let kept = Arc::clone(&slot);

    let question = move |reply| {
        *kept.lock().unwrap() = Some(reply);
        Msg::Add(1)
    };
    let answer = world.executor.run_until(a_ref.ask(question, secs(1)));

    assert_eq!(answer, Err(AskError::Timeout));
    let reply = slot.lock().unwrap().take().unwrap();
    assert!(reply.is_abandoned());
    reply.send(5);
}
