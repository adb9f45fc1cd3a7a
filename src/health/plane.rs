//! Collects the facts, keeps the few that need memory of their own, and makes the answers.
//!
//! Everything it reads is a snapshot somebody else has written. What it keeps itself are the
//! verdicts that depend on earlier ones: the failures in a row, and the gates over error rates.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use impetus_actors::heartbeat::{BoardSource, Pulse};
use impetus_actors::metrics::Resources;
use impetus_actors::outcomes::Outcomes;
use impetus_actors::predlog::{DatabaseState, PredictionLogStatus, PredictionTime, SinkState};
use impetus_actors::registry::{RegistryState, RegistryStatus};
use impetus_actors::serving::Catalog;
use impetus_actors::serving::memory::MemoryGuard;
use impetus_actors::sliding::{ErrorRateGate, Tally};
use impetus_supervision::{ActorId, ActorState, Clock, Healing, StatusNode};
use serde_json::Value;
use tracing::{info, warn};

use super::body::{self, Frame, HealthBody, LiveBody, ReadyBody, StartupBody, StatusBody};
use super::events::{self, EventsBody, EventsWanted, UnknownActor};
use super::facts::{
    Beat, DatabaseFacts, Exhibits, Facts, GivenUp, MemoryFacts, ModelFacts, SinkFacts,
};
use super::fold::{self, Check, Readiness, Rules};
use super::score::Grade;
use super::{EdgeStamps, Lifecycle, OperatorDrain};

/// Actors whose doubt makes the server unready and whose loss ends it.
pub const SIGNIFICANT: [&str; 3] = ["root", "heartbeat", "model_loader"];

/// Where the facts are read.
pub struct Sources {
    /// The clock that answers show.
    pub clock: Arc<dyn Clock>,
    /// The status board, once the tree has been started.
    pub board: BoardSource,
    /// The heart.
    pub pulse: Arc<Pulse>,
    /// The HTTP workers' stamps.
    pub edge: Arc<EdgeStamps>,
    /// The phase of the process.
    pub lifecycle: Arc<Lifecycle>,
    /// Whether an operator has taken the server out of traffic.
    pub drain: Arc<OperatorDrain>,
    /// Whether fallen actors are started again.
    pub healing: Healing,
    /// The models; `None` where this process serves none.
    pub catalog: Option<Arc<Catalog>>,
    /// Names of the models that must be there.
    pub required_models: Vec<String>,
    /// How executions ended.
    pub outcomes: Arc<Outcomes>,
    /// Who may take how much memory; `None` where this process has no workers.
    pub memory: Option<Arc<MemoryGuard>>,
    /// Memory and CPU.
    pub resources: Resources,
    /// The prediction log; `None` where this process keeps none.
    pub predlog: Option<Arc<PredictionLogStatus>>,
    /// What is known of the model registry, where one is configured.
    pub registry: Option<Arc<RegistryStatus>>,
    /// How the last run ended.
    pub previous_run: Option<Value>,
}

/// The settings of the plane.
#[derive(Debug, Clone)]
pub struct PlaneSettings {
    /// The numbers of the verdicts.
    pub rules: Rules,
    /// Name of the environment.
    pub environment: String,
    /// Other names of readiness checks.
    pub aliases: BTreeMap<String, String>,
    /// The gate over each service's error rate.
    pub error_gate: ErrorRateGate,
}

/// The health plane.
pub struct HealthPlane {
    started_at: Instant,
    settings: PlaneSettings,
    sources: Sources,
    inference_gate: Mutex<ErrorRateGate>,
    logging_gate: Mutex<ErrorRateGate>,
    consecutive_failures: AtomicU64,
    failures: AtomicU64,
}

/// What `/api/health/ready` answers.
#[derive(Debug)]
pub struct ReadyAnswer {
    /// The body.
    pub body: ReadyBody,
    readiness: Readiness,
}

// === impl HealthPlane ===

impl HealthPlane {
    /// Makes the plane of a process that started at `started_at`.
    #[must_use]
    pub fn new(started_at: Instant, settings: PlaneSettings, sources: Sources) -> Self {
        Self {
            started_at,
            inference_gate: Mutex::new(settings.error_gate.clone()),
            logging_gate: Mutex::new(settings.error_gate.clone()),
            settings,
            sources,
            consecutive_failures: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    /// Returns the time since the process started.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started_at.elapsed()
    }

    /// Returns the wall-clock time; for people, never for decisions.
    #[must_use]
    pub fn wall(&self) -> SystemTime {
        self.sources.clock.wall()
    }

    /// Collects the facts as they are now.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let resources = self.sources.resources.snapshot();
        Facts {
            unknown: self.unknown(),
            models: self.model_facts(),
            runtime: self.runtime(),
            memory: resources.sample.as_ref().map(|sample| MemoryFacts {
                percent: sample.memory_percent,
                used_bytes: sample.memory_used_bytes,
                limit_bytes: sample.memory_limit_bytes,
                resident_bytes: sample.process_resident_bytes,
                available: resources.memory_available,
            }),
            guard: self.sources.memory.as_ref().map(|guard| guard.figures()),
            cpu_percent: resources
                .sample
                .as_ref()
                .and_then(|sample| sample.cpu_percent),
            database: self.database(),
            registry: self.registry(),
            ..self.vital_facts()
        }
    }

