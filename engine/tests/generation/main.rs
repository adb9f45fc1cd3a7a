//! Text generation by a worker on a thread, with the real ONNX Runtime and small graphs.
#![allow(clippy::unwrap_used, reason = "a failed test is what a panic is for")]

#[path = "../engine/support.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod support;
mod text;

mod alone;
mod structured;
mod together;
