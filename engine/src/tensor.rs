//! Tensors as they travel between client, server and worker.
//!
//! A tensor here is a name, an element type, a shape and one flat block of bytes: row-major and
//! little-endian, which is what the Open Inference Protocol puts on the wire and what ONNX Runtime
//! reads in place, so that the bytes of a request are never converted, only copied. A tensor that
//! owns its data shares it: one that is cut from a request's body is a window into that body.
//!
//! The invariant is that `data` fits `dtype × shape` exactly, and it is checked where a tensor is
//! made ([`Tensor::try_new`], [`TensorView::try_new`]); whoever holds one may rely on it. Strings
//! ([`DType::Bytes`]) have no fixed element size: each element is a `u32` length followed by that
//! many bytes, and the invariant is that walking the block meets exactly as many elements as the
//! shape asks for. Making a tensor fails with a [`TensorError`] that says what did not fit.

mod dtype;
mod spec;
mod strings;

use std::ops::Range;

use bytes::Bytes;
use thiserror::Error;

pub use dtype::DType;
pub use spec::{Dim, TensorSpec, check_inputs};
pub use strings::{encode_strings, split_strings};

// The bytes are handed to native code as they are.
const _: () = assert!(cfg!(target_endian = "little"), "tensors are little-endian");

/// A named tensor that owns its data, or shares a larger block with others: what came in as one
/// message is not taken apart by copying it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    name: String,
    dtype: DType,
    shape: Vec<usize>,
    data: Bytes,
}

/// A named tensor whose data somebody else owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorView<'a> {
    name: &'a str,
    dtype: DType,
    shape: &'a [usize],
    data: &'a [u8],
}

/// Why bytes are no tensor of the type and shape they claim.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TensorError {
    /// The shape multiplies to more bytes than an address can hold.
    #[error("shape {0:?} is too large to address")]
    TooLarge(Vec<usize>),
    /// Type and shape ask for another number of bytes.
    #[error("{dtype} of shape {shape:?} takes {expected} bytes, got {got}")]
    WrongLength {
        /// The element type claimed.
        dtype: DType,
        /// The shape claimed.
        shape: Vec<usize>,
        /// Bytes that type and shape ask for.
        expected: usize,
        /// Bytes there are.
        got: usize,
    },
    /// A block of strings ends inside an element or holds another number of them.
    #[error("malformed strings: {0}")]
    MalformedStrings(String),
    /// A truth value is neither 0 nor 1.
    #[error("element {index} is {value}, a bool is 0 or 1")]
    NotBool {
        /// Flat index of the element.
        index: usize,
        /// The byte found there.
        value: u8,
    },
    /// The data is of another type than the one asked for.
    #[error("expected {expected}, got {got}")]
    WrongType {
        /// The type asked for.
        expected: DType,
        /// The type the data has.
        got: DType,
    },
}

// === impl Tensor ===

impl Tensor {
    /// Returns a tensor, or what about `data` does not fit `dtype` and `shape`.
    pub fn try_new(
        name: impl Into<String>,
        dtype: DType,
        shape: Vec<usize>,
        data: impl Into<Bytes>,
    ) -> Result<Self, TensorError> {
        let data = data.into();
        check(dtype, &shape, &data)?;
        Ok(Self {
            name: name.into(),
            dtype,
            shape,
            data,
        })
    }

    /// Returns an `f32` tensor of the given values; their number must be that of the shape.
    pub fn from_f32(
        name: impl Into<String>,
        shape: Vec<usize>,
        values: &[f32],
    ) -> Result<Self, TensorError> {
        let data: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        Self::try_new(name, DType::F32, shape, data)
    }

    /// Returns the values of an `f32` tensor, in row-major order.
    pub fn to_f32(&self) -> Result<Vec<f32>, TensorError> {
        self.view().to_f32()
    }

    /// Returns the tensor's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Returns the extent of every dimension, outermost first; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the elements, row-major and little-endian.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Returns the elements, to be shared.
    pub fn bytes(&self) -> &Bytes {
        &self.data
    }

    /// Returns the elements and gives up the tensor.
    pub fn into_data(self) -> Bytes {
        self.data
    }

    /// Returns the rows of that range along the outermost dimension; they share this one's memory.
    ///
    /// Fails if there are not so many.
    pub fn rows(&self, rows: Range<usize>) -> Result<Self, TensorError> {
        let mut shape = self.shape.clone();
        let total = shape.first().copied().unwrap_or(1);
        if let Some(first) = shape.first_mut() {
            *first = rows.len();
        }
        let place = match self.dtype.size() {
            Some(_) => {
                let row = self.data.len() / total.max(1);
                rows.start.saturating_mul(row)..rows.end.saturating_mul(row)
            }
            None => {
                let row = elements(&self.shape)? / total.max(1);
                strings::place(&self.data, rows.start * row..rows.end * row)
            }
        };
        let fits = place.start <= place.end && place.end <= self.data.len();
        let data = if fits {
            self.data.slice(place)
        } else {
            Bytes::new()
        };
        Self::try_new(self.name.as_str(), self.dtype, shape, data)
    }

    /// Returns the tensor as a borrowed view.
    pub fn view(&self) -> TensorView<'_> {
        TensorView {
            name: &self.name,
            dtype: self.dtype,
            shape: &self.shape,
            data: &self.data,
        }
    }
}

// === impl TensorView ===

impl<'a> TensorView<'a> {
    /// Returns a view of `data`, or what about it does not fit `dtype` and `shape`.
    pub fn try_new(
        name: &'a str,
        dtype: DType,
        shape: &'a [usize],
        data: &'a [u8],
    ) -> Result<Self, TensorError> {
        check(dtype, shape, data)?;
        Ok(Self {
            name,
            dtype,
            shape,
            data,
        })
    }

