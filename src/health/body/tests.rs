use std::time::Duration;

use impetus_actors::serving::ModelState;
use impetus_supervision::StatusNode;
use insta::assert_json_snapshot;
use serde_json::json;

use super::super::Phase;
use super::super::facts::{DatabaseFacts, GivenUp, ModelFacts};
use super::super::testing::{
    at_the_start, beat, because, healthy_facts, logging_service, memory, model, models, noon,
    required, rules,
};
use super::*;

mod documents;
mod tree;

const SECOND: Duration = Duration::from_secs(1);

/// The default configuration's other name of a check.
fn aliases() -> BTreeMap<String, String> {
    BTreeMap::from([("mlx_available".to_owned(), "runtime_available".to_owned())])
}

fn frame<'a>(rules: &'a Rules, aliases: &'a BTreeMap<String, String>) -> Frame<'a> {
    Frame {
        rules,
        environment: "production",
        consecutive_failures: 0,
        aliases,
    }
}

fn live_of(facts: &Facts) -> LiveBody {
    live(facts, &rules())
}

fn ready_of(facts: &Facts) -> ReadyBody {
    let (rules, aliases) = (rules(), aliases());
    ready(facts, &fold::ready(facts, &rules), &frame(&rules, &aliases))
}

fn health_of(facts: &Facts, consecutive_failures: u64) -> HealthBody {
    let (rules, aliases) = (rules(), aliases());
    let frame = Frame {
        consecutive_failures,
        ..frame(&rules, &aliases)
    };
    health(facts, &frame)
}

fn status_of(facts: &Facts, consecutive_failures: u64, exhibits: Exhibits) -> StatusBody {
    let (rules, aliases) = (rules(), aliases());
    let frame = Frame {
        consecutive_failures,
        ..frame(&rules, &aliases)
    };
    status(facts, &frame, exhibits)
}

/// A snapshot without what changes with every release.
macro_rules! snapshot {
    ($name:literal, $body:expr) => {
        assert_json_snapshot!($name, $body, { ".version" => "[version]" })
    };
}

/// As much as can be wrong at once with a server that is alive.
fn unhealthy_facts() -> Facts {
    let corrupt = because(
        model("surface", ModelState::Failed),
        "/models/surface/model.onnx is no ONNX model",
    );
    Facts {
        heartbeat: beat(9 * SECOND),
        unknown: vec!["model_loader".to_owned()],
        edge: vec![7 * SECOND, SECOND / 10],
        models: ModelFacts {
            missing: vec!["grain".to_owned()],
            source_problem: Some("model folder /models cannot be read".to_owned()),
            ..models(vec![required(corrupt)])
        },
        runtime: None,
        memory: Some(memory(97.5, false)),
        cpu_percent: Some(99.0),
        database: Some(DatabaseFacts {
            initialized: true,
            connected: false,
            reason: Some("database is locked".to_owned()),
            ..DatabaseFacts::default()
        }),
        ..healthy_facts()
    }
}

/// One of two workers is being replaced.
fn degraded_facts() -> Facts {
    let workers = json!([
        {
            "actor": "worker:surface/0", "state": "loading", "generation": 2, "pid": null,
            "standby": false, "resident_bytes": null, "memory": null, "in_flight": 0, "self_checks": 0,
        },
        {
            "actor": "worker:surface/1", "state": "ready", "generation": 1, "pid": 4242,
            "standby": false, "resident_bytes": 60 << 20, "in_flight": 1, "self_checks": 359,
            "memory": {
                "base_bytes": 50 << 20, "data_limit_bytes": 550 << 20,
                "soft_limit_bytes": 300 << 20, "hard_limit_bytes": 550 << 20,
            },
        },
    ]);
    let mut recovering = required(because(
        model("surface", ModelState::Degraded),
        "worker:surface/0 was killed by signal 9",
    ));
    recovering.workers = serde_json::from_value(workers).unwrap();
    recovering.memory_bytes = 60 << 20;
    Facts {
        models: models(vec![recovering]),
        ..healthy_facts()
    }
}

