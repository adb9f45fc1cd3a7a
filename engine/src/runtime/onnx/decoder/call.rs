//! Running a graph on memory that is ours.
//!
//! `ort`'s own way copies, looks names up by text and makes new values for each run; a step of
//! generation has a hundred inputs and outputs and takes a few milliseconds. So values are made once
//! over memory that stays where it is, names are made once, and a run is a call with two lists of
//! pointers. The same value may be input and output at once: that is how GroupQueryAttention is told
//! to write behind what is there.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use ort::logging::LogLevel;
use ort::memory::{Allocator, MemoryInfo};
use ort::session::{NoSelectedOutputs, RunOptions, Session};
use ort::sys::{OrtTensorTypeAndShapeInfo, OrtValue};
use ort::value::TensorElementType;
use ort::{AsPointer, ortsys};

use super::super::session::interrupt;
use super::layout::Layout;
use crate::runtime::Interrupt;

/// A session with the names of what it is given and asked for.
pub(super) struct Graph {
    session: Session,
    options: Arc<RunOptions<NoSelectedOutputs>>,
    memory: MemoryInfo<'static>,
    allocator: Allocator,
    inputs: Names,
    outputs: Names,
}

/// A value of the runtime's, over its own memory or over somebody else's.
pub(super) struct Value {
    pointer: NonNull<OrtValue>,
}

/// Names as the C interface wants them.
struct Names {
    /// What the pointers point to, which moving this does not move.
    _texts: Vec<CString>,
    pointers: Vec<*const c_char>,
}

// === impl Graph ===

impl Graph {
    pub(super) fn new(
        session: Session,
        options: RunOptions<NoSelectedOutputs>,
        layout: &Layout,
    ) -> ort::Result<Self> {
        Ok(Self {
            session,
            options: Arc::new(options),
            memory: MemoryInfo::default(),
            allocator: Allocator::default(),
            inputs: Names::new(&layout.inputs)?,
            outputs: Names::new(&layout.outputs)?,
        })
    }

    /// Returns what makes a run end early.
    pub(super) fn interrupt(&self) -> Interrupt {
        interrupt(&self.options)
    }

    /// Keeps the runtime from saying what is wrong with the next runs: one that is expected to fail is
    /// nobody's concern. Only before [`interrupt`](Self::interrupt).
    pub(super) fn set_quiet(&mut self, quiet: bool) {
        let level = if quiet {
            LogLevel::Fatal
        } else {
            LogLevel::Warning
        };
        let set = Arc::get_mut(&mut self.options).map(|options| options.set_log_level(level));
        if !matches!(set, Some(Ok(()))) {
            tracing::debug!(quiet, "the runtime's log level stays as it is");
        }
    }

    /// Runs the graph. The outputs that are null are made by the runtime and belong to the caller, as
    /// [`Value::adopt`] takes them; what is written to the others is theirs.
    ///
    /// # Safety
    ///
    /// Every value, and the memory that each was made over, is alive, and nobody else reads or writes
    /// that of outputs meanwhile.
    pub(super) unsafe fn run(
        &mut self,
        inputs: &[*const OrtValue],
        outputs: &mut [*mut OrtValue],
    ) -> ort::Result<()> {
        if inputs.len() != self.inputs.pointers.len()
            || outputs.len() != self.outputs.pointers.len()
        {
            return Err(ort::Error::new(
                "a run with more or fewer values than names",
            ));
        }
        // SAFETY: session and options are alive, there are as many values as names of either kind,
        // and the caller vouches for the values.
        ortsys![unsafe Run(
            self.session.ptr().cast_mut(),
            self.options.ptr(),
            self.inputs.pointers.as_ptr(),
            inputs.as_ptr(),
            inputs.len(),
            self.outputs.pointers.as_ptr(),
            outputs.len(),
            outputs.as_mut_ptr()
        )?];
        Ok(())
    }

