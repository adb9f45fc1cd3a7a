//! A run as JSON and as a table.

mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::ledger::{Broken, Ledger, Outcome, Port, Span, Struck};
use crate::resources::Footprint;

/// Everything that a run has shown.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub seed: u64,
    pub seconds: f64,
    pub clients: usize,
    pub kept: bool,
    pub broken: Vec<String>,
    pub requests: Requests,
    pub by_kind: BTreeMap<&'static str, Requests>,
    /// Refusals of well-behaved clients by status and code.
    pub refused_with: BTreeMap<String, usize>,
    pub request_latency: Latencies,
    pub predictions_logged: Logged,
    pub liveness: Liveness,
    pub health_latency: Latencies,
    pub faults: BTreeMap<&'static str, Faults>,
    pub strikes: Vec<Strike>,
    pub before: Footprint,
    pub after: Footprint,
    pub exit: Option<i32>,
}

/// Requests by what came of them. Of ill-behaved clients only those by kind tell.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Requests {
    pub all: usize,
    pub right: usize,
    pub refused: usize,
    pub refused_without_a_fault: usize,
    pub wrong: usize,
    pub unanswered: usize,
}

/// Milliseconds, while a fault was being healed and otherwise.
#[derive(Clone, Debug, Serialize)]
pub struct Latencies {
    pub struck: Distribution,
    pub otherwise: Distribution,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Distribution {
    pub count: usize,
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Logged {
    pub sent: usize,
    pub acknowledged: usize,
    pub rows: usize,
    pub missing: usize,
    pub twice: usize,
}

#[derive(Clone, Debug, Serialize)]
pub struct Liveness {
    pub asked: usize,
    pub failed: usize,
}

/// All faults of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct Faults {
    pub struck: usize,
    pub healed: usize,
    /// From the strike until it served again.
    pub recovery: Distribution,
    /// How long the fault itself was held up.
    pub held: Distribution,
}

#[derive(Clone, Debug, Serialize)]
pub struct Strike {
    pub at_ms: f64,
    pub what: String,
    pub recovery_ms: Option<f64>,
    pub not_healed: Option<String>,
    pub killer_answered: Option<String>,
}

/// How a run was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub seed: u64,
    pub seconds: f64,
    pub clients: usize,
}

// === impl Report ===

impl Report {
    pub fn new(asked: Asked, ledger: &Ledger, broken: &[Broken]) -> Self {
        let mut by_kind: BTreeMap<_, Requests> = BTreeMap::new();
        let mut requests = Requests::default();
        let mut refused_with: BTreeMap<_, usize> = BTreeMap::new();
        for entry in &ledger.entries {
            let is_unexcused = !ledger.excuses(entry);
            let one = by_kind.entry(entry.kind).or_default();
            one.count(&entry.outcome, is_unexcused);
            if entry.well_behaved {
                requests.count(&entry.outcome, is_unexcused);
                if let Outcome::Refused { status, code } = &entry.outcome {
                    *refused_with.entry(format!("{status} {code}")).or_default() += 1;
                }
            }
        }
        let answered = ledger
            .owed()
            .filter(|entry| entry.outcome == Outcome::Right)
            .map(|entry| entry.span);
        let on_health_port = ledger
            .probes
            .iter()
            .filter(|probe| probe.port == Port::Health)
            .map(|probe| probe.span);
        let [missing, twice, _] = ledger.astray().map(|images| images.len());
        Self {
            seed: asked.seed,
            seconds: asked.seconds,
            clients: asked.clients,
            kept: broken.is_empty(),
            broken: broken.iter().map(ToString::to_string).collect(),
            requests,
            by_kind,
            refused_with,
            request_latency: Latencies::of(ledger, answered),
            predictions_logged: Logged {
                sent: ledger.log.sent.len(),
                acknowledged: ledger.log.acknowledged.len(),
                rows: ledger.log.rows.values().sum(),
                missing,
                twice,
            },
            liveness: Liveness {
                asked: ledger.probes.len(),
                failed: ledger
                    .probes
                    .iter()
                    .filter(|probe| probe.complaint.is_some())
                    .count(),
            },
            health_latency: Latencies::of(ledger, on_health_port),
            faults: faults(ledger),
            strikes: strikes(ledger),
            before: ledger.before,
            after: ledger.after,
            exit: ledger.exit,
        }
    }

    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report has nothing that JSON cannot say")
    }
}

fn faults(ledger: &Ledger) -> BTreeMap<&'static str, Faults> {
    let of_kind = |kind: &'static str| {
        let struck = || ledger.struck.iter().filter(move |fault| fault.kind == kind);
        let recovered = struck().filter_map(|fault| fault.recovery.clone().ok());
        let faults = Faults {
            struck: struck().count(),
            healed: recovered.clone().count(),
            recovery: Distribution::of(recovered),
            held: Distribution::of(struck().map(|fault| fault.held)),
        };
        (kind, faults)
    };
    ledger
        .struck
        .iter()
        .map(|fault| of_kind(fault.kind))
        .collect()
}

fn strikes(ledger: &Ledger) -> Vec<Strike> {
    let strike = |fault: &Struck| Strike {
        at_ms: millis(fault.window.from),
        what: fault.what.clone(),
        recovery_ms: fault.recovery.as_ref().ok().copied().map(millis),
        not_healed: fault.recovery.as_ref().err().cloned(),
        killer_answered: fault.killer.as_ref().map(|answer| format!("{answer:?}")),
    };
    ledger.struck.iter().map(strike).collect()
}

// === impl Requests ===

impl Requests {
    fn count(&mut self, outcome: &Outcome, is_unexcused: bool) {
        self.all += 1;
        match outcome {
            Outcome::Right => self.right += 1,
            Outcome::Refused { .. } => {
                self.refused += 1;
                self.refused_without_a_fault += usize::from(is_unexcused);
            }
            Outcome::Wrong(_) => self.wrong += 1,
            Outcome::Unanswered(_) => self.unanswered += 1,
        }
    }
}

// === impl Latencies ===

impl Latencies {
    fn of(ledger: &Ledger, spans: impl Iterator<Item = Span>) -> Self {
        let (struck, otherwise): (Vec<_>, Vec<_>) =
            spans.partition(|span| ledger.was_struck(*span));
        let took = |spans: Vec<Span>| Distribution::of(spans.into_iter().map(Span::took));
        Self {
            struck: took(struck),
            otherwise: took(otherwise),
        }
    }
}

// === impl Distribution ===

impl Distribution {
    /// By the nearest rank.
    fn of(times: impl Iterator<Item = Duration>) -> Self {
        let mut times: Vec<f64> = times.map(millis).collect();
        times.sort_by(f64::total_cmp);
        let rank = |share: f64| {
            let rank = (share * times.len() as f64).ceil() as usize;
            times.get(rank.max(1) - 1).copied().unwrap_or_default()
        };
        Self {
            count: times.len(),
            p50: rank(0.5),
            p99: rank(0.99),
            max: rank(1.0),
        }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

// === tests ===

#[test]
fn a_distribution_is_by_the_nearest_rank() {
    let times = (1..=200).map(Duration::from_millis);
    let expected = Distribution {
        count: 200,
        p50: 100.0,
        p99: 198.0,
        max: 200.0,
    };
    assert_eq!(Distribution::of(times), expected);
    assert_eq!(
        Distribution::of(std::iter::empty()),
        Distribution::default()
    );
}
