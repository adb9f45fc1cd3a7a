//! A prediction: what a model said about one image.
//!
//! The types hold only what may be stored, so that a value of [`Prediction`] needs no further
//! check: names are not empty and not endless (they are index keys), numbers are finite. Reading
//! is lenient where the contract leaves things open: a name may be written as an integer (model
//! registries count versions), a box may be missing, confidences may be a map or a list.

use std::fmt;
use std::sync::Arc;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;

use super::prediction_time::PredictionTime;

/// What a model said about one image, and under which circumstances.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Prediction {
    /// The sender's own name for this prediction; the same one again is a replay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Label>,
    /// The image.
    pub image_id: Label,
    /// When the prediction was made.
    pub timestamp: PredictionTime,
    /// Version of the model.
    pub model_version: Label,
    /// Name of the model.
    pub model_name: Label,
    /// How long the model took, in milliseconds.
    pub inference_time_ms: Finite,
    /// What was found in the image.
    pub detections: Vec<Detection>,
    /// Whether any of it is a defect.
    pub defect_detected: bool,
    /// Confidences, by class or in the order of the model's classes.
    #[serde(default)]
    pub confidence_scores: ConfidenceScores,
    /// Remarks of whoever processed the image.
    #[serde(default)]
    pub processing_notes: Option<String>,
}

/// One finding in an image.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Detection {
    /// Class of the finding.
    pub class: Label,
    /// How sure the model is.
    pub confidence: Finite,
    /// Where it lies: four numbers in the sender's convention, nothing for the whole image.
    #[serde(default)]
    #[schema(value_type = Option<Vec<f64>>, min_items = 4, max_items = 4)]
    pub bbox: Option<[Finite; 4]>,
    /// Whether a person should look at it.
    #[serde(default)]
    pub uncertain: bool,
}

/// A name of 1 to 512 bytes.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, ToSchema)]
#[schema(value_type = String, min_length = 1, max_length = 512)]
#[serde(transparent)]
pub struct Label(Arc<str>);

/// Text that is no [`Label`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidLabel {
    /// The text is empty.
    #[error("must not be empty")]
    Empty,
    /// The text holds the character NUL, which PostgreSQL cannot store.
    #[error("must not contain the character NUL")]
    Nul,
    /// The text has too many bytes.
    #[error("has {bytes} bytes, at most {} are allowed", Label::MAX_BYTES)]
    TooLong {
        /// How many it has.
        bytes: usize,
    },
}

/// A number that is neither infinite nor NaN, for JSON can write neither.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, PartialOrd, Serialize, ToSchema)]
#[schema(value_type = f64)]
#[serde(try_from = "f64")]
pub struct Finite(f64);

/// A number that is not [`Finite`].
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{0} is no finite number")]
pub struct NotFinite(f64);

/// Confidences: a JSON object, a list, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[schema(value_type = Value)]
#[serde(transparent)]
pub struct ConfidenceScores(Scores);

/// Confidences as they are held: those of a model here make no tree of values.
#[derive(Clone, Debug, PartialEq)]
enum Scores {
    /// As their sender gave them.
    Given(Value),
    /// Of the classes of a model here.
    ByClass(Vec<(Box<str>, f32)>),
}

// === impl Prediction ===

impl Prediction {
    /// Returns the detection that the model is surest of, the first of several.
    pub(crate) fn surest(&self) -> Option<&Detection> {
        self.detections.iter().reduce(|surest, next| {
            if next.confidence > surest.confidence {
                next
            } else {
                surest
            }
        })
    }
}

// === impl Label ===

impl Label {
    /// The longest name, in bytes. Names are keys of indices, and a page of an index should hold
    /// more than a few of them.
    pub const MAX_BYTES: usize = 512;

    /// Returns the name, or why the text is none.
    pub fn try_new(text: impl Into<Arc<str>>) -> Result<Self, InvalidLabel> {
        let text = text.into();
        match text.len() {
            0 => Err(InvalidLabel::Empty),
            bytes if bytes > Self::MAX_BYTES => Err(InvalidLabel::TooLong { bytes }),
            _ if text.contains('\0') => Err(InvalidLabel::Nul),
            _ => Ok(Self(text)),
        }
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name as text that shares its bytes.
    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrInteger;

        impl Visitor<'_> for TextOrInteger {
            type Value = Label;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Label, E> {
                Label::try_new(text).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Label, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Label, E> {
                self.visit_str(&number.to_string())
            }
        }

        deserializer.deserialize_any(TextOrInteger)
    }
}

// === impl Finite ===

impl Finite {
    /// Returns the number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Finite {
    type Error = NotFinite;

    fn try_from(number: f64) -> Result<Self, NotFinite> {
        if number.is_finite() {
            Ok(Self(number))
        } else {
            Err(NotFinite(number))
        }
    }
}

// === impl ConfidenceScores ===

impl ConfidenceScores {
    /// Returns the confidences of named classes. One that is no finite number is left out.
    pub fn by_class<'a>(scores: impl IntoIterator<Item = (&'a str, f32)>) -> Self {
        let finite = scores.into_iter().filter(|(_, score)| score.is_finite());
        let entries = finite.map(|(class, score)| (Box::from(class), score));
        Self(Scores::ByClass(entries.collect()))
    }
}

impl<'de> Deserialize<'de> for ConfidenceScores {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            scores @ (Value::Null | Value::Array(_) | Value::Object(_)) => {
                Ok(Self(Scores::Given(scores)))
            }
            other => {
                let unexpected = match &other {
                    Value::Bool(flag) => de::Unexpected::Bool(*flag),
                    Value::String(text) => de::Unexpected::Str(text),
                    _ => de::Unexpected::Other("number"),
                };
                Err(de::Error::invalid_type(
                    unexpected,
                    &"a map, a list or null",
                ))
            }
        }
    }
}

// === impl Scores ===

impl Default for Scores {
    fn default() -> Self {
        Self::Given(Value::Null)
    }
}

impl Serialize for Scores {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Given(scores) => scores.serialize(serializer),
            // Single precision is written as short as reading it again allows.
            Self::ByClass(scores) => {
                serializer.collect_map(scores.iter().map(|(class, score)| (class, score)))
            }
        }
    }
}
