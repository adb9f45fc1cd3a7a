//! What models have to do with readiness, rule by rule.

use super::*;

#[test]
fn the_only_model_must_be_usable_and_recovering_in_its_budget_is() {
    let states = [
        (State::Ready, true, Grade::Healthy),
        (State::Degraded, true, Grade::Degraded),
        (State::Absent, false, Grade::Degraded),
        (State::Downloading, false, Grade::Degraded),
        (State::Loading, false, Grade::Degraded),
        (State::Warming, false, Grade::Degraded),
        (State::Unloading, false, Grade::Unhealthy),
        (State::Failed, false, Grade::Unhealthy),
    ];
    for (state, loaded, grade) in states {
        let facts = with_models(vec![required(model("surface", state))]);
        assert_eq!(against(&facts).is_empty(), loaded, "{state}");
        assert_eq!(overall(&facts, &rules()).grade, grade, "{state}");
        if !loaded {
            assert_eq!(
                against(&facts),
                [format!("models_loaded: surface is {state}")]
            );
        }
    }
}

#[test]
fn only_the_required_ones_of_several_models_hold_readiness_back() {
    let facts = with_models(vec![
        required(model("a", State::Ready)),
        model("b", State::Failed),
        model("c", State::Loading),
    ]);
    assert_eq!(against(&facts), [""; 0]);
    assert_eq!(overall(&facts, &rules()).grade, Grade::Degraded);

    let facts = with_models(vec![
        required(model("a", State::Failed)),
        model("b", State::Ready),
        required(because(model("c", State::Loading), "reading")),
    ]);
    let reason = "models_loaded: a is failed; c is loading (reading)";
    assert_eq!(against(&facts), [reason]);
    assert_eq!(overall(&facts, &rules()).grade, Grade::Unhealthy);
}

#[test]
fn a_required_model_that_is_not_there_is_missed_by_name() {
    let facts = Facts {
        models: ModelFacts {
            missing: vec!["surface".to_owned()],
            ..models(vec![model("other", State::Ready)])
        },
        ..healthy_facts()
    };
    assert_eq!(
        against(&facts),
        ["models_loaded: surface is required and not there"]
    );
    assert_eq!(overall(&facts, &rules()).score, 0);
}

#[test]
fn of_several_models_of_which_none_is_required_one_must_be_usable() {
    let of = |a, b| with_models(vec![model("a", a), model("b", b)]);
    assert_eq!(against(&of(State::Ready, State::Failed)), [""; 0]);
    assert_eq!(against(&of(State::Loading, State::Degraded)), [""; 0]);
    let loading = of(State::Loading, State::Failed);
    assert_eq!(
        against(&loading),
        ["models_loaded: a is loading; b is failed"]
    );
    assert_eq!(overall(&loading, &rules()).grade, Grade::Degraded);
    let failed = of(State::Failed, State::Failed);
    assert_eq!(
        against(&failed),
        ["models_loaded: a is failed; b is failed"]
    );
    assert_eq!(overall(&failed, &rules()).grade, Grade::Unhealthy);
}

#[test]
fn a_server_without_models_is_unready_unless_it_needs_none() {
    let facts = with_models(Vec::new());
    let reason = "models_loaded: there is no model in the model folder";
    assert_eq!(against(&facts), [reason]);
    assert_eq!(overall(&facts, &rules()).grade, Grade::Unhealthy);

    let content = Rules {
        require_model: false,
        ..rules()
    };
    assert_eq!(ready(&facts, &content).reasons(), [""; 0]);
    assert_eq!(overall(&facts, &content).grade, Grade::Healthy);
    // Whether the next model could be run is another question.
    let facts = Facts {
        runtime: None,
        ..facts
    };
    assert!(!ready(&facts, &content).holds());
    assert_eq!(overall(&facts, &content).grade, Grade::Degraded);
}

#[test]
fn a_model_that_is_there_must_be_usable_also_where_none_is_needed() {
    let content = Rules {
        require_model: false,
        ..rules()
    };
    let facts = with_models(vec![required(model("surface", State::Failed))]);
    assert_eq!(
        ready(&facts, &content).reasons(),
        ["models_loaded: surface is failed"]
    );
}

#[test]
fn a_folder_that_cannot_be_read_proves_nothing() {
    let unreadable = |all| Facts {
        models: ModelFacts {
            source_problem: Some("model folder /models cannot be read".to_owned()),
            ..models(all)
        },
        ..healthy_facts()
    };
    for require_model in [true, false] {
        let rules = Rules {
            require_model,
            ..rules()
        };
        let nothing = unreadable(Vec::new());
        let reason = "models_loaded: model folder /models cannot be read";
        assert_eq!(ready(&nothing, &rules).reasons(), [reason]);
        assert_eq!(overall(&nothing, &rules).grade, Grade::Unhealthy);
        // What serves goes on serving, and somebody should know.
        let serving = unreadable(vec![required(model("surface", State::Ready))]);
        assert_eq!(ready(&serving, &rules).reasons(), [""; 0]);
        assert_eq!(overall(&serving, &rules).grade, Grade::Degraded);
    }
}

#[test]
fn before_the_first_look_at_the_folder_nothing_is_known_and_nothing_is_missed() {
    let facts = Facts {
        models: ModelFacts {
            served_here: true,
            missing: vec!["surface".to_owned()],
            ..ModelFacts::default()
        },
        ..at_the_start(SECOND)
    };
    let reasons = against(&facts);
    assert_eq!(
        reasons[0],
        "models_loaded: the model folder is being looked at"
    );
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(reasons[2].starts_with("starting"), "{reasons:?}");
    // It is on its way up, which is nothing to wake anybody for.
    assert_eq!(overall(&facts, &rules()).grade, Grade::Degraded);
}

#[test]
fn a_service_that_runs_no_models_waits_for_none() {
    assert_eq!(against(&logging_service()), [""; 0]);
    assert_eq!(overall(&logging_service(), &rules()).grade, Grade::Healthy);
    let not_up = Facts {
        started: false,
        heartbeat: Beat::default(),
        ..logging_service()
    };
    assert_eq!(against(&not_up).len(), 2, "{:?}", against(&not_up));
}
