//! What a scrape says of a server that is put together from its parts, and how large it becomes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use impetus_actors::metrics::Resources;
use impetus_actors::outcomes::Outcomes;
use impetus_actors::predlog::{
    self, ImpetusSettings, PredictionLogConfig, SinkSettings, SinkTarget,
};
use impetus_actors::serving::budget::BudgetRule;
use impetus_actors::serving::description::{Description, Isolation};
use impetus_actors::serving::quarantine::{Quarantine, QuarantineSettings};
use impetus_actors::serving::{
    AnswerClass, BatchDefaults, Catalog, Commons, FairShare, GenerationLimits, ModelEntry,
    ModelKind, ModelSpec, Protocol, ServedModel, ServingLimits,
};
use impetus_actors::sliding::{ErrorRateGate, ErrorRateRule};
use impetus_actors::sources::folder::{Fingerprint, Wanted};
use impetus_supervision::{
    Clock, Healing, Running, SupervisorSpec, SystemClock, TestExecutor, example,
};

use super::descriptor::{Descriptor, Values};
use super::*;
use crate::config::Config;
use crate::data_disk::DataDisk;
use crate::health::plane::{PlaneSettings, Sources};
use crate::health::testing::rules;
use crate::health::{EdgeStamps, HealthPlane};
use crate::http::{Endpoint, Traffic};

const WORKERS: usize = 4;

/// A server of both services whose models have no processes; its actors are all there.
pub(crate) struct World {
    pub(crate) state: AppState,
    _executor: TestExecutor,
    pub(crate) tree: Running,
}

impl World {
    pub(crate) fn new(models: impl IntoIterator<Item = String>) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let commons = Arc::new(Commons {
            outcomes: Arc::new(Outcomes::new(Arc::clone(&clock))),
            quarantine: Arc::new(Quarantine::new(
                QuarantineSettings {
                    capacity: 16,
                    expires_after: Duration::from_secs(60),
                    bodies: None,
                },
                Arc::clone(&clock),
            )),
            healing: Healing::new(Arc::clone(&clock)),
            share: FairShare::new(2),
        });
        let names: Vec<String> = models.into_iter().collect();
        let (executor, tree) = tree(names.iter());
        let catalog = Arc::new(Catalog::default());
        let models = names.into_iter().map(|name| model(name, &commons));
        catalog.publish(models.filter_map(|model| ModelEntry::of(vec![Arc::new(model)])));
        let board = Arc::new(OnceLock::new());
        assert!(board.set(tree.board()).is_ok());
        let state = state(&clock, &commons, catalog, board);
        Self {
            state,
            _executor: executor,
            tree,
        }
    }

    fn scrape(&self) -> String {
        scrape(&self.state, Format::Text).unwrap()
    }
}

fn model(name: String, commons: &Arc<Commons>) -> ServedModel {
    let wanted = Wanted {
        spec: ModelSpec {
            kind: ModelKind::default(),
            version: "1".to_owned(),
            versioned: false,
            load: 1,
            path: "model.onnx".into(),
            bytes: 1,
            description: Description::default(),
            name,
        },
        fingerprint: Fingerprint::default(),
        problem: None,
        arrival: None,
    };
    let limits = ServingLimits {
        workers: WORKERS,
        threads: 1,
        spares: 0,
        isolation: Isolation::Process,
        queue: 8,
        max_batch: 4,
        batching: BatchDefaults::default(),
        in_flight: 2,
        retries: 2,
        accident_retries: 4,
        generation: GenerationLimits {
            slots: 4,
            max_len: 64,
            prefill_chunk: 16,
        },
        budget: BudgetRule {
            fixed: None,
            floor: Duration::from_secs(1),
            ceiling: Duration::from_secs(10),
        },
        recovery_floor: Duration::from_secs(1),
    };
    ServedModel::new(wanted, limits, Arc::clone(commons))
}

/// Starts as many actors as a server of these models has, under the same names.
fn tree<'a>(models: impl Iterator<Item = &'a String>) -> (TestExecutor, Running) {
    let fixed = [
        "heartbeat",
        "metrics",
        "db_writer",
        "models",
        "model_loader",
    ];
    let mut names: Vec<String> = fixed.map(str::to_owned).into();
    for model in models {
        names.push(format!("model:{model}"));
        names.extend((0..WORKERS).map(|index| format!("worker:{model}/{index}")));
    }
    let root = names
        .iter()
        .fold(SupervisorSpec::new("root"), |root, name| {
            root.child(example::counter(name).0)
        });
    let executor = TestExecutor::new();
    let tree = executor.system().start(root).unwrap();
    executor.settle();
    (executor, tree)
}

