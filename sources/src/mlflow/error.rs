//! Why a registry did not say what was asked for.

use thiserror::Error;

/// Why a registry did not say what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RegistryError {
    /// The settings cannot be used.
    #[error("the registry cannot be asked: {why}")]
    Misconfigured {
        /// What is wrong with them, and what to do.
        why: String,
    },
    /// Nobody answers, or not in time; worth another attempt.
    #[error("the registry {url} cannot be reached: {why}")]
    Unreachable {
        /// The registry's address.
        url: String,
        /// What happened.
        why: String,
    },
    /// It answers that it cannot answer now; worth another attempt.
    #[error("the registry {url} has a problem of its own ({status}): {why}")]
    Unavailable {
        /// The registry's address.
        url: String,
        /// The status code.
        status: u16,
        /// Its own words, cut short.
        why: String,
    },
    /// Who asks may not.
    #[error(
        "the registry {url} refuses access ({status}): {why}; check the user and password or the token in the configuration"
    )]
    Unauthorized {
        /// The registry's address.
        url: String,
        /// The status code.
        status: u16,
        /// Its own words, cut short.
        why: String,
    },
    /// It does not know itself by the name that it is asked under.
    #[error(
        "the registry {url} does not take requests for this host name; start it with `mlflow server --allowed-hosts {host}`, or ask it by a name that it allows"
    )]
    WrongHost {
        /// The registry's address.
        url: String,
        /// The host as it is asked for.
        host: String,
    },
    /// There is no such model, version, alias, or version in a stage.
    #[error("the registry has no {what}: {why}")]
    NotFound {
        /// What was asked for.
        what: String,
        /// Its own words.
        why: String,
    },
    /// The version is still being registered; worth another attempt.
    #[error("version {version} of {name} is still being registered ({status})")]
    Pending {
        /// The registered model's name.
        name: String,
        /// The version's number.
        version: u64,
        /// Its status.
        status: String,
    },
    /// The version could not be registered, and never will be.
    #[error(
        "version {version} of {name} could not be registered ({status}): {why}; register it anew"
    )]
    Failed {
        /// The registered model's name.
        name: String,
        /// The version's number.
        version: u64,
        /// Its status.
        status: String,
        /// The registry's own words.
        why: String,
    },
    /// It does not accept what was asked.
    #[error("the registry {url} does not accept the request ({code}): {why}")]
    Rejected {
        /// The registry's address.
        url: String,
        /// MLflow's own code.
        code: String,
        /// Its own words, cut short.
        why: String,
    },
    /// It answers something that it must not.
    #[error("the registry {url} gives an answer that cannot be used: {why}")]
    Garbage {
        /// The registry's address.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The files of a version lie where they cannot be read from here.
    #[error("the files of version {version} of {name} cannot be read from {place}: {why}")]
    Unreadable {
        /// The registered model's name.
        name: String,
        /// The version's number.
        version: u64,
        /// Where they are said to be.
        place: String,
        /// Why not, and what to do.
        why: String,
    },
}

// === impl RegistryError ===

impl RegistryError {
    /// Tells whether the same may well succeed a little later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Unavailable { .. } | Self::Pending { .. }
        )
    }

    /// Tells whether the registry itself answers as it should, so that this is about what was asked
    /// for.
    #[must_use]
    pub fn is_about_the_model(&self) -> bool {
        matches!(
            self,
            Self::NotFound { .. }
                | Self::Pending { .. }
                | Self::Failed { .. }
                | Self::Unreadable { .. }
        )
    }
}
