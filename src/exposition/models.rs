//! Models: which are there, what state they are in, what waits for them.

use impetus_actors::serving::ModelState;
use impetus_engine::Provider;

use super::descriptor::Kind::{Counter, Gauge};
use super::descriptor::{Descriptor, Label, Present, Values, subject};
use super::families::{Families, Family, flag};
use crate::health::Facts;
use crate::http::AppState;

/// Label value for a stage of a model that no registry knows.
const NO_STAGE: &str = "none";

const STAGED: &[Label] = &[
    Label::model(),
    Label {
        name: "stage",
        values: Values::Stage,
    },
];

/// Where the order of execution providers ended for a model.
const PROVIDED: &[Label] = &[
    Label::model(),
    Label {
        name: "provider",
        values: Values::OneOf(|| Provider::ALL.map(Provider::as_str).to_vec()),
    },
    Label::version(),
];

subject! { "Models";
    LOADED = Descriptor::new("impetus_models_loaded", Gauge, "models")
        .help("Models that answer requests.");
    STATE = Descriptor::new("impetus_model_state", Gauge, "0 or 1")
        .help("1 for the state a model is in, 0 for every other.")
        .labels(&[
            Label::model(),
            Label::words("state", || ModelState::ALL.map(ModelState::as_str).to_vec()),
        ])
        .of(Present::Inference);
    PROVIDER = Descriptor::new("impetus_model_provider_info", Gauge, "1")
        .help("1 for the execution provider that runs a version of a model.")
        .labels(PROVIDED)
        .of(Present::Inference)
        .except("before a worker has loaded the version");
    DEPTH = Descriptor::new("impetus_queue_depth", Gauge, "requests")
        .help("Requests that wait for a worker.")
        .labels(&[Label::model()])
        .of(Present::Inference);
    CAPACITY = Descriptor::new("impetus_queue_capacity", Gauge, "requests")
        .help("Requests that may wait for a worker; one more is turned away.")
        .labels(&[Label::model()])
        .of(Present::Inference);
    PROGRESS = Descriptor::new("impetus_last_progress_timestamp_seconds", Gauge, "seconds since 1970")
        .help(
            "When a worker last finished something, a run or an idle check of itself; a model whose \
             workers stand still has one that grows old.",
        )
        .labels(&[Label::model()])
        .of(Present::Inference)
        .except("before a worker of the model has finished anything");
    INFERENCE_LOADED = Descriptor::new("inference_model_loaded", Gauge, "0 or 1")
        .help("1 while the model answers requests.")
        .labels(STAGED)
        .of(Present::Inference);
    INFERENCE_REGISTRY = Descriptor::new("inference_mlflow_accessible", Gauge, "0 or 1")
        .help("1 while the MLflow registry answers; 0 otherwise, also when none is configured.")
        .labels(STAGED)
        .of(Present::Inference);
    INFERENCE_PREDICTIONS = Descriptor::new("inference_predictions_total", Counter, "requests")
        .help("Predictions answered.")
        .labels(STAGED)
        .of(Present::Inference);
    INFERENCE_ERRORS = Descriptor::new("inference_errors_total", Counter, "requests")
        .help("Executions that failed; refusals and the client's mistakes are none.")
        .labels(STAGED)
        .of(Present::Inference);
}

pub(super) fn expose(state: &AppState, facts: &Facts, out: &mut Families) {
    let all = &facts.models.all;
    let loaded = all.iter().filter(|model| model.state.is_usable()).count();
    out.one(&LOADED, loaded as f64);
    if !state.role().infers() {
        return;
    }
    let mut states = Family::new(&STATE);
    for model in all {
        let words = ModelState::ALL.into_iter().map(ModelState::as_str);
        states.states(&model.name, model.state.as_str(), words);
    }
    out.add(states);
    providers(facts, out);
    queues(state, facts, out);
    documents(state, facts, out);
}

fn providers(facts: &Facts, out: &mut Families) {
    let mut providers = Family::new(&PROVIDER);
    for model in facts.models.all.iter().chain(&facts.models.beside) {
        if let Some(provider) = &model.provider {
            providers.add(&[&model.name, provider, &model.version], 1.0);
        }
    }
    out.add(providers);
}

fn queues(state: &AppState, facts: &Facts, out: &mut Families) {
    let mut depth = Family::new(&DEPTH);
    let mut capacity = Family::new(&CAPACITY);
    let mut progress = Family::new(&PROGRESS);
    for (name, model) in state.catalog.entries().iter() {
        depth.add(&[name], model.queued() as f64);
        capacity.add(&[name], model.queue_capacity() as f64);
        let at = model
            .progress_age()
            .and_then(|age| facts.now.checked_sub(age));
        if let Some(at) = at.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok()) {
            progress.add(&[name], at.as_secs_f64());
        }
    }
    out.add(depth);
    out.add(capacity);
    out.add(progress);
}

/// The names that the second document asks for.
fn documents(state: &AppState, facts: &Facts, out: &mut Families) {
    let mut loaded = Family::new(&INFERENCE_LOADED);
    let mut registry = Family::new(&INFERENCE_REGISTRY);
    let mut predictions = Family::new(&INFERENCE_PREDICTIONS);
    let mut errors = Family::new(&INFERENCE_ERRORS);
    let stage = |name: &str| match state.shelf.stage_of(name) {
        Some(stage) => stage,
        None => NO_STAGE.to_owned(),
    };
    let known = facts.registry.as_ref();
    let accessible = known.is_some_and(|known| known.is_accessible());
    for model in &facts.models.all {
        let stage = stage(&model.name);
        let labels = [model.name.as_str(), &stage];
        loaded.add(&labels, flag(model.state.is_usable()));
        registry.add(&labels, flag(accessible));
    }
    for (name, model) in state.catalog.entries().iter() {
        let stage = stage(name);
        let labels = [name.as_str(), &stage];
        predictions.count(&labels, model.predictions());
        errors.count(&labels, model.errors());
    }
    out.add(loaded);
    out.add(registry);
    out.add(predictions);
    out.add(errors);
}
