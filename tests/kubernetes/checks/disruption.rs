//! What happens when nodes are drained or pods are scaled.

use serde_json::Value;

use crate::manifests::{Manifests, least_replicas, name_of, target};

/// Finds budgets that let no pod be evicted, several replicas without a budget, and autoscalers that
/// contradict themselves or the workload.
pub fn check(manifests: &Manifests) -> Vec<String> {
    let mut wrong = Vec::new();
    for budget in manifests.of("PodDisruptionBudget") {
        for workload in manifests.selected(&budget["spec"]["selector"]) {
            if evictable(&budget["spec"], least_replicas(manifests, &workload)) == 0 {
                wrong.push(format!("{}: no pod can ever be evicted", name_of(budget)));
            }
        }
    }
    for workload in manifests.workloads() {
        let budgets = manifests.of("PodDisruptionBudget").filter(|budget| {
            let selected = manifests.selected(&budget["spec"]["selector"]);
            selected.iter().any(|one| one.name() == workload.name())
        });
        match (least_replicas(manifests, &workload), budgets.count()) {
            (0 | 1, 0) | (_, 1) => {}
            (_, 0) => wrong.push(format!("{}: several pods and no budget", workload.name())),
            _ => wrong.push(format!(
                "{}: several budgets: evictions fail",
                workload.name()
            )),
        }
    }
    for scaler in manifests.of("HorizontalPodAutoscaler") {
        let spec = &scaler["spec"];
        if spec["minReplicas"].as_u64().unwrap_or(1) > spec["maxReplicas"].as_u64().unwrap_or(0) {
            wrong.push(format!(
                "{}: its minimum is above its maximum",
                name_of(scaler)
            ));
        }
        let scaled = name_of(&target(scaler));
        let workloads = manifests.workloads();
        let counted = |workload: &&crate::manifests::Workload<'_>| {
            workload.name() == scaled && !workload.object["spec"]["replicas"].is_null()
        };
        if workloads.iter().any(|workload| counted(&workload)) {
            wrong.push(format!(
                "{scaled}: replicas would undo the autoscaler's work"
            ));
        }
    }
    wrong
}

/// Returns how many of so many pods a budget lets go when all of them are well.
fn evictable(spec: &Value, pods: u64) -> u64 {
    let count = |value: &Value| match value {
        Value::String(percent) => {
            let percent: u64 = percent.trim_end_matches('%').parse().unwrap_or(100);
            // Kubernetes rounds up, in both fields.
            (pods * percent).div_ceil(100)
        }
        number => number.as_u64().unwrap_or_default(),
    };
    match (&spec["minAvailable"], &spec["maxUnavailable"]) {
        (Value::Null, Value::Null) => pods.saturating_sub(1),
        (Value::Null, unavailable) => count(unavailable).min(pods),
        (available, _) => pods.saturating_sub(count(available)),
    }
}

#[test]
fn budgets_are_counted_as_kubernetes_counts_them() {
    let spec = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(evictable(&spec(r#"{"maxUnavailable": 1}"#), 3), 1);
    assert_eq!(evictable(&spec(r#"{"minAvailable": 1}"#), 1), 0);
    assert_eq!(evictable(&spec(r#"{"minAvailable": "50%"}"#), 3), 1);
    assert_eq!(evictable(&spec(r#"{"maxUnavailable": "10%"}"#), 3), 1);
    assert_eq!(evictable(&spec(r#"{"maxUnavailable": 0}"#), 3), 0);
}
