//! Everything over HTTP.
//!
//! Only this module and `grpc` know status codes. Handlers read snapshots and hand requests to the
//! serving path; none of them waits for an actor except where the answer is a commit: `POST /log`, and
//! predictions of models that are `durable`.

mod admin;
mod body;
mod coding;
mod connection;
mod docs;
pub mod error;
mod events;
mod faults;
mod health;
mod local;
pub mod measuring;
mod metrics;
mod models;
mod openai;
pub mod openapi;
mod parts;
mod predict;
mod predlog;
mod request;
mod sending;
pub mod server;
mod services;
mod strenuous;
mod traffic;
mod v1;
mod v2;
mod webhook;

use std::sync::{Arc, OnceLock};

use actix_web::web;
use impetus_actors::downloader::Downloads;
use impetus_actors::model_loader::ModelControl;
use impetus_actors::outcomes::Outcomes;
use impetus_actors::predlog::PredictionLog;
use impetus_actors::serving::Catalog;
use impetus_actors::serving::quarantine::Quarantine;
use impetus_actors::sources::shelf::Shelf;
use impetus_supervision::{FaultKit, SupervisorRef};

use crate::config::{Config, Role};
use crate::data_disk::DataDisk;
use crate::health::{HealthPlane, Lifecycle};
use crate::predictions::Recorder;

pub(crate) use connection::find_half_open;
pub(crate) use local::PASSED_ON;
pub(crate) use request::is_well_formed_id;
pub use traffic::{Closed, Endpoint, InFlight, Port, Traffic};
pub use webhook::Webhook;

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
    /// What puts the server's own predictions into it.
    pub recorder: Option<Arc<Recorder>>,
    /// The hand that loads and unloads models, where this process serves any.
    pub control: Option<ModelControl>,
    /// The models that come from elsewhere.
    pub shelf: Arc<Shelf>,
    /// The hand that fetches them, where this process serves any.
    pub downloads: Option<Downloads>,
    /// Where the registry tells of changes, where it may.
    pub webhook: Option<Arc<Webhook>>,
    /// Work that has come in.
    pub traffic: Arc<Traffic>,
    /// The room on the disk of the data folder.
    pub disk: Arc<DataDisk>,
    /// What `/openapi.json` answers.
    pub openapi: Arc<openapi::Text>,
    /// The phase of the process.
    pub lifecycle: Arc<Lifecycle>,
    /// The root supervisor, once the tree has been started.
    pub tree: Arc<OnceLock<SupervisorRef>>,
    /// Fault injection, where it is enabled.
    pub faults: Option<FaultKit>,
}

// === impl AppState ===

impl AppState {
    /// Returns which services this process is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.config.role
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

/// Routes of the main port that most requests take. They stand before all others, since a path with
/// names in it is compared with every one before it.
pub fn busy_routes(config: &mut web::ServiceConfig, state: &AppState) {
    if state.role().infers() {
        v2::infer_routes(config);
    }
}

/// Routes of the main port beside those and the health plane's.
pub fn work_routes(config: &mut web::ServiceConfig, state: &AppState) {
    openapi::routes(config);
    docs::routes(config);
    if state.role().infers() {
        models::order_routes(config);
        predict::routes(config);
        v2::routes(config);
        v1::routes(config);
        openai::routes(config);
        webhook::routes(config);
    }
    if state.role().logs() {
        predlog::routes(config);
    }
    if state.faults.is_some() {
        faults::routes(config);
    }
}
