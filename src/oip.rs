//! The Open Inference Protocol, version 2, as it is whatever carries it.
//!
//! REST and gRPC say the same things in two notations. What they say is here: what a
//! [request](InferRequest) asks, what an [answer](Answer) holds, what a server and its models say of
//! themselves ([`describe`]), and what kinds of [refusal](Refusal) there are.
//! What is REST's alone is its notation, in [`json`] and [`binary`].
//!
//! **Invariant:** nothing here knows a status code, and nothing here waits but [`infer()`], which
//! waits for the model and where it must for the log, and [`order::given`], which waits for the
//! model's folder.

mod answer;
pub mod binary;
mod classification;
pub mod datatype;
pub mod describe;
pub mod half;
mod infer;
pub mod json;
pub mod order;
mod refusal;
mod request;

pub use answer::{Answer, Output};
pub use infer::{Caller, infer, route};
pub use refusal::{Kind, Refusal};
pub use request::{InferRequest, Parameters, RequestedOutput, priority, queue_timeout};
