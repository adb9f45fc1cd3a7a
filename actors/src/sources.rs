//! Where models come from. A source says which models there should be; the model loader makes it so.

pub mod description;
pub mod folder;
pub mod triton;

pub use description::{describe, describe_as};
