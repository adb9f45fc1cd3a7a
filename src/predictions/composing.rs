//! From an answer to the predictions that are logged of it.
//!
//! An answer that classifies makes a prediction of each of its rows, with the class as the only
//! detection. Any other makes one that says which model ran, when and for how long, and detects
//! nothing.

use std::borrow::Cow;

use impetus_actors::predlog::{
    ConfidenceScores, Detection, Finite, Label, LogBatch, Prediction, PredictionTime, Provenance,
};
use impetus_actors::serving::{Protocol, ServedModel};

use super::Made;
use super::classes::Classes;

/// The most confidences of a prediction that are kept: those of the surest classes.
const MOST_CONFIDENCES: usize = 20;
/// A model that is less sure than this does not know.
const UNCERTAIN_BELOW: f32 = 0.5;
/// The longest name that a request gives to its predictions; a row's number comes behind it.
const LONGEST_NAME: usize = 256;
/// What stands for a name that nobody has given.
const NAMELESS: &str = "unnamed";

/// Makes what is logged of an answer that was given `now`.
pub(super) fn batch(device: &Label, now: PredictionTime, made: &Made<'_>) -> LogBatch {
    let predictions = predictions(now, made);
    let provenance = Provenance {
        protocol: made.protocol.as_str(),
        request_id: made.request_id,
    };
    LogBatch::new(device.clone(), &predictions, &provenance)
}

fn predictions(now: PredictionTime, made: &Made<'_>) -> Vec<Prediction> {
    let spec = made.model.spec();
    let name = name(made);
    let (model_name, model_version) = (named(&spec.name), named(&spec.version));
    let took = finite(made.inference.run_micros as f64 / 1e3);
    let one = |row: usize, classes: Option<&Classes<'_>>| Prediction {
        id: None,
        image_id: image(name, row),
        timestamp: now,
        model_version: model_version.clone(),
        model_name: model_name.clone(),
        inference_time_ms: took,
        detections: classes.map(detection).into_iter().collect(),
        defect_detected: classes.is_some_and(|classes| is_defect(made.model, &classes.best())),
        confidence_scores: classes.map(confidences).unwrap_or_default(),
        processing_notes: None,
    };
    match classes(made) {
        Some(rows) => {
            let rows = rows.iter().enumerate();
            rows.map(|(row, classes)| one(row, Some(classes))).collect()
        }
        None => vec![one(0, None)],
    }
}

/// Returns the class of each row, if the answer has any. What `/predict` answers always is one.
fn classes<'a>(made: &Made<'a>) -> Option<Vec<Classes<'a>>> {
    let outputs = &made.inference.outputs;
    match made.protocol {
        Protocol::Predict => Classes::of_one(made.model, outputs)
            .ok()
            .map(|one| vec![one]),
        Protocol::V2Rest
        | Protocol::V2Grpc
        | Protocol::V1Rest
        | Protocol::Chat
        | Protocol::Completions
        | Protocol::Embeddings => {
            Classes::of_rows(made.model, outputs).filter(|rows| !rows.is_empty())
        }
    }
}

fn detection(classes: &Classes<'_>) -> Detection {
    let confidence = classes.confidence();
    Detection {
        class: named(&classes.best()),
        confidence: finite(as_written(confidence)),
        bbox: None,
        uncertain: confidence < UNCERTAIN_BELOW,
    }
}

fn confidences(classes: &Classes<'_>) -> ConfidenceScores {
    let surest = classes.surest(MOST_CONFIDENCES);
    let surest = surest.iter();
    ConfidenceScores::by_class(surest.map(|(label, probability)| (label.as_ref(), *probability)))
}

/// Tells whether a class is a defect: none is to a model that does not say what is without one.
fn is_defect(model: &ServedModel, class: &str) -> bool {
    let defect_free = &model.spec().description.defect_free_labels;
    !defect_free.is_empty() && defect_free.iter().all(|label| label != class)
}

/// Returns what the predictions of a request are called: as its client does, or by its id.
fn name<'a>(made: &Made<'a>) -> &'a str {
    let fits = |name: &&str| (1..=LONGEST_NAME).contains(&name.len()) && !name.contains('\0');
    let given = made.name.filter(fits);
    given.or(made.request_id.filter(fits)).unwrap_or(NAMELESS)
}

/// Returns the name of a row's image. The first has that of its request.
fn image(name: &str, row: usize) -> Label {
    match row {
        0 => named(name),
        row => named(&format!("{name}-{row}")),
    }
}

/// Returns a name as the log can hold it: without NUL, cut where it is too long, never empty.
fn named(name: &str) -> Label {
    Label::try_new(name).unwrap_or_else(|_| {
        let cut = name.floor_char_boundary(Label::MAX_BYTES);
        let clean = match &name[..cut] {
            "" => Cow::Borrowed(NAMELESS),
            name => name.replace('\0', "?").into(),
        };
        Label::try_new(&*clean).expect("it has no NUL, and neither too few bytes nor too many")
    })
}

/// Returns a number of single precision with no more digits than it is written with.
fn as_written(number: f32) -> f64 {
    let shortest = number.to_string().parse();
    shortest.unwrap_or(f64::from(number))
}

fn finite(number: f64) -> Finite {
    Finite::try_from(number).expect("probabilities and times are finite")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_the_log_cannot_hold_is_made_one_that_it_can() {
        assert_eq!(named("surface").as_str(), "surface");
        assert_eq!(named("").as_str(), NAMELESS);
        assert_eq!(named("a\0b").as_str(), "a?b");
        let long = named(&"ä".repeat(400));
        assert_eq!(long.as_str().len(), Label::MAX_BYTES);
        assert_eq!(image("req-1", 0).as_str(), "req-1");
        assert_eq!(image("req-1", 3).as_str(), "req-1-3");
    }

    #[test]
    fn a_confidence_is_logged_with_the_digits_that_it_is_answered_with() {
        assert_eq!(as_written(0.7), 0.7);
        assert_eq!(as_written(0.333_333_34).to_string(), "0.33333334");
        assert_eq!(as_written(1e-30) as f32, 1e-30);
    }
}
