//! Everything about the server that can be set, in one tree of types.
//!
//! **Why one tree.** The struct is the single place where a key exists: its doc
//! comment is the reference page, its attributes are its bounds, its `Default`
//! is what holds when nobody says anything. The [`Catalogue`] is read from it
//! by way of its JSON schema, and everything that speaks about keys (the
//! loader's errors, the environment's names, `impetus check-config`, the page
//! in `docs/`) asks the catalogue. So a key cannot be undocumented, unbounded
//! by accident, or known to one layer and not to another.
//!
//! **Layers.** Defaults, then the file, then the environment; a later one wins,
//! key by key. Each value remembers where it came from, so that an error can
//! name the line or the variable, and `check-config` can say whose word won.
//!
//! **Invariant.** A [`Config`] that [`Config::load`] returned has passed every
//! bound and every rule between keys; nobody checks again later.
//!
//! **How it fails.** All problems are found in one go and returned together,
//! each with its key, its origin and, for a slip of the pen, the key that was
//! probably meant. Nothing wrong is ever replaced by a default. Names of
//! variables that merely begin like ours are the one exception, because
//! Kubernetes injects such names unasked; they become a [`Warning`].
//!
//! The process environment is read here, by [`process_environment`], and
//! nowhere else.

mod admin;
mod catalogue;
mod edge;
mod effective;
mod environment;
mod error;
mod file;
mod generation;
mod health;
mod lifecycle;
mod load;
mod log;
mod memory;
mod metrics;
mod models;
mod predlog;
mod reference;
mod runtime;
mod runtime_library;
mod sources;
mod storage;
mod units;
mod validate;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use admin::AdminConfig;
pub use catalogue::{Bound, Catalogue, Key, Kind, Section};
pub use edge::{GrpcConfig, HttpConfig};
pub use effective::{as_json, as_toml};
pub use environment::{Warning, process_environment, store_environment};
pub use error::{ConfigError, Problem};
pub use generation::GenerationConfig;
pub use health::{HealthConfig, READINESS_CHECKS};
pub use lifecycle::{FaultsConfig, LifecycleConfig, SupervisionConfig};
pub use load::{LoadArgs, Loaded, Source, Sources};
pub use log::{LogConfig, LogFormat};
pub use memory::{ForensicsConfig, MemoryConfig, QuarantineConfig};
pub use metrics::MetricsConfig;
pub use models::{Isolation, ModelControlBy, ModelMode, ModelsConfig, WhenFull};
pub use predlog::{DriftConfig, LogMode, PredlogConfig, Readiness, SinkConfig, SinkKind, SinkUrl};
pub use reference::reference;
pub use runtime::{CoreMlUnits, RuntimeConfig};
pub use runtime_library::{RuntimeLibraryMissing, SearchPlaces, resolve_runtime_library};
pub use sources::{DownloadsConfig, RegistryConfig, StoresConfig};
pub use storage::DataConfig;
pub use units::{Bytes, InvalidUnit, Period};
pub use validate::{Violation, is_model_name};

/// The configuration of one server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Name of the environment, as health answers and logs repeat it.
    pub environment: String,
    /// Address to listen on: an IP address or a host name. The container image sets `0.0.0.0`.
    pub host: String,
    /// Port for HTTP. 0 = any free one; the start-up banner says which.
    pub port: u16,
    /// How much is logged: `error`, `warn`, `info`, `debug`, `trace` or `off`, or directives such as `info,impetus_actors=debug`.
    pub log_level: String,
    /// Which of the two services this process is.
    pub role: Role,
    /// The log on stderr.
    pub log: LogConfig,
    /// The HTTP server on the main port.
    pub http: HttpConfig,
    /// gRPC: `inference.GRPCInferenceService`, `grpc.health.v1` and reflection.
    pub grpc: GrpcConfig,
    /// The health plane: when something counts as stale, failing, unready.
    pub health: HealthConfig,
    /// The models and the workers that run them.
    pub models: ModelsConfig,
    /// The MLflow registry, for models whose source is `models:/…`.
    pub registry: RegistryConfig,
    /// Object stores, for models whose source is `s3://…`, `gs://…`, `az://…` or `https://…`.
    pub stores: StoresConfig,
    /// How models from elsewhere are fetched, and the cache in which they end.
    pub downloads: DownloadsConfig,
    /// How models that generate text do so. A model may say otherwise (`[generation]` in its `model.toml`).
    pub generation: GenerationConfig,
    /// Metrics, beside those that are always there.
    pub metrics: MetricsConfig,
    /// The memory guard: the hard limits of all workers together stay within what may be used.
    pub memory: MemoryConfig,
    /// Requests that killed the worker they were alone with, and are refused.
    pub quarantine: QuarantineConfig,
    /// What is kept of workers that were killed or crashed, in `forensics/` of the data folder.
    pub forensics: ForensicsConfig,
    /// The native model runtime, and on what it computes.
    pub runtime: RuntimeConfig,
    /// Where the server writes.
    pub data: DataConfig,
    /// The prediction log.
    pub predlog: PredlogConfig,
    /// Where predictions go from the file in which they land.
    pub sink: SinkConfig,
    /// Whether what models say changes its shape, by the population stability index.
    pub drift: DriftConfig,
    /// The steps from SIGTERM to the end, in their order, each with its own deadline.
    pub lifecycle: LifecycleConfig,
    /// The supervision of actors.
    pub supervision: SupervisionConfig,
    /// Administration over HTTP, from this machine only.
    pub admin: AdminConfig,
    /// Fault injection, for game days.
    pub faults: FaultsConfig,
}

