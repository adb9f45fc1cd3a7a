//! Which promises were broken.

use std::fmt;

use super::{Entry, Ledger, Outcome, Port};
use crate::resources::Footprint;

/// A promise that was not kept, with the first of what broke it.
#[derive(Clone, Debug, PartialEq)]
pub enum Broken {
    Unanswered(Examples),
    Wrong(Examples),
    RefusedWithoutAFault(Examples),
    RefusedTooOften {
        refused: usize,
        of: usize,
    },
    AcknowledgedAndLost(Examples),
    LoggedTwice(Examples),
    LoggedByNobody(Examples),
    NotAlive(Examples),
    NotHealed(Examples),
    /// A killer request is answered by an error, and by none other than its own.
    KillerServed(Examples),
    NeverStruck(Examples),
    NothingSeen(&'static str),
    LeftBehind(String),
    NotEnded(Option<i32>),
}

/// How many there were, and some of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Examples {
    pub count: usize,
    pub some: Vec<String>,
}

/// Refusals are to be fewer than this share of all answers.
pub const MOST_REFUSED_PERCENT: f64 = 5.0;

/// What the server may have more of after the faults than before, because pools of threads, the
/// allocator and the database's caches grow to a size and stay there.
struct Slack {
    resident: u64,
    threads: usize,
    descriptors: usize,
}

const SLACK: Slack = Slack {
    resident: 64 << 20,
    threads: 16,
    descriptors: 16,
};

/// Returns every promise that was broken.
pub fn verdict(ledger: &Ledger) -> Vec<Broken> {
    let mut broken = Vec::new();
    broken.extend(answers(ledger));
    broken.extend(log(ledger));
    broken.extend(faults(ledger));
    broken.extend(leftovers(&ledger.before, &ledger.after).map(Broken::LeftBehind));
    if ledger.exit != Some(0) {
        broken.push(Broken::NotEnded(ledger.exit));
    }
    broken
}

fn answers(ledger: &Ledger) -> Vec<Broken> {
    let mut broken = Vec::new();
    let owed = ledger.owed().count();
    if owed == 0 {
        broken.push(Broken::NothingSeen("request"));
    }
    let unanswered = ledger.owed().filter_map(|entry| match &entry.outcome {
        Outcome::Unanswered(why) => Some(at(entry, why)),
        _ => None,
    });
    broken.extend(Examples::of(unanswered).map(Broken::Unanswered));
    // A wrong answer is wrong whoever gets it.
    let wrong = ledger
        .entries
        .iter()
        .filter_map(|entry| match &entry.outcome {
            Outcome::Wrong(what) => Some(at(entry, what)),
            _ => None,
        });
    broken.extend(Examples::of(wrong).map(Broken::Wrong));
    let refused = || {
        ledger
            .owed()
            .filter(|entry| matches!(entry.outcome, Outcome::Refused { .. }))
    };
    let outside = refused()
        .filter(|entry| !ledger.excuses(entry))
        .map(|entry| at(entry, &format!("{:?}", entry.outcome)));
    broken.extend(Examples::of(outside).map(Broken::RefusedWithoutAFault));
    let refused = refused().count();
    if refused as f64 * 100.0 >= owed as f64 * MOST_REFUSED_PERCENT && refused > 0 {
        broken.push(Broken::RefusedTooOften { refused, of: owed });
    }
    broken
}

fn log(ledger: &Ledger) -> Vec<Broken> {
    let [missing, twice, unknown] = ledger
        .astray()
        .map(|images| Examples::of(images.into_iter()));
    let mut broken = Vec::new();
    broken.extend(missing.map(Broken::AcknowledgedAndLost));
    broken.extend(twice.map(Broken::LoggedTwice));
    broken.extend(unknown.map(Broken::LoggedByNobody));
    if ledger.log.acknowledged.is_empty() {
        broken.push(Broken::NothingSeen("acknowledged prediction"));
    }
    broken
}

