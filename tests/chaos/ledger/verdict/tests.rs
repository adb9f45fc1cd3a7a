//! Each promise, broken once.

use std::time::Duration;

use super::super::{Entry, Ledger, LogBook, Outcome, Port, Probe, Span, Struck};
use super::{Broken, SLACK, verdict};
use crate::resources::Footprint;
use crate::schedule::{Part, Scope};

const MODEL: Part = Part::Model("surface");

fn span(from: u64, to: u64) -> Span {
    Span {
        from: Duration::from_millis(from),
        to: Duration::from_millis(to),
    }
}

fn entry(span: Span, outcome: Outcome) -> Entry {
    Entry {
        kind: "numbers",
        part: MODEL,
        well_behaved: true,
        span,
        outcome,
    }
}

fn refused() -> Outcome {
    Outcome::Refused {
        status: 503,
        code: "worker_lost".to_owned(),
    }
}

fn strike(killer: Option<Outcome>) -> Struck {
    Struck {
        kind: "worker SIGKILL",
        what: "worker SIGKILL surface/0".to_owned(),
        scope: Scope::Only(MODEL),
        window: span(1000, 2000),
        held: Duration::ZERO,
        recovery: Ok(Duration::from_millis(900)),
        killer,
    }
}

fn probe(port: Port) -> Probe {
    Probe {
        port,
        span: span(1000, 1002),
        complaint: None,
    }
}

/// A run in which everything was as promised, with one refusal inside a window.
fn kept() -> Ledger {
    let footprint = Footprint {
        resident: 100 << 20,
        threads: 30,
        descriptors: 60,
        children: 10,
        zombies: 0,
    };
    let mut ledger = Ledger {
        entries: vec![entry(span(0, 10), Outcome::Right); 99],
        struck: vec![strike(None)],
        probes: vec![probe(Port::Main), probe(Port::Health)],
        log: LogBook::default(),
        before: footprint,
        after: footprint,
        healed_in_the_end: Ok(()),
        exit: Some(0),
        expected: vec!["worker SIGKILL"],
        server_log: String::new(),
    };
    ledger.entries.push(entry(span(900, 1100), refused()));
    for image in ["one", "two"] {
        ledger.log.sent.insert(image.to_owned());
    }
    ledger.log.acknowledged.insert("one".to_owned());
    ledger.log.rows.insert("one".to_owned(), 1);
    ledger
}

/// Insists that what `harm` does to a good run breaks one promise.
#[track_caller]
fn breaks(is_expected: impl Fn(&Broken) -> bool, harm: impl FnOnce(&mut Ledger)) {
    let mut ledger = kept();
    harm(&mut ledger);
    let broken = verdict(&ledger);
    assert!(broken.len() == 1 && is_expected(&broken[0]), "{broken:#?}");
}

#[test]
fn a_run_that_keeps_every_promise_passes() {
    assert_eq!(verdict(&kept()), []);
}

#[test]
fn a_request_without_an_answer_fails_the_run() {
    let lost = Outcome::Unanswered("connection reset".to_owned());
    breaks(
        |broken| matches!(broken, Broken::Unanswered(some) if some.count == 1),
        |ledger| ledger.entries.push(entry(span(1100, 1200), lost)),
    );
}

#[test]
fn a_client_that_vanished_is_owed_no_answer() {
    let mut ledger = kept();
    let mut vanished = entry(span(5000, 5001), Outcome::Unanswered("closed".to_owned()));
    vanished.well_behaved = false;
    ledger.entries.push(vanished);
    assert_eq!(verdict(&ledger), []);
}

#[test]
fn a_wrong_answer_fails_the_run_whoever_got_it() {
    let mut wrong = entry(span(1100, 1200), Outcome::Wrong("a dent".to_owned()));
    wrong.well_behaved = false;
    breaks(
        |broken| matches!(broken, Broken::Wrong(_)),
        |ledger| ledger.entries.push(wrong),
    );
}

#[test]
fn a_refusal_outside_every_window_fails_the_run() {
    for times in [span(500, 999), span(2251, 2300)] {
        breaks(
            |broken| matches!(broken, Broken::RefusedWithoutAFault(_)),
            |ledger| ledger.entries.push(entry(times, refused())),
        );
    }
}

#[test]
fn a_refusal_by_a_part_that_was_not_struck_fails_the_run() {
    let mut elsewhere = entry(span(1100, 1200), refused());
    elsewhere.part = Part::Log;
    breaks(
        |broken| matches!(broken, Broken::RefusedWithoutAFault(_)),
        |ledger| ledger.entries.push(elsewhere),
    );
}

