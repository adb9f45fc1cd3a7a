use super::super::facts::{DatabaseFacts, ModelFacts};
use super::super::testing::{
    at_the_start, beat, because, healthy_facts, logging_service, memory, model, models, required,
    rules,
};
use super::*;

use impetus_actors::serving::ModelState as State;

const MILLI: Duration = Duration::from_millis(1);

fn component(name: &str, facts: &Facts) -> Component {
    let found = components(facts, &rules())
        .into_iter()
        .find(|(n, _)| *n == name);
    found
        .map(|(_, component)| component)
        .expect("there is such a component")
}

fn score_of(name: &str, facts: &Facts) -> u8 {
    component(name, facts).score
}

/// The scores of one component over a row of facts.
fn scores<T: Copy>(name: &str, row: &[T], facts: impl Fn(T) -> Facts) -> Vec<u8> {
    row.iter()
        .map(|value| score_of(name, &facts(*value)))
        .collect()
}

#[test]
fn the_components_are_those_of_the_contract_and_all_but_two_are_required() {
    let all = components(&healthy_facts(), &rules());
    let names: Vec<_> = all.iter().map(|(name, c)| (*name, c.required)).collect();
    let expected = [
        ("memory", true),
        ("cpu", false),
        ("heartbeat", true),
        ("models", true),
        ("runtime", true),
        ("database", true),
        ("registry", false),
        ("edge", true),
    ];
    assert_eq!(names, expected);
    for (name, component) in all {
        assert_eq!(
            (component.score, component.status),
            (100, Grade::Healthy),
            "{name}"
        );
    }
}

#[test]
fn memory_falls_from_eighty_percent_to_fifty_points_at_the_limit_and_to_none_beyond() {
    let at = |(percent, available)| Facts {
        memory: Some(memory(percent, available)),
        ..healthy_facts()
    };
    let row = [
        (80.0, true),
        (87.5, true),
        (94.9, true),
        (95.0, true),
        (99.0, true),
    ];
    assert_eq!(scores("memory", &row, at), [100, 75, 50, 50, 50]);
    // From here on it is the gate that says when there is memory again.
    assert_eq!(
        scores("memory", &[(95.0, false), (90.0, false)], at),
        [0, 0]
    );
    let unread = Facts {
        memory: None,
        ..healthy_facts()
    };
    assert_eq!(score_of("memory", &unread), 100);
    assert_eq!(
        component("memory", &unread).detail["reason"],
        "not measured yet"
    );
}

#[test]
fn memory_says_what_it_was_judged_by() {
    let detail = component("memory", &healthy_facts()).detail;
    assert_eq!(detail["percent"], 40.0);
    assert_eq!(detail["limit_bytes"], 1_u64 << 30);
    assert_eq!(detail["used_bytes"], 429_496_729);
    assert_eq!(detail["server_resident_bytes"], 32 << 20);
}

#[test]
fn a_busy_cpu_is_degraded_at_worst() {
    let at = |percent| Facts {
        cpu_percent: percent,
        ..healthy_facts()
    };
    let row = [
        None,
        Some(0.0),
        Some(80.0),
        Some(90.0),
        Some(100.0),
        Some(180.0),
    ];
    assert_eq!(scores("cpu", &row, at), [100, 100, 100, 75, 50, 50]);
}

#[test]
fn a_heart_falls_from_three_beats_to_fifty_points_and_to_none_when_it_is_stale() {
    let at = |millis| Facts {
        heartbeat: beat(Duration::from_millis(millis)),
        ..healthy_facts()
    };
    let row = [0, 3_000, 9_000, 14_999, 15_000, 60_000];
    assert_eq!(scores("heartbeat", &row, at), [100, 100, 75, 50, 0, 0]);
    assert_eq!(score_of("heartbeat", &at_the_start(15_000 * MILLI)), 0);
    assert_eq!(score_of("heartbeat", &at_the_start(3_000 * MILLI)), 100);
}

#[test]
fn an_interval_longer_than_the_stale_limit_makes_no_score_rise() {
    let rules = Rules {
        heartbeat_interval: Duration::from_secs(10),
        ..rules()
    };
    let at = |millis| Facts {
        heartbeat: beat(Duration::from_millis(millis)),
        ..healthy_facts()
    };
    assert_eq!(heartbeat(&at(14_999), &rules).0, 100);
    assert_eq!(heartbeat(&at(15_000), &rules).0, 0);
}

