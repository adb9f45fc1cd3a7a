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

/// The longest sleep while something is out, so that a standstill of our own shows.
const SLICE: Duration = Duration::from_millis(250);
/// Being late by less than this is what timers are.
const LATE: Duration = Duration::from_millis(50);
/// How often a batch that is overdue is looked at again, when there is a reason to wait.
const AGAIN: Duration = Duration::from_millis(5);
/// How often it is looked at while healing is paused.
const WHILE_PAUSED: Duration = Duration::from_millis(250);
/// How long an answer that has arrived may go unread before it counts as none.
const READ_WITHIN: Duration = Duration::from_secs(2);

/// What the judge remembers from look to look.
struct Case {
    running: Option<u64>,
    /// Time that is given back.
    credit: Duration,
    /// Since when there has been something unread although the budget is spent.
    unread_since: Option<Instant>,
}

/// What is to be done.
enum Judgement {
    Wait(Duration),
    Overdue(Duration),
}

// === impl Link ===

impl Link {
    /// Watches over the budget of every run until one overruns it.
    pub(in crate::serving) async fn judge(self, sender: Sender) {
        let mut case = Case {
            running: None,
            credit: Duration::ZERO,
            unread_since: None,
        };
        loop {
            let now = Instant::now();
            for id in self.model.ledger.newly_unwanted(self.id, now) {
                sender.interrupt(id);
            }
            let wait = match self.look(&mut case, &sender, now) {
                Judgement::Wait(wait) => wait,
                Judgement::Overdue(age) => return self.report(age),
            };
            let until = now + wait;
            tokio::select! {
                () = self.model.deserted.notified() => {}
                () = tokio::time::sleep_until(until.into()) => {
                    let late = Instant::now().saturating_duration_since(until);
                    if late > LATE {
                        case.credit += late;
                    }
                }
            }
        }
    }

    fn look(&self, case: &mut Case, sender: &Sender, now: Instant) -> Judgement {
        let budget = self.model.run_budget();
        let running = self.model.ledger.running(self.id);
        let Some(Running { id, sent }) = running else {
            case.running = None;
            // Nothing that begins from now on can be overdue before this has passed.
            return Judgement::Wait(budget);
        };
        if case.running != Some(id) {
            *case = Case {
                running: Some(id),
                credit: Duration::ZERO,
                unread_since: None,
            };
        }
        let began = sent.max(self.turned.get());
        let age = now
            .saturating_duration_since(began)
            .saturating_sub(case.credit);
        if age < budget {
            case.unread_since = None;
            return Judgement::Wait((budget - age).min(SLICE));
        }
        if self.healing_is_paused() {
            return Judgement::Wait(WHILE_PAUSED);
        }
        if sender.has_unread() {
            let since = *case.unread_since.get_or_insert(now);
            if now.saturating_duration_since(since) < READ_WITHIN {
                return Judgement::Wait(AGAIN);
            }
        }
        Judgement::Overdue(age)
    }

    fn report(&self, age: Duration) {
        // An inbox that is full or closed has an actor behind it that is replaced for that.
        let _ = self.actor.try_send_priority(WorkerMsg::Overdue(Overrun {
            generation: self.id.generation,
            age,
            budget: self.model.run_budget(),
        }));
    }

    fn healing_is_paused(&self) -> bool {
        self.model.healing().paused_for().is_some()
    }
}
