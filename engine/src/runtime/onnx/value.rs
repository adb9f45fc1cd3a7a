//! Tensors as ONNX Runtime sees them, without copying numbers.
//!
//! The safe constructors of `ort` know neither half precision without another library nor strings
//! of arbitrary bytes, so values are made through the C interface, one way for every type. An
//! input value borrows the bytes of its view and must not outlive it; it lives inside one call of
//! `run`. An output borrows the runtime's own memory, which lives as long as the value does.
#![allow(unsafe_code)]

use std::borrow::Cow;
use std::ffi::{c_char, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;

use ort::memory::{Allocator, MemoryInfo};
use ort::session::Session;
use ort::sys::{OrtTensorTypeAndShapeInfo, OrtTypeInfo, OrtValue};
use ort::value::{DynValue, TensorElementType, ValueType};
use ort::{AsPointer, ortsys};

use crate::error::EngineError;
use crate::tensor::{DType, TensorSpec, TensorView, byte_len, encode_strings, split_strings};

/// Makes values; holds what the C interface wants to be told each time.
pub(super) struct Values {
    allocator: Allocator,
    memory: MemoryInfo<'static>,
}

/// A value that reads the bytes of a view.
pub(super) struct Input<'a> {
    value: DynValue,
    /// A copy of bytes that do not lie where their type can be read; the value points into it.
    _aligned: Option<Vec<u64>>,
    _bytes: PhantomData<&'a [u8]>,
}

/// One output, readable as plain bytes.
pub(super) struct Output<'a> {
    name: &'a str,
    dtype: DType,
    shape: Vec<usize>,
    data: Cow<'a, [u8]>,
}

/// Returns the element type that the protocol has for one of the runtime's, if it has one.
pub(super) fn dtype_of(element: TensorElementType) -> Option<DType> {
    DType::ALL
        .into_iter()
        .find(|dtype| element_of(*dtype) == element)
}

fn element_of(dtype: DType) -> TensorElementType {
    match dtype {
        DType::Bool => TensorElementType::Bool,
        DType::U8 => TensorElementType::Uint8,
        DType::U16 => TensorElementType::Uint16,
        DType::U32 => TensorElementType::Uint32,
        DType::U64 => TensorElementType::Uint64,
        DType::I8 => TensorElementType::Int8,
        DType::I16 => TensorElementType::Int16,
        DType::I32 => TensorElementType::Int32,
        DType::I64 => TensorElementType::Int64,
        DType::F16 => TensorElementType::Float16,
        DType::BF16 => TensorElementType::Bfloat16,
        DType::F32 => TensorElementType::Float32,
        DType::F64 => TensorElementType::Float64,
        DType::Bytes => TensorElementType::String,
    }
}

/// Returns whether a graph states a shape for one of its inputs; `ort` takes none for a scalar.
pub(super) fn states_shape(session: &Session, input: usize) -> ort::Result<bool> {
    let mut info: *mut OrtTypeInfo = ptr::null_mut();
    // SAFETY: the session is alive, and the runtime checks the index.
    ortsys![unsafe SessionGetInputTypeInfo(session.ptr(), input, &mut info)?];
    let mut tensor: *const OrtTensorTypeAndShapeInfo = ptr::null();
    // SAFETY: `info` was just made and is released once, after the last use of what it owns; a
    // null `tensor` says that the input is none.
    unsafe {
        let cast =
            ort::Error::result_from_status(ortsys![CastTypeInfoToTensorInfo](info, &mut tensor));
        let states = !tensor.is_null() && ortsys![TensorTypeAndShape_HasShape](tensor);
        ortsys![ReleaseTypeInfo](info);
        cast.map(|()| states)
    }
}

// === impl Values ===

impl Values {
    /// Returns a maker of values in ordinary memory; the runtime has been started.
    pub(super) fn new() -> Self {
        Self {
            allocator: Allocator::default(),
            memory: MemoryInfo::default(),
        }
    }

