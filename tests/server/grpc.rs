//! `inference.GRPCInferenceService` by a real client: what it answers, what it refuses and in which
//! words, and what it does while things break.

pub mod client;
mod datatypes;
mod edge;
mod faults;
mod models;
mod refusals;
mod repository;
mod stream;
mod surroundings;
