//! Pod Security "restricted", a read-only root and no token, on every pod.

use serde_json::Value;

use crate::manifests::{Manifests, list, text};

/// Volumes that "restricted" allows.
const VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// Finds pods that Pod Security "restricted" would refuse, or that may more than they need, and
/// namespaces that would take such pods.
pub fn check(manifests: &Manifests) -> Vec<String> {
    let mut wrong = Vec::new();
    for workload in manifests.workloads() {
        let place = workload.name();
        wrong.extend(
            pod(workload.pod())
                .into_iter()
                .map(|what| format!("{place}: {what}")),
        );
        for one in workload.containers() {
            let found = container(one, &workload.pod()["securityContext"]);
            wrong.extend(found.into_iter().map(|what| format!("{place}: {what}")));
        }
    }
    for namespace in manifests.of("Namespace") {
        let enforced = &namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
        if enforced != "restricted" {
            wrong.push("the namespace does not enforce \"restricted\"".to_owned());
        }
    }
    wrong
}

fn pod(pod: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for shared in ["hostNetwork", "hostPID", "hostIPC"] {
        if pod[shared] == true {
            wrong.push(format!("{shared} is on"));
        }
    }
    if pod["automountServiceAccountToken"] != false {
        wrong.push("a token of the API is mounted".to_owned());
    }
    if !pod["securityContext"]["fsGroup"].is_u64() {
        wrong.push("without fsGroup it cannot write to its claims".to_owned());
    }
    for volume in list(&pod["volumes"]) {
        let kinds = volume.as_object().into_iter().flatten();
        for (kind, _) in kinds.filter(|(key, _)| *key != "name") {
            if !VOLUMES.contains(&kind.as_str()) {
                wrong.push(format!("a volume is a {kind}"));
            }
        }
    }
    wrong
}

fn container(container: &Value, pod: &Value) -> Vec<String> {
    let own = &container["securityContext"];
    let either = |field: &str| match &own[field] {
        Value::Null => &pod[field],
        set => set,
    };
    let capabilities = &own["capabilities"];
    let rules = [
        (either("runAsNonRoot") == true, "may run as root"),
        (
            either("runAsUser").as_u64().is_some_and(|user| user > 0),
            "names no user",
        ),
        (
            either("runAsGroup").as_u64().is_some_and(|group| group > 0),
            "names no group",
        ),
        (
            ["RuntimeDefault", "Localhost"].contains(&text(&either("seccompProfile")["type"])),
            "has no seccomp profile",
        ),
        (
            own["allowPrivilegeEscalation"] == false,
            "may gain privileges",
        ),
        (own["privileged"] != true, "is privileged"),
        (
            own["readOnlyRootFilesystem"] == true,
            "may write to its root",
        ),
        (
            list(&capabilities["drop"]).iter().any(|one| one == "ALL"),
            "keeps capabilities",
        ),
        (list(&capabilities["add"]).is_empty(), "adds capabilities"),
        (
            list(&container["ports"])
                .iter()
                .all(|port| port["hostPort"].is_null()),
            "takes a port of its node",
        ),
    ];
    rules
        .into_iter()
        .filter(|(holds, _)| !holds)
        .map(|(_, what)| what.to_owned())
        .collect()
}
