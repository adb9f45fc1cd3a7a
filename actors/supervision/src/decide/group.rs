//! Group restarts: what `one_for_all` and `rest_for_one` do when a child ends.
//!
//! The group is stopped in reverse, waits until the culprit's backoff or cool-down has passed, and is started again
//! in order. A second failure while that goes on widens the group; it never starts a second one beside it. While
//! healing is paused a group stays as the failure has left it: those that still run are not stopped for its sake.

use std::time::Duration;

use super::{Decider, Key, Phase, TOO_MANY_LEAKS};
use crate::{Restart, Strategy};

/// Children that go down and come up together.
#[derive(Clone, Debug)]
pub(super) struct Group {
    keys: Vec<Key>,
    /// When they may come up again.
    pub(super) until: Duration,
}

// === impl Group ===

impl Group {
    pub(super) fn halts(&self, key: Key) -> bool {
        self.keys.contains(&key)
    }
}

// === impl Decider ===

impl Decider {
    pub(super) fn begin_group(&mut self, culprit: Key, until: Duration, now: Duration) {
        let affected = self.affected_by(culprit);
        self.queue.retain(|queued| !affected.contains(queued));
        for member in &mut self.members {
            // Those whose turn had not come yet are tried with the group; nobody shall wait for them.
            if affected.contains(&member.key) && member.phase == Phase::Queued {
                member.phase = Phase::Down;
                member.tried = true;
            }
        }
        match &mut self.group {
            Some(group) => {
                let new = affected.into_iter().filter(|key| !group.keys.contains(key));
                let new: Vec<Key> = new.collect();
                group.keys.extend(new);
                group.until = group.until.max(until);
            }
            None => {
                self.group = Some(Group {
                    keys: affected,
                    until,
                });
            }
        }
        self.go_on_with_group(now);
    }

    pub(super) fn go_on_with_group(&mut self, now: Duration) {
        let Some(group) = &self.group else {
            return;
        };
        let keys = group.keys.clone();
        let until = group.until;
        let mut members = self.members.iter();
        let asked = members.any(|member| member.asked && keys.contains(&member.key));
        if !self.heals && !asked {
            return;
        }
        if !self.halt_next(&keys, now) || now < until {
            return;
        }
        if self.wait_for_leaks(&keys, now) {
            return;
        }
        self.group = None;
        for member in &mut self.members {
            if !keys.contains(&member.key) {
                continue;
            }
            match member.phase {
                Phase::Done | Phase::GivenUp => continue,
                Phase::Failed { .. } => member.forgive(),
                _ => {}
            }
            member.phase = match member.policy.restart {
                // Whatever brought a temporary child down, it stays down.
                Restart::Temporary => Phase::Done,
                _ => Phase::Queued,
            };
            member.gated = false;
            if member.phase == Phase::Queued {
                member.asked |= asked;
                self.queue.push_back(member.key);
            }
        }
        self.go_on_with_queue();
    }

    /// Holds the group back while one of it has leaked a thread and there is no room for another leak.
    fn wait_for_leaks(&mut self, keys: &[Key], now: Duration) -> bool {
        let held_back = self.members.iter_mut().find(|member| {
            let waits = member.gated && member.phase != Phase::GivenUp;
            waits && keys.contains(&member.key)
        });
        let Some(member) = held_back.filter(|_| !self.leaks_have_room) else {
            return false;
        };
        if let Phase::Failed { .. } = member.phase {
            let until = now.saturating_add(member.policy.cool_down);
            member.phase = Phase::Failed { until };
            if let Some(group) = &mut self.group {
                group.until = until;
            }
        } else {
            let key = member.key;
            self.give_up(key, TOO_MANY_LEAKS.to_owned(), now);
        }
        true
    }

    /// Lets the group come up as soon as all of it is down.
    pub(super) fn hurry_group(&mut self, now: Duration) {
        if let Some(group) = &mut self.group {
            group.until = now;
        }
    }

    pub(super) fn leave_group(&mut self, key: Key) {
        if let Some(group) = &mut self.group {
            group.keys.retain(|member| *member != key);
        }
    }

    /// Children affected by the end of `culprit`, in order.
    fn affected_by(&self, culprit: Key) -> Vec<Key> {
        match self.strategy {
            Strategy::OneForOne => vec![culprit],
            Strategy::OneForAll => self.keys(),
            Strategy::RestForOne => {
                let later = self.members.iter().map(|member| member.key);
                later.skip_while(|key| *key != culprit).collect()
            }
        }
    }
}
