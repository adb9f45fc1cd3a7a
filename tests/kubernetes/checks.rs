//! What no schema knows: rules between fields, between objects, and between a manifest and the server.
//!
//! A check takes everything that one kustomization renders and returns what is wrong, each with the
//! object it is about. It judges what is there: a rule about autoscalers says nothing where there is
//! none.

mod configuration;
mod disruption;
mod images;
mod monitoring;
mod network;
mod ports;
mod probes;
mod resources;
mod security;
mod selectors;
mod storage;

pub use probes::window as startup_window;

use crate::manifests::Manifests;

/// A check: its name, and what finds the mistakes.
pub type Check = (&'static str, fn(&Manifests) -> Vec<String>);

pub const ALL: [Check; 16] = [
    ("probe numbers", probes::numbers),
    ("probe purposes", probes::purposes),
    ("probe patience", probes::patience),
    ("grace period", probes::grace_period),
    ("resources", resources::check),
    ("selectors", selectors::check),
    ("ports", ports::check),
    ("volumes", storage::volumes),
    ("claims", storage::claims),
    ("folders", storage::folders),
    ("configuration", configuration::check),
    ("images", images::check),
    ("disruption", disruption::check),
    ("network", network::check),
    ("security", security::check),
    ("monitoring", monitoring::check),
];

/// Returns what the check of this name finds.
pub fn run(name: &str, manifests: &Manifests) -> Vec<String> {
    let (_, check) = ALL
        .into_iter()
        .find(|(known, _)| *known == name)
        .unwrap_or_else(|| panic!("there is no check \"{name}\""));
    check(manifests)
}
