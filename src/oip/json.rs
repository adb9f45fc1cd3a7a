//! Requests and answers as JSON.
//!
//! A tensor of a million numbers is most of its request, so it is what the reading is made for:
//! numbers go from the text straight into the little-endian bytes that the model reads, one pass,
//! and are never held as a tree of values. The text around the tensors is read by the same
//! [scanner](Scanner). Keys may come in any order: where a tensor's data come before its type and
//! shape, their place in the text is remembered and they are read when both are known.
//!
//! **Invariant:** what is read is bounded by what was sent: no room is made for more elements than
//! the text can hold, and nothing is nested deeper than [`DEEPEST`]. What cannot be read is refused
//! with the tensor's name and the place in it.
//!
//! Not a number and the infinities, which JSON does not have, are read and written as Triton and
//! Python do: `NaN`, `Infinity`, `-Infinity`.

mod element;
mod explain;
mod number;
mod request;
mod scanner;
mod singles;
mod skip;
mod tensor;
#[cfg(test)]
mod tests;
mod trouble;
mod write;

pub use explain::{Bad, excerpt, read_tensor};
pub use number::Number;
pub use request::{Data, Head, Input, read};
pub use scanner::Scanner;
pub use skip::DEEPEST;
pub use tensor::{Form, read_floats};
pub use trouble::Trouble;
pub use write::{write_data, write_nested, write_row, write_string};
