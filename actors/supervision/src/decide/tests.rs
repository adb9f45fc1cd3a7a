//! Invented histories: whatever happens, in whatever order, the rules of [`Decider`] hold.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec as vec_of;
use proptest::prelude::{Just, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as Generator;

use super::*;
use crate::backoff::Delays;
use crate::{Backoff, Intensity, Restart, Shutdown};

/// Something that may happen to a supervisor.
#[derive(Clone, Debug)]
enum Happening {
    Started(Key),
    Settled(Key),
    Ended(Key, ExitReason, Toll),
    Passed(u64),
    Restart(Key),
    Remove(Key),
    Add,
    LeaksHaveRoom(bool),
    Heals(bool),
}

/// A supervisor's world: carries out orders at once and checks each against the rules.
struct World {
    decider: Decider,
    now: Duration,
    /// Live incarnations, and whether they have been asked to stop.
    live: BTreeMap<Key, bool>,
    orders: Vec<Order>,
    next_key: Key,
    escalated: bool,
    /// Those that have been launched before.
    known: BTreeSet<Key>,
    /// Those that somebody wants started while healing is paused.
    asked: BTreeSet<Key>,
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn policy() -> Policy {
    Policy {
        restart: Restart::Permanent,
        shutdown: Shutdown::Within(millis(50)),
        significant: false,
        intensity: Intensity::try_new(3, millis(200)).unwrap(),
        cool_down: millis(300),
    }
}

fn member(key: Key, policy: Policy) -> Member {
    let id = ActorId::from(format!("child{key}"));
    let backoff = Backoff::try_new(millis(10), millis(40), 0.0, millis(1000)).unwrap();
    let delays = Delays::new(backoff, 0, &id);
    Member::new(key, id, policy, delays)
}

fn panic() -> ExitReason {
    ExitReason::Panic {
        message: "x".to_owned(),
    }
}

impl World {
    fn new(strategy: Strategy, is_root: bool, policies: &[Policy]) -> Self {
        let mut decider = Decider::new(strategy, is_root);
        for (key, policy) in (0..).zip(policies) {
            decider.add_queued(member(key, *policy));
        }
        let mut world = Self {
            decider,
            now: Duration::ZERO,
            live: BTreeMap::new(),
            orders: Vec::new(),
            next_key: policies.len() as Key,
            escalated: false,
            known: BTreeSet::new(),
            asked: BTreeSet::new(),
        };
        world.turn();
        world
    }

    /// What the supervisor's loop does at each of its turns.
    fn turn(&mut self) {
        self.decider.poll(self.now);
        while let Some(order) = self.decider.next_order() {
            self.carry_out(&order);
            self.orders.push(order);
            self.decider.poll(self.now);
        }
        for key in 0..self.next_key {
            let thought = self.decider.phase(key).is_some_and(Phase::is_live);
            assert_eq!(thought, self.live.contains_key(&key), "child {key}");
        }
        if let Some(due) = self.decider.next_due(self.now) {
            assert!(due > self.now, "a supervisor would spin");
        }
    }

    fn carry_out(&mut self, order: &Order) {
        match *order {
            Order::Launch(key) => {
                assert!(!self.escalated, "launched after the end");
                assert!(self.may_launch(key), "healed child {key} in a pause");
                let before = self.live.insert(key, false);
                assert_eq!(before, None, "child {key} has two incarnations");
            }
            Order::AskToStop(key) => {
                let asked = self.live.insert(key, true);
                assert_eq!(asked, Some(false), "child {key} is not there to be asked");
            }
            Order::Abandon(key) => {
                let was_live = self.live.remove(&key).is_some();
                assert!(was_live, "child {key} is not there to be abandoned");
            }
            Order::Forget(key) => {
                assert!(!self.live.contains_key(&key), "a live child was forgotten");
            }
            Order::Escalate(..) => {
                assert!(self.live.is_empty(), "escalated over live children");
                assert!(!self.escalated, "escalated twice");
                self.escalated = true;
            }
            Order::GiveUp(..) => assert!(self.decider.is_root),
            Order::NoteHeld(..) => assert!(!self.decider.heals),
            Order::NoteDelay(..) | Order::NoteFailed(..) | Order::NoteDone(..) => {}
        }
    }

    /// In a pause only first starts go on, and what was asked for by name, with the group it belongs to.
    fn may_launch(&mut self, key: Key) -> bool {
        let first = self.known.insert(key);
        let asked = match self.decider.strategy {
            Strategy::OneForOne => self.asked.remove(&key),
            _ => !self.asked.is_empty(),
        };
        self.decider.heals || first || asked
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Started(key) if self.live.contains_key(&key) => {
                self.decider.started(key, self.now);
            }
            Happening::Settled(key) if self.live.contains_key(&key) => {
                self.decider.settled(key, self.now);
            }
            Happening::Ended(key, reason, toll) => {
                if let Some(asked) = self.live.remove(&key) {
                    let reason = if asked { ExitReason::Shutdown } else { reason };
                    self.decider.ended(key, &reason, toll, self.now);
                }
            }
            Happening::Passed(time) => self.now += millis(time),
            Happening::Restart(key) => {
                self.asked.insert(key);
                self.decider.restart(key, self.now);
            }
            Happening::Remove(key) => self.decider.remove(key, self.now),
            Happening::Add if self.next_key < 8 => {
                self.decider.add(member(self.next_key, policy()));
                self.next_key += 1;
            }
            Happening::LeaksHaveRoom(room) => self.decider.set_leaks_have_room(room),
            Happening::Heals(heals) => self.decider.set_heals(heals),
            _ => {}
        }
        self.turn();
    }

    fn start_all(&mut self) {
        for key in 0..self.next_key {
            self.happen(Happening::Settled(key));
        }
        self.orders.clear();
    }

    fn end(&mut self, key: Key, reason: ExitReason) {
        self.happen(Happening::Ended(key, reason, Toll::Charged));
    }
}

fn any_policy() -> impl Generator<Value = Policy> {
    let restart = prop_oneof![
        4 => Just(Restart::Permanent),
        1 => Just(Restart::Transient),
        1 => Just(Restart::Temporary),
    ];
    let shutdown = prop_oneof![
        3 => (1_u64..100).prop_map(|ms| Shutdown::Within(millis(ms))),
        1 => Just(Shutdown::Brutal),
    ];
    (restart, shutdown, proptest::bool::weighted(0.2), 0_u32..4).prop_map(
        |(restart, shutdown, significant, restarts)| Policy {
            restart,
            shutdown,
            significant,
            intensity: Intensity::try_new(restarts, millis(200)).unwrap(),
            cool_down: millis(300),
        },
    )
}

fn any_happening() -> impl Generator<Value = Happening> {
    let reason = prop_oneof![Just(panic()), Just(ExitReason::Normal)];
    let toll =
        prop_oneof![4 => Just(Toll::Charged), 1 => Just(Toll::AtCap), 1 => Just(Toll::Excused)];
    prop_oneof![
        4 => (0_u64..8).prop_map(Happening::Started),
        6 => (0_u64..8).prop_map(Happening::Settled),
        6 => (0_u64..8, reason, toll).prop_map(|(key, why, toll)| Happening::Ended(key, why, toll)),
        6 => (0_u64..150).prop_map(Happening::Passed),
        1 => (0_u64..8).prop_map(Happening::Restart),
        1 => (0_u64..8).prop_map(Happening::Remove),
        1 => Just(Happening::Add),
        1 => any::<bool>().prop_map(Happening::LeaksHaveRoom),
        1 => any::<bool>().prop_map(Happening::Heals),
    ]
}

fn any_strategy() -> impl Generator<Value = Strategy> {
    prop_oneof![
        Just(Strategy::OneForOne),
        Just(Strategy::OneForAll),
        Just(Strategy::RestForOne),
    ]
}

proptest! {
    #[test]
    fn every_history_keeps_the_rules_and_every_stop_comes_to_an_end(
        strategy in any_strategy(),
        is_root: bool,
        policies in vec_of(any_policy(), 0..5),
        history in vec_of(any_happening(), 0..120),
    ) {
        let mut world = World::new(strategy, is_root, &policies);
        for happening in history {
            world.happen(happening);
        }
        let launched = |world: &World| {
            let is_launch = |order: &&Order| matches!(order, Order::Launch(_));
            world.orders.iter().filter(is_launch).count()
        };
        let before = launched(&world);
        world.decider.stop(world.now);
        world.turn();
        // Nobody stops by himself: the deadlines alone bring everything down.
        for _ in 0..8 {
            world.happen(Happening::Passed(100));
        }
        prop_assert!(world.decider.is_down());
        prop_assert_eq!(launched(&world), before);
    }

    #[test]
    fn a_group_comes_up_in_order_and_never_beside_its_own_remains(
        strategy in prop_oneof![Just(Strategy::OneForAll), Just(Strategy::RestForOne)],
        history in vec_of(any_happening(), 0..120),
    ) {
        let mut world = World::new(strategy, true, &[policy(); 4]);
        for happening in history {
            let by_hand = matches!(
                happening,
                Happening::Restart(_) | Happening::Remove(_) | Happening::Add
            );
            if by_hand {
                continue;
            }
            let seen = world.orders.len();
            world.happen(happening);
            for order in &world.orders[seen..] {
                if let Order::Launch(key) = order {
                    let later = world.live.range(key + 1..).next();
                    prop_assert_eq!(later, None, "started before one that is to follow it");
                }
            }
        }
    }

    #[test]
    fn whatever_a_pause_has_held_back_comes_up_when_it_ends(
        strategy in any_strategy(),
        history in vec_of(any_happening(), 0..120),
    ) {
        let mut world = World::new(strategy, true, &[policy(); 4]);
        world.happen(Happening::Heals(false));
        for happening in history {
            if !matches!(happening, Happening::Heals(_) | Happening::Remove(_)) {
                world.happen(happening);
            }
        }
        world.happen(Happening::LeaksHaveRoom(true));
        world.happen(Happening::Heals(true));
        // Long enough for every stop, backoff and cool-down, and then for each to follow the one before it.
        for key in 0..8 {
            world.happen(Happening::Passed(1000));
            (0..=key).for_each(|key| world.happen(Happening::Settled(key)));
        }
        for key in 0..4 {
            let phase = world.decider.phase(key);
            let up = phase.is_some_and(Phase::is_live) || phase == Some(Phase::Done);
            prop_assert!(up, "child {} is {:?}", key, phase);
            prop_assert!(!world.decider.is_held(key));
        }
    }

    #[test]
    fn one_for_one_touches_nobody_else(
        failures in vec_of((0_u64..4, 0_u64..150), 1..60),
    ) {
        let mut world = World::new(Strategy::OneForOne, true, &[policy(); 4]);
        world.start_all();
        for (key, wait) in failures {
            let others: Vec<_> = (0..4).filter(|other| *other != key).collect();
            let phases = |world: &World| others.iter().map(|k| world.decider.phase(*k)).collect::<Vec<_>>();
            let before = phases(&world);
            world.end(key, panic());
            prop_assert_eq!(phases(&world), before);
            world.happen(Happening::Passed(wait));
            world.happen(Happening::Settled(key));
        }
        let asked = world.orders.iter().any(|order| matches!(order, Order::AskToStop(_)));
        prop_assert!(!asked);
    }
}

#[test]
fn a_group_stops_in_reverse_one_after_the_other_and_starts_in_order() {
    let mut world = World::new(Strategy::RestForOne, true, &[policy(); 4]);
    world.start_all();

    world.end(1, panic());
    assert_eq!(world.orders, [Order::AskToStop(3)]);
    world.end(3, panic());
    assert_eq!(world.orders[1..], [Order::AskToStop(2)]);
    // The second does not stop; its deadline frees the others.
    world.happen(Happening::Passed(50));

    assert_eq!(world.orders[2..], [Order::Abandon(2), Order::Launch(1)]);
    world.happen(Happening::Settled(1));
    world.happen(Happening::Settled(2));
    world.happen(Happening::Settled(3));
    assert_eq!(world.orders[4..], [Order::Launch(2), Order::Launch(3)]);
}

#[test]
fn a_failed_child_of_a_group_brings_it_back_after_its_cool_down() {
    let mut world = World::new(Strategy::OneForAll, true, &[policy(); 2]);
    world.start_all();
    for _ in 0..4 {
        world.end(0, panic());
        world.end(1, panic());
        world.happen(Happening::Passed(45));
        world.happen(Happening::Settled(0));
        world.happen(Happening::Settled(1));
    }
    assert!(matches!(world.decider.phase(0), Some(Phase::Failed { .. })));
    assert_eq!(world.decider.phase(1), Some(Phase::Down));

    world.happen(Happening::Passed(300));
    world.happen(Happening::Settled(0));

    assert_eq!(world.live.len(), 2);
}

#[test]
fn a_victim_at_the_leak_cap_is_replaced_once_it_has_left_nothing_behind() {
    let mut world = World::new(Strategy::OneForOne, true, &[policy(); 1]);
    world.start_all();
    world.happen(Happening::LeaksHaveRoom(false));

    world.happen(Happening::Ended(0, panic(), Toll::AtCap));
    world.happen(Happening::Passed(99));
    assert!(matches!(
        world.decider.phase(0),
        Some(Phase::BackingOff { .. })
    ));
    world.decider.left_nothing(0);
    world.happen(Happening::Passed(1));

    assert_eq!(world.decider.phase(0), Some(Phase::Starting));
}

#[test]
fn a_victim_at_the_leak_cap_stays_failed_until_there_is_room() {
    let mut world = World::new(Strategy::OneForOne, true, &[policy(); 1]);
    world.start_all();
    world.happen(Happening::LeaksHaveRoom(false));
    world.happen(Happening::Ended(0, panic(), Toll::AtCap));
    world.happen(Happening::Passed(100));
    assert_eq!(
        world.decider.phase(0),
        Some(Phase::Failed { until: millis(400) })
    );

    world.happen(Happening::Passed(300));
    assert_eq!(
        world.decider.phase(0),
        Some(Phase::Failed { until: millis(700) })
    );
    world.happen(Happening::LeaksHaveRoom(true));
    world.happen(Happening::Passed(300));

    assert_eq!(world.decider.phase(0), Some(Phase::Starting));
}

#[test]
fn a_significant_child_stops_its_siblings_before_its_supervisor_ends() {
    let significant = Policy {
        significant: true,
        intensity: Intensity::try_new(0, millis(200)).unwrap(),
        ..policy()
    };
    let mut world = World::new(
        Strategy::OneForOne,
        false,
        &[policy(), significant, policy()],
    );
    world.start_all();

    world.end(1, panic());
    assert_eq!(world.orders, [Order::AskToStop(2)]);
    world.end(2, panic());
    world.end(0, panic());

    let child = ActorId::from("child1");
    let reason = "more than 0 restarts within 200ms; last: x".to_owned();
    let expected = [Order::AskToStop(0), Order::Escalate(child, reason)];
    assert_eq!(world.orders[1..], expected);
}

#[test]
fn a_pause_holds_a_due_restart_back_and_charges_it_once() {
    let mut world = World::new(Strategy::OneForOne, true, &[policy(); 1]);
    world.start_all();
    world.happen(Happening::Heals(false));

    world.end(0, panic());
    world.happen(Happening::Passed(5000));
    assert_eq!(world.orders, [Order::NoteHeld(0)]);
    assert!(world.decider.is_held(0));
    world.happen(Happening::Heals(true));
    assert_eq!(world.orders[1..], [Order::Launch(0)]);

    // The window had room for three: two more restarts, and no fourth.
    world.happen(Happening::Heals(false));
    for _ in 0..2 {
        world.happen(Happening::Heals(true));
        world.happen(Happening::Passed(20));
        world.happen(Happening::Settled(0));
        world.end(0, panic());
    }
    let phase = world.decider.phase(0);
    assert!(matches!(phase, Some(Phase::BackingOff { .. })), "{phase:?}");
}

#[test]
fn a_group_stays_as_a_failure_in_a_pause_has_left_it_and_goes_on_when_healing_does() {
    let mut world = World::new(Strategy::OneForAll, true, &[policy(); 3]);
    world.start_all();
    world.happen(Happening::Heals(false));

    world.end(1, panic());
    world.happen(Happening::Passed(5000));
    assert_eq!(world.orders, [Order::NoteHeld(1)]);
    assert_eq!(world.live.len(), 2);
    world.happen(Happening::Heals(true));

    assert_eq!(world.orders[1..], [Order::AskToStop(2)]);
}

#[test]
fn what_is_asked_for_by_name_starts_in_a_pause_with_the_group_that_waits_for_it() {
    let mut world = World::new(Strategy::OneForAll, true, &[policy(); 2]);
    world.start_all();
    world.happen(Happening::Heals(false));
    world.end(0, panic());
    world.end(1, panic());
    assert!(world.decider.is_held(0) && world.decider.is_held(1));

    world.happen(Happening::Restart(1));
    world.happen(Happening::Settled(0));

    assert_eq!(world.orders[1..], [Order::Launch(0), Order::Launch(1)]);
}
