//! The classification extension: the highest values of an output instead of all of it.
//!
//! As [Triton has it](https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_classification.html):
//! the output becomes strings `value:index` or `value:index:label`, highest first, as many per row
//! as were asked for or the row has; a model that does not batch has one row and no batch dimension.
//! Values are compared in the output's own type and written with six digits behind the point.
//! Where two are equal the lower index comes first, and what is no number comes last.

use std::cmp::Ordering;
use std::fmt::Display;
use std::io::Write;

use impetus_engine::{DType, Tensor};

use super::half;
use super::{Refusal, datatype};

/// Returns the `most` highest values of each row of an output.
pub(super) fn classify(
    output: &Tensor,
    most: usize,
    batches: bool,
    labels: &[String],
) -> Result<Tensor, Refusal> {
    let mut ranking = Ranking {
        output,
        most,
        batches,
        labels,
        strings: Vec::new(),
    };
    let data = output.data();
    match output.dtype() {
        DType::U8 => ranking.rank(data, u8::from_le_bytes, Ord::cmp),
        DType::U16 => ranking.rank(data, u16::from_le_bytes, Ord::cmp),
        DType::U32 => ranking.rank(data, u32::from_le_bytes, Ord::cmp),
        DType::U64 => ranking.rank(data, u64::from_le_bytes, Ord::cmp),
        DType::I8 => ranking.rank(data, i8::from_le_bytes, Ord::cmp),
        DType::I16 => ranking.rank(data, i16::from_le_bytes, Ord::cmp),
        DType::I32 => ranking.rank(data, i32::from_le_bytes, Ord::cmp),
        DType::I64 => ranking.rank(data, i64::from_le_bytes, Ord::cmp),
        DType::F16 => ranking.rank(data, |raw| Float(half::f16_to_f32(raw).into()), compare),
        DType::BF16 => ranking.rank(data, |raw| Float(half::bf16_to_f32(raw).into()), compare),
        DType::F32 => ranking.rank(data, |raw| Float(f32::from_le_bytes(raw).into()), compare),
        DType::F64 => ranking.rank(data, |raw| Float(f64::from_le_bytes(raw)), compare),
        DType::Bool | DType::Bytes => Err(Refusal::invalid(format!(
            "output {:?} is {}, which has no highest values to classify by",
            output.name(),
            datatype::name(output.dtype())
        ))),
    }
}

struct Ranking<'a> {
    output: &'a Tensor,
    most: usize,
    batches: bool,
    labels: &'a [String],
    /// The strings so far, each behind its length.
    strings: Vec<u8>,
}

/// A number that is written as C writes one.
#[derive(Clone, Copy)]
struct Float(f64);

// === impl Ranking ===

impl Ranking<'_> {
    fn rank<const N: usize, T: Display + Copy>(
        &mut self,
        data: &[u8],
        read: impl Fn([u8; N]) -> T,
        compare: impl Fn(&T, &T) -> Ordering,
    ) -> Result<Tensor, Refusal> {
        let (values, _) = data.as_chunks::<N>();
        let values: Vec<T> = values.iter().map(|raw| read(*raw)).collect();
        let rows = self.rows();
        let width = values.len() / rows.max(1);
        let most = self.most.min(width);
        let mut order: Vec<usize> = Vec::with_capacity(width);
        for row in values.chunks(width.max(1)) {
            order.clear();
            order.extend(0..row.len());
            let higher = |a: &usize, b: &usize| compare(&row[*b], &row[*a]).then(a.cmp(b));
            if most < order.len() {
                order.select_nth_unstable_by(most, higher);
                order.truncate(most);
            }
            order.sort_unstable_by(higher);
            for index in &order {
                self.push(row[*index], *index);
            }
        }
        let shape = match self.batches && !self.output.shape().is_empty() {
            true => vec![rows, most],
            false => vec![most],
        };
        let strings = std::mem::take(&mut self.strings);
        Tensor::try_new(self.output.name(), DType::Bytes, shape, strings)
            .map_err(|error| Refusal::new(super::Kind::Failed, error.to_string()))
    }

    fn rows(&self) -> usize {
        match self.output.shape().first() {
            Some(rows) if self.batches => *rows,
            _ => 1,
        }
    }

    fn push(&mut self, value: impl Display, index: usize) {
        let begin = self.strings.len();
        self.strings.extend_from_slice(&[0; 4]);
        let written = match self.labels.get(index) {
            Some(label) => write!(self.strings, "{value}:{index}:{label}"),
            None => write!(self.strings, "{value}:{index}"),
        };
        written.expect("memory takes whatever is written");
        let length = (self.strings.len() - begin - 4) as u32;
        self.strings[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
    }
}

// === impl Float ===

impl Display for Float {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_nan() {
            return f.write_str("nan");
        }
        write!(f, "{:.6}", self.0)
    }
}

/// Compares so that what is no number is the lowest.
fn compare(a: &Float, b: &Float) -> Ordering {
    a.0.partial_cmp(&b.0)
        .unwrap_or_else(|| b.0.is_nan().cmp(&a.0.is_nan()))
}

#[cfg(test)]
mod tests {
    use impetus_engine::tensor::split_strings;

    use super::*;

    fn strings(tensor: &Tensor) -> Vec<String> {
        split_strings(tensor.data())
            .map(|string| String::from_utf8(string.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn the_highest_of_each_row_come_first_with_their_labels() {
        let scores = Tensor::from_f32("y", vec![2, 3], &[0.1, 0.7, 0.2, 5.0, f32::NAN, 5.0]);
        let labels = ["a".to_owned(), "b".to_owned()];
        let top = classify(&scores.unwrap(), 2, true, &labels).unwrap();
        assert_eq!((top.name(), top.dtype()), ("y", DType::Bytes));
        assert_eq!(top.shape(), [2, 2]);
        assert_eq!(
            strings(&top),
            ["0.700000:1:b", "0.200000:2", "5.000000:0:a", "5.000000:2"]
        );
    }

    #[test]
    fn more_than_a_row_has_are_as_many_as_it_has() {
        let scores = Tensor::from_f32("y", vec![2, 2], &[f32::NAN, 1.0, f32::INFINITY, -1.5]);
        let all = classify(&scores.unwrap(), 9, false, &[]).unwrap();
        assert_eq!(all.shape(), [4]);
        assert_eq!(
            strings(&all),
            ["inf:2", "1.000000:1", "-1.500000:3", "nan:0"]
        );
    }

    #[test]
    fn whole_numbers_are_compared_as_such_and_text_is_refused() {
        let large = [i64::MAX, i64::MAX - 1, 3].map(i64::to_le_bytes).concat();
        let large = Tensor::try_new("y", DType::I64, vec![3], large).unwrap();
        let top = classify(&large, 1, false, &[]).unwrap();
        assert_eq!(strings(&top), ["9223372036854775807:0"]);
        let text = Tensor::try_new("y", DType::Bytes, vec![0], vec![]).unwrap();
        assert!(classify(&text, 1, true, &[]).is_err());
        let none = Tensor::from_f32("y", vec![0, 3], &[]).unwrap();
        assert_eq!(classify(&none, 2, true, &[]).unwrap().shape(), [0, 0]);
    }
}
