//! Supervision trees for actix.

mod actor;
mod actor_ref;
mod backoff;
mod board;
mod clock;
mod context;
mod decide;
mod event;
mod executor;
mod exit;
mod fault;
mod fence;
mod id;
mod inbox;
mod incarnation;
mod intensity;
mod ledger;
mod link;
mod policy;
mod roster;
mod shared;
mod spec;
mod status;
mod supervisor;
mod supervisor_ref;
mod sync;
mod system;
mod tasks;
mod test_executor;
mod timestamp;
mod watchdog;

pub use actor::{Actor, ActorError, Birth, Message, StatusReport};
pub use actor_ref::{ActorRef, AskError, Reply, SendError, TrySendError};
pub use backoff::{Backoff, InvalidBackoff};
pub use board::StatusBoard;
pub use clock::{Clock, SystemClock};
pub use context::Context;
pub use event::{Event, EventKind};
pub use executor::{ArbiterExecutor, Body, Executor, Incarnation, LaunchError};
pub use exit::{ExitReason, ProcessEnd, ProcessLost};
pub use fault::{Fault, FaultKit};
pub use fence::{Fence, Fenced};
pub use futures_util::future::{BoxFuture, LocalBoxFuture};
pub use id::{ActorId, Generation};
pub use intensity::{Intensity, InvalidIntensity};
pub use policy::{Restart, Shutdown, Significance, Strategy};
pub use spec::{ChildSpec, SupervisorSpec};
pub use status::{
    ActorState, ActorStatus, ExitRecord, MailboxStatus, ProgressStatus, StatusNode,
};
pub use supervisor_ref::{SupervisorError, SupervisorRef};
pub use system::{
    Running, StartError, StopReport, Stopped, System, SystemBuilder, Verdict,
};
pub use test_executor::{TestClock, TestExecutor};
pub use timestamp::Timestamp;
