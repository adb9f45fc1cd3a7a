//! Whether what a model says changes its shape.
//!
//! A camera that was moved, a lamp that ages, a new material: nothing fails, and yet the model sees
//! other things than it did. What shows is how its answers fall into groups: how many are of each
//! class, and how sure the model was, in twentieths. The shares of the time up to now are compared
//! with those of the time before it by the population stability index,
//!
//! ```text
//! PSI = Σ (a − e) · ln(a / e)      a: share of a group now, e: share of it before
//! ```
//!
//! (N. Siddiqi, *Credit Risk Scorecards*, Wiley 2006). It is 0 when the shares are the same. By the
//! rule of thumb that comes with it, up to 0.1 is no change to speak of, and above 0.25 is one that
//! somebody should look at. A group that is empty on one side counts as a ten-thousandth, for the
//! logarithm of nothing is no number.
//!
//! **Invariant:** nothing is said about a model from fewer predictions than are asked for, on
//! either side: shares of a few are noise.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use serde::Serialize;
use utoipa::ToSchema;

use super::config::DriftSettings;
use super::prediction_time::PredictionTime;
use super::query::Stats;
use super::retention::{SLOT_MILLIS, millis};

/// How far a model's answers have moved from what they were before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct Drift {
    /// Population stability index of the classes: 0 is no change, above 0.25 is much.
    pub classes: f64,
    /// The same of how sure the model was.
    pub confidence: f64,
    /// Predictions up to now, by when they were logged.
    pub window_predictions: u64,
    /// Predictions before them that they are compared with.
    pub reference_predictions: u64,
    /// When they were compared.
    pub at: PredictionTime,
}

/// What is said of each model, by its name.
pub type DriftByModel = BTreeMap<String, Drift>;

/// The slots of ten minutes that are compared; each includes its last and excludes its first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Slots {
    /// The reference begins after this one.
    pub(crate) after: i64,
    /// It ends, and the window begins after it.
    pub(crate) boundary: i64,
    /// The window ends: the present slot.
    pub(crate) through: i64,
}

/// Predictions of a model in one group, in the window or in the reference.
#[derive(Clone, Debug)]
pub(crate) struct Share<G> {
    pub(crate) model: String,
    /// Whether it is in the window.
    pub(crate) is_recent: bool,
    pub(crate) group: G,
    pub(crate) total: i64,
}

/// Predictions by group.
#[derive(Debug)]
struct Groups<G> {
    now: HashMap<G, u64>,
    before: HashMap<G, u64>,
}

// === impl Slots ===

impl Slots {
    /// Returns what is compared at `now`, in milliseconds since 1970.
    pub(crate) fn at(now: i64, settings: &DriftSettings) -> Self {
        let slots = |period| i64::max(1, (millis(period) + SLOT_MILLIS - 1) / SLOT_MILLIS);
        let through = now.div_euclid(SLOT_MILLIS);
        let boundary = through - slots(settings.window);
        Self {
            after: boundary - slots(settings.reference),
            boundary,
            through,
        }
    }
}

/// Returns what there is to say of each model, of the largest if there are too many.
pub(crate) fn compare(
    classes: Vec<Share<String>>,
    confidences: Vec<Share<i64>>,
    min_predictions: u64,
    at: PredictionTime,
) -> DriftByModel {
    let mut confidences = by_model(confidences);
    let compared = by_model(classes)
        .into_iter()
        .filter_map(|(model, classes)| {
            let (now, before) = classes.totals();
            if now < min_predictions || before < min_predictions {
                return None;
            }
            let drift = Drift {
                classes: classes.stability_index(),
                confidence: confidences.remove(&model)?.stability_index(),
                window_predictions: now,
                reference_predictions: before,
                at,
            };
            Some((model, drift))
        });
    let mut compared: Vec<_> = compared.collect();
    if compared.len() > Stats::MAX_GROUPS {
        compared.sort_by(|(a, of_a), (b, of_b)| {
            let larger = of_b.window_predictions.cmp(&of_a.window_predictions);
            larger.then_with(|| a.cmp(b))
        });
        compared.truncate(Stats::MAX_GROUPS);
    }
    compared.into_iter().collect()
}

fn by_model<G: Eq + Hash>(shares: Vec<Share<G>>) -> HashMap<String, Groups<G>> {
    let mut models: HashMap<String, Groups<G>> = HashMap::new();
    for share in shares {
        let groups = models.entry(share.model).or_default();
        let side = match share.is_recent {
            true => &mut groups.now,
            false => &mut groups.before,
        };
        *side.entry(share.group).or_default() += share.total.unsigned_abs();
    }
    models
}

// === impl Groups ===

impl<G> Default for Groups<G> {
    fn default() -> Self {
        Self {
            now: HashMap::new(),
            before: HashMap::new(),
        }
    }
}

impl<G: Eq + Hash> Groups<G> {
    /// What an empty group counts as.
    const FLOOR: f64 = 1e-4;

    fn totals(&self) -> (u64, u64) {
        (self.now.values().sum(), self.before.values().sum())
    }

