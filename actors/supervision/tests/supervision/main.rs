//! What the crate promises, one fault at a time.

#![allow(clippy::unwrap_used)]

mod board;
mod faults;
mod handles;
mod hangs;
mod healing;
mod intensity;
mod launching;
mod mailbox;
mod real_threads;
mod restarts;
mod stopping;
mod strategies;
mod support;
