//! The class that a model's scores stand for, as `/predict` writes it.

use actix_web::http::StatusCode;
use impetus_actors::serving::{Inference, ServedModel};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::ApiError;
use crate::predictions::classes::{Classes, NoClasses};

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

/// Makes the answer of a model's scores.
pub(super) fn classify(model: &ServedModel, inference: &Inference) -> Result<Answer, ApiError> {
    let spec = model.spec();
    let classes =
        Classes::of_one(model, &inference.outputs).map_err(|why| unusable(&spec.name, &why))?;
    let all = classes.all();
    Ok(Answer {
        class: classes.best().into_owned(),
        confidence: classes.confidence(),
        probabilities: Probabilities(
            all.map(|(label, probability)| (label.into_owned(), probability))
                .collect(),
        ),
        model: spec.name.clone(),
        version: spec.version.clone(),
        inference_time_ms: inference.run_micros as f64 / 1e3,
    })
}

fn unusable(model: &str, why: &NoClasses) -> ApiError {
    let message = format!("the output of model {model:?} is no classification: {why}");
    ApiError::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "no_classification",
        message,
    )
}
