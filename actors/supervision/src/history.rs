//! The history: the last so many events of each actor.
//!
//! Bounded on purpose, in two ways. An actor that fails for a week must not fill the memory, nor must it push out what
//! the others have to tell; so each keeps only its own last events. And actors may come and go by the thousand under
//! ever new names; so there is a bound over all of them together, past which the oldest event of all is dropped.
//! Each event is logged when it is recorded, so nothing is only here.
//!
//! **Invariant.** Numbers only grow and are never used twice, so that a reader who remembers the last one it has seen
//! can ask for what came after it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Mutex;

use tokio::sync::watch;

use crate::event::{Event, EventKind};
use crate::sync::lock;
use crate::{ActorId, Generation, Timestamp};

/// Bytes of a message that are kept; a panic may say anything at any length.
const LONGEST_MESSAGE: usize = 4096;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    /// Events of one actor.
    pub(crate) per_actor: usize,
    /// Events of all actors together.
    pub(crate) in_all: usize,
}

/// What is to be recorded; the history gives it its number.
pub(crate) struct Happening {
    pub(crate) at: Timestamp,
    pub(crate) actor: ActorId,
    pub(crate) generation: Generation,
    pub(crate) kind: EventKind,
    pub(crate) message: String,
}

/// The last so many events.
pub(crate) struct History {
    capacity: Capacity,
    kept: Mutex<Kept>,
    /// How many there have been, which is the number of the last one.
    count: watch::Sender<u64>,
}

#[derive(Default)]
struct Kept {
    last: u64,
    by_number: BTreeMap<u64, Event>,
    /// The numbers of each actor's events, oldest first; actors without events have no place here.
    numbers: HashMap<ActorId, VecDeque<u64>>,
}

// === impl History ===

impl History {
    pub(crate) fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            kept: Mutex::new(Kept::default()),
            count: watch::Sender::new(0),
        }
    }

    pub(crate) fn record(&self, happening: Happening) {
        log(&happening);
        let last = {
            let mut kept = lock(&self.kept);
            kept.push(happening);
            kept.shrink_to(self.capacity);
            kept.last
        };
        // Whoever recorded after this one may have said so already.
        self.count.send_modify(|count| *count = last.max(*count));
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    /// Returns the last `limit` events of all, newest last.
    pub(crate) fn last(&self, limit: usize) -> Vec<Event> {
        let kept = lock(&self.kept);
        let newest_first = kept.by_number.values().rev().take(limit).cloned();
        in_order(newest_first.collect())
    }

    /// Returns the last `limit` events of one actor, newest last.
    pub(crate) fn last_of(&self, actor: &ActorId, limit: usize) -> Vec<Event> {
        let kept = lock(&self.kept);
        let numbers = kept.numbers.get(actor).into_iter().flatten();
        let newest_first = numbers.rev().take(limit);
        let events = newest_first.filter_map(|number| kept.by_number.get(number).cloned());
        in_order(events.collect())
    }

    /// Returns the first `limit` events after number `seq`, oldest first.
    pub(crate) fn since(&self, seq: u64, limit: usize) -> Vec<Event> {
        let kept = lock(&self.kept);
        let later = (Bound::Excluded(seq), Bound::Unbounded);
        let events = kept.by_number.range(later).take(limit);
        events.map(|(_, event)| event.clone()).collect()
    }
}

// === impl Kept ===

impl Kept {
    fn push(&mut self, happening: Happening) {
        self.last += 1;
        let event = Event {
            seq: self.last,
            at: happening.at,
            actor: happening.actor,
            generation: happening.generation,
            kind: happening.kind,
            message: cut(happening.message),
        };
        let numbers = self.numbers.entry(event.actor.clone()).or_default();
        numbers.push_back(event.seq);
        self.by_number.insert(event.seq, event);
    }

    /// Drops what is too much after one more event, of the actor first and then of all.
    fn shrink_to(&mut self, capacity: Capacity) {
        let newest = self.by_number.last_key_value();
        let Some(actor) = newest.map(|(_, event)| event.actor.clone()) else {
            return;
        };
        if self.numbers[&actor].len() > capacity.per_actor {
            self.drop_oldest_of(&actor);
        }
        if self.by_number.len() > capacity.in_all
            && let Some((_, oldest)) = self.by_number.first_key_value()
        {
            let actor = oldest.actor.clone();
            self.drop_oldest_of(&actor);
        }
    }