    /// Returns the tensor's name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Returns the element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Returns the extent of every dimension, outermost first.
    pub fn shape(&self) -> &'a [usize] {
        self.shape
    }

    /// Returns the elements, row-major and little-endian.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Returns the values of an `f32` tensor, in row-major order.
    pub fn to_f32(&self) -> Result<Vec<f32>, TensorError> {
        if self.dtype != DType::F32 {
            return Err(TensorError::WrongType {
                expected: DType::F32,
                got: self.dtype,
            });
        }
        let (values, _) = self.data.as_chunks::<4>();
        Ok(values.iter().map(|raw| f32::from_le_bytes(*raw)).collect())
    }

    /// Returns an owned copy.
    pub fn to_tensor(&self) -> Tensor {
        Tensor {
            name: self.name.to_owned(),
            dtype: self.dtype,
            shape: self.shape.to_vec(),
            data: Bytes::copy_from_slice(self.data),
        }
    }
}

/// Returns the number of elements of a shape, 1 for a scalar.
pub fn elements(shape: &[usize]) -> Result<usize, TensorError> {
    // A zero anywhere makes the product zero, whatever the other extents overflow to.
    if shape.contains(&0) {
        return Ok(0);
    }
    shape
        .iter()
        .try_fold(1usize, |product, extent| product.checked_mul(*extent))
        .ok_or_else(|| TensorError::TooLarge(shape.to_vec()))
}

/// Returns the bytes that type and shape ask for, `None` for strings.
pub fn byte_len(dtype: DType, shape: &[usize]) -> Result<Option<usize>, TensorError> {
    let elements = elements(shape)?;
    let Some(size) = dtype.size() else {
        return Ok(None);
    };
    elements
        .checked_mul(size)
        .filter(|bytes| isize::try_from(*bytes).is_ok())
        .map(Some)
        .ok_or_else(|| TensorError::TooLarge(shape.to_vec()))
}

fn check(dtype: DType, shape: &[usize], data: &[u8]) -> Result<(), TensorError> {
    match byte_len(dtype, shape)? {
        Some(expected) if expected != data.len() => Err(TensorError::WrongLength {
            dtype,
            shape: shape.to_vec(),
            expected,
            got: data.len(),
        }),
        Some(_) if dtype == DType::Bool => check_bools(data),
        Some(_) => Ok(()),
        None => strings::check(data, elements(shape)?),
    }
}

/// Any other byte in a C++ `bool` is undefined behaviour inside the runtime.
fn check_bools(data: &[u8]) -> Result<(), TensorError> {
    match data.iter().position(|value| *value > 1) {
        Some(index) => Err(TensorError::NotBool {
            index,
            value: data[index],
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_that_does_not_fit_the_shape_is_refused_with_both_lengths() {
        let error = Tensor::try_new("x", DType::F32, vec![2, 3], vec![0; 20]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "f32 of shape [2, 3] takes 24 bytes, got 20"
        );
    }

    #[test]
    fn a_shape_beyond_the_address_space_is_refused() {
        let huge = vec![usize::MAX, 2];
        let error = Tensor::try_new("x", DType::U8, huge.clone(), vec![]).unwrap_err();
        assert_eq!(error, TensorError::TooLarge(huge));
        let half = vec![usize::MAX / 4];
        let error = Tensor::try_new("x", DType::F64, half.clone(), vec![]).unwrap_err();
        assert_eq!(error, TensorError::TooLarge(half));
    }

    #[test]
    fn a_zero_extent_means_no_elements_however_large_the_others() {
        let tensor = Tensor::try_new("x", DType::F64, vec![usize::MAX, 0, 7], vec![]).unwrap();
        assert!(tensor.data().is_empty());
    }

    #[test]
    fn a_scalar_has_one_element() {
        let tensor = Tensor::from_f32("x", vec![], &[1.5]).unwrap();
        assert_eq!(tensor.to_f32().unwrap(), [1.5]);
    }

    #[test]
    fn rows_share_the_memory_of_the_whole_and_keep_its_type() {
        let whole = Tensor::from_f32("x", vec![3, 2], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        let part = whole.rows(1..3).unwrap();
        assert_eq!((part.name(), part.shape()), ("x", [2, 2].as_slice()));
        assert_eq!(part.to_f32().unwrap(), [2.0, 3.0, 4.0, 5.0]);
        assert_eq!(part.data().as_ptr(), whole.data()[8..].as_ptr());
        assert!(whole.rows(1..1).unwrap().data().is_empty());
        assert!(whole.rows(2..4).is_err());
    }

    #[test]
    fn rows_of_strings_are_cut_between_them() {
        let block = encode_strings([b"a".as_slice(), b"", b"longer", b"b"]).unwrap();
        let whole = Tensor::try_new("s", DType::Bytes, vec![2, 2], block).unwrap();
        let part = whole.rows(1..2).unwrap();
        assert!(split_strings(part.data()).eq([b"longer".as_slice(), b"b"]));
        assert!(whole.rows(1..3).is_err());
    }

    #[test]
    fn a_bool_other_than_0_or_1_is_refused() {
        let error = Tensor::try_new("x", DType::Bool, vec![3], vec![0, 1, 2]).unwrap_err();
        assert_eq!(error, TensorError::NotBool { index: 2, value: 2 });
    }

    #[test]
    fn only_an_f32_tensor_gives_its_values_as_f32() {
        let tensor = Tensor::try_new("x", DType::I32, vec![1], vec![0; 4]).unwrap();
        assert_eq!(
            tensor.to_f32().unwrap_err().to_string(),
            "expected f32, got i32"
        );
    }
}
