use impetus_actors::serving::ModelStatus;

use super::super::facts::{Beat, DatabaseFacts, GivenUp, ModelFacts};
use super::super::testing::{
    at_the_start, beat, because, healthy_facts, logging_service, memory, model, models, required,
    rules,
};
use super::*;

use impetus_actors::serving::ModelState as State;

mod models;
mod monotonic;

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

fn reason_of(facts: &Facts) -> Option<String> {
    live(facts, &rules()).reason
}

/// What speaks against readiness, by the contract's numbers.
fn against(facts: &Facts) -> Vec<String> {
    let readiness = ready(facts, &rules());
    assert_eq!(readiness.holds(), readiness.reasons().is_empty());
    readiness.reasons()
}

fn with_models(all: Vec<ModelStatus>) -> Facts {
    Facts {
        models: models(all),
        ..healthy_facts()
    }
}

// Alive?

#[test]
fn a_server_in_which_nothing_has_gone_wrong_is_alive_ready_and_healthy() {
    let facts = healthy_facts();
    assert_eq!(reason_of(&facts), None);
    assert_eq!(against(&facts), [""; 0]);
    let overall = overall(&facts, &rules());
    assert_eq!((overall.grade, overall.score), (Grade::Healthy, 100));
}

#[test]
fn each_cause_of_death_alone_is_named() {
    let given_up = Facts {
        given_up: Some(GivenUp {
            actor: "model_loader".to_owned(),
            reason: "6 restarts in 30 s".to_owned(),
        }),
        ..healthy_facts()
    };
    let root = Facts {
        root_age: Some(16 * SECOND),
        ..healthy_facts()
    };
    let heart = Facts {
        heartbeat: beat(17 * SECOND),
        ..healthy_facts()
    };
    let edge = Facts {
        edge: vec![31 * SECOND, 40 * SECOND],
        ..healthy_facts()
    };
    let expected = [
        (given_up, "model_loader was given up: 6 restarts in 30 s"),
        (
            root,
            "root_stalled: the root supervisor last turned 16.0 s ago",
        ),
        (heart, "heartbeat_stale: the last beat was 17.0 s ago"),
        (
            edge,
            "edge_stalled: all 2 http workers have stood still for 31.0 s",
        ),
    ];
    for (facts, reason) in expected {
        assert_eq!(reason_of(&facts).as_deref(), Some(reason));
        // A server that is to be restarted gets no traffic and has no good score.
        assert_eq!(against(&facts), [format!("not_alive: {reason}")]);
        assert_eq!(overall(&facts, &rules()).score, 0);
        assert_eq!(overall(&facts, &rules()).grade, Grade::Unhealthy);
    }
}

#[test]
fn of_several_causes_of_death_the_deepest_is_named() {
    let mut facts = Facts {
        given_up: Some(GivenUp {
            actor: "heartbeat".to_owned(),
            reason: "panic".to_owned(),
        }),
        root_age: Some(20 * SECOND),
        heartbeat: beat(20 * SECOND),
        edge: vec![40 * SECOND],
        ..healthy_facts()
    };
    let starts_with = |facts: &Facts, word: &str| {
        let reason = reason_of(facts).unwrap();
        assert!(reason.starts_with(word), "{reason:?}, not {word:?}");
    };
    starts_with(&facts, "heartbeat was given up");
    facts.given_up = None;
    starts_with(&facts, "root_stalled");
    facts.root_age = Some(SECOND);
    starts_with(&facts, "heartbeat_stale");
    facts.heartbeat = beat(SECOND);
    starts_with(&facts, "edge_stalled");
    facts.edge = vec![SECOND];
    assert_eq!(reason_of(&facts), None);
}

#[test]
fn a_stamp_is_stale_from_its_limit_on_and_not_before() {
    let at = |root, heart, edge| Facts {
        root_age: Some(root),
        heartbeat: beat(heart),
        edge: vec![edge; 2],
        ..healthy_facts()
    };
    let (stale, stalled) = (15 * SECOND, 30 * SECOND);
    let inside = at(stale - MILLI, stale - MILLI, stalled - MILLI);
    assert_eq!(reason_of(&inside), None);
    assert!(reason_of(&at(stale, SECOND, SECOND)).is_some());
    assert!(reason_of(&at(SECOND, stale, SECOND)).is_some());
    assert!(reason_of(&at(SECOND, SECOND, stalled)).is_some());
}

