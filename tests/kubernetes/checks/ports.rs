//! Ports: what listens, what is declared, and what is asked are the same.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::manifests::{Manifests, Workload, list, name_of, port_of, text};

/// Finds ports that are declared and not served, served and not declared, or asked for and neither.
pub fn check(manifests: &Manifests) -> Vec<String> {
    let mut wrong = Vec::new();
    for workload in manifests.workloads() {
        wrong.extend(declared_twice(&workload));
        wrong.extend(probed(&workload));
    }
    for workload in manifests.servers() {
        wrong.extend(served(&workload));
    }
    for service in manifests.of("Service") {
        let selector = json!({"matchLabels": service["spec"]["selector"]});
        for port in list(&service["spec"]["ports"]) {
            let target = match &port["targetPort"] {
                Value::Null => &port["port"],
                target => target,
            };
            for workload in manifests.selected(&selector) {
                let mut containers = workload.containers().into_iter();
                if !containers.any(|container| port_of(container, target).is_some()) {
                    wrong.push(format!(
                        "{}: {} has no port {target}",
                        name_of(service),
                        workload.name()
                    ));
                }
            }
        }
    }
    wrong
}

fn declared_twice(workload: &Workload<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for container in workload.containers() {
        let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
        for port in list(&container["ports"]) {
            let number = port["containerPort"].as_u64();
            if !names.insert(text(&port["name"])) || !numbers.insert(number) {
                wrong.push(format!("{}: a port is declared twice", workload.name()));
            }
        }
    }
    wrong
}

fn probed(workload: &Workload<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for container in workload.containers() {
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let port = &container[probe]["httpGet"]["port"];
            let place = format!("{}: {probe}", workload.name());
            if port.is_null() {
                continue;
            }
            match port_of(container, port) {
                None => wrong.push(format!("{place} asks on {port}, which is not declared")),
                number if number == port_of(container, &json!("grpc")) => {
                    wrong.push(format!("{place} asks by HTTP on the port of gRPC"));
                }
                Some(_) => {}
            }
        }
    }
    wrong
}

/// Compares the declared ports with those on which the configuration listens.
fn served(workload: &Workload<'_>) -> Vec<String> {
    let Some((server, config)) = workload.server().zip(workload.config()) else {
        return Vec::new();
    };
    let mut wrong = Vec::new();
    for (name, listens) in [
        ("http", config.port),
        ("health", config.health.port),
        ("grpc", config.grpc.port),
    ] {
        // 0 is none, or on the main port one that nobody could know.
        let listens = (listens != 0).then_some(u64::from(listens));
        let declared = port_of(server, &json!(name));
        if declared != listens {
            wrong.push(format!(
                "{}: port {name} is {}, and the server listens on {}",
                workload.name(),
                in_words(declared),
                in_words(listens)
            ));
        }
    }
    for host in [config.host.as_str(), config.health_host()] {
        if host != "0.0.0.0" && host != "::" {
            wrong.push(format!("{}: listens on {host} alone", workload.name()));
        }
    }
    wrong
}

fn in_words(port: Option<u64>) -> String {
    port.map_or_else(|| "none".to_owned(), |number| number.to_string())
}