    /// Makes a value over memory.
    ///
    /// # Safety
    ///
    /// The memory has `bytes` bytes, aligned for the type, and outlives the value.
    pub(super) unsafe fn value_over(
        &self,
        data: *mut c_void,
        bytes: usize,
        shape: &[i64],
        element: TensorElementType,
    ) -> ort::Result<Value> {
        let mut value: *mut OrtValue = ptr::null_mut();
        // SAFETY: the caller vouches for the memory, and the runtime checks that type and shape take
        // no more of it than there is.
        ortsys![unsafe CreateTensorWithDataAsOrtValue(
            self.memory.ptr(),
            data,
            bytes,
            shape.as_ptr(),
            shape.len(),
            element.into(),
            &mut value
        )?];
        Value::adopt(value)
    }

    /// Makes a value over whole numbers.
    ///
    /// # Safety
    ///
    /// The numbers stay where they are and as they are while the value is used.
    pub(super) unsafe fn numbers(&self, numbers: &[i64], shape: [i64; 2]) -> ort::Result<Value> {
        let data = numbers.as_ptr().cast_mut().cast::<c_void>();
        // SAFETY: the slice is as long as stated and aligned; the runtime does not write to inputs.
        unsafe { self.value_over(data, size_of_val(numbers), &shape, TensorElementType::Int64) }
    }

    /// Makes a value in memory of the runtime's own, which holds anything.
    pub(super) fn value_of_its_own(
        &self,
        shape: &[i64],
        element: TensorElementType,
    ) -> ort::Result<Value> {
        let mut value: *mut OrtValue = ptr::null_mut();
        // SAFETY: every pointer is valid for the call; the runtime allocates the value.
        ortsys![unsafe CreateTensorAsOrtValue(
            self.allocator.ptr().cast_mut(),
            shape.as_ptr(),
            shape.len(),
            element.into(),
            &mut value
        )?];
        Value::adopt(value)
    }
}

// === impl Value ===

impl Value {
    /// Takes over a value that nobody else will release.
    pub(super) fn adopt(value: *mut OrtValue) -> ort::Result<Self> {
        let pointer =
            NonNull::new(value).ok_or_else(|| ort::Error::new("the runtime returned no value"))?;
        Ok(Self { pointer })
    }

    pub(super) fn as_ptr(&self) -> *mut OrtValue {
        self.pointer.as_ptr()
    }

    /// Returns where the value's numbers lie.
    pub(super) fn data(&self) -> ort::Result<NonNull<c_void>> {
        let mut data: *mut c_void = ptr::null_mut();
        // SAFETY: the value is a tensor of numbers; reading its pointer changes nothing.
        ortsys![unsafe GetTensorMutableData(self.as_ptr(), &mut data)?];
        NonNull::new(data).ok_or_else(|| ort::Error::new("the runtime has no memory for it"))
    }

    /// Returns the value's shape.
    pub(super) fn shape(&self) -> ort::Result<Vec<i64>> {
        let mut info: *mut OrtTensorTypeAndShapeInfo = ptr::null_mut();
        // SAFETY: the value is a tensor.
        ortsys![unsafe GetTensorTypeAndShape(self.as_ptr(), &mut info)?];
        let mut count = 0;
        let mut shape = Vec::new();
        // SAFETY: `info` was just made and is released once; the target is as long as stated.
        let read = unsafe {
            ort::Error::result_from_status(ortsys![GetDimensionsCount](info, &mut count)).and_then(
                |()| {
                    shape.resize(count, 0);
                    ort::Error::result_from_status(ortsys![GetDimensions](
                        info,
                        shape.as_mut_ptr(),
                        count,
                    ))
                },
            )
        };
        // SAFETY: nobody uses it any more.
        unsafe { ortsys![ReleaseTensorTypeAndShapeInfo](info) };
        read.map(|()| shape)
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: it was made by the runtime, and nobody else releases it.
        ortsys![unsafe ReleaseValue(self.as_ptr())];
    }
}

// === impl Names ===

impl Names {
    fn new(names: &[String]) -> ort::Result<Self> {
        let texts = names
            .iter()
            .map(|name| CString::new(name.as_str()).map_err(ort::Error::wrap))
            .collect::<ort::Result<Vec<CString>>>()?;
        Ok(Self {
            pointers: texts.iter().map(|text| text.as_ptr()).collect(),
            _texts: texts,
        })
    }
}
