//! How long one run of a model may take before its worker counts as hung.
//!
//! Nobody knows a model's longest run better than its own warm-up: the budget is a multiple of that,
//! large enough that a busy machine is no hang, between a floor and a ceiling. Of several first runs
//! the one with the most rows says most about the largest batch, because what a run takes once,
//! whatever its rows, is in it once; so a stated sample of a full batch gives a narrower budget than
//! one row does. A warm-up says nothing about inputs that may be longer than the one it ran, so a
//! model with free dimensions behind the first gets the ceiling. Whoever knows better states the
//! budget.

use std::time::Duration;

use impetus_engine::{Dim, Loaded, TensorSpec, WarmUpRun};

/// How many times the warm-up's time a run of as many rows may take.
const MULTIPLE: u32 = 20;

/// The bounds a budget is learned within.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetRule {
    /// The budget, where it is stated and not learned.
    pub fixed: Option<Duration>,
    /// The least that is learned.
    pub floor: Duration,
    /// The most that is learned.
    pub ceiling: Duration,
}

// === impl BudgetRule ===

impl BudgetRule {
    /// Returns the budget of one run of at most `max_rows` rows.
    #[must_use]
    pub fn learn(&self, loaded: &Loaded, max_rows: usize) -> Duration {
        if let Some(fixed) = self.fixed {
            return fixed;
        }
        let Some(run) = largest(loaded) else {
            return self.ceiling;
        };
        if loaded.generation.is_some() {
            // Its first runs were the largest steps there are, whatever the inputs say.
            let longest = Duration::from_micros(loaded.warm_up_micros).saturating_mul(MULTIPLE);
            return longest.clamp(self.floor, self.ceiling.max(self.floor));
        }
        if loaded.inputs.iter().any(may_be_longer) {
            return self.ceiling;
        }
        let times = match loaded.max_batch_free {
            true => u32::try_from(max_rows.max(1).div_ceil(run.rows.max(1))).unwrap_or(u32::MAX),
            false => 1,
        };
        let longest = Duration::from_micros(run.micros)
            .saturating_mul(times)
            .saturating_mul(MULTIPLE);
        longest.clamp(self.floor, self.ceiling.max(self.floor))
    }

    /// Returns the budget before anything has been learned.
    #[must_use]
    pub fn unlearned(&self) -> Duration {
        self.fixed.unwrap_or(self.ceiling)
    }
}

/// Returns the first run with the most rows; of equals the longest.
fn largest(loaded: &Loaded) -> Option<WarmUpRun> {
    let smallest = (loaded.warm_up_micros > 0).then_some(WarmUpRun {
        rows: 1,
        micros: loaded.warm_up_micros,
    });
    let runs = smallest
        .into_iter()
        .chain(loaded.sample_runs.iter().copied());
    runs.max_by_key(|run| (run.rows, run.micros))
}

fn may_be_longer(input: &TensorSpec) -> bool {
    input
        .shape
        .iter()
        .skip(1)
        .any(|dim| matches!(dim, Dim::Free(_)))
}

#[cfg(test)]
mod tests {
    use impetus_engine::{DType, Execution, RuntimeInfo};

    use super::*;

    const RULE: BudgetRule = BudgetRule {
        fixed: None,
        floor: Duration::from_secs(1),
        ceiling: Duration::from_secs(10),
    };

    fn loaded(warm_up: Duration, second: Dim) -> Loaded {
        Loaded {
            inputs: vec![TensorSpec {
                name: "x".to_owned(),
                dtype: DType::F32,
                shape: vec![Dim::Free(None), second],
            }],
            outputs: Vec::new(),
            load_micros: 1,
            warm_up_micros: u64::try_from(warm_up.as_micros()).unwrap(),
            warm_up_skipped: None,
            generation: None,
            sample_runs: Vec::new(),
            max_batch_free: true,
            runtime: RuntimeInfo {
                name: String::new(),
                version: String::new(),
            },
            execution: Execution::default(),
        }
    }

    #[test]
    fn the_budget_grows_with_the_warm_up_between_floor_and_ceiling() {
        let budget = |millis| {
            let loaded = loaded(Duration::from_millis(millis), Dim::Fixed(4));
            RULE.learn(&loaded, 8)
        };
        assert_eq!(budget(1), Duration::from_secs(1));
        assert_eq!(budget(20), Duration::from_millis(20 * 8 * 20));
        assert_eq!(budget(5000), Duration::from_secs(10));
    }

    #[test]
    fn the_sample_with_the_most_rows_is_learned_from() {
        let mut loaded = loaded(Duration::from_millis(20), Dim::Fixed(4));
        let run = |rows, millis: u64| WarmUpRun {
            rows,
            micros: millis * 1000,
        };
        loaded.sample_runs = vec![run(4, 30), run(2, 90), run(4, 25)];
        assert_eq!(RULE.learn(&loaded, 8), Duration::from_millis(30 * 2 * 20));
        assert_eq!(RULE.learn(&loaded, 9), Duration::from_millis(30 * 3 * 20));
        loaded.warm_up_micros = 0;
        assert_eq!(RULE.learn(&loaded, 4), Duration::from_secs(1));
        loaded.max_batch_free = false;
        loaded.sample_runs = vec![run(1, 40), run(1, 70)];
        assert_eq!(RULE.learn(&loaded, 8), Duration::from_millis(70 * 20));
    }

    #[test]
    fn a_warm_up_that_says_nothing_about_longer_inputs_is_not_learned_from() {
        let loaded = loaded(Duration::from_millis(1), Dim::Free(None));
        assert_eq!(RULE.learn(&loaded, 8), RULE.ceiling);
    }

    #[test]
    fn without_a_warm_up_the_ceiling_holds() {
        let loaded = loaded(Duration::ZERO, Dim::Fixed(4));
        assert_eq!(RULE.learn(&loaded, 8), RULE.ceiling);
    }

    #[test]
    fn a_stated_budget_is_taken_as_it_is() {
        let fixed = Some(Duration::from_millis(300));
        let rule = BudgetRule { fixed, ..RULE };
        let loaded = loaded(Duration::from_secs(9), Dim::Free(None));
        assert_eq!(rule.learn(&loaded, 8), Duration::from_millis(300));
    }
}
