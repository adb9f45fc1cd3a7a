//! How one connection stands: the calls that are under way on it, and whether its client takes its
//! answers.
//!
//! HTTP/2 lets a client ask and then make no room for the answer, for ever, on a connection that is
//! as lively as any. So each answer that waits for room has a clock, and the task that serves the
//! connection looks at the clocks. The same task closes a connection on which nothing has been asked
//! for long.
//!
//! **Invariant:** a clock runs only while it is the client that has to do something.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::gate::Admission;

/// The record of one connection.
#[derive(Debug)]
pub(super) struct Standing {
    /// What may be asked on it.
    pub(super) admission: Admission,
    /// Whether it comes from this machine.
    pub(super) is_local: bool,
    turns: Mutex<Turns>,
}

/// A call under way on a connection, until it is dropped.
#[derive(Debug)]
pub(super) struct UnderWay {
    on: Arc<Standing>,
    /// Its place among the answers that wait for room, once it has had one.
    number: Option<u64>,
}

/// How long a client's turns may last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Without a call.
    pub(super) idle: Duration,
    /// Without room for the next part of an answer.
    pub(super) take: Duration,
}

/// What is to be done about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Well,
    /// Nobody needs it any more.
    Idle,
    /// Nobody needs it any more, and its client was told and is there still.
    Stays,
    /// Its client does not take its answers.
    Stuck,
}

#[derive(Debug)]
struct Turns {
    calls: usize,
    /// When the last call ended, or the connection began.
    quiet_since: Instant,
    /// Since when answers wait for room.
    taking: BTreeMap<u64, Instant>,
    numbers: u64,
}

// === impl Standing ===

impl Standing {
    pub(super) fn new(admission: Admission, is_local: bool) -> Self {
        Self {
            admission,
            is_local,
            turns: Mutex::new(Turns {
                calls: 0,
                quiet_since: Instant::now(),
                taking: BTreeMap::new(),
                numbers: 0,
            }),
        }
    }

    /// Counts a call until the returned guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        self.turns().calls += 1;
        UnderWay {
            on: Arc::clone(self),
            number: None,
        }
    }

    /// Says what is to be done about it.
    pub(super) fn look(&self, now: Instant, patience: Patience) -> Verdict {
        let turns = self.turns();
        let passed = |since: Instant, most| now.saturating_duration_since(since) > most;
        if turns
            .taking
            .values()
            .any(|since| passed(*since, patience.take))
        {
            Verdict::Stuck
        } else if turns.calls == 0 && passed(turns.quiet_since, patience.idle) {
            Verdict::Idle
        } else {
            Verdict::Well
        }
    }

    /// Gives back time in which the server was not there to see what the client did.
    pub(super) fn give_back(&self, time: Duration) {
        let mut turns = self.turns();
        turns.quiet_since += time;
        for since in turns.taking.values_mut() {
            *since += time;
        }
    }

    /// Nothing is left half written by a panic: there is none while it is held.
    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl UnderWay ===

impl UnderWay {
    /// Notes that there is a part of the answer for the client to take.
    pub(super) fn takes(&mut self) {
        let mut turns = self.on.turns();
        let number = self.number.unwrap_or_else(|| {
            turns.numbers += 1;
            turns.numbers
        });
        self.number = Some(number);
        turns.taking.insert(number, Instant::now());
    }

    /// Notes that the client has made room.
    pub(super) fn waits(&mut self) {
        if let Some(number) = self.number {
            self.on.turns().taking.remove(&number);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.waits();
        let mut turns = self.on.turns();
        turns.calls -= 1;
        turns.quiet_since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        idle: Duration::from_secs(300),
        take: Duration::from_secs(30),
    };

    fn after(standing: &Standing, seconds: u64) -> Verdict {
        standing.look(Instant::now() + Duration::from_secs(seconds), PATIENCE)
    }

    #[test]
    fn a_connection_is_idle_only_while_no_call_is_under_way() {
        let standing = Arc::new(Standing::new(Admission::Whole, true));
        assert_eq!(after(&standing, 299), Verdict::Well);
        assert_eq!(after(&standing, 301), Verdict::Idle);
        let call = standing.begin();
        assert_eq!(after(&standing, 1_000_000), Verdict::Well);
        drop(call);
        assert_eq!(after(&standing, 301), Verdict::Idle);
    }

    #[test]
    fn a_client_is_stuck_when_any_of_its_answers_waits_for_room_too_long() {
        let standing = Arc::new(Standing::new(Admission::Whole, true));
        let (mut first, mut second) = (standing.begin(), standing.begin());
        first.takes();
        second.takes();
        assert_eq!(after(&standing, 29), Verdict::Well);
        first.waits();
        assert_eq!(after(&standing, 31), Verdict::Stuck);
        drop(second);
        assert_eq!(after(&standing, 31), Verdict::Well);
    }

    #[test]
    fn time_in_which_the_server_stood_still_is_not_the_clients() {
        let standing = Arc::new(Standing::new(Admission::Whole, true));
        let mut call = standing.begin();
        call.takes();
        standing.give_back(Duration::from_secs(100));
        assert_eq!(after(&standing, 129), Verdict::Well);
        assert_eq!(after(&standing, 131), Verdict::Stuck);
    }
}
