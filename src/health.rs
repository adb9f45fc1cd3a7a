//! The health plane: what the server says about itself, and when it says no.
//!
//! Everything here is a fold over facts that others have written already. [`facts`] is what is
//! known at one moment; [`fold`] turns it into verdicts and is pure; [`body`] is the wire. The
//! [`plane`] collects the facts without waiting for anybody, and its [thread](thread) evaluates
//! them every ten seconds whether or not anybody asks, and answers on a port of its own when every
//! request worker is blocked.
//!
//! **Invariant:** no health answer waits for an actor, a model, a database or the network.
//! Liveness depends on nothing outside the process; `/api/health/ready` never depends on a
//! database or a registry.

pub mod body;
pub mod drain;
pub mod edge;
pub mod events;
pub mod facts;
pub mod fold;
pub mod phase;
pub mod plane;
pub mod score;
#[cfg(test)]
pub(crate) mod testing;
pub mod thread;

pub use drain::OperatorDrain;
pub use edge::EdgeStamps;
pub use facts::Facts;
pub use fold::Rules;
pub use phase::{Course, Lifecycle, Outcome, Phase};
pub use plane::HealthPlane;
