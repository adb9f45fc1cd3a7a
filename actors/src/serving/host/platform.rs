//! What the operating system knows of a worker process: its end, and its memory.
//!
//! On Linux a pidfd names the process, so that a signal can never reach a stranger who got the
//! number later, and its end is an event. Elsewhere the child is asked now and then.

#[cfg(target_os = "linux")]
mod autopsy;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod portable;

#[cfg(target_os = "linux")]
pub(in crate::serving) use autopsy::autopsy;
#[cfg(target_os = "linux")]
pub(super) use linux::{Process, data_bytes, limit_data, program, resident_bytes};
#[cfg(not(target_os = "linux"))]
pub(in crate::serving) use portable::autopsy;
#[cfg(not(target_os = "linux"))]
pub(super) use portable::{Process, data_bytes, limit_data, program, resident_bytes};