#[test]
fn one_worker_standing_still_is_no_verdict_and_all_of_them_are() {
    let one = Facts {
        edge: vec![3600 * SECOND, SECOND],
        ..healthy_facts()
    };
    assert_eq!(reason_of(&one), None);
    assert_eq!(against(&one), [""; 0]);
    let all = Facts {
        edge: vec![3600 * SECOND, 30 * SECOND],
        ..healthy_facts()
    };
    assert!(reason_of(&all).unwrap().starts_with("edge_stalled"));
    let none = Facts {
        edge: Vec::new(),
        ..healthy_facts()
    };
    assert_eq!(reason_of(&none), None);
}

#[test]
fn before_the_first_beat_the_age_of_the_process_counts() {
    assert_eq!(reason_of(&at_the_start(14 * SECOND)), None);
    let reason = reason_of(&at_the_start(15 * SECOND)).unwrap();
    assert!(reason.starts_with("root_stalled"), "{reason}");
    let without_a_heart = Facts {
        root_age: Some(SECOND),
        ..at_the_start(15 * SECOND)
    };
    let reason = reason_of(&without_a_heart).unwrap();
    assert!(reason.starts_with("heartbeat_stale"), "{reason}");
}

#[test]
fn liveness_asks_for_nothing_but_the_process_itself() {
    let facts = Facts {
        phase: Phase::Stopping,
        unknown: vec!["root".to_owned(), "heartbeat".to_owned()],
        models: ModelFacts {
            source_problem: Some("gone".to_owned()),
            missing: vec!["surface".to_owned()],
            ..models(vec![required(model("other", State::Failed))])
        },
        runtime: None,
        memory: Some(memory(100.0, false)),
        cpu_percent: Some(100.0),
        database: Some(DatabaseFacts {
            initialized: false,
            connected: false,
            reason: None,
            ..DatabaseFacts::default()
        }),
        ..healthy_facts()
    };
    assert_eq!(reason_of(&facts), None);
}

// Ready?

#[test]
fn each_reason_against_readiness_alone_is_named() {
    let draining = Facts {
        phase: Phase::LameDuck,
        ..healthy_facts()
    };
    let starting = Facts {
        started: false,
        ..healthy_facts()
    };
    let unknown = Facts {
        unknown: vec!["model_loader".to_owned()],
        ..healthy_facts()
    };
    let used_up = Facts {
        memory: Some(memory(95.0, false)),
        ..healthy_facts()
    };
    let no_runtime = Facts {
        runtime: None,
        ..healthy_facts()
    };
    let corrupt = because(model("surface", State::Failed), "not a model");
    let expected = [
        (draining, "draining: the server is ending (lame_duck)"),
        (
            starting,
            "starting: the supervision tree does not stand yet",
        ),
        (
            unknown,
            "actor_unknown: model_loader has not said how it is",
        ),
        (
            used_up,
            "memory_available: 95.0% of 1073741824 bytes are in use",
        ),
        (
            no_runtime,
            "runtime_available: no engine process has loaded a runtime",
        ),
        (
            with_models(vec![required(corrupt)]),
            "models_loaded: surface is failed (not a model)",
        ),
    ];
    for (facts, reason) in expected {
        assert_eq!(against(&facts), [reason]);
        assert_eq!(reason_of(&facts), None, "{reason} is no cause of death");
    }
}

#[test]
fn readiness_ends_with_the_first_step_towards_the_end_and_stays_away() {
    for phase in [Phase::LameDuck, Phase::Draining, Phase::Stopping] {
        let facts = Facts {
            phase,
            ..healthy_facts()
        };
        let reason = format!("draining: the server is ending ({})", phase.as_str());
        assert_eq!(against(&facts), [reason]);
        assert_eq!(overall(&facts, &rules()).grade, Grade::Healthy);
    }
}

