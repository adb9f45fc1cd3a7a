//! What a supervisor is made from.

use super::ChildSpec;
use crate::{ActorId, Strategy};

/// A supervisor: its name, its strategy and its children.
///
/// ```
/// use impetus_supervision::example::counter;
/// use impetus_supervision::{Strategy, SupervisorSpec};
///
/// let (first, _) = counter("first");
/// let (second, _) = counter("second");
/// let spec = SupervisorSpec::new("pair").strategy(Strategy::OneForAll).child(first).child(second);
/// # drop(spec);
/// ```
pub struct SupervisorSpec {
    pub(crate) id: ActorId,
    pub(crate) strategy: Strategy,
    pub(crate) children: Vec<ChildSpec>,
}

// === impl SupervisorSpec ===

impl SupervisorSpec {
    /// Returns a supervisor without children, whose strategy is one for one.
    ///
    /// ```
    /// use impetus_supervision::SupervisorSpec;
    ///
    /// assert_eq!(SupervisorSpec::new("root").id().as_str(), "root");
    /// ```
    pub fn new(id: impl Into<ActorId>) -> Self {
        Self {
            id: id.into(),
            strategy: Strategy::default(),
            children: Vec::new(),
        }
    }

    /// Sets which children are restarted when one ends.
    ///
    /// ```
    /// use impetus_supervision::{Strategy, SupervisorSpec};
    ///
    /// let spec = SupervisorSpec::new("group").strategy(Strategy::OneForAll);
    /// # drop(spec);
    /// ```
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Adds a child; children start in the order in which they are added and stop in reverse.
    ///
    /// ```
    /// use impetus_supervision::SupervisorSpec;
    ///
    /// let (spec, _counter) = impetus_supervision::example::counter("counter");
    /// let root = SupervisorSpec::new("root").child(spec);
    /// # drop(root);
    /// ```
    #[must_use]
    pub fn child(mut self, child: ChildSpec) -> Self {
        self.children.push(child);
        self
    }

    /// Returns the supervisor's name.
    ///
    /// ```
    /// use impetus_supervision::SupervisorSpec;
    ///
    /// assert_eq!(SupervisorSpec::new("root").id().as_str(), "root");
    /// ```
    pub fn id(&self) -> &ActorId {
        &self.id
    }
}

impl std::fmt::Debug for SupervisorSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SupervisorSpec")
            .field("id", &self.id)
            .field("strategy", &self.strategy)
            .field("children", &self.children)
            .finish()
    }
}
