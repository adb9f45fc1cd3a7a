//! Who inherits orphans, and how they are told from other children.
//!
//! Only Linux has containers whose process 1 a program can be, and subreapers.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod portable;

#[cfg(target_os = "linux")]
pub(super) use linux::reap;
#[cfg(not(target_os = "linux"))]
pub(super) use portable::reap;
