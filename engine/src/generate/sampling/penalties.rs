//! What has occurred in a sequence, and what that takes from the scores.

use std::collections::HashMap;

use super::super::Sampling;

/// The tokens of one sequence, counted.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Each token once, with how many times it was generated: 0 for one of the prompt alone.
    entries: Vec<(u32, u32)>,
    places: HashMap<u32, usize>,
    wanted: bool,
}

// === impl History ===

impl History {
    /// Counts a prompt and what has been generated so far, if anything depends on it.
    pub(crate) fn new(sampling: &Sampling, prompt: &[u32], generated: &[u32]) -> Self {
        let mut history = Self {
            wanted: sampling.penalizes(),
            ..Self::default()
        };
        if history.wanted {
            for token in prompt {
                history.place(*token);
            }
            for token in generated {
                history.add(*token);
            }
        }
        history
    }

    /// Counts a token that was generated.
    pub(crate) fn add(&mut self, token: u32) {
        if self.wanted {
            let place = self.place(token);
            self.entries[place].1 += 1;
        }
    }

    /// Applies the penalties to the scores.
    pub(super) fn penalize(&self, sampling: &Sampling, scores: &mut [f32]) {
        for (token, count) in &self.entries {
            let Some(score) = scores.get_mut(*token as usize) else {
                continue;
            };
            let factor = sampling.repetition_penalty;
            *score = if *score < 0.0 {
                *score * factor
            } else {
                *score / factor
            };
            if *count > 0 {
                *score -= sampling.presence_penalty + sampling.frequency_penalty * *count as f32;
            }
        }
    }

    fn place(&mut self, token: u32) -> usize {
        *self.places.entry(token).or_insert_with(|| {
            self.entries.push((token, 0));
            self.entries.len() - 1
        })
    }
}