fn state(
    clock: &Arc<dyn Clock>,
    commons: &Arc<Commons>,
    catalog: Arc<Catalog>,
    board: impetus_actors::heartbeat::BoardSource,
) -> AppState {
    let mut config = PredictionLogConfig::in_folder("/nowhere");
    config.sink = Some(SinkSettings {
        target: SinkTarget::Impetus(ImpetusSettings {
            url: "http://127.0.0.1:1".into(),
            ca_file: None,
            batch: 32,
            batch_timeout: Duration::from_secs(10),
        }),
        within: Duration::from_secs(30),
        retries: 3,
        retry_after: Duration::from_secs(1),
        cool_down: Duration::from_secs(5),
        max_backlog: 1 << 30,
        max_age: None,
    });
    let (_, log) = predlog::children(config, Arc::clone(clock));
    let rule = ErrorRateRule::try_new(10, 0.5, 0.25, Duration::ZERO).unwrap();
    let settings = PlaneSettings {
        rules: rules(),
        environment: "test".to_owned(),
        aliases: BTreeMap::new(),
        error_gate: ErrorRateGate::new(rule),
    };
    let sources = Sources {
        healing: commons.healing.clone(),
        clock: Arc::clone(clock),
        board,
        pulse: Arc::default(),
        edge: Arc::new(EdgeStamps::new(1)),
        lifecycle: Arc::default(),
        drain: Arc::default(),
        catalog: Some(Arc::clone(&catalog)),
        required_models: Vec::new(),
        outcomes: Arc::clone(&commons.outcomes),
        memory: None,
        resources: Resources::default(),
        predlog: Some(Arc::clone(log.status())),
        registry: None,
        previous_run: None,
    };
    AppState {
        config: Arc::new(Config::default()),
        plane: Arc::new(HealthPlane::new(Instant::now(), settings, sources)),
        catalog,
        outcomes: Arc::clone(&commons.outcomes),
        quarantine: Arc::clone(&commons.quarantine),
        predlog: Some(log),
        recorder: None,
        control: None,
        shelf: Arc::default(),
        downloads: None,
        webhook: None,
        openapi: Arc::default(),
        traffic: Arc::new(Traffic::default()),
        disk: Arc::new(DataDisk::default()),
        lifecycle: Arc::default(),
        tree: Arc::default(),
        faults: None,
    }
}

fn described() -> impl Iterator<Item = &'static Descriptor> {
    SUBJECTS.iter().flat_map(|subject| subject.metrics).copied()
}

/// Returns the series of a scrape, each with its labels taken apart.
fn series(text: &str) -> Vec<(&str, Vec<(&str, &str)>)> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let taken_apart = samples.map(|line| {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let pairs = labels.trim_end_matches('}').split(',');
        let pairs = pairs.filter_map(|pair| pair.split_once('='));
        let pairs = pairs.map(|(label, value)| (label, value.trim_matches('"')));
        (name, pairs.collect())
    });
    taken_apart.collect()
}

#[test]
fn fifty_models_with_two_hundred_workers_make_less_than_a_megabyte() {
    // Longer names than most have.
    let name = |number| format!("surface-defects-of-line-{number:02}");
    let world = World::new((0..50).map(name));
    let text = world.scrape();
    for number in [0, 49] {
        for worker in 0..WORKERS {
            let actor = format!("actor=\"worker:{}/{worker}\"", name(number));
            assert!(text.contains(&actor), "{actor}");
        }
    }
    assert!(text.len() < 1_000_000, "{} bytes", text.len());
    // It is as large from the start as it will ever be, for who asks in one way.
    for model in world.state.catalog.entries().values() {
        for class in AnswerClass::ALL {
            model
                .answers(Protocol::Predict)
                .record(class, Duration::from_millis(3));
        }
    }
    assert_eq!(series(&world.scrape()), series(&text));
}

