//! The least of a server that its handlers can work with: one model, no actors, no processes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use impetus::config::Config;
use impetus::health::plane::{PlaneSettings, Sources};
use impetus::health::{EdgeStamps, HealthPlane, Rules};
use impetus::http::{AppState, Traffic};
use impetus_actors::metrics::Resources;
use impetus_actors::outcomes::Outcomes;
use impetus_actors::serving::budget::BudgetRule;
use impetus_actors::serving::description::{Description, Isolation};
use impetus_actors::serving::quarantine::{Quarantine, QuarantineSettings};
use impetus_actors::serving::{
    BatchDefaults, Catalog, Commons, FairShare, GenerationLimits, ModelEntry, ModelKind, ModelSpec,
    ServedModel, ServingLimits,
};
use impetus_actors::sliding::{ErrorRateGate, ErrorRateRule};
use impetus_actors::sources::folder::{Fingerprint, Wanted};
use impetus_supervision::{Clock, Healing, SystemClock};

const SOON: Duration = Duration::from_secs(1);

/// Returns a server's state with one model.
pub(crate) fn with_one_model() -> anyhow::Result<AppState> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let outcomes = Arc::new(Outcomes::new(Arc::clone(&clock)));
    let quarantine = QuarantineSettings {
        capacity: 1,
        expires_after: SOON,
        bodies: None,
    };
    let commons = Arc::new(Commons {
        outcomes: Arc::clone(&outcomes),
        quarantine: Arc::new(Quarantine::new(quarantine, Arc::clone(&clock))),
        healing: Healing::new(Arc::clone(&clock)),
        share: FairShare::new(1),
    });
    let catalog = Arc::new(Catalog::default());
    let model = Arc::new(ServedModel::new(wanted(), limits(), Arc::clone(&commons)));
    catalog.publish(ModelEntry::of(vec![model]));
    let sources = Sources {
        healing: commons.healing.clone(),
        clock,
        board: Arc::default(),
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
    Ok(AppState {
        config: Arc::new(Config::default()),
        plane: Arc::new(HealthPlane::new(Instant::now(), settings()?, sources)),
        catalog,
        outcomes,
        quarantine: Arc::clone(&commons.quarantine),
        predlog: None,
        recorder: None,
        control: None,
        shelf: Arc::default(),
        downloads: None,
        webhook: None,
        openapi: Arc::default(),
        traffic: Arc::new(Traffic::default()),
        disk: Arc::default(),
        lifecycle: Arc::default(),
        tree: Arc::default(),
        faults: None,
    })
}

fn wanted() -> Wanted {
    Wanted {
        spec: ModelSpec {
            kind: ModelKind::default(),
            name: "surface".to_owned(),
            version: "1".to_owned(),
            versioned: false,
            load: 1,
            path: "model.onnx".into(),
            bytes: 1,
            description: Description::default(),
        },
        fingerprint: Fingerprint::default(),
        problem: None,
        arrival: None,
    }
}

fn limits() -> ServingLimits {
    ServingLimits {
        workers: 1,
        threads: 1,
        spares: 0,
        queue: 1,
        max_batch: 1,
        batching: BatchDefaults::default(),
        in_flight: 1,
        retries: 1,
        accident_retries: 1,
        generation: GenerationLimits {
            slots: 4,
            max_len: 64,
            prefill_chunk: 16,
        },
        budget: BudgetRule {
            fixed: None,
            floor: SOON,
            ceiling: SOON,
        },
        recovery_floor: SOON,
        isolation: Isolation::Process,
    }
}

fn settings() -> anyhow::Result<PlaneSettings> {
    let rule = ErrorRateRule::try_new(10, 0.5, 0.25, SOON)?;
    Ok(PlaneSettings {
        rules: Rules {
            heartbeat_interval: SOON,
            heartbeat_stale_after: SOON,
            root_stale_after: SOON,
            edge_stalled_after: SOON,
            require_model: false,
            no_model: String::new(),
            memory_unready_percent: 95.0,
            unhealthy_below: 50,
            degraded_below: 80,
        },
        environment: "bench".to_owned(),
        aliases: BTreeMap::new(),
        error_gate: ErrorRateGate::new(rule),
    })
}