    fn drop_oldest_of(&mut self, actor: &ActorId) {
        let Some(numbers) = self.numbers.get_mut(actor) else {
            return;
        };
        if let Some(oldest) = numbers.pop_front() {
            self.by_number.remove(&oldest);
        }
        if numbers.is_empty() {
            self.numbers.remove(actor);
        }
    }
}

fn in_order(mut newest_first: Vec<Event>) -> Vec<Event> {
    newest_first.reverse();
    newest_first
}

fn cut(mut message: String) -> String {
    if message.len() > LONGEST_MESSAGE {
        message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
        message.push('…');
        message.shrink_to_fit();
    }
    message
}

/// Failures are warnings: each of them means that something healed or is about to be.
fn log(happening: &Happening) {
    let Happening {
        actor,
        generation,
        kind,
        message,
        ..
    } = happening;
    match kind {
        EventKind::Fenced | EventKind::BackingOff | EventKind::Failed => {
            tracing::warn!(%actor, generation = generation.get(), kind = kind.as_str(), "{message}");
        }
        EventKind::Escalated => {
            tracing::error!(%actor, generation = generation.get(), kind = kind.as_str(), "{message}");
        }
        _ => {
            tracing::info!(%actor, generation = generation.get(), kind = kind.as_str(), "{message}")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::SystemTime;

    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn history(per_actor: usize, in_all: usize) -> History {
        History::new(Capacity { per_actor, in_all })
    }

    fn record(history: &History, actor: &str) {
        history.record(Happening {
            at: SystemTime::UNIX_EPOCH.into(),
            actor: ActorId::from(actor),
            generation: Generation::NONE,
            kind: EventKind::Note,
            message: format!("of {actor}"),
        });
    }

    fn numbers(events: &[Event]) -> Vec<u64> {
        events.iter().map(|event| event.seq).collect()
    }

    proptest! {
        #[test]
        fn the_history_is_what_a_list_with_both_bounds_would_be(
            actors in proptest::collection::vec(0_u8..6, 0..80),
            per_actor in 0_usize..5,
            in_all in 0_usize..12,
            since in 0_u64..80,
            limit in 0_usize..8,
        ) {
            let history = history(per_actor, in_all);
            let mut model: Vec<(u64, u8)> = Vec::new();
            for (number, actor) in (1..).zip(&actors) {
                record(&history, &actor.to_string());
                model.push((number, *actor));
                if model.iter().filter(|(_, of)| of == actor).count() > per_actor {
                    let oldest = model.iter().position(|(_, of)| of == actor).unwrap();
                    model.remove(oldest);
                }
                if model.len() > in_all {
                    model.remove(0);
                }
            }
            let all: Vec<u64> = model.iter().map(|(number, _)| *number).collect();
            prop_assert_eq!(numbers(&history.last(usize::MAX)), all.clone());
            let skipped = all.len().saturating_sub(limit);
            prop_assert_eq!(numbers(&history.last(limit)), &all[skipped..]);
            let later: Vec<u64> = all.into_iter().filter(|n| *n > since).take(limit).collect();
            prop_assert_eq!(numbers(&history.since(since, limit)), later);
            let mut by_actor: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
            for (number, actor) in model {
                by_actor.entry(actor).or_default().push(number);
            }
            for actor in 0..6 {
                let of = history.last_of(&actor.to_string().as_str().into(), usize::MAX);
                prop_assert_eq!(numbers(&of), by_actor.remove(&actor).unwrap_or_default());
            }
            let kept = lock(&history.kept);
            prop_assert!(kept.numbers.values().all(|numbers| !numbers.is_empty()));
        }
    }

    #[test]
    fn thousands_of_actors_that_come_and_go_leave_no_more_behind_than_is_allowed() {
        let history = history(64, 100);
        for number in 0..10_000 {
            record(&history, &format!("worker/{number}"));
        }
        let kept = lock(&history.kept);
        assert_eq!((kept.by_number.len(), kept.numbers.len()), (100, 100));
        assert_eq!(kept.last, 10_000);
    }

    #[test]
    fn a_message_without_end_is_cut_between_two_characters() {
        let cut = cut("ä".repeat(LONGEST_MESSAGE));
        assert_eq!(cut.chars().count(), LONGEST_MESSAGE / 2 + 1);
        assert!(cut.ends_with("ä…"));
        assert_eq!(super::cut("short".to_owned()), "short");
    }
}