#[test]
fn refusals_that_are_five_percent_of_all_fail_the_run() {
    let add = |count| {
        move |ledger: &mut Ledger| {
            ledger.entries.truncate(95);
            let refusals = std::iter::repeat_n(entry(span(1100, 1200), refused()), count);
            ledger.entries.extend(refusals);
        }
    };
    let mut fewer = kept();
    add(4)(&mut fewer);
    assert_eq!(verdict(&fewer), []);
    breaks(
        |broken| {
            *broken
                == Broken::RefusedTooOften {
                    refused: 5,
                    of: 100,
                }
        },
        add(5),
    );
}

#[test]
fn an_acknowledged_prediction_that_is_missing_fails_the_run() {
    breaks(
        |broken| matches!(broken, Broken::AcknowledgedAndLost(_)),
        |ledger| ledger.log.rows.clear(),
    );
}

#[test]
fn a_prediction_that_is_there_twice_fails_the_run_acknowledged_or_not() {
    for image in ["one", "two"] {
        breaks(
            |broken| matches!(broken, Broken::LoggedTwice(_)),
            |ledger| {
                ledger.log.rows.insert(image.to_owned(), 2);
            },
        );
    }
}

#[test]
fn a_prediction_that_nobody_sent_fails_the_run() {
    breaks(
        |broken| matches!(broken, Broken::LoggedByNobody(_)),
        |ledger| {
            ledger.log.rows.insert("three".to_owned(), 1);
        },
    );
}

#[test]
fn a_prediction_whose_answer_was_lost_may_be_there_once() {
    let mut ledger = kept();
    ledger.log.rows.insert("two".to_owned(), 1);
    assert_eq!(verdict(&ledger), []);
}

#[test]
fn a_no_to_the_question_for_liveness_fails_the_run() {
    breaks(
        |broken| matches!(broken, Broken::NotAlive(_)),
        |ledger| ledger.probes[1].complaint = Some("503".to_owned()),
    );
}

#[test]
fn a_port_that_nobody_asked_fails_the_run() {
    breaks(
        |broken| matches!(broken, Broken::NothingSeen(_)),
        |ledger| ledger.probes.truncate(1),
    );
}

#[test]
fn a_fault_that_is_not_healed_fails_the_run() {
    breaks(
        |broken| matches!(broken, Broken::NotHealed(_)),
        |ledger| ledger.struck[0].recovery = Err("no worker".to_owned()),
    );
    breaks(
        |broken| matches!(broken, Broken::NotHealed(_)),
        |ledger| ledger.healed_in_the_end = Err("no worker".to_owned()),
    );
}

#[test]
fn a_kind_that_never_struck_fails_the_run() {
    breaks(
        |broken| matches!(broken, Broken::NeverStruck(_)),
        |ledger| ledger.expected.push("disk full"),
    );
}

#[test]
fn a_killer_is_refused_runs_out_of_time_or_fails_and_nothing_else() {
    let answer = |status, code: &str| Outcome::Refused {
        status,
        code: code.to_owned(),
    };
    for good in [
        answer(422, "quarantined"),
        answer(504, "deadline_exceeded"),
        answer(500, "run_failed"),
    ] {
        let mut ledger = kept();
        ledger.struck.push(strike(Some(good)));
        assert_eq!(verdict(&ledger), []);
    }
    let unanswered = Outcome::Unanswered("reset".to_owned());
    for bad in [Outcome::Right, unanswered, answer(429, "queue_full")] {
        breaks(
            |broken| matches!(broken, Broken::KillerServed(_)),
            |ledger| ledger.struck.push(strike(Some(bad))),
        );
    }
}

#[test]
fn what_the_server_has_left_behind_fails_the_run() {
    type Harm = fn(&mut Footprint);
    let harms: [Harm; 5] = [
        |after| after.resident += SLACK.resident + 1,
        |after| after.threads += SLACK.threads + 1,
        |after| after.descriptors += SLACK.descriptors + 1,
        |after| after.children += 1,
        |after| after.zombies = 1,
    ];
    for harm in harms {
        breaks(
            |broken| matches!(broken, Broken::LeftBehind(_)),
            |ledger| harm(&mut ledger.after),
        );
    }
}

#[test]
fn a_server_that_does_not_end_in_order_fails_the_run() {
    for exit in [None, Some(70)] {
        breaks(
            |broken| *broken == Broken::NotEnded(exit),
            |ledger| ledger.exit = exit,
        );
    }
}
