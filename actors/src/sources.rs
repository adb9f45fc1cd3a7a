//! Where models come from. A source says which models there should be; the model loader makes it so.

pub mod arrival;
pub mod description;
pub mod fetcher;
pub mod folder;
mod mlmodel;
pub mod shelf;
pub mod triton;

pub use description::{describe, describe_as};
