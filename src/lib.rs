//! Impetus: a model server that heals itself.
//!
//! This crate is everything that faces people: the command line, the configuration, HTTP and
//! gRPC, the health plane and the metrics. What is alive is in `impetus-actors`, what touches a
//! model in `impetus-engine`, and the supervision of both in `impetus-supervision`.

pub mod cli;
pub mod config;
pub mod data_disk;
pub mod doctor;
pub mod exit;
pub mod exposition;
pub mod grpc;
pub mod health;
pub mod http;
pub mod last_run;
pub mod logging;
pub mod oip;
pub mod openai;
pub mod predictions;
pub mod serve;
pub mod verdict;
pub mod worker;
