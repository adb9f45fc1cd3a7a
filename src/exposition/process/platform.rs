//! What the system says about this process.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod portable;

#[cfg(target_os = "linux")]
pub(super) use linux::{age, figures};
#[cfg(not(target_os = "linux"))]
pub(super) use portable::{age, figures};
