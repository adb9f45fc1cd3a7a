//! Whatever selects pods selects some, and those that it means.

use serde_json::{Value, json};

use crate::manifests::{Manifests, list, name_of, selects, target};

/// Finds selectors that select nothing or too much, and references to objects that do not exist.
pub fn check(manifests: &Manifests) -> Vec<String> {
    let mut wrong = Vec::new();
    for workload in manifests.workloads() {
        let selector = &workload.object["spec"]["selector"];
        if !selects(selector, &workload.labels()) {
            wrong.push(format!("{}: does not select its own pods", workload.name()));
        }
        if manifests.selected(selector).len() > 1 {
            wrong.push(format!("{}: selects the pods of another", workload.name()));
        }
        for spread in list(&workload.pod()["topologySpreadConstraints"]) {
            if !selects(&spread["labelSelector"], &workload.labels()) {
                wrong.push(format!("{}: does not spread its own pods", workload.name()));
            }
        }
    }
    for service in manifests.of("Service") {
        let selector = json!({"matchLabels": service["spec"]["selector"]});
        wrong.extend(one_workload(manifests, service, &selector));
    }
    for budget in manifests.of("PodDisruptionBudget") {
        wrong.extend(one_workload(manifests, budget, &budget["spec"]["selector"]));
    }
    for policy in manifests.of("NetworkPolicy") {
        wrong.extend(one_workload(
            manifests,
            policy,
            &policy["spec"]["podSelector"],
        ));
    }
    wrong.extend(references(manifests));
    wrong
}

fn one_workload(manifests: &Manifests, object: &Value, selector: &Value) -> Option<String> {
    let name = name_of(object);
    match manifests.selected(selector).len() {
        0 => Some(format!("{name}: selects no pods")),
        1 => None,
        _ => Some(format!("{name}: selects the pods of several workloads")),
    }
}

fn references(manifests: &Manifests) -> Vec<String> {
    let mut wrong = Vec::new();
    for scaler in manifests.of("HorizontalPodAutoscaler") {
        let scaled = target(scaler);
        let exists = manifests.0.iter().any(|object| {
            name_of(object) == name_of(&scaled) && object["apiVersion"] == scaled["apiVersion"]
        });
        if !exists {
            wrong.push(format!(
                "{}: {} does not exist",
                name_of(scaler),
                name_of(&scaled)
            ));
        }
    }
    for set in manifests.of("StatefulSet") {
        let service = manifests
            .of("Service")
            .find(|service| service["metadata"]["name"] == set["spec"]["serviceName"]);
        if service.is_none_or(|service| service["spec"]["clusterIP"] != "None") {
            wrong.push(format!(
                "{}: serviceName names no headless Service",
                name_of(set)
            ));
        }
    }
    wrong
}
