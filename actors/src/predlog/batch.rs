//! From the bytes of a request to rows, or to a list of what is wrong with them.
//!
//! A batch is taken whole or not at all: a sender that is told "422" has lost nothing and can
//! mend its data, while one of which half was taken could not send the rest without guessing. So
//! everything is read before anything is written, and every bad prediction is named by its index
//! and field, up to a bound.
//!
//! The predictions are first cut out of the batch as text. That text is what is stored (whatever
//! the contract does not know is kept as well), and each is read on its own, so that one mistake
//! does not hide the next. Only when reading fails is it done again by a slower reader that keeps
//! track of the path.
//!
//! A prediction that another server forwards has a key already, made of its place in a batch that
//! nobody will see again. Such a batch names the origin of each prediction, and the rows are those
//! of the origins, in whichever batches they travel.

mod readable;

use std::fmt;

use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::error::Category;
use serde_json::value::RawValue;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use self::readable::Readable;
use super::key::PredictionKey;
use super::prediction::{Label, Prediction};
use super::prediction_time::PredictionTime;
use super::row::Row;

/// Predictions that are logged together, of one device unless another server forwards them.
#[derive(Clone, Debug)]
pub struct LogBatch {
    device: Label,
    rows: Vec<Row>,
}

/// Where predictions come from that were made in this process.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Provenance<'a> {
    /// How the request came in.
    pub protocol: &'static str,
    /// The id under which the log of the server knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<&'a str>,
}

/// Why a batch was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BatchError {
    /// The bytes are no JSON, or not in UTF-8.
    #[error("the body is no JSON: {reason}")]
    NotJson {
        /// What the reader stumbled over.
        reason: String,
    },
    /// The JSON is no batch of predictions.
    #[error("{}", Listing(problems, *omitted))]
    Invalid {
        /// What is wrong, the first few of it.
        problems: Vec<FieldProblem>,
        /// How many more bad predictions there are.
        omitted: usize,
    },
}

/// One field that is wrong.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct FieldProblem {
    /// Which field, as `predictions[3].timestamp`.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

/// The batch as it is sent, its predictions still text. Size and time of the batch are checked and
/// not kept: each prediction has its own time, and the list has its own length.
#[derive(Deserialize, ToSchema)]
#[schema(as = LogBatch, description = "Predictions of one device that are logged together, whole or not at all.")]
struct Envelope<'a> {
    /// The predictions, 10,000 at most.
    #[serde(borrow)]
    #[schema(value_type = Vec<Prediction>, max_items = 10_000)]
    predictions: Texts<'a>,
    /// How many there are, as the sender counts them; checked to be a number, and not kept.
    #[serde(default, rename = "batch_size")]
    _batch_size: Option<u64>,
    /// When the batch was made; checked to be a time, and not kept.
    #[serde(default, rename = "timestamp")]
    _timestamp: Option<PredictionTime>,
    /// The device; `unknown` when it is not named.
    #[serde(default)]
    edge_device_id: Option<Label>,
    /// Where each prediction was logged first, when they are forwarded: one entry for each, in their order.
    #[serde(default)]
    #[schema(max_items = 10_000)]
    origins: Option<Vec<Origin>>,
}

/// What a prediction is known by where it was logged first; one that is forwarded keeps it, whatever
/// batch it travels in.
#[derive(Deserialize, ToSchema)]
#[schema(as = PredictionOrigin)]
struct Origin {
    /// Its key: the same one again is a replay.
    #[schema(value_type = String, pattern = "^[0-9a-fA-F]{32}$")]
    key: PredictionKey,
    /// The device that made it.
    edge_device_id: Label,
}

/// A list of JSON texts with a bound on their number.
struct Texts<'a>(Vec<&'a RawValue>);

/// A prediction that was made here as it is stored.
#[derive(Serialize)]
struct Stored<'a> {
    #[serde(flatten)]
    prediction: &'a Prediction,
    #[serde(flatten)]
    provenance: &'a Provenance<'a>,
}

/// Problems in one line.
struct Listing<'a>(&'a [FieldProblem], usize);

// === impl LogBatch ===

impl PartialSchema for LogBatch {
    fn schema() -> RefOr<Schema> {
        Envelope::schema()
    }
}

impl ToSchema for LogBatch {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Envelope::schemas(schemas);
    }
}

impl LogBatch {
    /// The most predictions in one batch.
    pub const MAX_PREDICTIONS: usize = 10_000;
    /// The deepest nesting of a prediction: what is stored must be readable again.
    const MAX_DEPTH: usize = 64;
    /// The most problems that are listed.
    const MAX_PROBLEMS: usize = 20;
    /// The device of a batch that does not name one.
    const UNKNOWN_DEVICE: &str = "unknown";