#[test]
fn models_have_the_published_scores() {
    let of = |all| Facts {
        models: models(all),
        ..healthy_facts()
    };
    let only = |state| of(vec![required(model("a", state))]);
    let row = [
        (State::Ready, 100),
        (State::Degraded, 70),
        (State::Absent, 60),
        (State::Downloading, 60),
        (State::Loading, 60),
        (State::Warming, 60),
        (State::Unloading, 0),
        (State::Failed, 0),
    ];
    for (state, expected) in row {
        assert_eq!(score_of("models", &only(state)), expected, "{state}");
    }
    let optional = |state| of(vec![required(model("a", State::Ready)), model("b", state)]);
    for state in [
        State::Failed,
        State::Loading,
        State::Degraded,
        State::Unloading,
    ] {
        assert_eq!(score_of("models", &optional(state)), 70, "{state}");
    }
    assert_eq!(score_of("models", &optional(State::Ready)), 100);
    assert_eq!(score_of("models", &of(Vec::new())), 0);
    assert_eq!(score_of("models", &at_the_start(MILLI)), 60);
}

#[test]
fn the_models_component_counts_its_models_and_says_what_is_wrong_with_each() {
    let facts = Facts {
        models: ModelFacts {
            missing: vec!["wanted".to_owned()],
            source_problem: Some("gone".to_owned()),
            ..models(vec![
                model("a", State::Ready),
                because(model("b", State::Failed), "corrupt"),
                because(model("c", State::Degraded), "its worker was lost"),
            ])
        },
        ..healthy_facts()
    };
    let detail = Value::Object(component("models", &facts).detail);
    let expected = json!({
        "configured": 3, "ready": 1, "degraded": 1, "failed": 1, "missing": ["wanted"],
        "source_problem": "gone", "reasons": {"b": "corrupt", "c": "its worker was lost"},
    });
    assert_eq!(detail, expected);
}

#[test]
fn a_runtime_is_awaited_during_the_first_load_and_missed_when_every_model_has_failed() {
    let without = |all| Facts {
        models: models(all),
        runtime: None,
        ..healthy_facts()
    };
    let (loading, failed) = (model("a", State::Loading), model("b", State::Failed));
    assert_eq!(score_of("runtime", &without(vec![loading.clone()])), 60);
    assert_eq!(
        score_of("runtime", &without(vec![loading, failed.clone()])),
        60
    );
    assert_eq!(score_of("runtime", &without(vec![failed])), 0);
    let runtime = component("runtime", &healthy_facts());
    assert_eq!(runtime.detail["runtime"], "onnxruntime 1.32.0");
}

#[test]
fn a_database_that_is_gone_is_degraded_and_never_worse() {
    let facts = Facts {
        database: Some(DatabaseFacts {
            initialized: true,
            connected: false,
            reason: Some("database is locked".to_owned()),
            ..DatabaseFacts::default()
        }),
        ..healthy_facts()
    };
    let database = component("database", &facts);
    assert_eq!((database.score, database.status), (60, Grade::Degraded));
    assert_eq!(database.detail["reason"], "database is locked");
}

#[test]
fn what_a_process_does_not_have_counts_as_well() {
    let no_database = Facts {
        database: None,
        ..logging_service()
    };
    for name in ["models", "runtime", "database", "registry"] {
        assert_eq!(score_of(name, &no_database), 100, "{name}");
        assert!(
            component(name, &no_database).detail.contains_key("state"),
            "{name}"
        );
    }
}

#[test]
fn one_worker_that_stands_still_is_told_and_all_of_them_are_the_end() {
    let edge = |ages: [u64; 2]| Facts {
        edge: ages.map(Duration::from_millis).to_vec(),
        ..healthy_facts()
    };
    let row = [
        [5_000, 5_000],
        [5_001, 0],
        [40_000, 0],
        [29_999, 29_999],
        [30_000, 30_000],
    ];
    assert_eq!(scores("edge", &row, edge), [100, 70, 70, 70, 0]);
    assert_eq!(
        component("edge", &edge([5_001, 0])).detail["standing_still"],
        1
    );
}
