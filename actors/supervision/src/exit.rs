//! Why an incarnation ended.
//!
//! A supervisor decides by type, not by text: whether an end was abnormal, whether a process took the actor with it,
//! whether a deadline was missed. The same value is what the status board shows and what the next incarnation finds
//! in its [`Birth`](crate::Birth).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ActorId;

/// Why an incarnation ended. Serialises with `reason` as its tag.
///
/// ```
/// use impetus_supervision::ExitReason;
///
/// let reason = ExitReason::Hang { item: "load".to_owned(), overdue_ms: 40 };
/// assert_eq!(reason.to_string(), "load overdue by 40 ms");
/// let json = serde_json::to_value(&reason)?;
/// assert_eq!(json, serde_json::json!({"reason": "hang", "item": "load", "overdue_ms": 40}));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum ExitReason {
    /// The actor asked to stop with [`Context::stop`](crate::Context::stop).
    Normal,
    /// The supervisor asked it to stop, and it did.
    Shutdown,
    /// The incarnation ended without a word: its task was dropped or its arbiter stopped.
    Killed,
    /// A panic in the factory, `started`, `handle`, `tick`, `stopping` or a spawned task.
    Panic {
        /// The panic's message.
        message: String,
    },
    /// `handle` or `tick` returned an error.
    Error {
        /// The error's text.
        message: String,
    },
    /// The item it worked on overran its deadline; the incarnation was fenced and abandoned.
    Hang {
        /// What it was working on.
        item: String,
        /// How far past the deadline it was when it was noticed, in milliseconds.
        overdue_ms: u64,
    },
    /// The process that the actor stands for ended.
    ProcessLost(ProcessLost),
    /// `started` returned an error, or the incarnation could not be launched.
    FailedStart {
        /// The error's text.
        message: String,
    },
    /// A supervisor gave up because a significant child could not be kept alive.
    Escalated {
        /// The child that was given up.
        child: ActorId,
        /// Why it was given up.
        #[serde(rename = "cause")]
        reason: String,
    },
}

/// A process that an actor stood for, and how it ended.
///
/// ```
/// use impetus_supervision::{ProcessEnd, ProcessLost};
///
/// let lost = ProcessLost { pid: 71, how: ProcessEnd::Signal(11), detail: None };
/// assert_eq!(lost.to_string(), "process 71 was ended by signal 11");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessLost {
    /// The process id it had.
    pub pid: u32,
    /// How it ended.
    pub how: ProcessEnd,
    /// What else is known: the last line it wrote, the call it was in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// How a process ended.
///
/// ```
/// use impetus_supervision::ProcessEnd;
///
/// assert_eq!(ProcessEnd::Code(70).to_string(), "exited with code 70");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessEnd {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It is gone, and its status could not be had.
    Unknown,
}

// === impl ExitReason ===

impl ExitReason {
    /// Returns true for every end that was neither asked for by the actor nor by its supervisor.
    ///
    /// ```
    /// use impetus_supervision::ExitReason;
    ///
    /// assert!(ExitReason::Killed.is_abnormal());
    /// assert!(!ExitReason::Shutdown.is_abnormal());
    /// ```
    pub fn is_abnormal(&self) -> bool {
        !matches!(self, Self::Normal | Self::Shutdown)
    }

    /// Returns the reason as one word: the tag of its serialised form, fit for a metric's label.
    ///
    /// ```
    /// use impetus_supervision::ExitReason;
    ///
    /// assert_eq!(ExitReason::Panic { message: "no".to_owned() }.kind(), "panic");
    /// ```
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Shutdown => "shutdown",
            Self::Killed => "killed",
            Self::Panic { .. } => "panic",
            Self::Error { .. } => "error",
            Self::Hang { .. } => "hang",
            Self::ProcessLost(_) => "process_lost",
            Self::FailedStart { .. } => "failed_start",
            Self::Escalated { .. } => "escalated",
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("stopped by itself"),
            Self::Shutdown => f.write_str("stopped by its supervisor"),
            Self::Killed => f.write_str("ended without a report"),
            Self::Panic { message } | Self::Error { message } | Self::FailedStart { message } => {
                f.write_str(message)
            }
            Self::Hang { item, overdue_ms } => {
                write!(f, "{item} overdue by {overdue_ms} ms")
            }
            Self::ProcessLost(lost) => lost.fmt(f),
            Self::Escalated { child, reason } => write!(f, "{child} was given up: {reason}"),
        }
    }
}

// === impl ProcessLost ===

impl fmt::Display for ProcessLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} {}", self.pid, self.how)?;
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

// === impl ProcessEnd ===

impl fmt::Display for ProcessEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
            Self::Unknown => f.write_str("is gone"),
        }
    }
}