    /// Reads `{"predictions": […], "batch_size", "timestamp", "edge_device_id", "origins"}`. Only
    /// `predictions` must be there; a batch without a device is logged under `unknown`.
    pub fn parse(json: &[u8]) -> Result<Self, BatchError> {
        let envelope: Envelope<'_> = match serde_json::from_slice(json) {
            Ok(envelope) => envelope,
            Err(error) => return Err(explain_envelope(json, &error)),
        };
        let device = envelope.edge_device_id.unwrap_or_else(unknown_device);
        let origins = envelope.origins.as_deref();
        if let Some(origins) = origins {
            check_number(origins.len(), envelope.predictions.0.len())?;
        }
        let mut rows = Vec::with_capacity(envelope.predictions.0.len());
        let mut problems = Vec::new();
        let mut omitted = 0;
        for (index, text) in envelope.predictions.0.iter().enumerate() {
            match read_prediction(text.get()) {
                Ok(prediction) => rows.push(match origins.map(|origins| &origins[index]) {
                    Some(Origin {
                        key,
                        edge_device_id,
                    }) => Row::with_key(*key, edge_device_id, &prediction, text.get()),
                    None => Row::new(&device, index, &prediction, text.get()),
                }),
                Err(_) if problems.len() == Self::MAX_PROBLEMS => omitted += 1,
                Err(problem) => problems.push(problem.within(index)),
            }
        }
        if problems.is_empty() {
            Ok(Self { device, rows })
        } else {
            Err(BatchError::Invalid { problems, omitted })
        }
    }

    /// Returns a batch of predictions that were made in this process. What is stored of each is
    /// the prediction and, beside its fields, where it comes from.
    pub fn new(device: Label, predictions: &[Prediction], provenance: &Provenance<'_>) -> Self {
        let row = |(index, prediction): (usize, &Prediction)| {
            let body = serde_json::to_string(&Stored {
                prediction,
                provenance,
            })
            .expect("a prediction has text keys and finite numbers");
            Row::new(&device, index, prediction, &body)
        };
        let rows = predictions.iter().enumerate().map(row).collect();
        Self { device, rows }
    }

    /// Returns the device that sent the predictions.
    pub fn device(&self) -> &Label {
        &self.device
    }

    /// Returns the number of predictions.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns whether there is nothing to log.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn into_rows(self) -> Vec<Row> {
        self.rows
    }
}

// === impl FieldProblem ===

impl FieldProblem {
    /// The longest explanation, in characters; it may quote what was sent.
    const MAX_CHARS: usize = 200;

    fn new(field: String, problem: &str) -> Self {
        Self {
            field,
            problem: problem.chars().take(Self::MAX_CHARS).collect(),
        }
    }

    /// Names a field of one prediction as a field of the batch.
    fn within(self, index: usize) -> Self {
        let dot = if self.field.is_empty() || self.field.starts_with('[') {
            ""
        } else {
            "."
        };
        Self {
            field: format!("predictions[{index}]{dot}{}", self.field),
            problem: self.problem,
        }
    }
}

// === impl Listing ===

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(problems, omitted) = self;
        for (index, problem) in problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        if *omitted > 0 {
            write!(f, "; and {omitted} more predictions")?;
        }
        Ok(())
    }
}

// === impl Texts ===

impl<'de: 'a, 'a> Deserialize<'de> for Texts<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListOfTexts;

        impl<'de> Visitor<'de> for ListOfTexts {
            type Value = Texts<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of predictions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Texts<'de>, A::Error> {
                let mut texts = Vec::new();
                while texts.len() < LogBatch::MAX_PREDICTIONS {
                    match list.next_element()? {
                        Some(text) => texts.push(text),
                        None => return Ok(Texts(texts)),
                    }
                }
                if list.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(Texts(texts));
                }
                let limit = LogBatch::MAX_PREDICTIONS;
                Err(A::Error::custom(format_args!(
                    "more than {limit} predictions"
                )))
            }
        }

        deserializer.deserialize_seq(ListOfTexts)
    }
}

fn unknown_device() -> Label {
    Label::try_new(LogBatch::UNKNOWN_DEVICE).expect("the name is short")
}

fn check_number(origins: usize, predictions: usize) -> Result<(), BatchError> {
    if origins == predictions {
        return Ok(());
    }
    let problem = format!("has {origins} entries for {predictions} predictions");
    Err(BatchError::Invalid {
        problems: vec![FieldProblem::new("origins".into(), &problem)],
        omitted: 0,
    })
}

fn read_prediction(text: &str) -> Result<Prediction, FieldProblem> {
    if depth(text) > LogBatch::MAX_DEPTH {
        let problem = format!("is nested deeper than {}", LogBatch::MAX_DEPTH);
        return Err(FieldProblem::new(String::new(), &problem));
    }
    let prediction = serde_json::from_str(text)
        .map_err(|error| explain::<Prediction>(text.as_bytes(), &error))?;
    let Readable =
        serde_json::from_str(text).map_err(|error| explain::<Readable>(text.as_bytes(), &error))?;
    Ok(prediction)
}

/// Returns how deeply arrays and objects are nested in well-formed JSON.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let (mut in_text, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn explain_envelope(json: &[u8], error: &serde_json::Error) -> BatchError {
    if error.classify() != Category::Data {
        return BatchError::NotJson {
            reason: error.to_string(),
        };
    }
    let problem = explain::<Envelope<'_>>(json, error);
    BatchError::Invalid {
        problems: vec![problem],
        omitted: 0,
    }
}

/// Reads `json` again, this time with an eye on the path, and names the field that failed.
fn explain<'a, T: Deserialize<'a>>(json: &'a [u8], error: &serde_json::Error) -> FieldProblem {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut reader, &mut track);
    // The outcome is known; the second reading is for the track.
    let _failed_again = T::deserialize(tracked).is_err();
    let path = match track.path().to_string() {
        path if path == "." => String::new(),
        path => path,
    };
    // The position counts from where this text begins, which tells a sender nothing.
    let position = format!(" at line {} column {}", error.line(), error.column());
    let message = error.to_string();
    let message = message.strip_suffix(&position).unwrap_or(&message);
    // serde blames the object for a field that is not there; a reader looks for the field.
    match message
        .strip_prefix("missing field `")
        .and_then(|rest| rest.strip_suffix('`'))
    {
        Some(field) if path.is_empty() => FieldProblem::new(field.to_owned(), "is missing"),
        Some(field) => FieldProblem::new(format!("{path}.{field}"), "is missing"),
        None => FieldProblem::new(path, message),
    }
}

#[cfg(test)]
mod tests;
