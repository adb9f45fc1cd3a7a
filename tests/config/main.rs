//! The configuration as its users meet it: files, variables, units, bounds, mistakes.

#![allow(missing_docs)]

mod bounds;
mod commands;
mod files;
mod layers;
mod wrong_keys;
