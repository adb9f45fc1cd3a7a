//! From the vectors of tokens to that of a text.

use impetus_engine::{DType, Tensor};
use impetus_text::{Embedding, Pooling};

use crate::oip::Kind;
use crate::oip::half::f16_to_f32;
use crate::openai::Refusal;

/// The output with a vector for each text, where a graph pools by itself.
const WHOLE: &str = "sentence_embedding";
/// The outputs with a vector for each token, as exporters name them.
const BY_TOKEN: [&str; 2] = ["token_embeddings", "last_hidden_state"];
/// Under this a length is taken to be no length, as torch does.
const LEAST_LENGTH: f32 = 1e-12;

/// Returns the vector of each text of a batch, whose texts have so many tokens.
///
/// # Errors
/// None of the outputs, or not one of the shape, is what such a model gives.
pub fn pool(
    outputs: &[Tensor],
    lengths: &[usize],
    how: &Embedding,
) -> Result<Vec<Vec<f32>>, Refusal> {
    if let Some(whole) = outputs.iter().find(|output| output.name() == WHOLE) {
        return rows(whole, lengths.len());
    }
    let named = |name: &&str| outputs.iter().find(|output| output.name() == *name);
    let by_token = BY_TOKEN.iter().find_map(named).or(outputs.first());
    let by_token = by_token.ok_or_else(|| strange("it gives nothing"))?;
    let [texts, width, size] = *by_token.shape() else {
        return Err(strange(format!(
            "output {} has shape {:?}, not [texts, tokens, numbers]",
            by_token.name(),
            by_token.shape()
        )));
    };
    let too_long = lengths.iter().any(|length| *length == 0 || *length > width);
    if texts != lengths.len() || too_long || size == 0 {
        return Err(strange(format!(
            "output {} has shape {:?} for texts of {lengths:?} tokens",
            by_token.name(),
            by_token.shape()
        )));
    }
    let numbers = numbers(by_token)?;
    let texts = numbers.chunks_exact(width * size).zip(lengths);
    Ok(texts
        .map(|(text, length)| {
            let tokens = &text[..length * size];
            let mut vector = pooled(tokens, size, how.pooling);
            if how.normalize {
                normalize(&mut vector);
            }
            vector
        })
        .collect())
}

/// Returns one vector of those of all tokens, which lie behind each other.
fn pooled(tokens: &[f32], size: usize, how: Pooling) -> Vec<f32> {
    let count = (tokens.len() / size) as f32;
    let fold = |start: f32, with: fn(f32, f32) -> f32| {
        let mut all = vec![start; size];
        for token in tokens.chunks_exact(size) {
            for (so_far, number) in all.iter_mut().zip(token) {
                *so_far = with(*so_far, *number);
            }
        }
        all
    };
    let sum_over = |divisor: f32| {
        let mut sum = fold(0.0, |a, b| a + b);
        sum.iter_mut().for_each(|number| *number /= divisor);
        sum
    };
    match how {
        Pooling::Cls => tokens[..size].to_vec(),
        Pooling::LastToken => tokens[tokens.len() - size..].to_vec(),
        Pooling::Max => fold(f32::NEG_INFINITY, f32::max),
        Pooling::Mean => sum_over(count),
        Pooling::MeanSqrtLen => sum_over(count.sqrt()),
    }
}

/// Brings a vector to length 1.
pub(super) fn normalize(vector: &mut [f32]) {
    let length = vector
        .iter()
        .map(|number| number * number)
        .sum::<f32>()
        .sqrt();
    let length = length.max(LEAST_LENGTH);
    vector.iter_mut().for_each(|number| *number /= length);
}

fn rows(whole: &Tensor, texts: usize) -> Result<Vec<Vec<f32>>, Refusal> {
    match *whole.shape() {
        [rows, size] if rows == texts && size > 0 => Ok(numbers(whole)?
            .chunks_exact(size)
            .map(<[f32]>::to_vec)
            .collect()),
        _ => Err(strange(format!(
            "output {} has shape {:?} for {texts} texts",
            whole.name(),
            whole.shape()
        ))),
    }
}

fn numbers(output: &Tensor) -> Result<Vec<f32>, Refusal> {
    match output.dtype() {
        DType::F16 => {
            let (halves, _) = output.data().as_chunks::<2>();
            Ok(halves.iter().map(|half| f16_to_f32(*half)).collect())
        }
        _ => output.to_f32().map_err(|error| strange(error.to_string())),
    }
}

fn strange(what: impl AsRef<str>) -> Refusal {
    let message = format!("the model gives no embeddings: {}", what.as_ref());
    Refusal::new(Kind::Failed, "failed", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: [f32; 12] = [3.0, -4.0, 1.0, 2.0, 9.0, 9.0, 5.0, 0.0, 9.0, 9.0, 9.0, 9.0];

    fn vectors(pooling: Pooling, normalize: bool) -> Vec<Vec<f32>> {
        let output = Tensor::from_f32("last_hidden_state", vec![2, 3, 2], &TOKENS).unwrap();
        let how = Embedding {
            pooling,
            normalize,
            max_tokens: None,
        };
        pool(&[output], &[2, 1], &how).unwrap()
    }

    #[test]
    fn what_fills_a_text_up_is_never_looked_at() {
        assert_eq!(vectors(Pooling::Cls, false), [[3.0, -4.0], [5.0, 0.0]]);
        assert_eq!(vectors(Pooling::LastToken, false), [[1.0, 2.0], [5.0, 0.0]]);
        assert_eq!(vectors(Pooling::Max, false), [[3.0, 2.0], [5.0, 0.0]]);
        assert_eq!(vectors(Pooling::Mean, false), [[2.0, -1.0], [5.0, 0.0]]);
        let root = 2f32.sqrt();
        let expected = [[4.0 / root, -2.0 / root], [5.0, 0.0]];
        assert_eq!(vectors(Pooling::MeanSqrtLen, false), expected);
        assert_eq!(vectors(Pooling::Cls, true), [[0.6, -0.8], [1.0, 0.0]]);
    }

    #[test]
    fn a_graph_that_pools_by_itself_is_taken_at_its_word() {
        let own = Tensor::from_f32("sentence_embedding", vec![2, 2], &TOKENS[..4]).unwrap();
        let by_token = Tensor::from_f32("token_embeddings", vec![2, 3, 2], &TOKENS).unwrap();
        let vectors = pool(&[by_token, own], &[2, 1], &Embedding::default()).unwrap();
        assert_eq!(vectors, [[3.0, -4.0], [1.0, 2.0]]);
    }

    #[test]
    fn an_output_of_another_shape_is_refused_by_name() {
        let logits = Tensor::from_f32("logits", vec![2, 2], &TOKENS[..4]).unwrap();
        let error = pool(&[logits], &[2, 1], &Embedding::default()).unwrap_err();
        assert!(error.message().contains("logits"), "{error}");
        let short = Tensor::from_f32("last_hidden_state", vec![2, 3, 2], &TOKENS).unwrap();
        assert!(pool(&[short], &[4, 1], &Embedding::default()).is_err());
    }
}
