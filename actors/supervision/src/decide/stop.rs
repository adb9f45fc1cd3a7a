//! Stopping: one child, a group, or everything, always in reverse and never without a deadline.

use std::time::Duration;

use super::{Decider, Key, Order, Phase};
use crate::{ActorId, Shutdown};

/// Whether the supervisor is on its way down, and what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    No,
    Stop,
    Escalate { child: ActorId, reason: String },
}

/// What follows a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Nothing,
    Forget,
    Launch,
}

// === impl Decider ===

impl Decider {
    pub(super) fn end(&mut self, ending: Ending, now: Duration) {
        if self.ending == Ending::No || ending == Ending::Stop {
            self.ending = ending;
        }
        self.group = None;
        self.queue.clear();
        for member in &mut self.members {
            if !member.phase.is_live() && member.phase != Phase::GivenUp {
                member.phase = Phase::Down;
            }
        }
        self.go_on_ending(now);
    }

    pub(super) fn go_on_ending(&mut self, now: Duration) {
        let all = self.keys();
        if !self.halt_next(&all, now) {
            return;
        }
        if let Ending::Escalate { child, reason } = &self.ending {
            let order = Order::Escalate(child.clone(), reason.clone());
            self.ending = Ending::Stop;
            self.orders.push_back(order);
        }
    }

    /// Stops the last of `keys` that is live. Returns true when none is.
    pub(super) fn halt_next(&mut self, keys: &[Key], now: Duration) -> bool {
        loop {
            let last_live = self
                .members
                .iter()
                .rev()
                .find(|member| keys.contains(&member.key) && member.phase.is_live());
            let Some(member) = last_live else {
                return true;
            };
            if matches!(member.phase, Phase::Stopping { .. }) {
                return false;
            }
            let key = member.key;
            self.halt(key, Then::Nothing, now);
        }
    }

    /// Stops one child; `then` follows, at once if it is not live.
    pub(super) fn halt(&mut self, key: Key, then: Then, now: Duration) {
        let Some(member) = self.find_mut(key) else {
            return;
        };
        if !member.phase.is_live() {
            return self.stopped(key, then);
        }
        match member.policy.shutdown {
            Shutdown::Brutal => {
                member.phase = Phase::Down;
                self.abandon(key, then);
            }
            Shutdown::Within(deadline) => {
                let already = matches!(member.phase, Phase::Stopping { .. });
                let by = match member.phase {
                    Phase::Stopping { by, .. } => by,
                    _ => now.saturating_add(deadline),
                };
                member.phase = Phase::Stopping { by, then };
                if !already {
                    self.orders.push_back(Order::AskToStop(key));
                }
            }
        }
    }

    pub(super) fn stopped(&mut self, key: Key, then: Then) {
        if let Some(member) = self.find_mut(key) {
            member.phase = Phase::Down;
            member.tried = true;
        }
        match then {
            Then::Nothing => {}
            Then::Forget => {
                self.forget(key);
                self.orders.push_back(Order::Forget(key));
            }
            // As a restart that is due, so that it is subject to the leak cap like any other.
            Then::Launch if self.ending == Ending::No => {
                let until = Duration::ZERO;
                self.set_phase(key, Phase::BackingOff { until });
            }
            Then::Launch => {}
        }
    }

    pub(super) fn abandon_overdue_stops(&mut self, now: Duration) {
        let overdue: Vec<(Key, Then)> = self
            .members
            .iter()
            .filter_map(|member| match member.phase {
                Phase::Stopping { by, then } if by <= now => Some((member.key, then)),
                _ => None,
            })
            .collect();
        for (key, then) in overdue {
            self.abandon(key, then);
        }
    }

    fn abandon(&mut self, key: Key, then: Then) {
        let has_room = self.leaks_have_room;
        if let Some(member) = self.find_mut(key) {
            member.gated |= !has_room;
        }
        self.orders.push_back(Order::Abandon(key));
        self.stopped(key, then);
    }
}
