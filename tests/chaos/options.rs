//! What a run can be asked for, by the environment.

use std::path::PathBuf;
use std::time::Duration;

/// The length of the short form, which is part of `make test`.
const SHORT: u64 = 25;
const CLIENTS: u64 = 24;

#[derive(Clone, Debug)]
pub struct Options {
    /// `CHAOS_SECONDS`: how long faults strike. The first of each kind strikes in any case.
    pub length: Duration,
    /// `CHAOS_SEED`; from the clock when absent.
    pub seed: u64,
    /// `CHAOS_CLIENTS`.
    pub clients: usize,
    /// `CHAOS_REPORT`: where the report goes as JSON.
    pub report: PathBuf,
}

// === impl Options ===

impl Options {
    pub fn from_environment() -> Self {
        let seconds = number("CHAOS_SECONDS").unwrap_or(SHORT);
        let report = variable("CHAOS_REPORT").map(PathBuf::from);
        Self {
            length: Duration::from_secs(seconds),
            seed: number("CHAOS_SEED").unwrap_or_else(seed_from_the_clock),
            clients: usize::try_from(number("CHAOS_CLIENTS").unwrap_or(CLIENTS)).unwrap(),
            report: report
                .unwrap_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("chaos.json")),
        }
    }
}

fn number(name: &str) -> Option<u64> {
    let given = variable(name)?;
    let number = given.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is to be a number, not {given:?}")))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test has no configuration of its own"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[expect(
    clippy::disallowed_methods,
    reason = "printed, so that it can be given"
)]
fn seed_from_the_clock() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::from(now.map_or(0, |since| since.subsec_nanos()))
}
