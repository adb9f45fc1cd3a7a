//! Where a policy closes the network, it leaves open what is needed.

use serde_json::{Value, json};

use crate::manifests::{Manifests, Workload, list, name_of, port_of};

/// Finds ports that a Service or a probe asks for and a policy closes, ports that a policy opens and
/// nobody serves, and servers that can look up no names.
pub fn check(manifests: &Manifests) -> Vec<String> {
    let mut wrong = Vec::new();
    for policy in manifests.of("NetworkPolicy") {
        for workload in manifests.selected(&policy["spec"]["podSelector"]) {
            if applies(policy, "Ingress") {
                wrong.extend(closed(manifests, policy, &workload));
            }
            if applies(policy, "Egress") && workload.server().is_some() && !resolves(policy) {
                wrong.push(format!(
                    "{}: closes port 53, where names are",
                    name_of(policy)
                ));
            }
        }
    }
    wrong
}

/// Compares the ports that a policy opens with those that are asked for. The kubelet's own questions
/// come from the node and pass; a probe's port is one that people ask on too.
fn closed(manifests: &Manifests, policy: &Value, workload: &Workload<'_>) -> Vec<String> {
    let name = name_of(policy);
    let rules = list(&policy["spec"]["ingress"]);
    let opens_all = rules.iter().any(|rule| list(&rule["ports"]).is_empty());
    let opened: Vec<&Value> = rules
        .iter()
        .flat_map(|rule| list(&rule["ports"]))
        .filter(|port| port["protocol"].is_null() || port["protocol"] == "TCP")
        .map(|port| &port["port"])
        .collect();
    let mut wrong = Vec::new();
    for container in workload.containers() {
        let opened: Vec<Option<u64>> = opened.iter().map(|port| port_of(container, port)).collect();
        if opened.contains(&None) {
            wrong.push(format!(
                "{name}: opens a port that {} has not",
                workload.name()
            ));
        }
        for asked in asked(manifests, workload, container) {
            let number = port_of(container, &asked);
            if !opens_all && number.is_some() && !opened.contains(&number) {
                wrong.push(format!("{name}: closes {asked} of {}", workload.name()));
            }
        }
    }
    wrong
}

/// Returns the ports on which Services, probes and Prometheus ask.
fn asked(manifests: &Manifests, workload: &Workload<'_>, container: &Value) -> Vec<Value> {
    let mut ports = Vec::new();
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        ports.push(container[probe]["httpGet"]["port"].clone());
    }
    for service in manifests.of("Service") {
        let selector = json!({"matchLabels": service["spec"]["selector"]});
        let selected = manifests.selected(&selector);
        if selected.iter().any(|one| one.name() == workload.name()) {
            let targets = list(&service["spec"]["ports"]).iter();
            ports.extend(targets.map(|port| match &port["targetPort"] {
                Value::Null => port["port"].clone(),
                target => target.clone(),
            }));
        }
    }
    for monitor in manifests.of("PodMonitor") {
        let endpoints = list(&monitor["spec"]["podMetricsEndpoints"]).iter();
        ports.extend(endpoints.map(|endpoint| endpoint["port"].clone()));
    }
    ports
}

fn resolves(policy: &Value) -> bool {
    let ports = || {
        list(&policy["spec"]["egress"])
            .iter()
            .flat_map(|rule| list(&rule["ports"]))
    };
    ["UDP", "TCP"]
        .iter()
        .all(|protocol| ports().any(|port| port["port"] == 53 && port["protocol"] == *protocol))
}

fn applies(policy: &Value, direction: &str) -> bool {
    list(&policy["spec"]["policyTypes"])
        .iter()
        .any(|one| one == direction)
}
