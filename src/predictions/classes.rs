//! From a model's scores to classes.
//!
//! The output that is read is the one whose labels the model's description has, or else the first.
//! Scores that are no probabilities already are taken for logits and go through softmax.
//!
//! **Invariant:** `/predict` answers by this rule and the log is written by it, so that the class
//! that is logged is the class that was answered.

use std::borrow::Cow;
use std::fmt;

use impetus_actors::serving::ServedModel;
use impetus_engine::Tensor;

/// How far the sum of scores may be from 1 for them to count as probabilities.
const SUM_TOLERANCE: f32 = 1e-3;

/// What a model says about one image.
#[derive(Debug, PartialEq)]
pub struct Classes<'a> {
    labels: &'a [String],
    probabilities: Vec<f32>,
    best: usize,
}

/// Why an output is no classification.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoClasses(Cow<'static, str>);

// === impl Classes ===

impl<'a> Classes<'a> {
    /// Reads all of a model's scores as those of one image's classes, as a request for one image
    /// gets them.
    ///
    /// # Errors
    /// The model has no output of finite numbers.
    pub fn of_one(model: &'a ServedModel, outputs: &[Tensor]) -> Result<Self, NoClasses> {
        let (output, labels) = scored(model, outputs).ok_or(NoClasses::NO_OUTPUT)?;
        let scores = output.to_f32().map_err(NoClasses::because)?;
        Self::new(labels, scores)
    }

    /// Reads each row of a model's scores as those of one image's classes. A model classifies in
    /// this sense when every row has one finite score for each of its labels; nothing otherwise.
    #[must_use]
    pub fn of_rows(model: &'a ServedModel, outputs: &[Tensor]) -> Option<Vec<Self>> {
        let (output, labels) = scored(model, outputs).filter(|(_, labels)| !labels.is_empty())?;
        let scores = output.to_f32().ok()?;
        let of_a_row: usize = match output.shape() {
            [classes] => *classes,
            [_, rest @ ..] => rest.iter().product(),
            [] => 1,
        };
        if of_a_row != labels.len() {
            return None;
        }
        let rows = scores.chunks_exact(of_a_row);
        rows.map(|row| Self::new(labels, row.to_vec()).ok())
            .collect()
    }

    fn new(labels: &'a [String], scores: Vec<f32>) -> Result<Self, NoClasses> {
        let probabilities = probabilities(scores)?;
        let of_all = probabilities.iter().enumerate();
        let best = of_all.max_by(|a, b| a.1.total_cmp(b.1));
        let best = best.map(|(index, _)| index).ok_or(NoClasses::EMPTY)?;
        Ok(Self {
            labels,
            probabilities,
            best,
        })
    }

    /// Returns the class with the highest score.
    #[must_use]
    pub fn best(&self) -> Cow<'a, str> {
        label(self.labels, self.best)
    }

    /// Returns its probability.
    #[must_use]
    pub fn confidence(&self) -> f32 {
        self.probabilities[self.best]
    }

    /// Returns every class with its probability, in the order of the model's output.
    pub fn all(&self) -> impl ExactSizeIterator<Item = (Cow<'a, str>, f32)> {
        let all = self.probabilities.iter().enumerate();
        all.map(|(index, probability)| (label(self.labels, index), *probability))
    }

    /// Returns the `most` classes with the highest probabilities, the highest first; all of them
    /// in the order of the model's output where there are no more.
    #[must_use]
    pub fn surest(&self, most: usize) -> Vec<(Cow<'a, str>, f32)> {
        if self.probabilities.len() <= most {
            return self.all().collect();
        }
        let mut order: Vec<usize> = (0..self.probabilities.len()).collect();
        let higher = |a: &usize, b: &usize| {
            let (a, b) = (self.probabilities[*a], self.probabilities[*b]);
            b.total_cmp(&a)
        };
        order.select_nth_unstable_by(most, higher);
        order.truncate(most);
        order.sort_by(higher);
        let surest = order.into_iter();
        surest
            .map(|index| (label(self.labels, index), self.probabilities[index]))
            .collect()
    }
}

// === impl NoClasses ===

impl NoClasses {
    const NO_OUTPUT: Self = Self(Cow::Borrowed("the model has no output"));
    const EMPTY: Self = Self(Cow::Borrowed("its output is empty"));
    const NOT_FINITE: Self = Self(Cow::Borrowed("its scores are not finite"));

    fn because(why: impl fmt::Display) -> Self {
        Self(Cow::Owned(why.to_string()))
    }
}

/// Returns the output with the scores, and the labels that it has.
fn scored<'m, 'o>(
    model: &'m ServedModel,
    outputs: &'o [Tensor],
) -> Option<(&'o Tensor, &'m [String])> {
    let description = &model.spec().description;
    let labels_of = |output: &Tensor| description.labels_of(output.name());
    let labelled = outputs.iter().find(|output| !labels_of(output).is_empty());
    let output = labelled.or(outputs.first())?;
    Some((output, labels_of(output)))
}

/// Returns the name of a class: its label, or its place in the output where it has none.
fn label(labels: &[String], index: usize) -> Cow<'_, str> {
    labels
        .get(index)
        .map_or_else(|| index.to_string().into(), |label| label.as_str().into())
}

fn probabilities(mut scores: Vec<f32>) -> Result<Vec<f32>, NoClasses> {
    if scores.iter().any(|score| !score.is_finite()) {
        return Err(NoClasses::NOT_FINITE);
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

    #[test]
    fn of_many_classes_the_surest_are_kept_with_the_highest_first() {
        let labels = ["a", "b", "c", "d"].map(str::to_owned);
        let classes = Classes::new(&labels, vec![0.1, 0.4, 0.2, 0.3]).unwrap();
        let names = |most| -> Vec<Cow<'_, str>> {
            let surest = classes.surest(most).into_iter();
            surest.map(|(label, _)| label).collect()
        };
        assert_eq!(names(2), ["b", "d"]);
        assert_eq!(names(4), ["a", "b", "c", "d"]);
        assert_eq!((classes.best().as_ref(), classes.confidence()), ("b", 0.4));
    }

    #[test]
    fn a_class_without_a_label_is_called_by_its_place() {
        let labels = ["a".to_owned()];
        let classes = Classes::new(&labels, vec![0.25, 0.75]).unwrap();
        assert_eq!(classes.best(), "1");
    }
}
