//! The example bodies of the two documents and of the contract: ours have every field of theirs,
//! of the same type, and may have more.

use super::*;

/// Tells what of `theirs` is not in `ours`, by its path.
fn missing(theirs: &Value, ours: &Value, path: &str, found: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for (key, value) in theirs {
                match ours.get(key) {
                    Some(ours) => missing(value, ours, &format!("{path}.{key}"), found),
                    None => found.push(format!("{path}.{key} is not there")),
                }
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            if let (Some(theirs), Some(ours)) = (theirs.first(), ours.first()) {
                missing(theirs, ours, &format!("{path}[0]"), found);
            }
        }
        (theirs, ours) => {
            if kind(theirs) != kind(ours) {
                found.push(format!("{path} is {}, not {}", kind(ours), kind(theirs)));
            }
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn assert_has_all_of(theirs: &Value, ours: impl Serialize) {
    let ours = serde_json::to_value(ours).unwrap();
    let mut found = Vec::new();
    missing(theirs, &ours, "", &mut found);
    assert!(found.is_empty(), "{found:#?}\n{ours:#}");
}

/// The liveness example, and the figures that stand in it.
fn live_example() -> Value {
    json!({
        "alive": true,
        "timestamp": "2025-01-01T12:00:00Z",
        "uptime_seconds": 3600.5,
        "last_heartbeat": "2025-01-01T12:00:00Z",
    })
}

#[test]
fn the_liveness_example_is_ours_to_the_letter() {
    let facts = Facts {
        heartbeat: beat(Duration::ZERO),
        ..healthy_facts()
    };
    assert_eq!(
        serde_json::to_value(live_of(&facts)).unwrap(),
        live_example()
    );
    assert_has_all_of(&live_example(), live_of(&dead_facts()));
}

#[test]
fn the_readiness_examples_are_ours_and_ours_say_more() {
    let example = |loaded: bool, ready: bool, message: &str| {
        json!({
            "ready": ready,
            "timestamp": "2025-01-01T12:00:00Z",
            "checks": {"memory_available": true, "models_loaded": loaded, "mlx_available": true},
            "message": message,
        })
    };
    let unready = Facts {
        models: models(vec![required(model("surface", ModelState::Failed))]),
        ..healthy_facts()
    };
    let pairs = [
        (example(true, true, "Ready"), ready_of(&healthy_facts())),
        (example(false, false, "Not ready"), ready_of(&unready)),
    ];
    for (theirs, ours) in pairs {
        let ours = serde_json::to_value(ours).unwrap();
        assert_has_all_of(&theirs, &ours);
        for key in ["ready", "timestamp", "message"] {
            assert_eq!(ours[key], theirs[key], "{key}");
        }
        for (check, holds) in theirs["checks"].as_object().unwrap() {
            assert_eq!(&ours["checks"][check], holds, "{check}");
        }
        assert_eq!(
            ours["checks"]["runtime_available"],
            ours["checks"]["mlx_available"]
        );
    }
}

#[test]
fn health_and_status_have_every_field_of_the_contract() {
    let health = json!({
        "status": "healthy", "timestamp": "…", "uptime_seconds": 1.5, "last_heartbeat": "…",
        "heartbeat_age_seconds": 0.2, "consecutive_failures": 0, "version": "…",
        "environment": "production",
    });
    for facts in [healthy_facts(), degraded_facts(), unhealthy_facts()] {
        assert_has_all_of(&health, health_of(&facts, 0));
        assert_has_all_of(&health, status_of(&facts, 0, tree::exhibits()));
    }
    let component = json!({"status": "healthy", "score": 100, "detail": {}});
    let names = [
        "memory",
        "cpu",
        "heartbeat",
        "models",
        "runtime",
        "database",
        "registry",
        "edge",
    ];
    let components: BTreeMap<&str, &Value> = names.map(|name| (name, &component)).into();
    let status = json!({
        "score": 100, "components": components, "models": [], "previous_run": {},
        "actors": [{
            "name": "root", "state": "running", "generation": 1, "restarts": 0, "children": [{}],
        }],
    });
    assert_has_all_of(&status, status_of(&healthy_facts(), 0, tree::exhibits()));
}

#[test]
fn an_actor_in_the_status_has_every_field_of_the_contract() {
    let theirs = json!({
        "name": "model_loader", "parent": "root", "state": "running", "generation": 3,
        "restarts": 2, "last_exit": {"reason": "panic", "message": "…", "at": "…"},
        "last_status_at": "…", "status_age_seconds": 0.4,
        "mailbox": {"depth": 0, "capacity": 1024}, "progress": {}, "score": 100, "children": [],
    });
    let status = serde_json::to_value(status_of(&healthy_facts(), 0, tree::exhibits())).unwrap();
    let children = status["actors"][0]["children"].as_array().unwrap();
    let loader = children
        .iter()
        .find(|actor| actor["name"] == "model_loader");
    assert_has_all_of(&theirs, loader.unwrap());
    assert_eq!(loader.unwrap()["last_exit"]["reason"], "panic");
}
