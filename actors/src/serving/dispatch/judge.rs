//! Judges how long a worker takes for the batch it runs.
//!
//! A run begins when its batch has been sent and the one before it has been answered; from then on
//! it has the model's execution budget. That covers whatever the worker does between two runs as
//! well: reading, writing, or standing still under SIGSTOP look the same from here.
//!
//! Three things are no hang. Time that this very task was late is the server's own standstill (a
//! frozen container, a starved machine) and is given back. An answer that has arrived and was not
//! read yet is the server's slowness, not the worker's. And while healing is paused, nothing is.
//!
//! The same task tells the worker which runs nobody waits for any more. Nothing is killed for that.

use std::time::{Duration, Instant};

use impetus_engine::link::Sender;

use super::super::ledger::Running;
use super::super::worker::{Overrun, WorkerMsg};
use super::Link;

/// The longest sleep, so that a standstill of our own shows.
const SLICE: Duration = Duration::from_millis(250);
/// Being late by less than this is what timers are.
const LATE: Duration = Duration::from_millis(50);
/// How often a batch that is overdue is looked at again, when there is a reason to wait.
const AGAIN: Duration = Duration::from_millis(5);
/// How often it is looked at while healing is paused.
const WHILE_PAUSED: Duration = Duration::from_millis(250);
/// How long the worker's actor gets to do something about a run that was reported.
const REPORTED: Duration = Duration::from_secs(1);
/// How long an answer that has arrived may go unread before it counts as none.
const READ_WITHIN: Duration = Duration::from_secs(2);

/// What the judge remembers from look to look.
#[derive(Default)]
struct Case {
    running: Option<u64>,
    /// Time that is given back.
    credit: Duration,
    /// Since when there has been something unread although the budget is spent.
    unread_since: Option<Instant>,
}

/// A run that goes on.
#[derive(Clone, Copy)]
struct Run {
    id: u64,
    began: Instant,
}

/// What follows from a look.
#[derive(Debug, PartialEq, Eq)]
enum Judgement {
    /// Look again after so long.
    Wait(Duration),
    /// The run of that number has used its budget up.
    Spent(u64, Duration),
}

// === impl Case ===

impl Case {
    /// Holds the run that goes on against its budget. `credit` is time since the last look that
    /// nobody had; it belongs to whichever run goes on now, also to one that began meanwhile.
    fn look(
        &mut self,
        run: Option<Run>,
        budget: Duration,
        now: Instant,
        credit: Duration,
    ) -> Judgement {
        let Some(Run { id, began }) = run else {
            *self = Self::default();
            // Nothing that begins from now on can be overdue before this has passed.
            return Judgement::Wait(budget.min(SLICE));
        };
        if self.running != Some(id) {
            *self = Self {
                running: Some(id),
                ..Self::default()
            };
        }
        self.credit += credit;
        let age = now
            .saturating_duration_since(began)
            .saturating_sub(self.credit);
        if age < budget {
            self.unread_since = None;
            return Judgement::Wait((budget - age).min(SLICE));
        }
        Judgement::Spent(id, age)
    }
}

// === impl Link ===

