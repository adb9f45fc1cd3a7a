//! How many files and sockets the process may have open.
//!
//! Each connection takes two descriptors. The soft limit is kept low on most systems for programs
//! that cannot deal with more; this one can, and takes what the hard limit allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::debug;

/// Raises the soft limit to the hard one.
pub(super) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => debug!(from = ?limit.current, to = ?raised.current, "limit of open files raised"),
        // Some systems allow less than they say; what there was stays.
        Err(error) => debug!(%error, limit = ?limit.current, "limit of open files kept"),
    }
}
