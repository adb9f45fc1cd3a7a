//! The server's end of a link against a worker on a thread, with the real ONNX Runtime.
#![allow(clippy::unwrap_used, reason = "a failed test is what a panic is for")]

mod abandoning;
mod fake;
mod onnx;
mod support;

mod faults;
#[cfg(target_os = "linux")]
mod lies;
mod loading;
mod providers;
mod running;
mod samples;
#[cfg(target_os = "linux")]
mod slots;
