//! Choosing a token from its scores.
//!
//! The order is that of [`Sampling`]: logit bias, penalties, temperature, top-k, top-p, min-p. What
//! the grammar forbids is taken out before, and so are stop tokens as long as too little has been
//! generated. Each stage after the temperature keeps a set of tokens; in the end one of them is drawn
//! by its weight, going through them by their numbers, so that scores which differ in the last bit
//! from one machine or batch to another give another token almost never.

mod penalties;
mod random;
mod scores;

use std::cmp::Ordering;

use super::{Sampling, TokenLogprobs};
use crate::error::EngineError;
pub(crate) use penalties::History;
use scores::{Candidate, Maxima, Weights, by_rank, exp, sum_of_exp};

/// A temperature below this is none: dividing by it leaves nothing but the best token.
const LEAST_TEMPERATURE: f32 = 1e-5;

/// Room that is used again for each choice.
#[derive(Default)]
pub(crate) struct Sampler {
    adjusted: Vec<f32>,
    maxima: Maxima,
    weights: Weights,
    kept: Vec<Candidate>,
    ranked: Vec<Candidate>,
}

/// What one choice depends on, beside the scores.
pub(crate) struct Draw<'a> {
    pub(crate) sampling: &'a Sampling,
    pub(crate) history: &'a History,
    /// A bit for each token that the grammar allows; tokens beyond its end are not allowed.
    pub(crate) allowed: Option<&'a [u32]>,
    /// Tokens that must not be chosen unless there is no other.
    pub(crate) avoided: &'a [u32],
    /// The token's place behind the prompt.
    pub(crate) position: usize,
}

// === impl Sampling ===

impl Sampling {
    /// Checks that every setting is in its range.
    ///
    /// # Errors
    ///
    /// [`EngineError::GenerationRefused`] with the setting's name and what it may be.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        let within = |name: &str, value: f32, good: bool, range: &str| {
            if good && value.is_finite() {
                return Ok(());
            }
            Err(EngineError::refused(format!(
                "{name} is {value} and must be {range}"
            )))
        };
        let temperature = self.temperature;
        within("temperature", temperature, temperature >= 0.0, "at least 0")?;
        let top_p = self.top_p;
        within(
            "top_p",
            top_p,
            top_p > 0.0 && top_p <= 1.0,
            "above 0 and at most 1",
        )?;
        let min_p = self.min_p;
        within("min_p", min_p, (0.0..=1.0).contains(&min_p), "from 0 to 1")?;
        let repetition = self.repetition_penalty;
        within(
            "repetition_penalty",
            repetition,
            repetition > 0.0,
            "above 0",
        )?;
        within("presence_penalty", self.presence_penalty, true, "a number")?;
        within(
            "frequency_penalty",
            self.frequency_penalty,
            true,
            "a number",
        )?;
        for (token, bias) in &self.logit_bias {
            within(
                &format!("logit_bias of token {token}"),
                *bias,
                true,
                "a number",
            )?;
        }
        Ok(())
    }

    /// Returns whether what has occurred changes the scores.
    fn penalizes(&self) -> bool {
        self.repetition_penalty != 1.0
            || self.presence_penalty != 0.0
            || self.frequency_penalty != 0.0
    }
}

// === impl Sampler ===

impl Sampler {
    /// Chooses a token.
    ///
    /// # Errors
    ///
    /// [`EngineError::RunFailed`] if the scores are no numbers, or nothing may be chosen.
    pub(crate) fn choose(&mut self, logits: &[f32], draw: &Draw<'_>) -> Result<u32, EngineError> {
        let mut adjusted = std::mem::take(&mut self.adjusted);
        let chosen = if adjust(logits, draw, &mut adjusted) {
            self.choose_from(&adjusted, draw)
        } else {
            self.choose_from(logits, draw)
        };
        self.adjusted = adjusted;
        chosen
    }

    /// Returns the probability of a token and the best ones, by the scores as the model gave them.
    pub(crate) fn logprobs(&mut self, logits: &[f32], token: u32, count: usize) -> TokenLogprobs {
        self.maxima.find(logits);
        let best = self.maxima.best();
        let log_sum = sum_of_exp(logits, best).ln() as f32 + best;
        self.take_best(logits, count);
        self.kept.sort_unstable_by(by_rank);
        let score = logits.get(token as usize);
        TokenLogprobs {
            chosen: score.copied().unwrap_or(f32::NEG_INFINITY) - log_sum,
            best: self
                .kept
                .iter()
                .map(|candidate| (candidate.token, candidate.score - log_sum))
                .collect(),
        }
    }

