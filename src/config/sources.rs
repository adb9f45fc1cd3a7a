//! Where models come from other than the model folder: the registry, object stores, and the cache in
//! which they end.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::predlog::Readiness;
use super::units::{Bytes, Period};

/// The MLflow registry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryConfig {
    /// Address of the MLflow tracking server, for example `http://mlflow:5000`. Empty = no registry.
    pub url: String,
    /// User name for basic authentication. Empty = none.
    pub username: String,
    /// File with the password that belongs to it.
    pub password_file: PathBuf,
    /// File with a bearer token, instead of user and password.
    pub token_file: PathBuf,
    /// File with the certificates (PEM) of authorities to trust besides the usual ones.
    pub ca_file: PathBuf,
    /// How often the registry is asked whether it is there.
    #[schemars(extend("x-min" = "100ms"))]
    pub check_every: Period,
    /// How long it may take to say so.
    #[schemars(extend("x-min" = "10ms"))]
    pub check_timeout: Period,
    /// How often it is asked which versions are meant, of all models together. A webhook makes it ask at once.
    #[schemars(extend("x-min" = "100ms"))]
    pub poll_every: Period,
    /// How long it may take to say that.
    #[schemars(extend("x-min" = "10ms"))]
    pub poll_timeout: Period,
    /// The most calls to it in a minute, whatever the rest says.
    #[schemars(range(min = 10, max = 100_000))]
    pub calls_a_minute: u32,
    /// What a registry that does not answer does to `/ready`. `/api/health/ready` never depends on it.
    pub readiness: Readiness,
    /// File with the secret by which MLflow signs webhooks; several, one a line, while it is changed. Empty = `POST /webhook/mlflow` is refused.
    pub webhook_secret_file: PathBuf,
}

/// Object stores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoresConfig {
    /// Options of stores by the names that their own tools give them in the environment, in lower case, for example `aws_endpoint` or `aws_region`. What the environment says (`AWS_…`, `GOOGLE_…`, `AZURE_…`) holds where nothing is said here. Secrets belong into the environment.
    pub options: BTreeMap<String, String>,
    /// File with the certificates (PEM) of authorities to trust besides the usual ones.
    pub ca_file: PathBuf,
    /// How often it is looked whether something else lies at the address of a model.
    #[schemars(extend("x-min" = "1s"))]
    pub poll_every: Period,
    /// How long a store may take to list what lies there.
    #[schemars(extend("x-min" = "10ms"))]
    pub list_timeout: Period,
}

/// How models are fetched, and the cache in which they end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DownloadsConfig {
    /// Folder of the cache. May be shared by several servers. Empty = `model-cache` in the data folder.
    pub dir: PathBuf,
    /// The most that it may take; what was used least recently goes first, and never what is loaded. Zero sets no limit.
    pub max_size: Bytes,
    /// Models that are fetched at one time.
    #[schemars(range(min = 1, max = 64))]
    pub parallel: usize,
    /// Files of one model that are fetched at one time.
    #[schemars(range(min = 1, max = 64))]
    pub files: usize,
    /// How long nothing may come of a file before it is asked for again.
    #[schemars(extend("x-min" = "100ms"))]
    pub stall_timeout: Period,
    /// How often a file is asked for again before the download counts as failed.
    #[schemars(range(max = 100))]
    pub retries: u32,
    /// The pause before a download that failed is tried again; each further one is twice as long.
    #[schemars(extend("x-min" = "10ms"))]
    pub backoff_min: Period,
    /// The longest such pause. There is no last attempt.
    #[schemars(extend("x-min" = "10ms"))]
    pub backoff_max: Period,
    /// After what time of silence another server's hold on a download, or on a model in the cache, counts for nothing.
    #[schemars(extend("x-min" = "1s"))]
    pub lease: Period,
    /// The largest model that is fetched.
    #[schemars(extend("x-min" = "1KiB"))]
    pub max_model: Bytes,
}

// === impl RegistryConfig ===

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            username: String::new(),
            password_file: PathBuf::new(),
            token_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            check_every: Period::secs(2),
            check_timeout: Period::secs(2),
            poll_every: Period::secs(10),
            poll_timeout: Period::secs(30),
            calls_a_minute: 120,
            readiness: Readiness::Required,
            webhook_secret_file: PathBuf::new(),
        }
    }
}

// === impl StoresConfig ===

impl Default for StoresConfig {
    fn default() -> Self {
        Self {
            options: BTreeMap::new(),
            ca_file: PathBuf::new(),
            poll_every: Period::secs(60),
            list_timeout: Period::secs(30),
        }
    }
}

// === impl DownloadsConfig ===

impl Default for DownloadsConfig {
    fn default() -> Self {
        Self {
            dir: PathBuf::new(),
            max_size: Bytes::kib(0),
            parallel: 2,
            files: 4,
            stall_timeout: Period::secs(30),
            retries: 5,
            backoff_min: Period::secs(1),
            backoff_max: Period::secs(60),
            lease: Period::secs(30),
            max_model: Bytes::mib(64 * 1024),
        }
    }
}
