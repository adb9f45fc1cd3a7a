//! Elsewhere: what can be known without asking anybody.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::super::Figures;

/// Returns how long ago the first scrape was, which is soon after the start.
pub(in super::super) fn age() -> Option<Duration> {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    Some(BEGAN.get_or_init(Instant::now).elapsed())
}

/// There is no `/proc` to read.
pub(in super::super) fn figures() -> Option<Figures> {
    None
}
