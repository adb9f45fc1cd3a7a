//! The answer of `/predict`, field by field what the server answers.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::model::Description;

/// How far the sum of scores may be from 1 for them to count as probabilities.
const SUM_TOLERANCE: f32 = 1e-3;

#[derive(Debug, Serialize)]
pub(super) struct Answer<'a> {
    class: &'a str,
    confidence: f32,
    probabilities: Probabilities<'a>,
    model: &'a str,
    version: &'a str,
    inference_time_ms: f64,
}

#[derive(Debug)]
struct Probabilities<'a> {
    labels: &'a [String],
    scores: Vec<f32>,
}

// === impl Answer ===

impl<'a> Answer<'a> {
    /// Returns the answer for a model's scores; nothing if they are no classification.
    pub(super) fn new(description: &'a Description, scores: Vec<f32>, micros: u64) -> Option<Self> {
        let scores = probabilities(scores)?;
        let best = scores.iter().copied().enumerate();
        let (best, confidence) = best.max_by(|a, b| a.1.total_cmp(&b.1))?;
        Some(Self {
            class: description.labels.get(best)?,
            confidence,
            probabilities: Probabilities {
                labels: &description.labels,
                scores,
            },
            model: &description.name,
            version: &description.version,
            inference_time_ms: micros as f64 / 1e3,
        })
    }
}

/// Takes scores that are no probabilities for logits, as the server does.
fn probabilities(mut scores: Vec<f32>) -> Option<Vec<f32>> {
    if scores.iter().any(|score| !score.is_finite()) {
        return None;
    }
    let sum: f32 = scores.iter().sum();
    let already = scores.iter().all(|score| (0.0..=1.0).contains(score));
    if already && (sum - 1.0).abs() <= SUM_TOLERANCE {
        return Some(scores);
    }
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut total = 0.0;
    for score in &mut scores {
        *score = (*score - highest).exp();
        total += *score;
    }
    for score in &mut scores {
        *score /= total;
    }
    Some(scores)
}

// === impl Probabilities ===

impl Serialize for Probabilities<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.scores.len()))?;
        for (label, score) in self.labels.iter().zip(&self.scores) {
            map.serialize_entry(label, score)?;
        }
        map.end()
    }
}
