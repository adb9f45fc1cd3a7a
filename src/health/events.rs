//! The body of `GET /api/health/events`: what has happened, to all actors or to one.
//!
//! A reader that wants to follow passes `next_since` of one answer as `since` of the next. Numbers begin anew with each
//! run of the server, so a reader that comes with a number from an earlier one is told the newest, from which it can
//! go on.

use std::time::SystemTime;

use impetus_supervision::{ActorId, Event, StatusBoard};
use serde::Serialize;
use utoipa::ToSchema;

use super::body::timestamp;

/// Which events are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventsWanted {
    /// Of this actor alone.
    pub actor: Option<String>,
    /// At most so many.
    pub limit: usize,
    /// After this number, oldest first; the latest there are when absent.
    pub since: Option<u64>,
}

/// `GET /api/health/events`.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct EventsBody {
    /// Oldest first.
    events: Vec<Event>,
    /// What to pass as `since` to be told what comes next.
    next_since: u64,
    #[schema(format = DateTime)]
    timestamp: String,
}

/// There is no such actor, nor any event of one.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownActor(pub String);

/// Makes the body; before the tree has been started nothing has happened.
///
/// # Errors
/// The actor that is asked about does not exist and has left no event behind.
pub fn events(
    board: Option<&StatusBoard>,
    wanted: &EventsWanted,
    now: SystemTime,
) -> Result<EventsBody, UnknownActor> {
    let mut body = EventsBody {
        timestamp: timestamp(now),
        ..EventsBody::default()
    };
    let Some(board) = board else {
        return Ok(body);
    };
    body.events = match &wanted.actor {
        Some(actor) => of_actor(board, actor, wanted)?,
        None => match wanted.since {
            Some(since) => board.events_since(since, wanted.limit),
            None => board.events(wanted.limit),
        },
    };
    let newest = *board.watch_events().borrow();
    let seen = wanted.since.unwrap_or_default().min(newest);
    body.next_since = body.events.last().map_or(seen, |event| event.seq);
    Ok(body)
}

fn of_actor(
    board: &StatusBoard,
    actor: &str,
    wanted: &EventsWanted,
) -> Result<Vec<Event>, UnknownActor> {
    let id = ActorId::from(actor);
    let Some(since) = wanted.since else {
        let events = board.events_of(&id, wanted.limit);
        return known(board, &id, events);
    };
    let all = known(board, &id, board.events_of(&id, usize::MAX))?;
    let later = all.into_iter().filter(|event| event.seq > since);
    Ok(later.take(wanted.limit).collect())
}

fn known(
    board: &StatusBoard,
    id: &ActorId,
    events: Vec<Event>,
) -> Result<Vec<Event>, UnknownActor> {
    if events.is_empty() && board.get(id).is_none() {
        return Err(UnknownActor(id.to_string()));
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use impetus_supervision::example::{Count, Tree, tree};

    use super::*;
    use crate::health::testing::noon;

    /// A counter that has fallen once, between two notes of the root's.
    fn fallen() -> Tree {
        let tree = tree().unwrap();
        let board = tree.running.board();
        board.note(&"root".into(), "before");
        tree.counter.try_send(Count::Break("out of paper")).unwrap();
        tree.executor.advance(Duration::from_secs(90));
        board.note(&"root".into(), "after");
        tree
    }

    fn wanted(actor: Option<&str>, since: Option<u64>, limit: usize) -> EventsWanted {
        EventsWanted {
            actor: actor.map(str::to_owned),
            limit,
            since,
        }
    }

    fn ask(tree: &Tree, wanted: &EventsWanted) -> Result<EventsBody, UnknownActor> {
        events(Some(&tree.running.board()), wanted, noon())
    }

    fn numbers(body: &EventsBody) -> Vec<u64> {
        body.events.iter().map(|event| event.seq).collect()
    }

    #[test]
    fn the_latest_events_of_all_actors_are_told_newest_last() {
        let body = ask(&fallen(), &wanted(None, None, 100)).unwrap();
        insta::assert_json_snapshot!("events", body);
    }

    #[test]
    fn the_events_of_one_actor_are_told_alone() {
        let body = ask(&fallen(), &wanted(Some("counter"), None, 2)).unwrap();
        insta::assert_json_snapshot!("events_of_one_actor", body);
    }

    #[test]
    fn a_reader_that_goes_on_from_one_answer_to_the_next_sees_each_event_once() {
        let tree = fallen();
        for actor in [None, Some("counter")] {
            let all = numbers(&ask(&tree, &wanted(actor, None, 100)).unwrap());
            let mut seen = Vec::new();
            let mut since = 0;
            while seen.len() < all.len() {
                let body = ask(&tree, &wanted(actor, Some(since), 2)).unwrap();
                assert!(!body.events.is_empty(), "{seen:?} of {all:?}");
                seen.extend(numbers(&body));
                since = body.next_since;
            }
            assert_eq!(seen, all);
            let nothing_new = ask(&tree, &wanted(actor, Some(since), 2)).unwrap();
            assert_eq!(
                (nothing_new.events.len(), nothing_new.next_since),
                (0, since)
            );
        }
    }

    #[test]
    fn a_reader_with_a_number_of_an_earlier_run_is_led_back() {
        let tree = fallen();
        let newest = numbers(&ask(&tree, &wanted(None, None, 1)).unwrap())[0];
        let body = ask(&tree, &wanted(None, Some(1_000_000), 10)).unwrap();
        assert_eq!((body.events.len(), body.next_since), (0, newest));
    }

    #[test]
    fn an_actor_that_never_was_is_unknown_and_one_that_is_gone_is_not() {
        let tree = fallen();
        let unknown = ask(&tree, &wanted(Some("nobody"), None, 10)).unwrap_err();
        assert_eq!(unknown, UnknownActor("nobody".to_owned()));
        assert!(ask(&tree, &wanted(Some("nobody"), Some(0), 10)).is_err());
        let (root, counter) = (tree.running.root(), ActorId::from("counter"));
        let stop = root.stop_child(&counter, Duration::from_secs(5));
        tree.executor.run_until(stop).unwrap();

        let body = ask(&tree, &wanted(Some("counter"), None, 10)).unwrap();

        assert!(!body.events.is_empty());
    }

    #[test]
    fn before_the_tree_stands_nothing_has_happened() {
        let body = events(None, &wanted(Some("root"), None, 10), noon()).unwrap();
        assert_eq!((body.events.len(), body.next_since), (0, 0));
    }
}
