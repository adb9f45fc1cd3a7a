//! What each look means, as a pure function of the facts and of the looks before.
//!
//! Liveness is judged by ages, and ages by the clock. But a process that was frozen as a whole (a
//! debugger, a paused container, a machine that slept) wakes with a heart that has not beaten for
//! an hour of the clock and is as well as before. So time is counted in looks: one counts for the
//! time since the one before, but never for more than two of them. Whatever has stood still counts
//! as old as the looks that saw it stand, and a frozen process makes no looks.

use std::time::Duration;

use super::LOOK_EVERY;
use crate::health::fold::{self, Rules};
use crate::health::{Facts, Phase};

/// The most that a single look counts for.
const LONGEST_LOOK: Duration = LOOK_EVERY.saturating_mul(2);

/// What has become of the verdict.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The server is no longer alive, or not for another reason than before.
    Fallen(String),
    /// It is alive again, and this was the reason.
    Recovered(String),
    /// It has not been alive for long enough.
    Leave(String),
}

/// How long the judge waits after a verdict.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For somebody who restarts the server; `None` for ever.
    pub(super) exit_after: Option<Duration>,
    /// For an end that somebody has asked for.
    pub(super) ending_takes: Duration,
}

/// Judges look by look.
pub(super) struct Judge {
    rules: Rules,
    patience: Patience,
    /// All time so far.
    lived: Duration,
    root: Vital,
    heart: Vital,
    edge: Vec<Vital>,
    fallen: Option<Fallen>,
}

/// Something that turns, and for how long it has been seen to stand.
#[derive(Debug, Clone, Copy, Default)]
struct Vital {
    still: Duration,
}

#[derive(Debug)]
struct Fallen {
    reason: String,
    leave_at: Option<Duration>,
    ending: bool,
}

// === impl Judge ===

impl Judge {
    pub(super) fn new(rules: Rules, patience: Patience) -> Self {
        Self {
            rules,
            patience,
            lived: Duration::ZERO,
            root: Vital::default(),
            heart: Vital::default(),
            edge: Vec::new(),
            fallen: None,
        }
    }

    /// Judges the facts, `gap` after the last look.
    pub(super) fn look(&mut self, facts: Facts, gap: Duration) -> Option<Step> {
        let phase = facts.phase;
        let facts = self.as_lived(facts, gap);
        match fold::live(&facts, &self.rules).reason {
            None => self.alive(),
            Some(reason) => self.not_alive(reason, phase),
        }
    }

    fn alive(&mut self) -> Option<Step> {
        let fallen = self.fallen.take()?;
        Some(Step::Recovered(fallen.reason))
    }

    fn not_alive(&mut self, reason: String, phase: Phase) -> Option<Step> {
        let lived = self.lived;
        let Some(fallen) = &mut self.fallen else {
            // Actors that have been told to stop stand still; that is no verdict.
            if phase == Phase::Stopping {
                return None;
            }
            self.fallen = Some(Fallen {
                reason: reason.clone(),
                leave_at: self.patience.exit_after.map(|after| lived + after),
                ending: false,
            });
            return Some(Step::Fallen(reason));
        };
        if phase != Phase::Serving && !fallen.ending {
            // Somebody has asked for the end: it may take its time, and no longer.
            fallen.ending = true;
            let over = lived + self.patience.ending_takes;
            fallen.leave_at = fallen.leave_at.map(|at| at.max(over));
        }
        if fallen.leave_at.is_some_and(|at| lived >= at) {
            return Some(Step::Leave(fallen.reason.clone()));
        }
        if subject(&fallen.reason) == subject(&reason) {
            return None;
        }
        // The wait goes on: it is for somebody to restart the server, whatever ails it.
        fallen.reason.clone_from(&reason);
        Some(Step::Fallen(reason))
    }

    /// Returns the facts with no age greater than what the looks have seen of it.
    fn as_lived(&mut self, mut facts: Facts, gap: Duration) -> Facts {
        self.lived += gap.min(LONGEST_LOOK);
        self.edge.resize(facts.edge.len(), Vital::default());
        facts.uptime = facts.uptime.min(self.lived);
        facts.root_age = facts.root_age.map(|age| self.root.look(age, gap));
        facts.heartbeat.age = facts.heartbeat.age.map(|age| self.heart.look(age, gap));
        for (age, vital) in facts.edge.iter_mut().zip(&mut self.edge) {
            *age = vital.look(*age, gap);
        }
        facts
    }
}

// === impl Vital ===

impl Vital {
    /// Takes in that it last turned `age` ago, and returns its age as it was lived.
    fn look(&mut self, age: Duration, gap: Duration) -> Duration {
        let has_turned = age < gap;
        let before = if has_turned {
            Duration::ZERO
        } else {
            self.still
        };
        self.still = age.min(before + gap.min(LONGEST_LOOK));
        self.still
    }
}

