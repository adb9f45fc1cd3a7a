//! Downloads from real servers into a real cache, with what goes wrong on the way.

mod caching;
mod fetching;
mod pinning;
mod s3;
mod support;
mod web;
