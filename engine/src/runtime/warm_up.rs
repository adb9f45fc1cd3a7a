//! Inputs that a model is run with before it serves, as whoever describes the model states them.
//!
//! The first run of a shape allocates, and may choose kernels: a client that comes with a shape of
//! which nobody has thought pays for that. Stated samples are run when the model is loaded, so that
//! the shapes somebody did think of are paid for by then. They carry no numbers, only how to make
//! them: the worker makes or reads them where they are needed, and nothing large crosses the link.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::tensor::DType;

/// One full set of inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WarmUpSample {
    /// Where it is stated, for messages.
    pub key: String,
    /// Every input of the model, in any order.
    pub inputs: Vec<WarmUpInput>,
}

/// One input of a sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WarmUpInput {
    /// The model's name for it.
    pub name: String,
    /// Its element type, where that is stated; the model's otherwise.
    pub dtype: Option<DType>,
    /// The extent of every dimension.
    pub shape: Vec<usize>,
    /// What it is filled with.
    pub fill: Fill,
}

/// What an input of a sample is filled with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Fill {
    /// Zeros; strings without a byte.
    Zeros,
    /// Small numbers that are the same each time: fractions of 1 for floating point, 0 and 1 for
    /// integers, which may be indices.
    Random,
    /// This number in every element.
    Value(f64),
    /// What a file holds, little-endian and row-major.
    File {
        /// Where it lies.
        path: PathBuf,
        /// How many times its bytes are laid end to end.
        times: usize,
    },
}

/// How long the first run of a stated sample took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmUpRun {
    /// Rows of the sample; 1 where the model's runs cannot be stacked.
    pub rows: usize,
    /// How long the run took, in microseconds.
    pub micros: u64,
}