fn dead_facts() -> Facts {
    Facts {
        given_up: Some(GivenUp {
            actor: "heartbeat".to_owned(),
            reason: "more than 5 restarts within 30 s".to_owned(),
        }),
        heartbeat: beat(20 * SECOND),
        ..healthy_facts()
    }
}

#[test]
fn live_says_yes_no_and_not_yet() {
    snapshot!("live", live_of(&healthy_facts()));
    snapshot!("live_no", live_of(&dead_facts()));
    snapshot!(
        "live_before_the_first_beat",
        live_of(&at_the_start(SECOND / 4))
    );
}

#[test]
fn ready_says_yes_no_and_not_yet() {
    snapshot!("ready", ready_of(&healthy_facts()));
    snapshot!("ready_no", ready_of(&unhealthy_facts()));
    snapshot!("ready_not_yet", ready_of(&at_the_start(SECOND / 4)));
    let draining = Facts {
        phase: Phase::LameDuck,
        ..healthy_facts()
    };
    snapshot!("ready_no_more", ready_of(&draining));
    snapshot!("ready_logging_service", ready_of(&logging_service()));
}

#[test]
fn startup_says_yes_and_not_yet() {
    snapshot!("startup", startup(&healthy_facts()));
    snapshot!("startup_not_yet", startup(&at_the_start(SECOND / 4)));
}

#[test]
fn health_has_three_answers() {
    snapshot!("health", health_of(&healthy_facts(), 0));
    snapshot!("health_degraded", health_of(&degraded_facts(), 0));
    snapshot!("health_unhealthy", health_of(&unhealthy_facts(), 4));
}

#[test]
fn status_says_exactly_what_is_wrong() {
    snapshot!("status", status_of(&healthy_facts(), 0, tree::exhibits()));
    snapshot!(
        "status_degraded",
        status_of(&degraded_facts(), 0, Exhibits::default())
    );
    snapshot!(
        "status_unhealthy",
        status_of(&unhealthy_facts(), 4, Exhibits::default())
    );
    snapshot!(
        "status_before_the_first_beat",
        status_of(&at_the_start(SECOND / 4), 0, Exhibits::default())
    );
}

#[test]
fn what_an_operator_has_switched_is_in_the_status() {
    let facts = Facts {
        drained: true,
        healing_paused: Some(Duration::from_millis(90_500)),
        ..healthy_facts()
    };
    let status = serde_json::to_value(status_of(&facts, 0, Exhibits::default())).unwrap();
    assert_eq!(
        (&status["drained"], &status["healing"]),
        (
            &json!(true),
            &json!({"paused": true, "resumes_in_seconds": 90.5})
        )
    );
    assert_eq!(
        (&status["status"], &status["phase"]),
        (&json!("healthy"), &json!("serving"))
    );
}

#[test]
fn every_alias_repeats_its_check_and_one_of_nothing_is_left_out() {
    let rules = rules();
    let aliases = BTreeMap::from([
        ("gpu_available".to_owned(), "runtime_available".to_owned()),
        ("model".to_owned(), "models_loaded".to_owned()),
        ("nothing".to_owned(), "no_such_check".to_owned()),
    ]);
    let facts = Facts {
        runtime: None,
        ..healthy_facts()
    };
    let body = ready(
        &facts,
        &fold::ready(&facts, &rules),
        &frame(&rules, &aliases),
    );
    let checks = serde_json::to_value(body).unwrap()["checks"].clone();
    let expected = json!({
        "memory_available": true, "models_loaded": true, "runtime_available": false,
        "gpu_available": false, "model": true,
    });
    assert_eq!(checks, expected);
}

#[test]
fn a_time_is_rfc_3339_in_utc_with_a_z_and_milliseconds_at_most() {
    assert_eq!(timestamp(noon()), "2025-01-01T12:00:00Z");
    let later = noon() + Duration::from_nanos(1_234_567);
    assert_eq!(timestamp(later), "2025-01-01T12:00:00.001Z");
}
