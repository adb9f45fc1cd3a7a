//! Where the process is between its start and its end, and how the steps of the end have gone.
//!
//! An end that hangs is looked into from outside: the health port answers until the last moment,
//! and what it shows is this. So each step is entered with its deadline and left with its outcome,
//! and both are there to be read at any time without waiting for whoever runs the end.
//!
//! **Invariant:** phases only go forward, and at most one step is under way. Ages come from the
//! monotonic clock; a wall clock that jumps makes no step longer.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use super::score::round;

/// A step in the life of the process; steps only go forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Serves, or is on the way there.
    Serving = 0,
    /// Has been told to end; says that it is not ready, and serves on so that load balancers can
    /// take it out.
    LameDuck = 1,
    /// Refuses new work and answers what is in flight.
    Draining = 2,
    /// Has the predictions that wait committed.
    Flushing = 3,
    /// Stops its actors.
    Stopping = 4,
}

/// How a step of the end went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is under way.
    Running,
    /// It was done in its time.
    Done,
    /// There was no need for it.
    Skipped,
    /// Something put an end to it before its time.
    CutShort,
    /// Its deadline passed before it was done.
    Overran,
}

/// A step of the end.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Step {
    /// Name of its phase.
    pub step: &'static str,
    /// How it went.
    pub outcome: Outcome,
    /// How long it took, or has taken so far.
    pub seconds: f64,
    /// How long it might take.
    pub within_seconds: f64,
    /// What there is to say about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Where the process is at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = Lifecycle)]
pub struct Course {
    /// Name of the phase.
    pub phase: &'static str,
    /// How long it has been in it.
    pub age_seconds: f64,
    /// How much time is left until its deadline; nothing for a phase that has none.
    #[schema(required)]
    pub left_seconds: Option<f64>,
    /// The steps of the end, the one under way included, in their order.
    pub steps: Vec<Step>,
}

/// The phase, shared by everybody; written by the one who runs the process.
#[derive(Debug)]
pub struct Lifecycle {
    /// Asked with every request, and so apart.
    phase: AtomicU8,
    /// Held for a moment only, by those who read as by the one who writes.
    entered: Mutex<Entered>,
    changed: watch::Sender<Phase>,
}

/// The phase entered last, and what came before it.
#[derive(Debug)]
struct Entered {
    phase: Phase,
    at: Instant,
    within: Option<Duration>,
    over: Vec<Step>,
    /// The step that is under way, if its end has not been noted.
    open: bool,
}

// === impl Phase ===

impl Phase {
    /// Returns the name used in answers and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::LameDuck => "lame_duck",
            Self::Draining => "draining",
            Self::Flushing => "flushing",
            Self::Stopping => "stopping",
        }
    }
}

// === impl Outcome ===

impl Outcome {
    /// Returns the name used in answers and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::CutShort => "cut_short",
            Self::Overran => "overran",
        }
    }
}

// === impl Lifecycle ===

impl Default for Lifecycle {
    fn default() -> Self {
        let entered = Entered {
            phase: Phase::Serving,
            at: Instant::now(),
            within: None,
            over: Vec::new(),
            open: false,
        };
        Self {
            phase: AtomicU8::new(Phase::Serving as u8),
            entered: Mutex::new(entered),
            changed: watch::Sender::new(Phase::Serving),
        }
    }
}

