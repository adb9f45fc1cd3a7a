//! The answer to a prediction, as KServe's first protocol writes it: `{"predictions": [row, …]}`.
//!
//! A row of a model with several outputs is an object with one of each by its name.

use impetus_engine::Tensor;

use crate::oip::Refusal;
use crate::oip::json::{write_nested, write_row, write_string};

/// Writes outputs.
///
/// # Errors
/// One of them has no form in JSON.
pub(super) fn write(outputs: &[Tensor]) -> Result<Vec<u8>, Refusal> {
    let mut text = b"{\"predictions\":".to_vec();
    match outputs {
        [only] if only.shape().is_empty() => {
            text.push(b'[');
            write_nested(only, &mut text)?;
            text.push(b']');
        }
        [only] => write_nested(only, &mut text)?,
        several => write_rows(several, &mut text)?,
    }
    text.push(b'}');
    Ok(text)
}

fn write_rows(outputs: &[Tensor], text: &mut Vec<u8>) -> Result<(), Refusal> {
    let rows = common_rows(outputs);
    let mut rests: Vec<&[u8]> = outputs.iter().map(Tensor::data).collect();
    text.push(b'[');
    for row in 0..rows.unwrap_or(1) {
        text.extend_from_slice(if row > 0 { b",{" } else { b"{" });
        for (index, (output, rest)) in outputs.iter().zip(&mut rests).enumerate() {
            if index > 0 {
                text.push(b',');
            }
            write_string(output.name(), text);
            text.push(b':');
            match rows {
                Some(_) => write_row(output, rest, text)?,
                None => write_nested(output, text)?,
            }
        }
        text.push(b'}');
    }
    text.push(b']');
    Ok(())
}

/// Returns how many rows all outputs have, if they have equally many; otherwise they make one row
/// together.
fn common_rows(outputs: &[Tensor]) -> Option<usize> {
    let mut rows = outputs.iter().map(|output| output.shape().first().copied());
    let first = rows.next()??;
    rows.all(|rows| rows == Some(first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use impetus_engine::DType;
    use serde_json::{Value, json};

    use super::*;

    fn written(outputs: &[Tensor]) -> Value {
        serde_json::from_slice(&write(outputs).unwrap()).unwrap()
    }

    #[test]
    fn one_output_is_rows_and_several_are_objects() {
        let scores = Tensor::from_f32("y", vec![2, 2], &[0.5, 1.0, -2.0, 1e-7]).unwrap();
        assert_eq!(
            written(std::slice::from_ref(&scores)),
            json!({"predictions": [[0.5, 1.0], [-2.0, 1e-7]]})
        );
        let words = b"\x01\0\0\0a\x02\0\0\0\"b".to_vec();
        let words = Tensor::try_new("w", DType::Bytes, vec![2], words).unwrap();
        assert_eq!(
            written(&[scores.clone(), words]),
            json!({"predictions": [{"y": [0.5, 1.0], "w": "a"}, {"y": [-2.0, 1e-7], "w": "\"b"}]})
        );
        let one = Tensor::from_f32("z", vec![], &[7.0]).unwrap();
        assert_eq!(
            written(std::slice::from_ref(&one)),
            json!({"predictions": [7.0]})
        );
        assert_eq!(
            written(&[scores, one]),
            json!({"predictions": [{"y": [[0.5, 1.0], [-2.0, 1e-7]], "z": 7.0}]})
        );
        let none = Tensor::try_new("n", DType::I64, vec![2, 0], vec![]).unwrap();
        assert_eq!(written(&[none]), json!({"predictions": [[], []]}));
    }
}