fn faults(ledger: &Ledger) -> Vec<Broken> {
    let mut broken = Vec::new();
    let complaints = ledger.probes.iter().filter_map(|probe| {
        let complaint = probe.complaint.as_ref()?;
        Some(format!(
            "{:?} at {:?}: {complaint}",
            probe.port, probe.span.from
        ))
    });
    broken.extend(Examples::of(complaints).map(Broken::NotAlive));
    for (port, what) in [
        (Port::Main, "probe of the main port"),
        (Port::Health, "probe of the health port"),
    ] {
        if ledger.probes.iter().all(|probe| probe.port != port) {
            broken.push(Broken::NothingSeen(what));
        }
    }
    let not_healed = ledger.struck.iter().filter_map(|fault| {
        let why = fault.recovery.as_ref().err()?;
        Some(format!("{} at {:?}: {why}", fault.what, fault.window.from))
    });
    let in_the_end = ledger.healed_in_the_end.clone().err();
    broken.extend(Examples::of(not_healed.chain(in_the_end)).map(Broken::NotHealed));
    let served = ledger.struck.iter().filter_map(|fault| {
        let answer = fault.killer.as_ref()?;
        (!is_killers_answer(answer)).then(|| format!("{}: {answer:?}", fault.what))
    });
    broken.extend(Examples::of(served).map(Broken::KillerServed));
    let spared = ledger
        .expected
        .iter()
        .filter(|kind| ledger.struck.iter().all(|fault| fault.kind != **kind));
    broken.extend(Examples::of(spared).map(Broken::NeverStruck));
    broken
}

/// A killer is refused for what it is, or runs out of time, or is told that it failed.
fn is_killers_answer(answer: &Outcome) -> bool {
    match answer {
        Outcome::Refused { status, code } => {
            *status >= 500 || (*status == 422 && code == "quarantined")
        }
        Outcome::Right | Outcome::Wrong(_) | Outcome::Unanswered(_) => false,
    }
}

/// Says what the server has more of than before.
fn leftovers(before: &Footprint, after: &Footprint) -> impl Iterator<Item = String> {
    let grown = |what: &str, before: u64, after: u64, slack: u64| {
        (after > before + slack).then(|| format!("{what}: {before} before, {after} after"))
    };
    let threads = |footprint: &Footprint| footprint.threads as u64;
    let descriptors = |footprint: &Footprint| footprint.descriptors as u64;
    let some = (after.zombies > 0).then(|| format!("{} zombies", after.zombies));
    [
        grown(
            "resident bytes",
            before.resident,
            after.resident,
            SLACK.resident,
        ),
        grown(
            "threads",
            threads(before),
            threads(after),
            SLACK.threads as u64,
        ),
        grown(
            "descriptors",
            descriptors(before),
            descriptors(after),
            SLACK.descriptors as u64,
        ),
        grown("children", before.children as u64, after.children as u64, 0),
        some,
    ]
    .into_iter()
    .flatten()
}

fn at(entry: &Entry, what: &str) -> String {
    let Entry {
        kind, part, span, ..
    } = entry;
    format!(
        "{kind} ({part:?}) at {:.3} s, after {} ms: {what}",
        span.from.as_secs_f64(),
        span.took().as_millis()
    )
}

// === impl Examples ===

impl Examples {
    const SHOWN: usize = 5;

    fn of(all: impl Iterator<Item = impl ToString>) -> Option<Self> {
        let mut examples = Self {
            count: 0,
            some: Vec::new(),
        };
        for one in all {
            examples.count += 1;
            if examples.some.len() < Self::SHOWN {
                examples.some.push(one.to_string());
            }
        }
        (examples.count > 0).then_some(examples)
    }
}

impl fmt::Display for Examples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.count)?;
        self.some
            .iter()
            .try_for_each(|one| write!(f, "\n    {one}"))
    }
}

// === impl Broken ===

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered(some) => write!(f, "requests without an answer: {some}"),
            Self::Wrong(some) => write!(f, "wrong answers: {some}"),
            Self::RefusedWithoutAFault(some) => write!(f, "refused without a fault: {some}"),
            Self::RefusedTooOften { refused, of } => write!(
                f,
                "refused {refused} of {of}, {}% are too many",
                MOST_REFUSED_PERCENT
            ),
            Self::AcknowledgedAndLost(some) => write!(f, "acknowledged and lost: {some}"),
            Self::LoggedTwice(some) => write!(f, "in the table twice: {some}"),
            Self::LoggedByNobody(some) => write!(f, "in the table and never sent: {some}"),
            Self::NotAlive(some) => write!(f, "liveness failed: {some}"),
            Self::NotHealed(some) => write!(f, "not healed: {some}"),
            Self::KillerServed(some) => write!(f, "killers not refused: {some}"),
            Self::NeverStruck(some) => write!(f, "kinds that never struck: {some}"),
            Self::NothingSeen(what) => write!(f, "not one {what} was seen"),
            Self::LeftBehind(what) => write!(f, "left behind: {what}"),
            Self::NotEnded(Some(code)) => write!(f, "the server ended with {code}, not with 0"),
            Self::NotEnded(None) => write!(f, "the server did not end when it was told to"),
        }
    }
}

#[cfg(test)]
mod tests;