/// What a reason is about. One root is found to stand still by several, each in its own words, and
/// behind the words are numbers that change from look to look.
fn subject(reason: &str) -> &str {
    reason.split([' ', '_', ':']).next().unwrap_or(reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::facts::GivenUp;
    use crate::health::testing::{beat, healthy_facts, rules};

    const HOUR: Duration = Duration::from_secs(3600);

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn judge(exit_after: Option<Duration>) -> Judge {
        let patience = Patience {
            exit_after,
            ending_takes: secs(60),
        };
        Judge::new(rules(), patience)
    }

    fn heart(age: Duration) -> Facts {
        Facts {
            heartbeat: beat(age),
            ..healthy_facts()
        }
    }

    fn given_up() -> Facts {
        Facts {
            given_up: Some(GivenUp {
                actor: "model_loader".to_owned(),
                reason: "too many restarts".to_owned(),
            }),
            ..healthy_facts()
        }
    }

    /// Looks at a heart that stops beating, and returns after how long the first step came.
    fn until_a_step(judge: &mut Judge, from: Duration) -> (Duration, Step) {
        let mut age = from;
        loop {
            age += LOOK_EVERY;
            assert!(age < from + secs(1000), "no step");
            if let Some(step) = judge.look(heart(age), LOOK_EVERY) {
                return (age, step);
            }
        }
    }

    #[test]
    fn a_heart_that_stands_still_is_the_verdict_when_the_clock_says_so() {
        let (age, step) = until_a_step(&mut judge(None), Duration::ZERO);
        assert_eq!(age, secs(15));
        assert_eq!(
            step,
            Step::Fallen("heartbeat_stale: the last beat was 15.0 s ago".to_owned())
        );
    }

    #[test]
    fn looks_that_come_late_on_a_busy_machine_delay_no_verdict() {
        let mut judge = judge(None);
        let late = LOOK_EVERY + Duration::from_millis(150);
        let mut age = Duration::ZERO;
        while judge.look(heart(age), late).is_none() {
            age += late;
            assert!(age < secs(16), "no verdict");
        }
    }

    #[test]
    fn a_process_that_was_frozen_for_an_hour_is_not_given_up() {
        let mut judge = judge(Some(secs(60)));
        assert_eq!(judge.look(heart(secs(0)), LOOK_EVERY), None);
        let mut thawed = heart(HOUR);
        thawed.root_age = Some(HOUR);
        thawed.edge = vec![HOUR; 2];
        thawed.uptime = HOUR * 2;
        assert_eq!(judge.look(thawed, HOUR), None);
        // Two seconds until it beats again.
        for look in 1..8 {
            let age = HOUR + LOOK_EVERY * look;
            assert_eq!(judge.look(heart(age), LOOK_EVERY), None);
        }
        assert_eq!(judge.look(heart(secs(0)), LOOK_EVERY), None);
    }

    #[test]
    fn a_heart_that_stood_still_before_and_after_a_freeze_is_given_up_for_both() {
        let mut judge = judge(None);
        for look in 1..40 {
            assert_eq!(judge.look(heart(LOOK_EVERY * look), LOOK_EVERY), None);
        }
        judge.look(heart(HOUR), HOUR);
        let (age, _) = until_a_step(&mut judge, HOUR);
        assert!(age < HOUR + secs(6), "{age:?}");
    }

    #[test]
    fn what_the_tree_has_given_up_is_the_verdict_at_the_first_look_after_a_freeze_too() {
        let step = judge(None).look(given_up(), HOUR);
        assert!(matches!(step, Some(Step::Fallen(_))), "{step:?}");
    }

    #[test]
    fn a_verdict_is_spoken_once_and_taken_back_once() {
        let mut judge = judge(None);
        let (age, _) = until_a_step(&mut judge, Duration::ZERO);
        for look in 1..100 {
            assert_eq!(judge.look(heart(age + LOOK_EVERY * look), LOOK_EVERY), None);
        }
        let step = judge.look(heart(Duration::ZERO), LOOK_EVERY);
        assert!(matches!(step, Some(Step::Recovered(_))), "{step:?}");
        assert_eq!(judge.look(heart(Duration::ZERO), LOOK_EVERY), None);
    }

    #[test]
    fn another_reason_is_said_but_the_wait_goes_on() {
        let mut judge = judge(Some(secs(10)));
        until_a_step(&mut judge, Duration::ZERO);
        for _ in 0..20 {
            judge.look(heart(secs(16)), LOOK_EVERY);
        }
        let step = judge.look(given_up(), LOOK_EVERY);
        assert!(matches!(step, Some(Step::Fallen(_))), "{step:?}");
        let left = (1..).find(|_| judge.look(given_up(), LOOK_EVERY).is_some());
        assert_eq!(left, Some(19), "10 s in looks after the first verdict");
    }

    #[test]
    fn the_wait_is_counted_in_looks_as_well() {
        let mut judge = judge(Some(secs(60)));
        judge.look(given_up(), LOOK_EVERY);
        assert_eq!(judge.look(given_up(), HOUR), None);
    }

    #[test]
    fn without_a_limit_the_wait_has_no_end() {
        let mut judge = judge(None);
        judge.look(given_up(), LOOK_EVERY);
        assert!((0..100_000).all(|_| judge.look(given_up(), LOOK_EVERY).is_none()));
    }

    #[test]
    fn an_end_that_was_asked_for_gets_its_own_time_once() {
        let mut judge = judge(Some(secs(10)));
        judge.look(given_up(), LOOK_EVERY);
        let mut ending = given_up();
        ending.phase = Phase::Draining;
        let left = (1..).find(|_| judge.look(ending.clone(), LOOK_EVERY).is_some());
        assert_eq!(left, Some(241), "60 s in looks");
    }

    #[test]
    fn actors_that_have_been_stopped_are_no_verdict() {
        let mut stopping = given_up();
        stopping.phase = Phase::Stopping;
        assert_eq!(judge(None).look(stopping, LOOK_EVERY), None);
    }
}