    fn stability_index(&self) -> f64 {
        let (now, before) = self.totals();
        let share = |groups: &HashMap<G, u64>, group: &G, total: u64| {
            let count = groups.get(group).copied().unwrap_or_default();
            (count as f64 / total.max(1) as f64).max(Self::FLOOR)
        };
        let only_before = self.before.keys().filter(|key| !self.now.contains_key(key));
        let parts = self.now.keys().chain(only_before).map(|group| {
            let actual = share(&self.now, group, now);
            let expected = share(&self.before, group, before);
            (actual - expected) * (actual / expected).ln()
        });
        parts.sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn groups(now: &[u64], before: &[u64]) -> Groups<usize> {
        let counts = |side: &[u64]| side.iter().copied().enumerate().collect();
        Groups {
            now: counts(now),
            before: counts(before),
        }
    }

    fn share<G>(model: &str, is_recent: bool, group: G, total: i64) -> Share<G> {
        Share {
            model: model.into(),
            is_recent,
            group,
            total,
        }
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    #[test]
    fn the_same_shares_are_no_drift() {
        close(
            groups(&[10, 20, 70], &[100, 200, 700]).stability_index(),
            0.0,
        );
        close(groups(&[5], &[9]).stability_index(), 0.0);
    }

    /// (0.5 − 0.25) ln 2 + (0.5 − 0.75) ln (2/3) = 0.25 ln 3.
    #[test]
    fn the_index_is_the_one_that_can_be_worked_out_by_hand() {
        let index = groups(&[50, 50], &[25, 75]).stability_index();
        close(index, 0.25 * 3f64.ln());
    }

    /// (1 − 0.5) ln 2 + (0.0001 − 0.5) ln (0.0001 / 0.5).
    #[test]
    fn a_group_that_is_empty_on_one_side_is_much_and_finite() {
        let expected = 0.5 * 2f64.ln() + (1e-4 - 0.5) * (1e-4f64 / 0.5).ln();
        close(groups(&[10], &[5, 5]).stability_index(), expected);
        close(groups(&[5, 5], &[10]).stability_index(), expected);
    }

    proptest! {
        #[test]
        fn drift_is_as_large_both_ways_and_never_negative(
            now in prop::collection::vec(0u64..1_000, 1..8),
            before in prop::collection::vec(0u64..1_000, 1..8),
        ) {
            let there = groups(&now, &before).stability_index();
            let back = groups(&before, &now).stability_index();
            prop_assert!((there - back).abs() < 1e-9);
            prop_assert!(there >= 0.0 && there.is_finite());
        }
    }

    #[test]
    fn the_window_ends_with_the_present_slot_and_the_reference_before_the_window() {
        let settings = DriftSettings {
            window: Duration::from_secs(3_600),
            reference: Duration::from_secs(86_400),
            min_predictions: 1,
            every: Duration::from_secs(60),
        };
        let slots = Slots::at(1_000 * SLOT_MILLIS + 1, &settings);
        let expected = Slots {
            after: 850,
            boundary: 994,
            through: 1_000,
        };
        assert_eq!(slots, expected);
        assert_eq!(Slots::at(1_001 * SLOT_MILLIS - 1, &settings), expected);
        assert!(settings.oldest_slot(1_000 * SLOT_MILLIS) <= slots.after + 1);
    }

    #[test]
    fn a_model_is_compared_with_itself_from_enough_predictions_on() {
        let classes = vec![
            share("surface", true, "dent".to_owned(), 60),
            share("surface", true, String::new(), 40),
            share("surface", false, "dent".to_owned(), 100),
            share("surface", false, String::new(), 100),
            share("young", true, "dent".to_owned(), 500),
            share("young", false, "dent".to_owned(), 99),
            share("gone", false, "dent".to_owned(), 500),
        ];
        let confidences = vec![
            share("surface", true, 19, 100),
            share("surface", false, 19, 200),
            share("young", true, 19, 500),
            share("young", false, 19, 99),
            share("gone", false, 19, 500),
        ];
        let at = PredictionTime::parse("2025-01-01T12:00:00Z").expect("a time");
        let found = compare(classes, confidences, 100, at);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["surface"]);
        let drift = found["surface"];
        close(drift.classes, 0.1 * 1.2f64.ln() - 0.1 * 0.8f64.ln());
        close(drift.confidence, 0.0);
        assert_eq!(
            (drift.window_predictions, drift.reference_predictions),
            (100, 200)
        );
    }

    #[test]
    fn the_largest_models_are_listed_when_there_are_too_many() {
        let both = |index: i64| {
            let model = format!("model {index}");
            [true, false].map(|recent| (model.clone(), recent, index))
        };
        let rows = || (1..=1_500).flat_map(both);
        let at = PredictionTime::parse("2025-01-01T12:00:00Z").expect("a time");
        let classes = rows().map(|(model, recent, total)| share(&model, recent, "a".into(), total));
        let sure = rows().map(|(model, recent, total)| share(&model, recent, 1, total));
        let found = compare(classes.collect(), sure.collect(), 1, at);
        assert_eq!(found.len(), 1_000);
        assert!(found.contains_key("model 501") && !found.contains_key("model 500"));
    }
}