#[test]
fn a_drained_server_is_unready_for_that_reason_alone_and_alive_and_well() {
    let facts = Facts {
        drained: true,
        ..healthy_facts()
    };
    assert_eq!(against(&facts), ["drained: by an operator"]);
    assert_eq!(reason_of(&facts), None);
    assert_eq!(overall(&facts, &rules()).grade, Grade::Healthy);
}

#[test]
fn a_pause_of_healing_is_no_verdict() {
    let facts = Facts {
        healing_paused: Some(60 * SECOND),
        ..healthy_facts()
    };
    assert!(against(&facts).is_empty());
    assert_eq!(reason_of(&facts), None);
    assert_eq!(overall(&facts, &rules()).grade, Grade::Healthy);
}

#[test]
fn all_that_speaks_against_readiness_is_said_at_once() {
    let facts = Facts {
        phase: Phase::Draining,
        unknown: vec!["root".to_owned(), "heartbeat".to_owned()],
        heartbeat: beat(20 * SECOND),
        memory: Some(memory(97.0, false)),
        runtime: None,
        models: models(vec![required(model("surface", State::Failed))]),
        ..healthy_facts()
    };
    let reasons = against(&facts);
    let words = [
        "memory_available",
        "models_loaded",
        "runtime_available",
        "draining",
        "actor_unknown: root",
        "actor_unknown: heartbeat",
        "not_alive: heartbeat_stale",
    ];
    assert_eq!(reasons.len(), words.len(), "{reasons:?}");
    for (reason, word) in reasons.iter().zip(words) {
        assert!(reason.starts_with(word), "{reason:?}, not {word:?}");
    }
}

#[test]
fn readiness_depends_on_no_database_and_memory_nobody_has_read_is_there() {
    let facts = Facts {
        database: Some(DatabaseFacts {
            initialized: false,
            connected: false,
            reason: Some("locked".to_owned()),
            ..DatabaseFacts::default()
        }),
        memory: None,
        cpu_percent: None,
        ..healthy_facts()
    };
    assert_eq!(against(&facts), [""; 0]);
}

#[test]
fn memory_is_available_as_long_as_its_gate_says_so_whatever_the_percentage() {
    // The hysteresis is the gate's; here the word of the gate counts.
    for (percent, available) in [(94.0, true), (92.0, false), (99.0, true)] {
        let facts = Facts {
            memory: Some(memory(percent, available)),
            ..healthy_facts()
        };
        assert_eq!(against(&facts).is_empty(), available);
    }
}

#[test]
fn a_check_that_is_left_out_speaks_against_nothing() {
    let facts = Facts {
        phase: Phase::Draining,
        models: models(Vec::new()),
        ..healthy_facts()
    };
    let without_models = ready(&facts, &rules()).without("models_loaded");
    assert_eq!(
        without_models.reasons(),
        ["draining: the server is ending (draining)"]
    );
    let names = |readiness: &Readiness| -> Vec<&str> {
        readiness.all_checks().iter().map(|c| c.name).collect()
    };
    assert_eq!(
        names(&without_models),
        ["memory_available", "runtime_available", SERVING]
    );
    let without_both = without_models.without(SERVING);
    assert!(without_both.holds());
    assert!(without_both.all_checks().iter().all(|check| check.holds));
}

// Healthy?

#[test]
fn the_overall_score_is_the_worst_required_component_s() {
    let facts = Facts {
        cpu_percent: Some(100.0),
        ..healthy_facts()
    };
    assert_eq!(
        overall(&facts, &rules()).score,
        100,
        "the cpu is never required"
    );
    let facts = Facts {
        edge: vec![10 * SECOND, SECOND],
        memory: Some(memory(95.0, true)),
        ..facts
    };
    assert_eq!(overall(&facts, &rules()).score, 50);
}

#[test]
fn grades_change_at_fifty_and_at_eighty() {
    let grades = [
        (0, Grade::Unhealthy),
        (49, Grade::Unhealthy),
        (50, Grade::Degraded),
        (79, Grade::Degraded),
        (80, Grade::Healthy),
        (100, Grade::Healthy),
    ];
    for (score, grade) in grades {
        assert_eq!(rules().grade(score), grade, "{score}");
    }
}
