//! Generation of text: sequences that go through many steps, and survive the worker that runs them.
//!
//! A request becomes a [`Sequence`](sequence::Sequence) in the model's [`Streams`]: first in a bounded
//! queue, then, as soon as a worker has a slot free, out with that worker. The worker reports every step
//! it makes; each token goes to the caller's [`TokenStream`] at once, and is kept with the sequence
//! until the end. So whatever becomes of the worker, the sequence can be given to another one with all
//! that it has said so far, and goes on where it stopped: the caller sees a pause.
//!
//! Text is nobody's business here: a sequence is made of token ids. Whoever asks has turned text into
//! them, by what the model's folder says ([`text`]).
//!
//! **Invariant:** a sequence is in the queue, or out over exactly one link, or ended; its caller gets
//! each of its tokens once and in order, and an end exactly once.

mod figures;
mod limits;
mod link;
mod request;
mod resumption;
mod sequence;
mod streams;
pub mod text;

pub(super) use figures::Figures;
pub use figures::{FinishReason, GenerationSnapshot};
pub use limits::GenerationLimits;
pub use request::{GenerateRequest, StreamEvent, TokenStream};
pub(super) use resumption::Verdict;
pub(super) use sequence::{Sequence, unloaded};
pub(super) use streams::{NotTaken, Streams};

#[cfg(test)]
mod tests;
