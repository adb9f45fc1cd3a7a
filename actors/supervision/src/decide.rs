//! What a supervisor decides, without doing any of it.
//!
//! [`Decider`] is a pure state machine: it is told what happened and when, and says what to do ([`Order`]). It knows
//! no threads, no clocks and no actors, so that strategies, intensity, backoff, cool-downs and ordered stops can be
//! tested by the thousand under invented histories. The rules it keeps:
//!
//! - a child has at most one live incarnation, and nothing is launched once the supervisor is ending;
//! - children start in order, each once the one before it has settled, and stop in reverse, each with a deadline;
//! - nothing waits for a child that was fenced;
//! - while healing is paused nothing is started again, unless it was asked for by name;
//! - a group restart is charged to the child that caused it, and to no other.

use std::collections::VecDeque;
use std::time::Duration;

use crate::{ActorId, ExitReason, Strategy};

mod group;
mod member;
mod pause;
mod stop;
#[cfg(test)]
mod tests;

pub(crate) use member::{Member, Phase, Policy};

use group::Group;
use stop::{Ending, Then};

/// A child's place in its supervisor; stable while others come and go.
pub(crate) type Key = u64;

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Start a fresh incarnation.
    Launch(Key),
    /// Ask the incarnation to stop.
    AskToStop(Key),
    /// Abandon the incarnation; it counts as down already.
    Abandon(Key),
    /// The restart waits for so long.
    NoteDelay(Key, Duration),
    /// The restart waits until healing is resumed.
    NoteHeld(Key),
    /// The child was given up until its cool-down has passed.
    NoteFailed(Key, String),
    /// The child ended and stays down.
    NoteDone(Key),
    /// The child was stopped as asked and has been taken out.
    Forget(Key),
    /// The root has given up a significant child.
    GiveUp(Key, String),
    /// Everything is down: the supervisor itself ends, passing on that the child was given up.
    Escalate(ActorId, String),
}

/// What an end costs beside the restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toll {
    /// It is charged to the child.
    Charged,
    /// It was not the child's doing: nothing is charged, and it starts again at once.
    Excused,
    /// It is charged, and a thread was left behind where the cap has been reached.
    AtCap,
}

/// How long a victim at the leak cap is given to go away by itself, which a mere async stall does at once.
const GRACE_AT_CAP: Duration = Duration::from_millis(100);

const TOO_MANY_LEAKS: &str = "too many threads have been abandoned and have not ended";

/// The state machine.
#[derive(Clone, Debug)]
pub(crate) struct Decider {
    strategy: Strategy,
    is_root: bool,
    members: Vec<Member>,
    /// Those that are to start in order; the head is the one that is starting.
    queue: VecDeque<Key>,
    group: Option<Group>,
    ending: Ending,
    orders: VecDeque<Order>,
    leaks_have_room: bool,
    heals: bool,
}

// === impl Decider ===

impl Decider {
    pub(crate) fn new(strategy: Strategy, is_root: bool) -> Self {
        Self {
            strategy,
            is_root,
            members: Vec::new(),
            queue: VecDeque::new(),
            group: None,
            ending: Ending::No,
            orders: VecDeque::new(),
            leaks_have_room: true,
            heals: true,
        }
    }

    /// Adds a child that starts in its turn.
    pub(crate) fn add_queued(&mut self, member: Member) {
        self.queue.push_back(member.key);
        self.members.push(member);
    }

    /// Adds a child and starts it at once.
    pub(crate) fn add(&mut self, member: Member) {
        let key = member.key;
        self.members.push(member);
        if self.ending == Ending::No {
            self.launch(key);
        }
    }

    pub(crate) fn next_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    pub(crate) fn phase(&self, key: Key) -> Option<Phase> {
        self.find(key).map(|member| member.phase)
    }

    /// Returns true once every child has been running or has failed to start.
    pub(crate) fn is_settled(&self) -> bool {
        self.members.iter().all(|member| member.tried)
    }

    pub(crate) fn is_down(&self) -> bool {
        self.members.iter().all(|member| !member.phase.is_live())
    }

    /// Tells whether another leaked thread can be borne.
    pub(crate) fn set_leaks_have_room(&mut self, have_room: bool) {
        self.leaks_have_room = have_room;
    }

