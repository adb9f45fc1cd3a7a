//! Requests and limits: all four are there, and no request exceeds its limit.

use crate::manifests::{Manifests, name_of, target, text};
use crate::quantity;

/// Finds containers without requests or limits, or with requests above limits, and autoscalers that
/// wait for more than a pod can use.
pub fn check(manifests: &Manifests) -> Vec<String> {
    let mut wrong = Vec::new();
    for workload in manifests.workloads() {
        for container in workload.containers() {
            for resource in ["cpu", "memory"] {
                let place = format!("{}: {resource}", workload.name());
                let [request, limit] = ["requests", "limits"]
                    .map(|kind| quantity::parse(text(&container["resources"][kind][resource])));
                match (request, limit) {
                    (Some(request), Some(limit)) if request <= limit => {}
                    (Some(_), Some(_)) => {
                        wrong.push(format!("{place}: requests more than its limit"))
                    }
                    _ => wrong.push(format!("{place}: needs a request and a limit")),
                }
            }
        }
    }
    wrong.extend(out_of_reach(manifests));
    wrong
}

fn out_of_reach(manifests: &Manifests) -> Vec<String> {
    let mut wrong = Vec::new();
    for scaler in manifests.of("HorizontalPodAutoscaler") {
        let scaled = name_of(&target(scaler));
        let workloads = manifests.workloads();
        let Some(workload) = workloads.iter().find(|workload| workload.name() == scaled) else {
            continue;
        };
        let limit = |resource: &str| -> f64 {
            let containers = workload.containers().into_iter();
            containers
                .filter_map(|one| quantity::parse(text(&one["resources"]["limits"][resource])))
                .sum()
        };
        for metric in crate::manifests::list(&scaler["spec"]["metrics"]) {
            let resource = text(&metric["resource"]["name"]);
            let wanted = text(&metric["resource"]["target"]["averageValue"]);
            if quantity::parse(wanted).is_some_and(|wanted| wanted >= limit(resource)) {
                wrong.push(format!(
                    "{}: {wanted} of {resource} is never exceeded: it is not below the limit",
                    name_of(scaler)
                ));
            }
        }
    }
    wrong
}