impl Link {
    /// Watches over the budget of every run.
    pub(in crate::serving) async fn judge(self, sender: Sender) {
        let mut case = Case::default();
        let mut credit = Duration::ZERO;
        loop {
            let now = Instant::now();
            for id in self.model.ledger.newly_unwanted(self.id, now) {
                sender.interrupt(id);
            }
            let running = self.model.running_on(self.id);
            let run = running.map(|Running { id, sent }| Run {
                id,
                began: sent.max(self.turned.get()),
            });
            let judgement = case.look(run, self.model.run_budget(), now, credit);
            if matches!(judgement, Judgement::Spent(..)) {
                // Whatever becomes of it: other models need not wait for that.
                self.model.ledger.give_seats_back(self.id);
            }
            let wait = match judgement {
                Judgement::Wait(wait) => wait,
                Judgement::Spent(..) if self.healing_is_paused() => {
                    // The pause is nobody's time.
                    case.credit += WHILE_PAUSED;
                    WHILE_PAUSED
                }
                Judgement::Spent(..) if self.is_unread(&mut case, &sender, now) => AGAIN,
                Judgement::Spent(id, age) => {
                    let idle = running.map(|run| run.sent.duration_since(self.turned.get()));
                    self.report(id, age, idle.unwrap_or_default());
                    REPORTED
                }
            };
            let until = now + wait;
            tokio::select! {
                () = self.model.deserted.notified() => {}
                () = tokio::time::sleep_until(until.into()) => {}
            }
            // Whatever has woken us: being late is our own standstill, which may have begun as soon as
            // we slept.
            let woken = Instant::now();
            let late = woken.saturating_duration_since(until) > LATE;
            credit = if late { woken - now } else { Duration::ZERO };
        }
    }

    /// Tells whether an answer may have arrived that was not read yet.
    fn is_unread(&self, case: &mut Case, sender: &Sender, now: Instant) -> bool {
        if !sender.has_unread() {
            return false;
        }
        let since = *case.unread_since.get_or_insert(now);
        now.saturating_duration_since(since) < READ_WITHIN
    }

    fn report(&self, run: u64, age: Duration, idle_before: Duration) {
        // An inbox that is full or closed has an actor behind it that is replaced for that.
        let _ = self.actor.try_send_priority(WorkerMsg::Overdue(Overrun {
            generation: self.id.generation,
            run,
            idle_before,
            age,
            budget: self.model.run_budget(),
        }));
    }

    fn healing_is_paused(&self) -> bool {
        self.model.healing().paused_for().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Duration = Duration::from_secs(1);

    fn run(id: u64, began: Instant) -> Option<Run> {
        Some(Run { id, began })
    }

    #[test]
    fn a_run_is_overdue_when_its_budget_is_spent_and_not_before() {
        let (mut case, began) = (Case::default(), Instant::now());
        let mut look = |millis| {
            let now = began + Duration::from_millis(millis);
            case.look(run(1, began), BUDGET, now, Duration::ZERO)
        };
        assert_eq!(look(0), Judgement::Wait(SLICE));
        assert_eq!(look(900), Judgement::Wait(Duration::from_millis(100)));
        assert_eq!(look(1000), Judgement::Spent(1, BUDGET));
    }

    #[test]
    fn a_standstill_of_the_server_is_not_held_against_a_run_that_began_just_before_it() {
        let (mut case, asleep) = (Case::default(), Instant::now());
        assert_eq!(
            case.look(None, BUDGET, asleep, Duration::ZERO),
            Judgement::Wait(SLICE)
        );
        // It begins in the middle of that sleep, and then everything stands still for an hour.
        let began = asleep + Duration::from_millis(10);
        let thawed = asleep + Duration::from_secs(3600);
        let judgement = case.look(run(1, began), BUDGET, thawed, thawed - asleep);
        assert!(matches!(judgement, Judgement::Wait(_)), "{judgement:?}");
        // From then on its time counts again.
        let later = thawed + BUDGET + Duration::from_millis(10);
        let judgement = case.look(run(1, began), BUDGET, later, Duration::ZERO);
        assert!(matches!(judgement, Judgement::Spent(1, _)), "{judgement:?}");
    }

    #[test]
    fn the_credit_of_one_run_is_not_the_next_ones() {
        let (mut case, start) = (Case::default(), Instant::now());
        let hour = Duration::from_secs(3600);
        case.look(run(1, start), BUDGET, start + hour, hour);
        let began = start + hour;
        let judgement = case.look(run(2, began), BUDGET, began + BUDGET, Duration::ZERO);
        assert_eq!(judgement, Judgement::Spent(2, BUDGET));
    }
}