    /// Returns when something falls due by itself.
    ///
    /// What was due already and is still there waits for something else, a stop for instance, and not for time.
    pub(crate) fn next_due(&self, now: Duration) -> Option<Duration> {
        let members = self.members.iter().filter_map(|member| member.phase.due());
        let group = self.group.as_ref().map(|group| group.until);
        members.chain(group).filter(|due| *due > now).min()
    }

    // What happened.

    pub(crate) fn started(&mut self, key: Key, now: Duration) {
        if let Some(member) = self.find_mut(key)
            && member.phase == Phase::Starting
        {
            member.phase = Phase::Running { since: now };
        }
    }

    pub(crate) fn settled(&mut self, key: Key, now: Duration) {
        self.started(key, now);
        if let Some(member) = self.find_mut(key) {
            member.settled = true;
            member.tried = true;
        }
    }

    /// An incarnation ended, or was abandoned for a hang.
    pub(crate) fn ended(&mut self, key: Key, reason: &ExitReason, toll: Toll, now: Duration) {
        let in_group = self.group.as_ref().is_some_and(|group| group.halts(key));
        let ending = self.ending != Ending::No;
        let Some(member) = self.find_mut(key) else {
            return;
        };
        if !member.phase.is_live() {
            return;
        }
        let phase = std::mem::replace(&mut member.phase, Phase::Down);
        member.tried = true;
        member.gated |= toll == Toll::AtCap;
        let policy = member.policy;
        // It had its turn: those after it do not wait for its next try.
        self.queue.retain(|queued| *queued != key);
        match phase {
            Phase::Stopping { then, .. } => return self.stopped(key, then),
            _ if ending || in_group => return,
            _ => {}
        }
        if !policy.restart.applies_to(reason.is_abnormal()) {
            self.set_phase(key, Phase::Done);
            self.orders.push_back(Order::NoteDone(key));
            return;
        }
        if toll == Toll::Excused {
            if !self.heals {
                self.orders.push_back(Order::NoteHeld(key));
            }
            self.schedule(key, now, now);
            return;
        }
        let lived = match phase {
            Phase::Running { since } => now.saturating_sub(since),
            _ => Duration::ZERO,
        };
        self.charge(key, reason, lived, now);
    }

    /// What the child's last abandoned incarnation left behind is gone.
    pub(crate) fn left_nothing(&mut self, key: Key) {
        if let Some(member) = self.find_mut(key) {
            member.gated = false;
        }
    }

    /// Time has passed: does what has fallen due, and goes on with what was begun.
    pub(crate) fn poll(&mut self, now: Duration) {
        self.abandon_overdue_stops(now);
        if self.ending != Ending::No {
            self.go_on_ending(now);
            return;
        }
        self.go_on_with_group(now);
        for key in self.due_restarts(now) {
            // Each may turn out to be the end of them all.
            if self.ending == Ending::No {
                self.retry(key, now);
            }
        }
        if self.ending == Ending::No {
            self.go_on_with_queue();
        }
    }

    // What is asked for.

    /// Stops everything, in reverse order.
    pub(crate) fn stop(&mut self, now: Duration) {
        self.end(Ending::Stop, now);
    }

    /// Stops one child and forgets it.
    pub(crate) fn remove(&mut self, key: Key, now: Duration) {
        self.leave_group(key);
        self.halt(key, Then::Forget, now);
    }

    /// Starts one child afresh, its failures forgotten, after an orderly stop if it is running.
    pub(crate) fn restart(&mut self, key: Key, now: Duration) {
        let waits_in_group = self.group.as_ref().is_some_and(|group| group.halts(key));
        let Some(member) = self.find_mut(key) else {
            return;
        };
        member.forgive();
        member.asked = true;
        if waits_in_group {
            self.hurry_group(now);
            return;
        }
        self.halt(key, Then::Launch, now);
    }

    /// Takes out a child that is not live.
    pub(crate) fn forget(&mut self, key: Key) {
        self.members.retain(|member| member.key != key);
        self.queue.retain(|queued| *queued != key);
        self.leave_group(key);
    }

    // Helpers.