    /// Collects only what liveness is judged by; the rest is as if nothing were known of it. Nothing
    /// of models, database or memory is touched, so none of their locks can hold up a verdict.
    #[must_use]
    pub fn vital_facts(&self) -> Facts {
        let sources = &self.sources;
        let board = sources.board.get();
        let given_up = board
            .and_then(|board| board.given_up())
            .map(|verdict| GivenUp {
                actor: verdict.actor.to_string(),
                reason: verdict.reason.clone(),
            });
        Facts {
            now: self.wall(),
            uptime: self.uptime(),
            started: board.is_some_and(|board| board.started()),
            phase: sources.lifecycle.phase(),
            drained: sources.drain.is_drained(),
            healing_paused: sources.healing.paused_for(),
            heartbeat: Beat {
                age: sources.pulse.age(),
                at: sources.pulse.last_beat(),
            },
            root_age: board.and_then(|board| board.root_age()),
            given_up,
            unknown: Vec::new(),
            edge: sources.edge.ages(),
            models: ModelFacts::default(),
            runtime: None,
            memory: None,
            guard: None,
            cpu_percent: None,
            database: None,
            registry: None,
        }
    }

    /// Answers `GET /api/health/live`.
    #[must_use]
    pub fn live(&self) -> LiveBody {
        body::live(&self.vital_facts(), &self.settings.rules)
    }

    /// Answers `GET /api/health/ready`, leaving out the checks named in `exclude`.
    ///
    /// # Errors
    /// Returns the first name that is no check's.
    pub fn ready(&self, exclude: &[String]) -> Result<ReadyAnswer, String> {
        let facts = self.facts();
        let mut readiness = fold::ready(&facts, &self.settings.rules);
        for name in exclude {
            let name = self.resolve(name).ok_or_else(|| name.clone())?;
            readiness = readiness.without(name);
        }
        Ok(ReadyAnswer {
            body: body::ready(&facts, &readiness, &self.frame()),
            readiness,
        })
    }

    /// Returns one readiness check by its name or by another name it has.
    #[must_use]
    pub fn check(&self, name: &str) -> Option<Check> {
        let name = self.resolve(name)?;
        let readiness = fold::ready(&self.facts(), &self.settings.rules);
        let mut checks = readiness.all_checks().into_iter();
        checks.find(|check| check.name == name)
    }

