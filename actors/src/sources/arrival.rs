//! A version of a model that is to be served and whose files are not here yet.
//!
//! It stands in the table of models like any other version, without workers, so that whoever asks for
//! it is told how far it is instead of that there is no such model. When its files are here, the
//! version that has them takes its place.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use impetus_sources::Progress;

use crate::serving::ModelState;

/// How far the files of a version are.
pub struct Arrival {
    place: String,
    progress: Arc<Progress>,
    stage: ArcSwap<ArrivalStage>,
}

/// What is done about files that are not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArrivalStage {
    /// Nothing yet, for this reason.
    Waiting(String),
    /// They are being fetched.
    Fetching,
    /// They could not be had, for this reason; they are tried again unless somebody has said no.
    Failed(String),
}

// === impl Arrival ===

impl Arrival {
    /// Begins with nothing done, for the files at `place`.
    #[must_use]
    pub fn new(place: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            progress: Arc::default(),
            stage: ArcSwap::from_pointee(ArrivalStage::Waiting(why.into())),
        }
    }

    /// Returns where the files come from.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Returns what is counted while they come.
    #[must_use]
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Returns how many bytes of them are here, and how many they are in all, as far as that is known.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        let now = self.progress.now();
        (now.bytes_done, now.bytes_in_all.unwrap_or(now.bytes_done))
    }

    /// Returns what is done about them.
    #[must_use]
    pub fn stage(&self) -> Arc<ArrivalStage> {
        self.stage.load_full()
    }

    /// Says what is done about them.
    pub fn set(&self, stage: ArrivalStage) {
        self.stage.store(Arc::new(stage));
    }

    /// Returns the state in which a model is that waits for them.
    #[must_use]
    pub fn state(&self) -> ModelState {
        match &**self.stage.load() {
            ArrivalStage::Waiting(_) => ModelState::Absent,
            ArrivalStage::Fetching => ModelState::Downloading,
            ArrivalStage::Failed(_) => ModelState::Failed,
        }
    }

    /// Returns why it is in that state.
    #[must_use]
    pub fn reason(&self) -> String {
        match &**self.stage.load() {
            ArrivalStage::Waiting(why) | ArrivalStage::Failed(why) => why.clone(),
            ArrivalStage::Fetching => format!("its files are fetched from {}", self.place),
        }
    }
}

/// Two are the same while they come from the same place.
impl PartialEq for Arrival {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrival")
            .field("place", &self.place)
            .field("stage", &self.stage.load())
            .finish_non_exhaustive()
    }
}
