//! Shares of models under load, in the time of a simulation: what is counted is work.

use std::collections::BTreeMap;

use super::core::{Asked, Called, Core};

/// A model that always has another batch for each of its links.
struct Load {
    weight: u32,
    links: usize,
    /// What one of its runs takes, in microseconds.
    cost: u64,
}

/// Runs models against each other and returns what each has run, in microseconds.
fn simulate(seats: usize, loads: &[Load], until: u64) -> Vec<u64> {
    let mut core = Core::new(seats);
    let ids: Vec<u64> = loads.iter().map(|load| core.open(load.weight)).collect();
    let index_of: BTreeMap<u64, usize> = ids.iter().copied().zip(0..).collect();
    let mut work = vec![0; loads.len()];
    // Runs by the time of their end, each with its model and its charge.
    let mut running: BTreeMap<(u64, u64), (usize, u64)> = BTreeMap::new();
    let mut serial = 0;
    let mut now = 0;
    let mut begin = |running: &mut BTreeMap<_, _>, now: u64, model: usize, charged: u64| {
        serial += 1;
        running.insert((now + loads[model].cost, serial), (model, charged));
    };
    for (model, load) in loads.iter().enumerate() {
        for _ in 0..load.links {
            if let Asked::Go(charged) = core.ask(ids[model]) {
                begin(&mut running, now, model, charged);
            }
        }
    }
    while now < until {
        let ((at, _), (model, charged)) = running.pop_first().unwrap();
        now = at;
        work[model] += loads[model].cost;
        let called = core.end(ids[model], charged, loads[model].cost);
        for Called {
            account, charged, ..
        } in called
        {
            begin(&mut running, now, index_of[&account], charged);
        }
        if let Asked::Go(charged) = core.ask(ids[model]) {
            begin(&mut running, now, model, charged);
        }
    }
    work
}

fn load(weight: u32, links: usize, cost: u64) -> Load {
    Load {
        weight,
        links,
        cost,
    }
}

fn assert_share(work: &[u64], expected: f64) {
    let share = work[0] as f64 / work.iter().sum::<u64>() as f64;
    assert!((share - expected).abs() < 0.05, "{share:.3}: {work:?}");
}

#[test]
fn a_model_with_sixteen_workers_gets_no_more_than_one_with_two() {
    let work = simulate(4, &[load(1, 32, 1_000), load(1, 4, 1_000)], 10_000_000);
    assert_share(&work, 0.5);
}

#[test]
fn models_get_shares_by_their_weights() {
    let loads = [load(3, 16, 1_000), load(1, 16, 1_000)];
    assert_share(&simulate(4, &loads, 10_000_000), 0.75);
    let loads = [load(1, 16, 1_000), load(4, 16, 1_000)];
    assert_share(&simulate(2, &loads, 10_000_000), 0.2);
}

#[test]
fn it_is_time_that_is_shared_and_not_runs() {
    let loads = [load(1, 8, 20_000), load(1, 8, 1_000)];
    assert_share(&simulate(4, &loads, 20_000_000), 0.5);
}

#[test]
fn one_that_is_alone_in_having_work_takes_as_many_places_as_it_likes() {
    let mut core = Core::new(2);
    let (busy, _idle) = (core.open(1), core.open(1));
    for _ in 0..32 {
        assert!(matches!(core.ask(busy), Asked::Go(_)));
    }
}

#[test]
fn one_that_comes_while_another_has_taken_every_place_does_not_wait_for_it() {
    let mut core = Core::new(2);
    let (busy, other) = (core.open(1), core.open(1));
    for _ in 0..32 {
        core.ask(busy);
    }
    assert!(matches!(core.ask(other), Asked::Go(_)));
    // It has its turn; from now on both wait.
    assert!(matches!(core.ask(other), Asked::Wait(..)));
    assert!(matches!(core.ask(busy), Asked::Wait(..)));
}

