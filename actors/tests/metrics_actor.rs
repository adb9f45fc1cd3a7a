//! The Metrics actor in a real system, over a fixture that stands in for the machine.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use impetus_actors::metrics::{
    self, Host, HostMemory, METRICS, MetricsConfig, ResourceError, ResourceProbe, ResourceSnapshot,
    Resources,
};
use impetus_supervision::{Fault, Running, SupervisorSpec, System};

/// No test is meant to take this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A machine whose memory the test turns; `None` cannot be read.
#[derive(Clone, Debug)]
struct Machine {
    used_percent: Arc<Mutex<Option<u64>>>,
}

impl Machine {
    fn turn(&self, used_percent: Option<u64>) {
        *self.used_percent.lock().expect("nobody panics with it") = used_percent;
    }
}

impl Host for Machine {
    fn memory(&mut self) -> Result<HostMemory, ResourceError> {
        let used = *self.used_percent.lock().expect("nobody panics with it");
        used.map(|used| HostMemory { total: 100, used })
            .ok_or_else(|| ResourceError {
                what: "memory".into(),
                reason: "the test says so".into(),
            })
    }

    fn cores(&mut self) -> Result<f64, ResourceError> {
        Ok(2.0)
    }

    fn cpu_percent(&mut self) -> Result<Option<f64>, ResourceError> {
        Ok(Some(12.5))
    }

    fn process_resident_bytes(&mut self) -> Result<u64, ResourceError> {
        Ok(1)
    }
}

fn start() -> (Machine, Running, Resources) {
    let machine = Machine {
        used_percent: Arc::new(Mutex::new(Some(50))),
    };
    let host = machine.clone();
    let config = MetricsConfig {
        every: Duration::from_millis(5),
        probe: Arc::new(move || {
            ResourceProbe::new(Path::new("/nowhere").into(), Box::new(host.clone()))
        }),
        ..MetricsConfig::default()
    };
    let (child, resources) = metrics::child(config);
    let system = System::builder().start(SupervisorSpec::new("root").child(child));
    (machine, system.expect("starts"), resources)
}

async fn until(resources: &Resources, what: &str, expected: impl Fn(&ResourceSnapshot) -> bool) {
    let seen = async {
        while !expected(&resources.snapshot()) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let outcome = tokio::time::timeout(PATIENCE, seen).await;
    assert!(outcome.is_ok(), "never {what}: {:?}", resources.snapshot());
}

fn percent(snapshot: &ResourceSnapshot) -> Option<f64> {
    snapshot.sample.as_ref().map(|sample| sample.memory_percent)
}

#[tokio::test]
async fn memory_that_is_used_up_is_seen_and_forgiven_later() {
    let (machine, _system, resources) = start();
    until(&resources, "sampled", |now| percent(now) == Some(50.0)).await;
    assert!(resources.snapshot().memory_available);
    machine.turn(Some(95));
    until(&resources, "used up", |now| !now.memory_available).await;
    machine.turn(Some(90));
    until(&resources, "at 90%", |now| percent(now) == Some(90.0)).await;
    assert!(!resources.snapshot().memory_available, "not yet");
    machine.turn(Some(89));
    until(&resources, "available", |now| now.memory_available).await;
}

/// The last truth stands beside the reason why there is no newer one, and the actor lives on.
#[tokio::test]
async fn a_machine_that_cannot_be_read_is_a_state_that_passes() {
    let (machine, system, resources) = start();
    machine.turn(Some(95));
    until(&resources, "used up", |now| !now.memory_available).await;
    machine.turn(None);
    until(&resources, "unreadable", |now| now.problem.is_some()).await;
    let snapshot = resources.snapshot();
    assert_eq!(
        snapshot.problem.as_deref(),
        Some("cannot read memory: the test says so")
    );
    assert_eq!(
        (percent(&snapshot), snapshot.memory_available),
        (Some(95.0), false)
    );
    machine.turn(Some(10));
    until(&resources, "read again", |now| {
        now.problem.is_none() && now.memory_available
    })
    .await;
    let actor = system.board().get(&METRICS.into()).expect("on the board");
    assert_eq!(actor.restarts, 0);
}

#[tokio::test]
async fn a_panic_of_the_actor_ends_no_sampling() {
    let (machine, system, resources) = start();
    until(&resources, "sampled", |now| now.sample.is_some()).await;
    system.faults().arm(&METRICS.into(), Fault::Panic, 1);
    let replaced = async {
        while system
            .board()
            .get(&METRICS.into())
            .is_none_or(|actor| actor.restarts == 0)
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, replaced)
        .await
        .expect("it is replaced");
    machine.turn(Some(33));
    until(&resources, "sampled again", |now| {
        percent(now) == Some(33.0)
    })
    .await;
}
