//! OpenAI's API as it is whatever carries it: requests for text, and the answers to them.
//!
//! A request is read ([`read`]) into the fields of its own kind ([`chat`], [`completion`]) and those that both
//! kinds have ([`common`]). With what the model's folder says of its text it becomes a [`Job`](job::Job): prompts
//! of tokens, and one sequence for each choice. What the sequences bring is put together again, choice by choice
//! ([`choice`]), as text, log-probabilities and calls of tools, and a [`Generation`](generation::Generation) merges
//! the choices into the order in which they come. The shapes on the wire are in [`answer`].
//!
//! Nothing here knows status codes, sockets or workers: a generation takes its events from any stream of them.
//!
//! **Invariant.** A field that is not known is ignored, since clients send many; one that is known and has a value
//! that is not possible is refused, by its name. Nothing that a client sends is taken to mean something else.

pub mod answer;
pub mod chat;
pub mod choice;
pub mod common;
pub mod completion;
pub mod embeddings;
pub mod generation;
pub mod input;
pub mod job;
mod messages;
mod probabilities;
pub mod read;
pub mod refusal;
mod sampling;
pub mod structure;
#[cfg(test)]
mod tests;
mod tools;

pub use refusal::Refusal;