impl Lifecycle {
    /// Returns the phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::LameDuck,
            2 => Phase::Draining,
            3 => Phase::Flushing,
            _ => Phase::Stopping,
        }
    }

    /// Returns where the process is, with all steps so far.
    #[must_use]
    pub fn course(&self) -> Course {
        let entered = self.entered();
        let age = entered.at.elapsed();
        let mut steps = entered.over.clone();
        if entered.open {
            steps.push(entered.step(age, Outcome::Running, None));
        }
        let left = entered.within.map(|within| within.saturating_sub(age));
        Course {
            phase: entered.phase.as_str(),
            age_seconds: seconds(age),
            left_seconds: left.filter(|_| entered.open).map(seconds),
            steps,
        }
    }

    /// Returns what tells of each new phase.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Phase> {
        self.changed.subscribe()
    }

    /// Goes on to the step `phase`, which may take so long; going back is not possible and does
    /// nothing.
    pub fn enter(&self, phase: Phase, within: Duration) {
        let mut entered = self.entered();
        if phase <= entered.phase {
            return;
        }
        entered.phase = phase;
        entered.at = Instant::now();
        entered.within = Some(within);
        entered.open = true;
        self.phase.store(phase as u8, Ordering::Release);
        self.changed.send_replace(phase);
    }

    /// Notes how the step that is under way went, and returns it; nothing if none is.
    pub fn leave(&self, outcome: Outcome, detail: Option<String>) -> Option<Step> {
        let mut entered = self.entered();
        if !entered.open {
            return None;
        }
        let step = entered.step(entered.at.elapsed(), outcome, detail);
        entered.open = false;
        entered.over.push(step.clone());
        Some(step)
    }

    /// Nothing is left half written by a panic: there is none while it is held.
    fn entered(&self) -> MutexGuard<'_, Entered> {
        self.entered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Entered ===

impl Entered {
    fn step(&self, took: Duration, outcome: Outcome, detail: Option<String>) -> Step {
        Step {
            step: self.phase.as_str(),
            outcome,
            seconds: seconds(took),
            within_seconds: self.within.map_or(0.0, seconds),
            detail,
        }
    }
}

fn seconds(duration: Duration) -> f64 {
    round(duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(60);

    fn names(course: &Course) -> Vec<(&'static str, Outcome)> {
        let steps = course.steps.iter();
        steps.map(|step| (step.step, step.outcome)).collect()
    }

    #[test]
    fn a_server_that_serves_has_no_step_behind_it_and_no_deadline_before_it() {
        let course = Lifecycle::default().course();
        assert_eq!(course.phase, "serving");
        assert_eq!((course.left_seconds, course.steps.len()), (None, 0));
    }

    #[test]
    fn a_step_is_seen_while_it_is_under_way_and_kept_with_its_outcome() {
        let lifecycle = Lifecycle::default();
        lifecycle.enter(Phase::LameDuck, SOON);
        let course = lifecycle.course();
        assert_eq!(names(&course), [("lame_duck", Outcome::Running)]);
        assert!(course.left_seconds.is_some_and(|left| left <= 60.0));
        let step = lifecycle.leave(Outcome::Skipped, Some("not alive".to_owned()));
        assert_eq!(step.unwrap().detail.as_deref(), Some("not alive"));
        lifecycle.enter(Phase::Draining, SOON);
        let expected = [
            ("lame_duck", Outcome::Skipped),
            ("draining", Outcome::Running),
        ];
        assert_eq!(names(&lifecycle.course()), expected);
        assert_eq!(lifecycle.phase(), Phase::Draining);
    }

    #[test]
    fn a_step_ends_once_and_phases_never_go_back() {
        let lifecycle = Lifecycle::default();
        assert_eq!(lifecycle.leave(Outcome::Done, None), None);
        lifecycle.enter(Phase::Stopping, SOON);
        assert!(lifecycle.leave(Outcome::Done, None).is_some());
        assert_eq!(lifecycle.leave(Outcome::CutShort, None), None);
        lifecycle.enter(Phase::Draining, SOON);
        assert_eq!(lifecycle.phase(), Phase::Stopping);
        assert_eq!(
            names(&lifecycle.course()),
            [("stopping", Outcome::Done)],
            "and its deadline is behind it"
        );
        assert_eq!(lifecycle.course().left_seconds, None);
    }

    #[test]
    fn whoever_watches_is_told_of_each_phase() {
        let lifecycle = Lifecycle::default();
        let mut watched = lifecycle.watch();
        lifecycle.enter(Phase::LameDuck, SOON);
        assert!(watched.has_changed().unwrap());
        assert_eq!(*watched.borrow_and_update(), Phase::LameDuck);
    }
}
