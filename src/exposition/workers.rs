//! Workers: what they do, what became of them, what they take, and which requests are refused for
//! what they did.

use impetus_actors::serving::loss::Loss;
use impetus_actors::serving::state::WorkerStatus;
use impetus_actors::serving::{RestartReason, WorkerState};

use super::descriptor::Kind::{Counter, Gauge};
use super::descriptor::{Descriptor, Label, Present, subject};
use super::families::{Families, Family};
use crate::health::Facts;
use crate::http::AppState;

/// What a worker can be doing, in the words of the label.
const STATES: [&str; 5] = ["down", "loading", "warming", "standby", "ready"];

subject! { "Workers";
    WORKERS = Descriptor::new("impetus_workers", Gauge, "workers")
        .help("Workers of a model by what they do; a spare that waits for another to fail is on standby.")
        .labels(&[Label::model(), Label::words("state", || STATES.to_vec())])
        .of(Present::Inference);
    RESTARTS = Descriptor::new("impetus_worker_restarts_total", Counter, "workers")
        .help("Workers that were started anew, by what became of the one before.")
        .labels(&[
            Label::model(),
            Label::words("reason", || RestartReason::ALL.map(RestartReason::as_str).to_vec()),
        ])
        .of(Present::Inference);
    LOSSES = Descriptor::new("impetus_worker_losses_total", Counter, "workers")
        .help(
            "Workers that were lost while they served, by cause: crash, hang, memory, outside \
             (killed by somebody else), unknown.",
        )
        .labels(&[Label::words("cause", || Loss::KINDS.to_vec()), Label::model()])
        .of(Present::Inference);
    RECYCLED = Descriptor::new("impetus_workers_recycled_total", Counter, "workers")
        .help("Workers that made room for a fresh one at their soft limit of memory.")
        .labels(&[Label::model()])
        .of(Present::Inference);
    MEMORY = Descriptor::new("impetus_worker_memory_bytes", Gauge, "bytes")
        .help("Resident memory of all workers of a model together.")
        .labels(&[Label::model()])
        .of(Present::Inference);
    HARD_LIMIT = Descriptor::new("impetus_worker_memory_hard_limit_bytes", Gauge, "bytes")
        .help(
            "Resident memory at which workers are killed, for all workers of a model together that \
             have been given theirs.",
        )
        .labels(&[Label::model()])
        .of(Present::Inference)
        .except("while no worker of the model has been given a limit");
    QUARANTINED = Descriptor::new("impetus_quarantined_requests", Gauge, "requests")
        .help("Requests that are refused because they killed a worker they were alone with.")
        .of(Present::Inference);
    ADDED = Descriptor::new("impetus_quarantine_added_total", Counter, "requests")
        .help("Requests that were quarantined since the start.")
        .of(Present::Inference);
    REFUSED = Descriptor::new("impetus_quarantine_refused_total", Counter, "requests")
        .help("Times that a quarantined request was refused.")
        .of(Present::Inference);
}

pub(super) fn expose(state: &AppState, facts: &Facts, out: &mut Families) {
    places(facts, out);
    ends(state, out);
    out.one(&QUARANTINED, state.quarantine.len() as f64);
    out.one(&ADDED, state.quarantine.added() as f64);
    out.one(&REFUSED, state.quarantine.refused() as f64);
}

fn places(facts: &Facts, out: &mut Families) {
    let mut workers = Family::new(&WORKERS);
    let mut memory = Family::new(&MEMORY);
    let mut limits = Family::new(&HARD_LIMIT);
    for model in &facts.models.all {
        let name = model.name.as_str();
        let beside = facts.models.beside.iter().filter(|m| m.name == name);
        let all: Vec<_> = beside.chain([model]).flat_map(|m| &m.workers).collect();
        for state in STATES {
            let are = all.iter().filter(|worker| word(worker) == state);
            workers.add(&[name, state], are.count() as f64);
        }
        let resident = all.iter().filter_map(|worker| worker.resident_bytes);
        memory.add(&[name], resident.sum::<u64>() as f64);
        let given = all.iter().filter_map(|worker| worker.memory);
        let limit = given.map(|memory| memory.hard_limit_bytes).sum::<u64>();
        if limit > 0 {
            limits.add(&[name], limit as f64);
        }
    }
    out.add(workers);
    out.add(memory);
    out.add(limits);
}

fn ends(state: &AppState, out: &mut Families) {
    let mut restarts = Family::new(&RESTARTS);
    let mut losses = Family::new(&LOSSES);
    let mut recycled = Family::new(&RECYCLED);
    for (name, model) in state.catalog.entries().iter() {
        for (reason, count) in model.restarts() {
            restarts.count(&[name, reason], count);
        }
        for (cause, count) in model.losses() {
            losses.count(&[cause, name], count);
        }
        recycled.count(&[name], model.recycled());
    }
    out.add(restarts);
    out.add(losses);
    out.add(recycled);
}

fn word(worker: &WorkerStatus) -> &'static str {
    match worker.state {
        WorkerState::Down => "down",
        WorkerState::Loading => "loading",
        WorkerState::Warming => "warming",
        WorkerState::Ready if worker.standby => "standby",
        WorkerState::Ready => "ready",
    }
}
