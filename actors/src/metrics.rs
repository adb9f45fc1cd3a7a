//! Metrics, the actor that watches memory and processor.
//!
//! Every second it takes a [sample](ResourceSample) and publishes it; readiness, metrics and the
//! status page read the last one without waiting. In a container the figures are the container's
//! own wherever a limit is set on it: "30% of the machine" is no comfort to a process that is about
//! to be killed at its limit.
//!
//! A source that cannot be read is a state with a reason and never an exit, for nothing depends on
//! these figures so much that the actor's end would mend it.
//!
//! **Invariant:** whether memory is available changes only with a reading; a failure to read leaves
//! the last judgement standing.

mod allowance;
mod cgroup;
mod host;
mod memory_rule;
mod probe;
mod sample;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use impetus_supervision::{Actor, ActorError, ChildSpec, Context, Message, StatusReport};
use tracing::{info, warn};

pub use allowance::Allowance;
pub(crate) use cgroup::{oom_counter, oom_kills};
pub use host::{Host, HostMemory, SystemHost};
pub use memory_rule::{InvalidMemoryRule, MemoryGate, MemoryRule};
pub use probe::ResourceProbe;
pub use sample::{ResourceError, ResourceSample, ResourceSnapshot, Source};

/// Name of the actor.
pub const METRICS: &str = "metrics";

/// How to watch.
#[derive(Clone)]
pub struct MetricsConfig {
    /// Time between two samples.
    pub every: Duration,
    /// When memory counts as used up.
    pub memory: MemoryRule,
    /// Makes the probe, on the actor's own thread.
    pub probe: ProbeFactory,
}

/// Makes a probe; called again after it has failed.
pub type ProbeFactory = Arc<dyn Fn() -> Result<ResourceProbe, ResourceError> + Send + Sync>;

/// The published samples; cheap to clone, read without waiting.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    latest: Arc<ArcSwap<ResourceSnapshot>>,
}

/// The actor.
#[derive(Debug)]
pub struct Metrics {
    config: MetricsConfig,
    resources: Resources,
    probe: Option<ResourceProbe>,
    memory: MemoryGate,
}

/// Nothing is ever sent to this actor.
#[derive(Debug)]
pub enum NoMessage {}

/// Returns the child spec of the actor and the handle to its samples.
pub fn child(config: MetricsConfig) -> (ChildSpec, Resources) {
    let resources = Resources::default();
    let (every, published) = (config.every, resources.clone());
    let factory = move |_: &_| Metrics::new(config.clone(), published.clone());
    let (spec, _nobody_writes) = ChildSpec::actor(METRICS, factory);
    (spec.tick(every), resources)
}

// === impl MetricsConfig ===

impl Default for MetricsConfig {
    /// Samples this machine every second.
    fn default() -> Self {
        Self {
            every: Duration::from_secs(1),
            memory: MemoryRule::default(),
            probe: Arc::new(|| {
                ResourceProbe::new(PathBuf::from("/"), Box::new(SystemHost::new()?))
            }),
        }
    }
}

impl fmt::Debug for MetricsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsConfig")
            .field("every", &self.every)
            .field("memory", &self.memory)
            .finish_non_exhaustive()
    }
}

// === impl Resources ===

impl Resources {
    /// Returns what was last published.
    pub fn snapshot(&self) -> Arc<ResourceSnapshot> {
        self.latest.load_full()
    }
}

// === impl NoMessage ===

impl Message for NoMessage {}

// === impl Metrics ===

impl Metrics {
    fn new(config: MetricsConfig, resources: Resources) -> Self {
        let memory = MemoryGate::new(config.memory);
        Self {
            config,
            resources,
            probe: None,
            memory,
        }
    }

    fn read(&mut self, now: Duration) -> Result<ResourceSample, ResourceError> {
        let probe = match &mut self.probe {
            Some(probe) => probe,
            none => none.insert((self.config.probe)()?),
        };
        probe.sample(now)
    }

    /// Takes a sample and publishes it, or why there is none.
    ///
    /// The files belong to the kernel and are read in well under a millisecond, so the actor's own
    /// thread reads them; should one hang after all, the supervisor sees this actor hang.
    fn sample(&mut self, ctx: &Context<Self>) {
        let now = ctx.clock().now();
        let reading = self.read(now);
        if !ctx.fence().is_current() {
            return;
        }
        let before = self.resources.snapshot();
        let next = match reading {
            Ok(sample) => ResourceSnapshot {
                memory_available: self.memory.evaluate(sample.memory_percent),
                sample: Some(sample),
                taken_at: Some(now),
                problem: None,
            },
            Err(error) => ResourceSnapshot {
                problem: Some(error.to_string()),
                ..(*before).clone()
            },
        };
        report_changes(&before, &next);
        self.resources.latest.store(Arc::new(next));
    }
}

impl Actor for Metrics {
    type Msg = NoMessage;

    async fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        self.sample(ctx);
        Ok(())
    }

    async fn handle(&mut self, msg: NoMessage, _: &mut Context<Self>) -> Result<(), ActorError> {
        match msg {}
    }

    async fn tick(&mut self, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        self.sample(ctx);
        Ok(())
    }

    fn status(&self) -> StatusReport {
        let snapshot = self.resources.snapshot();
        let score = if snapshot.problem.is_some() { 50 } else { 100 };
        StatusReport {
            score,
            note: snapshot.problem.clone(),
            ..StatusReport::default()
        }
    }
}

/// Logs what a sample changed; a state that lasts is logged once.
fn report_changes(before: &ResourceSnapshot, next: &ResourceSnapshot) {
    match (&before.problem, &next.problem) {
        (None, None) => {}
        (Some(_), None) => info!("resources can be read again"),
        (before, Some(problem)) if before.as_ref() != Some(problem) => {
            warn!(%problem, "resources cannot be read");
        }
        (_, Some(_)) => {}
    }
    let percent = next.sample.as_ref().map(|sample| sample.memory_percent);
    match (before.memory_available, next.memory_available) {
        (true, false) => warn!(percent, "memory is used up"),
        (false, true) => info!(percent, "memory is available again"),
        _ => {}
    }
}
