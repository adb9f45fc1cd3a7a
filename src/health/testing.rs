//! Facts as the tests of the verdicts write them down: all well, and one thing changed at a time.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use impetus_actors::serving::{ModelState, ModelStatus, Standing};

use super::Phase;
use super::facts::{Beat, DatabaseFacts, Facts, MemoryFacts, ModelFacts};
use super::fold::Rules;

/// Noon of the first day of 2025, as in the documents' examples.
pub(super) fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_735_732_800)
}

/// The numbers of the contract.
pub(crate) fn rules() -> Rules {
    Rules {
        heartbeat_interval: Duration::from_secs(1),
        heartbeat_stale_after: Duration::from_secs(15),
        root_stale_after: Duration::from_secs(15),
        edge_stalled_after: Duration::from_secs(30),
        require_model: true,
        no_model: "there is no model in the model folder".to_owned(),
        memory_unready_percent: 95.0,
        unhealthy_below: 50,
        degraded_below: 80,
    }
}

/// Both services with one model, after an hour in which nothing has gone wrong.
pub(crate) fn healthy_facts() -> Facts {
    Facts {
        now: noon(),
        uptime: Duration::from_millis(3_600_500),
        started: true,
        phase: Phase::Serving,
        drained: false,
        healing_paused: None,
        heartbeat: beat(Duration::from_millis(200)),
        root_age: Some(Duration::from_millis(100)),
        given_up: None,
        unknown: Vec::new(),
        edge: vec![Duration::from_millis(100); 2],
        models: models(vec![required(model("surface", ModelState::Ready))]),
        runtime: Some("onnxruntime 1.32.0".to_owned()),
        memory: Some(memory(40.0, true)),
        guard: None,
        cpu_percent: Some(12.0),
        database: Some(database()),
        registry: None,
    }
}

/// A last beat of that age.
pub(crate) fn beat(age: Duration) -> Beat {
    Beat {
        age: Some(age),
        at: Some(noon() - age),
    }
}

/// A process that has begun this long ago and has not come to anything yet.
pub(super) fn at_the_start(uptime: Duration) -> Facts {
    Facts {
        uptime,
        started: false,
        heartbeat: Beat::default(),
        root_age: None,
        edge: vec![Duration::ZERO; 2],
        models: ModelFacts {
            served_here: true,
            ..ModelFacts::default()
        },
        runtime: None,
        memory: None,
        cpu_percent: None,
        database: Some(DatabaseFacts {
            initialized: false,
            connected: false,
            reason: Some("it has not been opened yet".to_owned()),
            ..DatabaseFacts::default()
        }),
        ..healthy_facts()
    }
}

/// The logging service alone: no models, no runtime.
pub(super) fn logging_service() -> Facts {
    Facts {
        models: ModelFacts::default(),
        runtime: None,
        ..healthy_facts()
    }
}

/// A folder that has been looked at and holds these.
pub(super) fn models(all: Vec<ModelStatus>) -> ModelFacts {
    ModelFacts {
        served_here: true,
        scanned: true,
        source_problem: None,
        all,
        beside: Vec::new(),
        missing: Vec::new(),
    }
}

/// A model nobody depends on.
pub(super) fn model(name: &str, state: ModelState) -> ModelStatus {
    ModelStatus {
        name: name.to_owned(),
        version: "1".to_owned(),
        state,
        standing: Standing::Serving,
        reason: String::new(),
        bytes_done: 1024,
        bytes_total: 1024,
        required: false,
        queued: 0,
        workers: Vec::new(),
        memory_bytes: 0,
        provider: Some("cpu".to_owned()),
        passed_over: Vec::new(),
        last_load_ms: Some(12.5),
        predictions: 7,
        errors: 0,
        spares: 0,
        run_budget_ms: 1000.0,
        losses: BTreeMap::new(),
        recycled: 0,
    }
}

/// The same model, and readiness depends on it.
pub(super) fn required(model: ModelStatus) -> ModelStatus {
    ModelStatus {
        required: true,
        ..model
    }
}

/// The same model with a reason for its state.
pub(super) fn because(model: ModelStatus, reason: &str) -> ModelStatus {
    ModelStatus {
        reason: reason.to_owned(),
        ..model
    }
}

/// A gigabyte of limit, used up to this percentage.
pub(super) fn memory(percent: f64, available: bool) -> MemoryFacts {
    let limit = 1_u64 << 30;
    MemoryFacts {
        percent,
        // Between 0 and the limit, which a float holds exactly.
        used_bytes: (limit as f64 * percent / 100.0) as u64,
        limit_bytes: limit,
        resident_bytes: 32 << 20,
        available,
    }
}

/// A database that answers.
pub(super) fn database() -> DatabaseFacts {
    DatabaseFacts {
        initialized: true,
        connected: true,
        reason: None,
        ..DatabaseFacts::default()
    }
}