    /// Returns a value that reads the view's bytes where they are; strings are copied.
    pub(super) fn input<'a>(&self, view: &TensorView<'a>) -> ort::Result<Input<'a>> {
        let shape = view
            .shape()
            .iter()
            .map(|extent| i64::try_from(*extent).map_err(ort::Error::wrap))
            .collect::<ort::Result<Vec<i64>>>()?;
        match view.dtype().size() {
            Some(size) => self.numbers(view, size, &shape),
            None => self.strings(view, &shape),
        }
    }

    fn numbers<'a>(
        &self,
        view: &TensorView<'a>,
        size: usize,
        shape: &[i64],
    ) -> ort::Result<Input<'a>> {
        let bytes = view.data();
        // Frames and slots are aligned; bytes from elsewhere may not be.
        let aligned = (!bytes.as_ptr().addr().is_multiple_of(size)).then(|| aligned_copy(bytes));
        let data = aligned
            .as_ref()
            .map_or(bytes.as_ptr(), |copy| copy.as_ptr().cast());
        let mut value: *mut OrtValue = ptr::null_mut();
        // SAFETY: `data` points to `bytes.len()` bytes, which a view keeps equal to type and
        // shape, aligned for the type. They live as long as the value: either `'a` or the copy
        // that goes with it. The runtime does not write to its inputs.
        ortsys![unsafe CreateTensorWithDataAsOrtValue(
            self.memory.ptr(),
            data.cast_mut().cast::<c_void>(),
            bytes.len(),
            shape.as_ptr(),
            shape.len(),
            element_of(view.dtype()).into(),
            &mut value
        )?];
        Ok(Input {
            value: self.owned(value)?,
            _aligned: aligned,
            _bytes: PhantomData,
        })
    }

    fn strings<'a>(&self, view: &TensorView<'a>, shape: &[i64]) -> ort::Result<Input<'a>> {
        let mut value: *mut OrtValue = ptr::null_mut();
        // SAFETY: every pointer is valid for the call; the runtime allocates the value.
        ortsys![unsafe CreateTensorAsOrtValue(
            self.allocator.ptr().cast_mut(),
            shape.as_ptr(),
            shape.len(),
            TensorElementType::String.into(),
            &mut value
        )?];
        let value = self.owned(value)?;
        for (index, string) in split_strings(view.data()).enumerate() {
            let mut target: *mut c_char = ptr::null_mut();
            // SAFETY: a view has exactly as many strings as its shape, so the index is in range.
            ortsys![unsafe GetResizedStringTensorElementBuffer(
                value.ptr().cast_mut(),
                index,
                string.len(),
                &mut target
            )?];
            if !string.is_empty() {
                // SAFETY: the runtime has just made room for that many bytes.
                unsafe {
                    ptr::copy_nonoverlapping(string.as_ptr(), target.cast::<u8>(), string.len());
                }
            }
        }
        Ok(Input {
            value,
            _aligned: None,
            _bytes: PhantomData,
        })
    }

    fn owned(&self, value: *mut OrtValue) -> ort::Result<DynValue> {
        let value =
            NonNull::new(value).ok_or_else(|| ort::Error::new("the runtime returned no value"))?;
        // SAFETY: the value was just made, nobody else owns it, and this is its allocator.
        Ok(unsafe { DynValue::from_ptr(value, Some(&self.allocator)) })
    }
}

// === impl Input ===

impl Input<'_> {
    /// Returns the value; it must not be used after this input is gone.
    pub(super) fn value(&self) -> &DynValue {
        &self.value
    }
}

// === impl Output ===

impl<'a> Output<'a> {
    /// Returns what a value holds, in the runtime's memory where that is possible.
    pub(super) fn of(spec: &'a TensorSpec, value: &'a DynValue) -> Result<Self, EngineError> {
        let failed =
            |reason: String| EngineError::run_failed(format!("output {}: {reason}", spec.name));
        let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
            return Err(failed(format!("is {}", value.dtype())));
        };
        let dtype = dtype_of(*ty).ok_or_else(|| failed(format!("has type {ty}")))?;
        let shape = shape
            .iter()
            .map(|extent| usize::try_from(*extent))
            .collect::<Result<Vec<usize>, _>>()
            .map_err(|error| failed(error.to_string()))?;
        let len = byte_len(dtype, &shape).map_err(|error| failed(error.to_string()))?;
        let data = match len {
            Some(len) => numbers(value, len).map(Cow::Borrowed),
            None => strings(value, &shape).map(Cow::Owned),
        };
        Ok(Self {
            name: &spec.name,
            dtype,
            shape,
            data: data.map_err(|error| failed(error.to_string()))?,
        })
    }

    /// Returns the output as a view.
    pub(super) fn view(&self) -> Result<TensorView<'_>, EngineError> {
        TensorView::try_new(self.name, self.dtype, &self.shape, &self.data)
            .map_err(|error| EngineError::run_failed(format!("output {}: {error}", self.name)))
    }
}

fn numbers(value: &DynValue, len: usize) -> ort::Result<&[u8]> {
    let mut data: *mut c_void = ptr::null_mut();
    // SAFETY: the value is a tensor of numbers; reading its pointer changes nothing.
    ortsys![unsafe GetTensorMutableData(value.ptr().cast_mut(), &mut data)?];
    if len == 0 {
        // The runtime may have no memory at all for no elements.
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(ort::Error::new("the runtime has no memory for it"));
    }
    // SAFETY: the runtime has allocated `len` bytes for this type and shape, initialised by the
    // run that has ended, and keeps them as long as the value, which is borrowed.
    Ok(unsafe { slice::from_raw_parts(data.cast::<u8>(), len) })
}

fn strings(value: &DynValue, shape: &[usize]) -> ort::Result<Vec<u8>> {
    let count = shape.iter().product::<usize>();
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut total = 0;
    // SAFETY: the value is a tensor of strings.
    ortsys![unsafe GetStringTensorDataLength(value.ptr(), &mut total)?];
    let mut bytes = vec![0u8; total];
    let mut offsets = vec![0usize; count];
    // SAFETY: both targets are as long as stated.
    ortsys![unsafe GetStringTensorContent(
        value.ptr(),
        bytes.as_mut_ptr().cast::<c_void>(),
        total,
        offsets.as_mut_ptr(),
        count
    )?];
    let ends = offsets.iter().skip(1).chain([&total]);
    let strings = offsets
        .iter()
        .zip(ends)
        .map(|(start, end)| bytes.get(*start..*end).unwrap_or_default());
    encode_strings(strings).map_err(ort::Error::wrap)
}

fn aligned_copy(bytes: &[u8]) -> Vec<u64> {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    words
        .iter()
        .chain([&last])
        .map(|word| u64::from_ne_bytes(*word))
        .collect()
}
