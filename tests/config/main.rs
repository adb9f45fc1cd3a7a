//! The configuration as its users meet it: files, variables, units, bounds, mistakes.

#![allow(missing_docs, clippy::unwrap_used)]

mod bounds;
mod commands;
mod descriptions;
mod files;
mod layers;
mod wrong_keys;