#[test]
fn every_value_of_a_label_is_one_that_its_description_names() {
    let world = World::new(["a".to_owned(), "b".to_owned()]);
    let text = world.scrape();
    let mut seen = BTreeSet::new();
    for (name, labels) in series(&text) {
        let of = described().find(|of| of.series().iter().any(|series| series == name));
        let of = of.unwrap_or_else(|| panic!("{name} is not described"));
        let own = labels.iter().filter(|(label, _)| *label != "le");
        for (label, (shown, value)) in of.labels.iter().zip(own) {
            assert_eq!(label.name, *shown, "{name}");
            let is_known = match &label.values {
                Values::Words(words) | Values::OneOf(words) => words().contains(value),
                Values::Model => ["a", "b"].contains(value),
                Values::Version => *value == "1",
                Values::ModelOrNone => ["a", "b", "none"].contains(value),
                Values::Actor => world
                    .state
                    .plane
                    .sources()
                    .board
                    .get()
                    .is_some_and(|board| {
                        let actors = board.snapshot();
                        actors.iter().any(|actor| actor.name.as_str() == *value)
                    }),
                Values::Stage => *value == "none",
                Values::Constant(_) | Values::LoggedModel => true,
            };
            assert!(is_known, "{name}: {shown} is {value}");
            seen.insert((name, *shown, (*value).to_owned()));
        }
    }
    // And every word occurs: what is described is what can be met, once it can.
    for of in described().filter(|of| of.except.is_empty()) {
        for label in of.labels {
            let Values::Words(words) = &label.values else {
                continue;
            };
            let series = of.series();
            for word in words() {
                let series = series[0].as_str();
                let is_there = seen.contains(&(series, label.name, word.to_owned()));
                assert!(is_there, "{series} is never {}={word}", label.name);
            }
        }
    }
}

#[test]
fn every_metric_is_described_once_with_its_unit_in_its_name_and_its_labels_in_order() {
    let names: Vec<&str> = described().map(|of| of.name).collect();
    let distinct: BTreeSet<&&str> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
    for of in described() {
        let name = of.name;
        assert!(of.help.ends_with('.'), "{name}: {}", of.help);
        assert!(of.labels.is_sorted_by(|a, b| a.name < b.name), "{name}");
        assert_eq!(
            of.kind == descriptor::Kind::Counter,
            name.ends_with("_total"),
            "{name}"
        );
        if of.unit.starts_with("seconds") {
            assert!(name.contains("_seconds"), "{name}");
        }
        let counted = name.strip_suffix("_total").unwrap_or(name);
        assert_eq!(of.unit == "bytes", counted.ends_with("_bytes"), "{name}");
    }
}

#[test]
fn a_way_to_ask_a_model_is_told_of_once_it_has_been_used() {
    let world = World::new(["m".to_owned()]);
    let of_m = |endpoint: &str| {
        format!("impetus_request_duration_seconds_count{{endpoint=\"{endpoint}\",model=\"m\"")
    };
    let before = world.scrape();
    assert!(before.contains(&of_m("predict")));
    assert!(!before.contains(&of_m("infer")));
    let model = world.state.catalog.find(Some("m"), None).unwrap();
    let answers = model.answers(Protocol::V2Rest);
    answers.record(AnswerClass::Success, Duration::from_millis(1));
    let after = world.scrape();
    // With every class, so that the first failure is a step.
    assert_eq!(
        after.matches(&of_m("infer")).count(),
        AnswerClass::ALL.len()
    );
    assert!(!after.contains(&of_m("v1_predict")));
}

#[test]
fn requests_to_a_model_that_is_called_none_are_counted_with_those_to_none() {
    let world = World::new(["none".to_owned(), "other".to_owned()]);
    let route = world.state.catalog.route(Some("none"), None).unwrap();
    let model = route.model();
    let took = Duration::from_millis(1);
    let answers = model.answers(Protocol::Predict);
    answers.record(AnswerClass::ServerFault, took);
    let nobody = world.state.traffic.times(Endpoint::Predict);
    nobody.record(AnswerClass::ServerFault, took);
    let text = world.scrape();
    let of_none = "impetus_request_duration_seconds_count\
                   {endpoint=\"predict\",model=\"none\",status=\"5xx\"}";
    let counted: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with(of_none))
        .collect();
    assert_eq!(counted, [format!("{of_none} 2")]);
    let all = series(&text);
    let distinct: BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "a series is there twice");
}

#[test]
fn a_refusal_for_a_name_that_nobody_has_is_counted_under_no_name() {
    let world = World::new(["a".to_owned()]);
    let before = series(&world.scrape()).len();
    for number in 0..1000 {
        let name = format!("b-{number}");
        assert!(world.state.catalog.route(Some(&name), None).is_err());
    }
    let text = world.scrape();
    assert_eq!(series(&text).len(), before);
    let counted = "impetus_requests_rejected_total{model=\"none\",reason=\"unknown_model\"} 1000";
    assert!(text.contains(counted), "{text}");
}