#[test]
fn time_in_which_a_model_wanted_nothing_is_not_saved_up() {
    let mut core = Core::new(1);
    let (busy, late) = (core.open(1), core.open(1));
    for _ in 0..100_000 {
        let Asked::Go(charged) = core.ask(busy) else {
            panic!("it was alone")
        };
        core.end(busy, charged, 1_000);
    }
    // A hundred seconds of the other; its own credit is a tenth of one.
    core.ask(busy);
    let mut in_a_row = 0;
    while let Asked::Go(charged) = core.ask(late) {
        core.end(late, charged, 1_000);
        in_a_row += 1;
        assert!(in_a_row < 200, "it goes on and on");
    }
    assert!(in_a_row > 50, "{in_a_row}");
}

#[test]
fn one_that_waits_goes_when_its_patience_is_over_and_is_not_called_then() {
    let mut core = Core::new(1);
    let (hung, other) = (core.open(1), core.open(1));
    core.ask(hung);
    core.ask(hung);
    assert!(matches!(core.ask(other), Asked::Go(_)));
    let Asked::Wait(token, patience) = core.ask(other) else {
        panic!("both seats are taken")
    };
    assert!(
        patience.as_millis() >= 100 && patience.as_secs() < 1,
        "{patience:?}"
    );
    assert!(core.go_anyway(other, token).is_some());
    assert_eq!(core.go_anyway(other, token), None);
    assert_eq!(core.close(hung), []);
}

#[test]
fn an_account_that_is_closed_gives_its_places_back() {
    let mut core = Core::new(1);
    let (gone, other) = (core.open(1), core.open(1));
    core.ask(gone);
    core.ask(other);
    let Asked::Wait(token, _) = core.ask(other) else {
        panic!("more than all seats are taken")
    };
    let called = core.close(gone);
    assert_eq!(called.len(), 1);
    assert_eq!(called[0].token, token);
    assert!(!core.is_shared());
}

mod seats {
    use std::sync::Arc;
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::super::FairShare;

    #[tokio::test]
    async fn a_place_that_is_given_back_goes_to_whoever_waits() {
        let share = FairShare::new(1);
        let (first, second) = (share.account(1), share.account(1));
        let held = first.enter().await;
        let also = second.enter().await;
        let mut waits = Box::pin(second.enter());
        assert!(waits.as_mut().now_or_never().is_none());
        assert_eq!(second.waits(), 1);
        drop(also);
        drop(held);
        let seat = waits.now_or_never().expect("it was called");
        drop(seat);
        assert_eq!(Arc::strong_count(&share), 3);
    }

    #[tokio::test]
    async fn a_place_for_one_that_has_stopped_waiting_is_not_lost() {
        let share = FairShare::new(1);
        let (first, second) = (share.account(1), share.account(1));
        let mut held = first.enter().await;
        held.costs(Duration::ZERO);
        let also = second.enter().await;
        let mut gone = Box::pin(first.enter());
        let mut stays = Box::pin(second.enter());
        assert!(gone.as_mut().now_or_never().is_none());
        assert!(stays.as_mut().now_or_never().is_none());
        drop(gone);
        drop(held);
        drop(also);
        assert!(stays.now_or_never().is_some());
    }

    #[tokio::test]
    async fn whoever_holds_a_place_for_ever_keeps_nobody_for_ever() {
        let share = FairShare::new(1);
        let (hung, other) = (share.account(1), share.account(1));
        let _first = hung.enter().await;
        let _second = other.enter().await;
        // Nothing is ever given back: the wait is over by itself.
        let waited = tokio::time::timeout(Duration::from_secs(60), other.enter()).await;
        assert!(waited.is_ok());
    }

    #[tokio::test]
    async fn a_model_without_others_has_nobody_to_share_with() {
        let share = FairShare::new(1);
        let only = share.account(1);
        assert!(!only.is_shared());
        let other = share.account(1);
        assert!(only.is_shared() && other.is_shared());
        drop(other);
        assert!(!only.is_shared());
    }
}
