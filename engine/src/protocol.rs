//! What server and worker say to each other.
//!
//! Both ends are the same binary, so the protocol is free to change with every build; what it must
//! never do is to let two different builds misread each other. The first message in either
//! direction therefore is a hello with [`PROTOCOL_VERSION`] and [`build_id`], and an end that hears
//! a foreign one stops talking.
//!
//! Messages travel in frames (see [`frame`]). Tensors up to [`Limits::inline_max`] follow their
//! message in the same frame; larger ones lie in shared memory and the message says where
//! ([`Place`]). A worker answers runs in the order in which it got them, one at a time: the run
//! that is executing is always the oldest one unanswered.
//!
//! Whatever arrives may be garbage. Decoding it ends in a [`ProtocolError`], never in a panic and
//! never in an allocation beyond the frame's cap, and after one the connection is useless: the
//! worker is to be replaced.
//!
//! [`Limits::inline_max`]: crate::link::Limits::inline_max

pub mod frame;
pub mod message;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;
use std::time::UNIX_EPOCH;

use thiserror::Error;

pub use message::{Done, FromWorker, Place, Run, SlotGrant, Terms, ToWorker, WireTensor};

/// Changes whenever a message or a frame changes its meaning.
pub const PROTOCOL_VERSION: u32 = 4;

/// Why what arrived is not what the other end should have said.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// The connection ended inside a frame.
    #[error("the connection ended inside a frame")]
    Truncated,
    /// A frame is longer than allowed.
    #[error("a frame of {bytes} bytes, at most {cap} are allowed")]
    Oversized {
        /// Length of the whole frame.
        bytes: usize,
        /// Length allowed.
        cap: usize,
    },
    /// A frame's length is no multiple of [`frame::ALIGNMENT`].
    #[error("a frame of {0} bytes, which is no whole number of blocks")]
    Misaligned(usize),
    /// A frame does not hold the message it should.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// The other end is of another build.
    #[error("the other end is {theirs}, this is {ours}")]
    WrongBuild {
        /// Version and build of the other end.
        theirs: String,
        /// Version and build of this end.
        ours: String,
    },
    /// A message came that has no place at this point.
    #[error("unexpected {0}")]
    Unexpected(&'static str),
    /// A message refers to a descriptor that did not come with it, or one came unasked.
    #[error("a descriptor is {0}")]
    Descriptor(&'static str),
    /// A tensor is said to lie where no tensor can.
    #[error("tensor {tensor} lies outside its place: {reason}")]
    BadPlace {
        /// Name of the tensor.
        tensor: String,
        /// What about the place is wrong.
        reason: String,
    },
    /// An answer refers to a run that is not in flight.
    #[error("run {0} is not in flight")]
    UnknownRun(u64),
}

/// Returns what tells this build of the binary from every other one.
///
/// Made of the crate's version and of size and time of the executable file: a worker is started
/// from the file the server runs from, so the two agree unless that file was replaced in between.
pub fn build_id() -> &'static str {
    static BUILD_ID: OnceLock<String> = OnceLock::new();
    BUILD_ID.get_or_init(|| {
        let version = env!("CARGO_PKG_VERSION");
        match executable_stamp() {
            Some(stamp) => format!("{version}-{stamp:016x}"),
            None => version.to_owned(),
        }
    })
}

/// Checks the hello of the other end.
pub fn check_hello(protocol: u32, build: &str) -> Result<(), ProtocolError> {
    if protocol == PROTOCOL_VERSION && build == build_id() {
        return Ok(());
    }
    Err(ProtocolError::WrongBuild {
        theirs: format!("protocol {protocol} build {build}"),
        ours: format!("protocol {PROTOCOL_VERSION} build {}", build_id()),
    })
}

fn executable_stamp() -> Option<u64> {
    // Linux keeps this link to the very file that runs, even when its path has been replaced.
    let metadata = std::fs::metadata("/proc/self/exe")
        .or_else(|_| std::fs::metadata(std::env::current_exe()?))
        .ok()?;
    let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    let mut hasher = DefaultHasher::new();
    (metadata.len(), modified).hash(&mut hasher);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_of_another_build_is_refused_with_both_named() {
        let error = check_hello(PROTOCOL_VERSION + 1, "elsewhere").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("build elsewhere"), "{text}");
        assert!(text.contains(build_id()), "{text}");
        assert_eq!(check_hello(PROTOCOL_VERSION, build_id()), Ok(()));
    }
}
