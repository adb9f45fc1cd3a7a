//! Names and incarnation numbers.
//!
//! An actor keeps its [`ActorId`] for as long as its child spec exists; what changes with each restart is the
//! [`Generation`]. The pair identifies one incarnation, and every status, log line and fence check carries both, so
//! that nothing an abandoned incarnation does can be mistaken for the work of its successor.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The name of an actor, unique in its [`System`](crate::System). Cheap to clone.
///
/// ```
/// use impetus_supervision::ActorId;
///
/// let id = ActorId::from("model_loader");
/// assert_eq!(id.to_string(), "model_loader");
/// assert_eq!(serde_json::to_string(&id)?, "\"model_loader\"");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(value_type = String, description = "The name of an actor.", example = "model_loader"))]
#[serde(transparent)]
pub struct ActorId(Arc<str>);

/// The number of an incarnation: 1 is the first, every restart adds one, across restarts of the supervisor too.
///
/// 0 ([`Generation::NONE`]) stands for "not started yet".
///
/// ```
/// let tree = impetus_supervision::example::tree()?;
/// assert_eq!(tree.counter.generation().map(|generation| generation.get()), Some(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(value_type = u64, description = "The number of an incarnation: 1 is the first, 0 stands for none yet."))]
#[serde(transparent)]
pub struct Generation(u64);

// === impl ActorId ===

impl ActorId {
    /// Returns the name as text.
    ///
    /// ```
    /// assert_eq!(impetus_supervision::ActorId::from("root").as_str(), "root");
    /// ```
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ActorId {
    fn from(name: &str) -> Self {
        Self(Arc::from(name))
    }
}

impl From<String> for ActorId {
    fn from(name: String) -> Self {
        Self(Arc::from(name))
    }
}

impl From<&ActorId> for ActorId {
    fn from(id: &ActorId) -> Self {
        id.clone()
    }
}

impl fmt::Display for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

// === impl Generation ===

impl Generation {
    /// The generation of an actor that has never been started.
    ///
    /// ```
    /// use impetus_supervision::Generation;
    ///
    /// assert_eq!(Generation::NONE.get(), 0);
    /// ```
    pub const NONE: Generation = Generation(0);

    /// Returns the number itself.
    ///
    /// ```
    /// use impetus_supervision::Generation;
    ///
    /// assert_eq!(Generation::NONE.to_string(), Generation::NONE.get().to_string());
    /// ```
    pub fn get(self) -> u64 {
        self.0
    }

    pub(crate) fn from_raw(number: u64) -> Self {
        Self(number)
    }

    /// How many incarnations came before this one.
    pub(crate) fn restarts(self) -> u64 {
        self.0.saturating_sub(1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
