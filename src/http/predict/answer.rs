//! From the model's scores to a class.

use std::fmt;

use actix_web::http::StatusCode;
use impetus_actors::serving::{Inference, ServedModel};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::ApiError;

/// How far the sum of scores may be from 1 for them to count as probabilities.
const SUM_TOLERANCE: f32 = 1e-3;

/// What `/predict` answers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Classification)]
pub(super) struct Answer {
    /// The label of the class with the highest score, or its index where the model has no labels.
    #[schema(example = "scratch")]
    pub(super) class: String,
    /// Its probability.
    #[schema(minimum = 0, maximum = 1)]
    confidence: f32,
    /// Every class with its probability, in the order of the model's labels.
    #[schema(value_type = BTreeMap<String, f32>)]
    probabilities: Probabilities,
    /// Name of the model that answered.
    #[schema(example = "surface")]
    pub(super) model: String,
    /// The version that answered.
    #[schema(example = "1")]
    version: String,
    /// How long the engine took for the batch that the request was part of.
    inference_time_ms: f64,
}

/// Probabilities by label, in the order of the model's output.
#[derive(Debug)]
struct Probabilities(Vec<(String, f32)>);

impl Serialize for Probabilities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (label, probability) in &self.0 {
            map.serialize_entry(label, probability)?;
        }
        map.end()
    }
}

/// Reads the first output as the scores of classes. Scores that are no probabilities are taken
/// for logits.
pub(super) fn classify(model: &ServedModel, inference: &Inference) -> Result<Answer, ApiError> {
    let spec = model.spec();
    let output = inference
        .outputs
        .first()
        .ok_or_else(|| unusable(&spec.name, "the model has no output"))?;
    let scores = output
        .to_f32()
        .map_err(|error| unusable(&spec.name, error))?;
    let probabilities = probabilities(scores).map_err(|why| unusable(&spec.name, why))?;
    let (best, confidence) = probabilities
        .iter()
        .copied()
        .enumerate()
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .ok_or_else(|| unusable(&spec.name, "its output is empty"))?;
    let labels = spec.description.labels_of(output.name());
    let label = |index: usize| {
        labels
            .get(index)
            .cloned()
            .unwrap_or_else(|| index.to_string())
    };
    Ok(Answer {
        class: label(best),
        confidence,
        probabilities: Probabilities(
            probabilities
                .into_iter()
                .enumerate()
                .map(|(index, p)| (label(index), p))
                .collect(),
        ),
        model: spec.name.clone(),
        version: spec.version.clone(),
        inference_time_ms: inference.run_micros as f64 / 1e3,
    })
}

fn probabilities(mut scores: Vec<f32>) -> Result<Vec<f32>, &'static str> {
    if scores.iter().any(|score| !score.is_finite()) {
        return Err("its scores are not finite");
    }
    let sum: f32 = scores.iter().sum();
    let already = scores.iter().all(|score| (0.0..=1.0).contains(score));
    if already && (sum - 1.0).abs() <= SUM_TOLERANCE {
        return Ok(scores);
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
    Ok(scores)
}

fn unusable(model: &str, why: impl fmt::Display) -> ApiError {
    let message = format!("the output of model {model:?} is no classification: {why}");
    ApiError::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "no_classification",
        message,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_stay_and_logits_become_some() {
        assert_eq!(probabilities(vec![0.25, 0.75]).unwrap(), [0.25, 0.75]);
        let soft = probabilities(vec![0.0, 0.0, 100.0]).unwrap();
        assert!(soft[2] > 0.999 && (soft.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(probabilities(vec![f32::NAN]).is_err());
    }
}