    fn charge(&mut self, key: Key, reason: &ExitReason, lived: Duration, now: Duration) {
        let Some(member) = self.find_mut(key) else {
            return;
        };
        if !member.window.charge(now) {
            let intensity = member.policy.intensity;
            let message = format!(
                "more than {} restarts within {:?}; last: {reason}",
                intensity.restarts(),
                intensity.within(),
            );
            return self.give_up(key, message, now);
        }
        let mut delay = member.delays.next(lived);
        if member.gated {
            delay = delay.max(GRACE_AT_CAP);
        }
        if !self.heals {
            self.orders.push_back(Order::NoteHeld(key));
        } else if !delay.is_zero() {
            self.orders.push_back(Order::NoteDelay(key, delay));
        }
        self.schedule(key, now.saturating_add(delay), now);
    }

    fn schedule(&mut self, key: Key, until: Duration, now: Duration) {
        self.set_phase(key, Phase::BackingOff { until });
        match self.strategy {
            Strategy::OneForOne if until <= now && self.heals => self.retry(key, now),
            Strategy::OneForOne => {}
            Strategy::OneForAll | Strategy::RestForOne => self.begin_group(key, until, now),
        }
    }

    /// Launches a child whose wait is over, unless its thread leaked and there is no room for another.
    fn retry(&mut self, key: Key, now: Duration) {
        let has_room = self.leaks_have_room;
        let Some(member) = self.find_mut(key) else {
            return;
        };
        member.asked = false;
        let cooled = matches!(member.phase, Phase::Failed { .. });
        if member.gated && !has_room {
            if cooled {
                member.phase = Phase::Failed {
                    until: now.saturating_add(member.policy.cool_down),
                };
                return;
            }
            return self.give_up(key, TOO_MANY_LEAKS.to_owned(), now);
        }
        member.gated = false;
        if cooled {
            member.forgive();
        }
        self.launch(key);
    }

    fn give_up(&mut self, key: Key, message: String, now: Duration) {
        let is_root = self.is_root;
        let strategy = self.strategy;
        let Some(member) = self.find_mut(key) else {
            return;
        };
        if !member.policy.significant {
            let until = now.saturating_add(member.policy.cool_down);
            member.phase = Phase::Failed { until };
            self.orders.push_back(Order::NoteFailed(key, message));
            if strategy != Strategy::OneForOne {
                self.begin_group(key, until, now);
            }
            return;
        }
        member.phase = Phase::GivenUp;
        let child = member.id.clone();
        if is_root {
            // What still lives stays up, so that the process can answer until it is restarted.
            self.orders.push_back(Order::GiveUp(key, message));
        } else {
            let reason = message;
            self.end(Ending::Escalate { child, reason }, now);
        }
    }

    fn due_restarts(&self, now: Duration) -> Vec<Key> {
        self.members
            .iter()
            .filter(|member| match member.phase {
                Phase::BackingOff { until } | Phase::Failed { until } => {
                    let in_group = self
                        .group
                        .as_ref()
                        .is_some_and(|group| group.halts(member.key));
                    until <= now && !in_group && self.may_restart(member)
                }
                _ => false,
            })
            .map(|member| member.key)
            .collect()
    }

    fn go_on_with_queue(&mut self) {
        while let Some(&head) = self.queue.front() {
            let member = self.find(head);
            match member.map(|member| (member.phase, member.settled)) {
                // A first start is none of healing's business; that of a group's members, which ran before, is.
                Some((Phase::Queued, _))
                    if member.is_some_and(|m| m.tried && !self.may_restart(m)) =>
                {
                    return;
                }
                Some((Phase::Queued, _)) => return self.launch(head),
                Some((Phase::Starting | Phase::Running { .. }, false)) => return,
                _ => {
                    self.queue.pop_front();
                }
            }
        }
    }

    fn launch(&mut self, key: Key) {
        if let Some(member) = self.find_mut(key) {
            member.phase = Phase::Starting;
            member.settled = false;
            member.asked = false;
            self.orders.push_back(Order::Launch(key));
        }
    }

    fn set_phase(&mut self, key: Key, phase: Phase) {
        if let Some(member) = self.find_mut(key) {
            member.phase = phase;
        }
    }

    fn keys(&self) -> Vec<Key> {
        self.members.iter().map(|member| member.key).collect()
    }

    fn find(&self, key: Key) -> Option<&Member> {
        self.members.iter().find(|member| member.key == key)
    }

    fn find_mut(&mut self, key: Key) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.key == key)
    }
}
