//! Downloads from real servers into a real cache, with what goes wrong on the way.

#![allow(clippy::unwrap_used, reason = "a failed test is what a panic is for")]

mod caching;
mod fetching;
mod pinning;
mod s3;
mod support;
mod web;