    fn choose_from(&mut self, scores: &[f32], draw: &Draw<'_>) -> Result<u32, EngineError> {
        self.maxima.find(scores);
        if !self.maxima.best().is_finite() {
            return Err(no_numbers());
        }
        let sampling = draw.sampling;
        if sampling.temperature < LEAST_TEMPERATURE {
            return Ok(self.maxima.first_best(scores));
        }
        let part = random::uniform(sampling.seed, sampling.choice, draw.position as u64);
        if sampling.top_k > 0 && sampling.top_k < scores.len() {
            self.take_best(scores, sampling.top_k);
            self.weigh_kept(sampling.temperature);
            self.keep_nucleus(sampling.top_p);
            // The best one weighs 1.
            self.kept
                .retain(|candidate| candidate.score >= sampling.min_p);
            return drawn(&self.kept, part).ok_or_else(no_numbers);
        }
        self.weights
            .weigh(scores, self.maxima.best(), sampling.temperature);
        if !self.weights.total().is_finite() {
            return Err(no_numbers());
        }
        if sampling.top_p < 1.0 {
            self.weights.keep_nucleus(f64::from(sampling.top_p));
        }
        if sampling.min_p > 0.0 {
            self.weights.keep_at_least(sampling.min_p);
        }
        Ok(self.weights.at(part))
    }

    /// Keeps the `count` best tokens.
    fn take_best(&mut self, scores: &[f32], count: usize) {
        self.kept.clear();
        if count == 0 {
            return;
        }
        let least = self.maxima.bound_of_best(count);
        self.maxima.at_least(scores, least, &mut self.kept);
        if self.kept.len() > count {
            self.ranked.clear();
            self.ranked.extend_from_slice(&self.kept);
            let (_, last, _) = self.ranked.select_nth_unstable_by(count - 1, by_rank);
            keep_up_to(&mut self.kept, *last);
        }
    }

    /// Turns the scores of what is kept into weights.
    fn weigh_kept(&mut self, temperature: f32) {
        let (best, factor) = (self.maxima.best(), temperature.recip());
        for candidate in &mut self.kept {
            candidate.score = exp((candidate.score - best) * factor);
        }
    }

    /// Keeps the least number of best tokens with this part of the weight of all that are kept.
    fn keep_nucleus(&mut self, part: f32) {
        if part >= 1.0 || self.kept.is_empty() {
            return;
        }
        self.ranked.clear();
        self.ranked.extend_from_slice(&self.kept);
        self.ranked.sort_unstable_by(by_rank);
        let wanted = f64::from(part) * total(&self.kept);
        let mut sum = 0.0;
        let border = self.ranked.iter().find(|candidate| {
            sum += f64::from(candidate.score);
            sum >= wanted
        });
        if let Some(last) = border {
            keep_up_to(&mut self.kept, *last);
        }
    }
}

/// Writes the scores as bias, penalties and grammar leave them; returns whether they do anything.
fn adjust(logits: &[f32], draw: &Draw<'_>, adjusted: &mut Vec<f32>) -> bool {
    let sampling = draw.sampling;
    let untouched = sampling.logit_bias.is_empty()
        && !sampling.penalizes()
        && draw.allowed.is_none()
        && draw.avoided.is_empty();
    if untouched {
        return false;
    }
    adjusted.clear();
    adjusted.extend_from_slice(logits);
    for (token, bias) in &sampling.logit_bias {
        if let Some(score) = adjusted.get_mut(*token as usize) {
            *score += bias;
        }
    }
    draw.history.penalize(sampling, adjusted);
    if let Some(allowed) = draw.allowed {
        forbid(allowed, adjusted);
    }
    avoid(draw.avoided, adjusted);
    true
}

/// Takes out every token whose bit is not set.
fn forbid(allowed: &[u32], scores: &mut [f32]) {
    const BITS: usize = u32::BITS as usize;
    let words = allowed.iter().copied().chain(std::iter::repeat(0));
    for (word, scores) in words.zip(scores.chunks_mut(BITS)) {
        match word {
            u32::MAX => {}
            0 => scores.fill(f32::NEG_INFINITY),
            word => {
                for (bit, score) in scores.iter_mut().enumerate() {
                    if word >> bit & 1 == 0 {
                        *score = f32::NEG_INFINITY;
                    }
                }
            }
        }
    }
}

/// Takes these tokens out, unless nothing is left without them.
fn avoid(avoided: &[u32], scores: &mut [f32]) {
    if avoided.is_empty() {
        return;
    }
    let before: Vec<(usize, f32)> = avoided
        .iter()
        .filter_map(|token| Some((*token as usize, *scores.get(*token as usize)?)))
        .collect();
    for (token, _) in &before {
        scores[*token] = f32::NEG_INFINITY;
    }
    if scores.iter().all(|score| *score == f32::NEG_INFINITY) {
        for (token, score) in before {
            scores[token] = score;
        }
    }
}

/// Keeps what ranks no lower than this one.
fn keep_up_to(kept: &mut Vec<Candidate>, last: Candidate) {
    kept.retain(|candidate| by_rank(candidate, &last) != Ordering::Greater);
}

/// Returns the candidate at this part of the whole.
fn drawn(kept: &[Candidate], part: f64) -> Option<u32> {
    let mut left = part * total(kept);
    let mut chosen = None;
    for candidate in kept {
        if candidate.score > 0.0 {
            chosen = Some(candidate.token);
            left -= f64::from(candidate.score);
            if left < 0.0 {
                break;
            }
        }
    }
    chosen
}

fn total(candidates: &[Candidate]) -> f64 {
    candidates
        .iter()
        .map(|candidate| f64::from(candidate.score))
        .sum()
}

fn no_numbers() -> EngineError {
    EngineError::run_failed("the model's scores are no numbers, or no token may be chosen")
}

#[cfg(test)]
mod tests;
