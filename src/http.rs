//! Everything over HTTP.
//!
//! Only this module and `grpc` know status codes. Handlers read snapshots and hand requests to the
//! serving path; none of them waits for an actor except `POST /log`, whose answer is the commit.

mod admin;
mod body;
mod connection;
pub mod error;
mod events;
mod faults;
mod health;
mod local;
mod metrics;
mod models;
mod predict;
mod predlog;
mod request;
mod sending;
pub mod server;
mod services;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use actix_web::web;
use impetus_actors::outcomes::Outcomes;
use impetus_actors::predlog::PredictionLog;
use impetus_actors::serving::Catalog;
use impetus_actors::serving::quarantine::Quarantine;
use impetus_supervision::{FaultKit, SupervisorRef};

use crate::config::{Config, Role};
use crate::health::{HealthPlane, Lifecycle};

/// What every handler works with.
#[derive(Clone)]
pub struct AppState {
    /// The configuration.
    pub config: Arc<Config>,
    /// What the server says about itself.
    pub plane: Arc<HealthPlane>,
    /// The models.
    pub catalog: Arc<Catalog>,
    /// How executions ended and how long requests took.
    pub outcomes: Arc<Outcomes>,
    /// The requests that are refused.
    pub quarantine: Arc<Quarantine>,
    /// The prediction log, where this process keeps one.
    pub predlog: Option<PredictionLog>,
    /// Work that has come in.
    pub traffic: Arc<Traffic>,
    /// The phase of the process.
    pub lifecycle: Arc<Lifecycle>,
    /// The root supervisor, once the tree has been started.
    pub tree: Arc<OnceLock<SupervisorRef>>,
    /// Fault injection, where it is enabled.
    pub faults: Option<FaultKit>,
}

/// Work requests: how many there were, how many are being answered, and how many connections were
/// closed on clients that were too slow.
#[derive(Debug, Default)]
pub struct Traffic {
    total: AtomicU64,
    in_flight: AtomicUsize,
    closed: [AtomicU64; Closed::ALL.len()],
}

/// Why a connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// The body of a request did not come in time.
    BodyTimeout,
    /// The answer was not taken in time.
    WriteTimeout,
}

// === impl AppState ===

impl AppState {
    /// Returns which services this process is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.config.role
    }
}

// === impl Traffic ===

impl Traffic {
    /// Returns how many work requests have come in since the start.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Returns how many requests of any kind are being answered.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Counts a request as being answered until the returned guard is dropped.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight(Arc::clone(self))
    }

    /// Returns how many connections were closed for a reason.
    #[must_use]
    pub fn closed(&self, reason: Closed) -> u64 {
        self.closed[reason as usize].load(Ordering::Relaxed)
    }

    fn count_work(&self) {
        self.total.fetch_add(1, Ordering::Relaxed);
    }

    fn count_closed(&self, reason: Closed) {
        self.closed[reason as usize].fetch_add(1, Ordering::Relaxed);
    }
}

// === impl Closed ===

impl Closed {
    /// Every reason, in its order.
    pub const ALL: [Self; 2] = [Self::BodyTimeout, Self::WriteTimeout];

    /// Returns the reason as metrics name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BodyTimeout => "body_timeout",
            Self::WriteTimeout => "write_timeout",
        }
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub struct InFlight(Arc<Traffic>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Routes of the health plane and of administration, the same on both ports.
pub fn health_routes(config: &mut web::ServiceConfig, state: &AppState) {
    admin::routes(config, state);
    health::routes(config);
    events::routes(config);
    services::routes(config);
    metrics::routes(config);
    models::routes(config);
}

/// Routes of the main port beside the health plane's.
pub fn work_routes(config: &mut web::ServiceConfig, state: &AppState) {
    if state.role().infers() {
        predict::routes(config);
    }
    if state.predlog.is_some() {
        predlog::routes(config);
    }
    if state.faults.is_some() {
        faults::routes(config);
    }
}
