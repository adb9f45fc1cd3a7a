//! Rounds, taken again while others disturb them.

use std::time::{Duration, Instant};

use crate::machine::{self, Noise};
use crate::report::Report;

/// How many rounds are wanted and what may be spent on getting them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Quiet rounds after which there are enough.
    pub(crate) wanted: usize,
    /// No round is begun after this time.
    pub(crate) within: Duration,
}

/// What the rounds brought.
#[derive(Debug)]
pub(crate) struct Rounds<T> {
    /// The quiet rounds, or all of them when there was none.
    pub(crate) taken: Vec<T>,
    /// Whether `taken` may be judged by.
    pub(crate) quiet: bool,
}

// === impl Plan ===

impl Plan {
    /// Takes rounds until enough of them were quiet or the time is up; one at least. Between two
    /// rounds it waits a little for the machine to become quiet; `roots` are no noise.
    pub(crate) fn take<T>(
        self,
        report: &mut Report,
        what: &str,
        roots: &[u32],
        mut round: impl FnMut() -> anyhow::Result<(T, Noise)>,
    ) -> anyhow::Result<Rounds<T>> {
        let began = Instant::now();
        let (mut quiet, mut noisy) = (Vec::new(), Vec::new());
        while quiet.len() < self.wanted {
            let left = self.within.saturating_sub(began.elapsed());
            if left.is_zero() && !(quiet.is_empty() && noisy.is_empty()) {
                break;
            }
            machine::wait_for_quiet(roots, left / 4)?;
            let (figure, noise) = round()?;
            let label = format!("{what} {}", quiet.len() + noisy.len() + 1);
            if report.round(label, noise) {
                quiet.push(figure);
            } else {
                noisy.push(figure);
            }
        }
        Ok(if quiet.is_empty() {
            report.note(format!(
                "{what}: no round was quiet, so its figures are those of disturbed ones and not judged"
            ));
            Rounds {
                taken: noisy,
                quiet: false,
            }
        } else {
            Rounds {
                taken: quiet,
                quiet: true,
            }
        })
    }
}

// === impl Noise ===

impl Noise {
    /// Returns the worse of two rounds that are compared with each other.
    pub(crate) fn or_worse(self, other: Self) -> Self {
        Self {
            steal: self.steal.max(other.steal),
            foreign: self.foreign.max(other.foreign),
        }
    }
}
