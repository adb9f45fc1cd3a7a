//! The small choices a child spec is made of.

/// When an ended child is started again.
///
/// ```
/// use impetus_supervision::Restart;
///
/// let (spec, _counter) = impetus_supervision::example::counter("once");
/// let spec = spec.restart(Restart::Temporary);
/// # drop(spec);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Always, even after a normal end.
    #[default]
    Permanent,
    /// Only after an abnormal end.
    Transient,
    /// Never.
    Temporary,
}

/// How a child is stopped.
///
/// ```
/// use std::time::Duration;
///
/// use impetus_supervision::Shutdown;
///
/// assert_eq!(Shutdown::default(), Shutdown::Within(Duration::from_secs(5)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// It is asked to stop, and fenced and abandoned if it has not by then.
    Within(std::time::Duration),
    /// It is fenced and its task dropped at once.
    Brutal,
}

/// What follows when a child cannot be kept alive.
///
/// ```
/// use impetus_supervision::Significance;
///
/// let (spec, _counter) = impetus_supervision::example::counter("heartbeat");
/// let spec = spec.significance(Significance::Significant);
/// # drop(spec);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Significance {
    /// Its supervisor gives up too, and passes the failure on; at the root it is the system's verdict.
    Significant,
    /// It is marked failed, cools down and is tried again, for ever.
    #[default]
    Insignificant,
}

/// Which children are restarted when one ends.
///
/// ```
/// use impetus_supervision::{Strategy, SupervisorSpec};
///
/// let spec = SupervisorSpec::new("pipeline").strategy(Strategy::RestForOne);
/// # drop(spec);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Only that one.
    #[default]
    OneForOne,
    /// All of them.
    OneForAll,
    /// That one and those started after it.
    RestForOne,
}

// === impl Restart ===

impl Restart {
    pub(crate) fn applies_to(self, abnormal: bool) -> bool {
        match self {
            Self::Permanent => true,
            Self::Transient => abnormal,
            Self::Temporary => false,
        }
    }
}

// === impl Shutdown ===

impl Default for Shutdown {
    fn default() -> Self {
        Self::Within(std::time::Duration::from_secs(5))
    }
}