    /// Tells whether traffic should come here.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        fold::ready(&self.facts(), &self.settings.rules).holds()
    }

    /// Answers `GET /api/health/startup`.
    #[must_use]
    pub fn startup(&self) -> StartupBody {
        body::startup(&self.facts())
    }

    /// Answers `GET /api/health`.
    #[must_use]
    pub fn health(&self) -> HealthBody {
        body::health(&self.facts(), &self.frame())
    }

    /// Answers `GET /api/health/status`.
    #[must_use]
    pub fn status(&self) -> StatusBody {
        let board = self.sources.board.get();
        let exhibits = Exhibits {
            actors: board
                .map(|board| StatusNode::nest(board.snapshot()))
                .unwrap_or_default(),
            previous_run: self.sources.previous_run.clone(),
            lifecycle: self.sources.lifecycle.course(),
        };
        body::status(&self.facts(), &self.frame(), exhibits)
    }

    /// Answers `GET /api/health/events`.
    ///
    /// # Errors
    /// The actor that is asked about is unknown.
    pub fn events(&self, wanted: &EventsWanted) -> Result<EventsBody, UnknownActor> {
        events::events(self.sources.board.get(), wanted, self.wall())
    }

    /// Returns the check on models alone, as `/ready` of the inference service asks it.
    #[must_use]
    pub fn models_loaded(&self) -> Check {
        self.check("models_loaded").expect("the check exists")
    }

    /// Returns what is known of the model registry; `None` where none is configured.
    #[must_use]
    pub fn registry(&self) -> Option<Arc<RegistryState>> {
        Some(self.sources.registry.as_ref()?.state())
    }

    /// Returns what is known of the database; `None` where this process does not keep one.
    #[must_use]
    pub fn database(&self) -> Option<DatabaseFacts> {
        let log = self.sources.predlog.as_ref()?;
        let status = log.snapshot();
        let age = |since: PredictionTime| {
            let now = PredictionTime::from(self.wall()).unix_millis();
            let millis = now.saturating_sub(since.unix_millis());
            Duration::from_millis(u64::try_from(millis).unwrap_or_default())
        };
        Some(DatabaseFacts {
            initialized: status.db_initialized,
            connected: status.connected,
            reason: match &*status.database {
                DatabaseState::Connected => None,
                DatabaseState::Starting => Some("it has not been opened yet".to_owned()),
                DatabaseState::Unavailable { reason, .. } => Some(reason.to_string()),
            },
            sink: status.sink.map(|sink| SinkFacts {
                kind: sink.kind,
                connected: *sink.state == SinkState::Connected,
                reason: match &*sink.state {
                    SinkState::Starting => Some("it has not been asked yet".to_owned()),
                    state => state.reason().map(ToString::to_string),
                },
                backlog_full: log.backlog_is_full(),
            }),
            rows: status.rows,
            oldest: status.oldest.map(age),
            recorded: status.recorded,
            free_bytes: status.free_bytes,
            set_aside: status.set_aside.map(|aside| aside.path.clone()),
        })
    }

    /// Returns the last minute's executions if too many of them failed.
    #[must_use]
    pub fn inference_error_rate(&self) -> Option<Tally> {
        let tally = self.sources.outcomes.lately();
        judge(&self.inference_gate, tally, self.uptime())
    }

    /// Returns the last minute's log requests if too many of them failed.
    #[must_use]
    pub fn logging_error_rate(&self) -> Option<Tally> {
        let tally = self.sources.predlog.as_ref()?.outcomes();
        judge(&self.logging_gate, tally, self.uptime())
    }

    /// Evaluates health, as is done every ten seconds whether or not anybody asks.
    pub fn evaluate(&self) {
        let facts = self.facts();
        let overall = fold::overall(&facts, &self.settings.rules);
        if overall.grade == Grade::Unhealthy {
            let in_a_row = self.consecutive_failures.fetch_add(1, Ordering::AcqRel) + 1;
            self.failures.fetch_add(1, Ordering::AcqRel);
            let low = overall
                .components
                .iter()
                .filter(|(_, c)| c.status == Grade::Unhealthy);
            let components: Vec<&str> = low.map(|(name, _)| *name).collect();
            warn!(
                in_a_row,
                ?components,
                score = overall.score,
                "health evaluation failed"
            );
        } else if self.consecutive_failures.swap(0, Ordering::AcqRel) > 0 {
            info!(score = overall.score, "health evaluation passes again");
        }
        if let Some(left) = facts.healing_paused {
            let seconds = left.as_secs_f64();
            warn!(
                seconds,
                "healing is paused, what falls is not started again"
            );
        }
    }

    /// Keeps the gates moving while nobody asks.
    pub fn turn_gates(&self) {
        let _ = self.inference_error_rate();
        let _ = self.logging_error_rate();
    }

    /// Returns the steps of the end so far, as the record of the run keeps them.
    #[must_use]
    pub fn steps(&self) -> Vec<Value> {
        let course = self.sources.lifecycle.course();
        let steps = course.steps.iter();
        steps
            .map(|step| serde_json::to_value(step).unwrap_or(Value::Null))
            .collect()
    }

    /// Returns the unhealthy evaluations in a row.
    #[must_use]
    pub fn consecutive_failures(&self) -> u64 {
        self.consecutive_failures.load(Ordering::Acquire)
    }

    /// Returns the unhealthy evaluations since the start.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Acquire)
    }

    /// Returns the numbers of the verdicts.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.settings.rules
    }

    /// Returns where the facts are read.
    #[must_use]
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    fn unknown(&self) -> Vec<String> {
        let Some(board) = self.sources.board.get() else {
            return Vec::new();
        };
        SIGNIFICANT
            .iter()
            .filter(|name| {
                let status = board.get(&ActorId::from(**name));
                status.is_some_and(|status| status.state == ActorState::Unknown)
            })
            .map(|name| (*name).to_owned())
            .collect()
    }

    fn model_facts(&self) -> ModelFacts {
        let Some(catalog) = &self.sources.catalog else {
            return ModelFacts::default();
        };
        let models = catalog.entries();
        let (all, beside): (Vec<_>, Vec<_>) = models.values().map(|entry| entry.status()).unzip();
        let missing = self.sources.required_models.iter();
        ModelFacts {
            served_here: true,
            scanned: catalog.scans() > 0,
            source_problem: catalog.source_problem().map(|problem| problem.to_string()),
            missing: missing
                .filter(|name| !models.contains_key(*name))
                .cloned()
                .collect(),
            all,
            beside: beside.into_iter().flatten().collect(),
        }
    }

    fn runtime(&self) -> Option<String> {
        let runtime = self.sources.catalog.as_ref()?.runtime()?;
        Some(format!("{} {}", runtime.name, runtime.version))
    }

    fn resolve<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        let name = self.settings.aliases.get(name).map_or(name, String::as_str);
        let known = crate::config::READINESS_CHECKS.contains(&name) || name == fold::SERVING;
        known.then_some(name)
    }

    fn frame(&self) -> Frame<'_> {
        Frame {
            rules: &self.settings.rules,
            environment: &self.settings.environment,
            consecutive_failures: self.consecutive_failures(),
            aliases: &self.settings.aliases,
        }
    }
}

// === impl ReadyAnswer ===

impl ReadyAnswer {
    /// Returns the checks and, as one more, whatever else speaks against readiness.
    #[must_use]
    pub fn all_checks(&self) -> Vec<Check> {
        self.readiness.all_checks()
    }
}

fn judge(gate: &Mutex<ErrorRateGate>, tally: Tally, now: Duration) -> Option<Tally> {
    let mut gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
    (!gate.evaluate(tally, now)).then_some(tally)
}

#[cfg(test)]
mod tests;
