//! How tokens are chosen: what the request says, what the model's folder says where it does not, and OpenAI's
//! defaults where neither does.

use std::ops::RangeInclusive;

use impetus_engine::generate::Sampling;
use impetus_text::TextModel;

use super::Refusal;
use super::common::Common;

/// Most tokens whose scores are changed.
const MOST_BIASES: usize = 4096;

// === impl Common ===

impl Common {
    /// Returns how tokens are chosen. `drawn` is the seed where the request has none.
    pub(super) fn sampling(&self, text: &TextModel, drawn: u64) -> Result<Sampling, Refusal> {
        let defaults = text.defaults();
        let usual = match defaults.do_sample {
            Some(false) => 0.0,
            _ => defaults.temperature.unwrap_or(1.0),
        };
        let top_k = match self.top_k {
            None => defaults.top_k.map_or(0, |k| k as usize),
            Some(-1) => 0,
            Some(k) => usize::try_from(k)
                .map_err(|_| Refusal::invalid("top_k", format!("must be -1 or more, not {k}")))?,
        };
        let repetition_penalty = within("repetition_penalty", self.repetition_penalty, 0.0..=10.0)?;
        if repetition_penalty == Some(0.0) {
            return Err(Refusal::invalid(
                "repetition_penalty",
                "must be more than 0",
            ));
        }
        let min_tokens = self.min_tokens.unwrap_or(0);
        if let Some(most) = self.max_tokens.filter(|most| min_tokens > *most) {
            let message = format!("is {min_tokens}, and an answer may have {most} tokens");
            return Err(Refusal::invalid("min_tokens", message));
        }
        Ok(Sampling {
            temperature: within("temperature", self.temperature, 0.0..=2.0)?.unwrap_or(usual),
            top_k,
            top_p: within("top_p", self.top_p, 0.0..=1.0)?
                .or(defaults.top_p)
                .unwrap_or(1.0)
                // Of nothing at all the best one is left, as with the least there is.
                .max(f32::MIN_POSITIVE),
            min_p: within("min_p", self.min_p, 0.0..=1.0)?
                .or(defaults.min_p)
                .unwrap_or(0.0),
            repetition_penalty: repetition_penalty
                .or(defaults.repetition_penalty)
                .unwrap_or(1.0),
            presence_penalty: penalty("presence_penalty", self.presence_penalty)?,
            frequency_penalty: penalty("frequency_penalty", self.frequency_penalty)?,
            logit_bias: self.biases(text)?,
            min_tokens,
            seed: self.seed.map_or(drawn, i64::cast_unsigned),
            choice: 0,
        })
    }

    fn biases(&self, text: &TextModel) -> Result<Vec<(u32, f32)>, Refusal> {
        let Some(given) = &self.logit_bias else {
            return Ok(Vec::new());
        };
        if given.len() > MOST_BIASES {
            let message = format!("may have {MOST_BIASES} tokens, not {}", given.len());
            return Err(Refusal::invalid("logit_bias", message));
        }
        let known = text.tokenizer().vocabulary().tokens.len();
        let biases = given.iter().map(|(token, bias)| {
            let id = token
                .parse::<u32>()
                .ok()
                .filter(|id| (*id as usize) < known);
            let id = id.ok_or_else(|| {
                let message = format!(
                    "names the token {token:?}; tokens are the numbers 0 to {}",
                    known.saturating_sub(1)
                );
                Refusal::invalid("logit_bias", message)
            })?;
            let bias = within("logit_bias", Some(*bias), -100.0..=100.0)?;
            Ok((id, bias.unwrap_or_default()))
        });
        biases.collect()
    }
}

fn penalty(name: &str, given: Option<f32>) -> Result<f32, Refusal> {
    Ok(within(name, given, -2.0..=2.0)?.unwrap_or(0.0))
}

/// Insists that a number lies where it may.
fn within(
    name: &str,
    given: Option<f32>,
    range: RangeInclusive<f32>,
) -> Result<Option<f32>, Refusal> {
    match given {
        Some(number) if !range.contains(&number) => {
            let message = format!("must be {} to {}, not {number}", range.start(), range.end());
            Err(Refusal::invalid(name, message))
        }
        given => Ok(given),
    }
}
