//! The hand that asks for downloads.

use std::sync::Arc;

use impetus_sources::Location;
use impetus_supervision::{ActorRef, Timestamp};
use thiserror::Error;

use super::record::{Counted, Download, DownloadStatus};
use super::{DownloaderMsg, Shared};
use crate::model_loader::LoaderMsg;
use crate::registry::RegistryMsg;

/// Asks for downloads, lists and cancels them.
#[derive(Debug, Clone)]
pub struct Downloads {
    shared: Arc<Shared>,
    downloader: ActorRef<DownloaderMsg>,
    registry: Option<ActorRef<RegistryMsg>>,
}

/// Why a download cannot be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DownloadError {
    /// It comes from a registry, and there is none.
    #[error("{source_text} is a model of a registry, and none is configured; set registry.url")]
    NoRegistry {
        /// What was asked for.
        source_text: String,
    },
    /// The configuration names another source for that model.
    #[error(
        "model {name:?} comes from {configured}, as models.remote says; choose another name, or change it there"
    )]
    Configured {
        /// The name.
        name: String,
        /// Its source.
        configured: String,
    },
    /// There are as many models as the server may fetch.
    #[error(
        "{0} models come from elsewhere already, which is the most; restart the server to forget those that were asked for by request"
    )]
    TooMany(usize),
}

/// How many models may come from elsewhere: each is asked about again and again.
const MOST_MODELS: usize = 10_000;

// === impl Downloads ===

impl Downloads {
    pub(super) fn new(shared: Arc<Shared>, downloader: ActorRef<DownloaderMsg>) -> Self {
        Self {
            shared,
            downloader,
            registry: None,
        }
    }

    /// Has the registry's actor told when something else is asked for.
    #[must_use]
    pub fn with_registry(mut self, registry: ActorRef<RegistryMsg>) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Has the model loader told when something has arrived; the first one that is named here counts.
    pub fn tell(&self, loader: ActorRef<LoaderMsg>) {
        let _ = self.shared.loader.set(loader);
    }

    /// Asks for a model under a name, by which it is served once it is here. One that has failed or was
    /// cancelled is resumed.
    ///
    /// # Errors
    /// See [`DownloadError`].
    pub fn start(
        &self,
        name: &str,
        source: Location,
        at: Timestamp,
    ) -> Result<Arc<Download>, DownloadError> {
        let source_text = source.shown();
        if matches!(source, Location::Registry(_)) && self.registry.is_none() {
            return Err(DownloadError::NoRegistry { source_text });
        }
        let sources = self.shared.shelf.sources();
        let known = sources.iter().find(|(other, _)| other == name);
        if known.is_none() && sources.len() >= MOST_MODELS {
            return Err(DownloadError::TooMany(sources.len()));
        }
        if let Some(configured) = self.shared.shelf.configured(name)
            && configured != source
        {
            return Err(DownloadError::Configured {
                name: name.to_owned(),
                configured: configured.shown(),
            });
        }
        let download = self.shared.records.queue(name, &source_text, at);
        self.shared.shelf.ask(name, source);
        self.shared.attempts.ask(name);
        if let Some(registry) = &self.registry {
            let _ = registry.try_send_priority(RegistryMsg::Changed);
        }
        // Both look by themselves soon, if they cannot be told now.
        let _ = self.downloader.try_send_priority(DownloaderMsg::Look);
        self.shared.ring();
        Ok(download)
    }

    /// Returns every download that is remembered, the newest first.
    #[must_use]
    pub fn all(&self) -> Vec<DownloadStatus> {
        self.shared.records.statuses()
    }

    /// Returns what is counted of them.
    #[must_use]
    pub fn counted(&self) -> Counted {
        self.shared.records.counted()
    }

    /// Cancels a download; `None` when there is none of that number. One that is over stays as it is.
    #[must_use]
    pub fn cancel(&self, id: u64, at: Timestamp) -> Option<Arc<Download>> {
        let download = self.shared.records.get(id)?;
        download.cancel();
        self.shared.cancel_queued(&download, at);
        Some(download)
    }
}