/// Which service a process is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Inference and logging in one process.
    #[default]
    Both,
    /// The inference service alone.
    Inference,
    /// The logging service alone.
    Logging,
}

// === impl Config ===

impl Config {
    /// Loads the configuration from its layers: defaults, file, environment.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is not TOML, or else with every wrong
    /// key and value of file and environment together.
    pub fn load<E>(args: LoadArgs<E>) -> Result<Loaded, ConfigError>
    where
        E: IntoIterator<Item = (String, String)>,
    {
        load::load(args)
    }

    /// Checks every bound and every rule between keys.
    ///
    /// # Errors
    ///
    /// With every violation, each naming its keys.
    pub fn validate(&self) -> Result<(), Vec<Violation>> {
        validate::validate(self)
    }

    /// Returns the largest message over gRPC: its own limit, or else that of bodies.
    pub fn grpc_max_message(&self) -> Bytes {
        match self.grpc.max_message.get() {
            0 => self.http.max_body,
            _ => self.grpc.max_message,
        }
    }

    /// Returns how long a call over gRPC may take: its own limit, or else that of requests.
    pub fn grpc_request_timeout(&self) -> Duration {
        match self.grpc.request_timeout.get() {
            Duration::ZERO => self.http.request_timeout.get(),
            own => own,
        }
    }

    /// Returns the address of the health thread: its own, or else the server's.
    pub fn health_host(&self) -> &str {
        match self.health.host.as_str() {
            "" => &self.host,
            own => own,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            environment: "development".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: 8080,
            log_level: "info".to_owned(),
            role: Role::Both,
            log: LogConfig::default(),
            http: HttpConfig::default(),
            grpc: GrpcConfig::default(),
            health: HealthConfig::default(),
            models: ModelsConfig::default(),
            registry: RegistryConfig::default(),
            stores: StoresConfig::default(),
            downloads: DownloadsConfig::default(),
            generation: GenerationConfig::default(),
            metrics: MetricsConfig::default(),
            memory: MemoryConfig::default(),
            quarantine: QuarantineConfig::default(),
            forensics: ForensicsConfig::default(),
            runtime: RuntimeConfig::default(),
            data: DataConfig::default(),
            predlog: PredlogConfig::default(),
            sink: SinkConfig::default(),
            drift: DriftConfig::default(),
            lifecycle: LifecycleConfig::default(),
            supervision: SupervisionConfig::default(),
            admin: AdminConfig::default(),
            faults: FaultsConfig::default(),
        }
    }
}

// === impl Role ===

impl Role {
    /// Returns whether this process answers `/predict`.
    pub const fn infers(self) -> bool {
        matches!(self, Self::Both | Self::Inference)
    }

    /// Returns whether this process answers `/log` and `/stats`.
    pub const fn logs(self) -> bool {
        matches!(self, Self::Both | Self::Logging)
    }

    /// Returns what `/health` calls this service.
    pub const fn service(self) -> &'static str {
        match self {
            Self::Both => "impetus",
            Self::Inference => "inference-service",
            Self::Logging => "logging-service",
        }
    }
}
