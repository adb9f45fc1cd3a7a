//! The environment of every server is a configuration that the server accepts.

use std::collections::BTreeSet;

use crate::manifests::{Manifests, list, text, variables};

/// Finds what the server would refuse with exit code 64, and what it would ignore.
pub fn check(manifests: &Manifests) -> Vec<String> {
    let mut wrong = Vec::new();
    for workload in manifests.servers() {
        let place = workload.name();
        match workload.loaded() {
            Err(error) => wrong.push(format!("{place}: {error}")),
            Ok(loaded) => wrong.extend(
                loaded
                    .warnings
                    .iter()
                    .map(|warning| format!("{place}: {warning}")),
            ),
        }
        let variables = workload.server().map(variables).unwrap_or_default();
        let mut names = BTreeSet::new();
        for (name, _) in &variables {
            if !names.insert(name) {
                wrong.push(format!("{place}: {name} is set twice"));
            }
        }
        let from = workload
            .server()
            .map_or(&[][..], |server| list(&server["envFrom"]));
        if !from.is_empty() {
            wrong.push(format!("{place}: envFrom cannot be checked"));
        }
        if workload.pod()["enableServiceLinks"] != false {
            wrong.push(format!(
                "{place}: service links would add IMPETUS_* variables"
            ));
        }
        let args = workload
            .server()
            .map_or(&[][..], |server| list(&server["args"]));
        if args.iter().any(|arg| text(arg).starts_with("--config")) {
            wrong.push(format!(
                "{place}: a configuration file would overrule what is checked here"
            ));
        }
    }
    wrong
}
