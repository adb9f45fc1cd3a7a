//! A registry of MLflow: which version a name stands for, and where its files are.
//!
//! Releases 2 and 3 are spoken to alike, over the REST interface that both have, and what a version
//! lies at is always asked for (`get-download-uri`): what the registry calls its `source` is a path
//! in one and `models:/m-…` in the other.
//!
//! **Cost.** [`MlflowClient::resolve`] and [`MlflowClient::artifacts`] are one call each.
//! [`MlflowClient::survey`] of `D` distinct names is at most `D` calls where `D` ≤ 16, and otherwise
//! at most `min(⌈R/200⌉, 50) + 16` with `R` models in the registry: pages of 200, and those that were
//! not on any of them by name. A registry of 1,000 models that is polled every 30 s hears ten calls a
//! minute, whichever of them are followed.
//!
//! **What goes wrong** is a [`RegistryError`] that says whose turn it is. Whatever answers need not
//! be MLflow: every body is bounded, every wait has a deadline, no redirect is followed, and neither
//! passwords nor tokens appear in what is said.

mod artifacts;
mod error;
mod http;
mod proxy;
mod survey;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use self::artifacts::ArtifactRoot;
pub use self::error::RegistryError;
pub use self::proxy::ProxiedArtifacts;
pub use self::survey::Surveyed;

use self::http::{AskError, Http};
use self::wire::{RegisteredModel, Version, VersionAnswer};
use crate::location::{RegistryUri, Selector};

/// How a registry is reached.
#[derive(Debug, Clone)]
pub struct MlflowSettings {
    /// Its address, with the path that it is served below, if any: `https://host/mlflow`.
    pub url: String,
    /// Who asks.
    pub auth: Auth,
    /// A file of certificates (PEM) that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// How long a call may take.
    pub timeout: Duration,
    /// How long a download may be silent. A server fetches a file from its own store before it
    /// sends the first byte, so this is to be longer than that takes.
    pub silence: Duration,
}

/// Who asks a registry. Its secrets are not shown by `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Auth {
    /// Nobody in particular.
    #[default]
    None,
    /// A user of MLflow's own `basic-auth`, or of a proxy's.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// Who bears this token.
    Bearer(String),
}

/// A version of a registered model that is ready to be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelVersion {
    /// The registered model's name.
    pub name: String,
    /// Its number, from 1.
    pub version: u64,
    /// The stage it is in: `Production`, `Staging`, `Archived`, or `None` for none.
    pub stage: String,
    /// The aliases that point to it, in the order of their names.
    pub aliases: Vec<String>,
    /// The run that it was made in, where it is known.
    pub run_id: Option<String>,
    /// When it was registered, in milliseconds since 1970, where that is told.
    pub created: Option<u64>,
}

/// Asks a registry. A clone shares its connections.
#[derive(Debug, Clone)]
pub struct MlflowClient {
    http: Http,
}

// === impl MlflowSettings ===

impl MlflowSettings {
    /// Returns settings for a registry that asks for no credentials: 5 s for a call, 60 s of silence.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            auth: Auth::None,
            ca_file: None,
            timeout: Duration::from_secs(5),
            silence: Duration::from_secs(60),
        }
    }
}

// === impl Auth ===

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Basic { user, .. } => f
                .debug_struct("Basic")
                .field("user", user)
                .finish_non_exhaustive(),
            Self::Bearer(_) => f.write_str("Bearer(..)"),
        }
    }
}

// === impl MlflowClient ===

impl MlflowClient {
    /// Returns a client; nothing is asked yet.
    ///
    /// It reads the certificates that it trusts, so it is to be called where that may block.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Misconfigured`] when the address is none, or the certificates cannot be read.
    pub fn new(settings: MlflowSettings) -> Result<Self, RegistryError> {
        let http = Http::new(settings)?;
        Ok(Self { http })
    }

    /// Returns the registry's address, without credentials.
    #[must_use]
    pub fn url(&self) -> &str {
        self.http.shown()
    }

    /// Returns how many calls have been made by this client and its clones.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.http.calls()
    }

    /// Asks whether the registry is there and knows who asks.
    ///
    /// `/health` answers whoever asks, and also while the registry's database is gone; a search for
    /// one model takes both.
    ///
    /// # Errors
    ///
    /// Any that says that it cannot be used now.
    pub async fn ping(&self) -> Result<(), RegistryError> {
        let one = [("max_results", "1")];
        let answer: Result<wire::SearchAnswer, _> = self.http.ask(SEARCH, &one).await;
        answer.map(|_| ()).map_err(|error| self.http.failed(error))
    }

    /// Returns the version that is meant.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotFound`] when there is none, [`RegistryError::Pending`] and
    /// [`RegistryError::Failed`] when it is not ready, or any that says that the registry cannot be
    /// used now.
    pub async fn resolve(&self, uri: &RegistryUri) -> Result<ModelVersion, RegistryError> {
        let name = uri.name.as_str();
        let version = match &uri.selector {
            Selector::Alias(alias) => {
                let query = [("name", name), ("alias", alias)];
                self.http
                    .ask("mlflow/registered-models/alias", &query)
                    .await
            }
            Selector::Version(number) => {
                let query = [("name", name), ("version", &number.to_string())];
                self.http.ask("mlflow/model-versions/get", &query).await
            }
            Selector::Stage(_) | Selector::Latest => {
                let model = self.model(uri).await?;
                let (version, aliases) = model.select(uri)?;
                return self.ready(uri, version, aliases);
            }
        };
        let answer: VersionAnswer = version.map_err(|error| self.missing(uri, error))?;
        let aliases = answer.model_version.aliases.clone();
        self.ready(uri, &answer.model_version, aliases)
    }

    /// Asks for the registered model that a location names.
    async fn model(&self, uri: &RegistryUri) -> Result<RegisteredModel, RegistryError> {
        let query = [("name", uri.name.as_str())];
        let answer = self.http.ask("mlflow/registered-models/get", &query).await;
        let answer: wire::ModelAnswer = answer.map_err(|error| self.missing(uri, error))?;
        if answer.registered_model.name != uri.name {
            return Err(self
                .http
                .garbage("it tells of another model than it was asked for"));
        }
        Ok(answer.registered_model)
    }

    /// Says of a refusal that it is about what was asked for, where it is. Release 2 says of an alias
    /// of an unknown model that there is no such alias.
    fn missing(&self, uri: &RegistryUri, error: AskError) -> RegistryError {
        match error {
            AskError::Coded(coded) if coded.says_that_there_is_none() => RegistryError::NotFound {
                what: uri.to_string(),
                why: coded.message,
            },
            other => self.http.failed(other),
        }
    }

    /// Returns a version as it was told of, if it is ready.
    fn ready(
        &self,
        uri: &RegistryUri,
        version: &Version,
        aliases: Vec<String>,
    ) -> Result<ModelVersion, RegistryError> {
        version
            .ready(&uri.name, aliases)
            .map_err(|error| error.on(self.http.shown()))
    }
}

const SEARCH: &str = "mlflow/registered-models/search";
