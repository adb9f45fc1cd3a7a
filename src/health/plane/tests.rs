use std::sync::OnceLock;

use impetus_actors::sliding::ErrorRateRule;
use impetus_supervision::TestExecutor;

use super::super::testing::rules;
use super::*;

/// A plane whose verdict is in the hands of the test: with a folder that cannot be read it is
/// unhealthy, with an empty one healthy, because no model is required.
struct World {
    catalog: Arc<Catalog>,
    outcomes: Arc<Outcomes>,
    plane: HealthPlane,
}

impl World {
    fn new() -> Self {
        let clock: Arc<dyn Clock> = TestExecutor::new().clock();
        let catalog = Arc::new(Catalog::default());
        let outcomes = Arc::new(Outcomes::new(Arc::clone(&clock)));
        let rule = ErrorRateRule::try_new(10, 0.5, 0.25, Duration::ZERO).unwrap();
        let settings = PlaneSettings {
            rules: Rules {
                require_model: false,
                ..rules()
            },
            environment: "test".to_owned(),
            aliases: BTreeMap::from([("gpu".to_owned(), "runtime_available".to_owned())]),
            error_gate: ErrorRateGate::new(rule),
        };
        let sources = Sources {
            healing: Healing::new(Arc::clone(&clock)),
            clock,
            board: Arc::new(OnceLock::new()),
            pulse: Arc::default(),
            edge: Arc::new(EdgeStamps::new(1)),
            lifecycle: Arc::default(),
            drain: Arc::default(),
            catalog: Some(Arc::clone(&catalog)),
            required_models: Vec::new(),
            outcomes: Arc::clone(&outcomes),
            memory: None,
            resources: Resources::default(),
            predlog: None,
            registry: None,
            previous_run: None,
        };
        Self {
            catalog,
            outcomes,
            plane: HealthPlane::new(Instant::now(), settings, sources),
        }
    }

    fn evaluate(&self, times: usize) -> (u64, u64) {
        for _ in 0..times {
            self.plane.evaluate();
        }
        (self.plane.consecutive_failures(), self.plane.failures())
    }
}

#[test]
fn failures_in_a_row_begin_anew_after_one_that_is_none_and_their_sum_never_goes_back() {
    let world = World::new();
    world.catalog.scanned(None);
    assert_eq!(world.evaluate(3), (0, 0));
    world.catalog.scanned(Some("gone".to_owned()));
    assert_eq!(world.evaluate(3), (3, 3));
    assert_eq!(world.plane.health().status, Grade::Unhealthy);
    world.catalog.scanned(None);
    assert_eq!(world.evaluate(1), (0, 3));
    world.catalog.scanned(Some("gone".to_owned()));
    assert_eq!(world.evaluate(2), (2, 5));
}

#[test]
fn asking_is_not_evaluating() {
    let world = World::new();
    world.catalog.scanned(Some("gone".to_owned()));
    for _ in 0..10 {
        let _ = (
            world.plane.health(),
            world.plane.status(),
            world.plane.is_ready(),
        );
    }
    assert_eq!(world.evaluate(0), (0, 0));
}

#[test]
fn a_check_is_found_by_its_name_by_its_alias_and_by_no_other() {
    let world = World::new();
    let names = [
        "memory_available",
        "models_loaded",
        "runtime_available",
        "serving",
    ];
    for name in names {
        assert_eq!(world.plane.check(name).unwrap().name, name);
    }
    assert_eq!(world.plane.check("gpu").unwrap().name, "runtime_available");
    assert_eq!(world.plane.check("memory"), None);
    let unknown = world
        .plane
        .ready(&["models_loaded".to_owned(), "disk".to_owned()]);
    assert_eq!(unknown.unwrap_err(), "disk");
}

#[test]
fn a_check_left_out_by_either_name_leaves_with_its_alias() {
    let world = World::new();
    for name in ["runtime_available", "gpu"] {
        let answer = world.plane.ready(&[name.to_owned()]).unwrap();
        let body = serde_json::to_value(&answer.body).unwrap();
        let checks: Vec<&String> = body["checks"].as_object().unwrap().keys().collect();
        assert_eq!(checks, ["memory_available", "models_loaded"]);
    }
}

#[test]
fn too_many_failed_executions_are_told_until_they_have_become_few() {
    let world = World::new();
    world.outcomes.failed(5);
    world.outcomes.succeeded(4);
    assert!(
        world.plane.inference_error_rate().is_none(),
        "fewer than ten"
    );
    world.outcomes.failed(1);
    let tally = world.plane.inference_error_rate().unwrap();
    assert_eq!((tally.failures, tally.successes), (6, 4));
    world.outcomes.succeeded(14);
    assert!(
        world.plane.inference_error_rate().is_some(),
        "a quarter is not less than one"
    );
    world.outcomes.succeeded(1);
    assert!(world.plane.inference_error_rate().is_none());
    assert!(
        world.plane.logging_error_rate().is_none(),
        "there is no log here"
    );
}

#[test]
fn without_a_tree_the_server_is_alive_and_on_its_way() {
    let world = World::new();
    assert!(world.plane.live().alive);
    assert!(!world.plane.startup().started);
    assert!(!world.plane.is_ready());
}
