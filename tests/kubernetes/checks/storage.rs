//! Volumes and claims: each has its use, and what one server writes no other one does.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::manifests::{Manifests, Workload, least_replicas, list, text};

/// Secrets that are made by hand, because a secret in a repository is none.
const BY_HAND: [&str; 1] = ["impetus-postgresql"];

/// Finds mounts without a volume, volumes without a mount, and paths that are taken twice.
pub fn volumes(manifests: &Manifests) -> Vec<String> {
    let mut wrong = Vec::new();
    for workload in manifests.workloads() {
        let place = workload.name();
        let mut volumes: BTreeSet<&str> = list(&workload.pod()["volumes"])
            .iter()
            .map(|volume| text(&volume["name"]))
            .collect();
        for template in workload.claim_templates() {
            if !volumes.insert(template) {
                wrong.push(format!(
                    "{place}: volume {template} hides the claim of each pod"
                ));
            }
        }
        let mut mounted = BTreeSet::new();
        for container in workload.containers() {
            let mut paths = BTreeSet::new();
            for mount in list(&container["volumeMounts"]) {
                let name = text(&mount["name"]);
                if !volumes.contains(name) {
                    wrong.push(format!("{place}: mounts {name}, which is no volume"));
                }
                if !paths.insert(text(&mount["mountPath"])) {
                    wrong.push(format!("{place}: mounts two volumes at one path"));
                }
                mounted.insert(name);
            }
        }
        for unused in volumes.difference(&mounted) {
            wrong.push(format!("{place}: volume {unused} is mounted nowhere"));
        }
    }
    wrong
}

/// Finds claims and secrets that nobody makes, claims that nobody uses, and claims that are shared
/// although they cannot be.
pub fn claims(manifests: &Manifests) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut used: Vec<(&str, String)> = Vec::new();
    for workload in manifests.workloads() {
        let place = workload.name();
        for volume in list(&workload.pod()["volumes"]) {
            let secret = text(&volume["secret"]["secretName"]);
            if !(secret.is_empty() || manifests.has("Secret", secret) || BY_HAND.contains(&secret))
            {
                wrong.push(format!("{place}: secret {secret} does not exist"));
            }
            let claim = text(&volume["persistentVolumeClaim"]["claimName"]);
            if claim.is_empty() {
                continue;
            }
            used.push((claim, place.clone()));
            let claims = manifests.of("PersistentVolumeClaim");
            match claims
                .into_iter()
                .find(|one| one["metadata"]["name"] == claim)
            {
                None => wrong.push(format!("{place}: claim {claim} does not exist")),
                Some(object) => wrong.extend(crowded(manifests, &workload, object)),
            }
        }
    }
    for object in manifests.of("PersistentVolumeClaim") {
        let name = text(&object["metadata"]["name"]);
        match used.iter().filter(|(claim, _)| *claim == name).count() {
            0 => wrong.push(format!("claim {name} is used by nobody")),
            1 => {}
            _ => wrong.push(format!("claim {name} is shared by several workloads")),
        }
    }
    wrong
}

/// Several pods of one workload, also for a moment in a rolling update, need a claim for several.
fn crowded(manifests: &Manifests, workload: &Workload<'_>, claim: &Value) -> Option<String> {
    let alone = list(&claim["spec"]["accessModes"])
        .iter()
        .all(|mode| ["ReadWriteOnce", "ReadWriteOncePod"].contains(&text(mode)));
    let rolls = workload.object["kind"] == "Deployment"
        && workload.object["spec"]["strategy"]["type"] != "Recreate";
    let several = least_replicas(manifests, workload) > 1 || rolls;
    let name = text(&claim["metadata"]["name"]);
    (alone && several)
        .then(|| format!("{}: claim {name} is for one pod at a time", workload.name()))
}

/// Finds servers whose folders are not where they must be: `data.dir` on a claim of the pod's own,
/// `models.dir` on a volume, `/tmp` writable beside a root that is not.
pub fn folders(manifests: &Manifests) -> Vec<String> {
    let mut wrong = Vec::new();
    for workload in manifests.servers() {
        let Some((server, config)) = workload.server().zip(workload.config()) else {
            continue;
        };
        let place = workload.name();
        let mount = |path: &Path| {
            list(&server["volumeMounts"])
                .iter()
                .find(|mount| Path::new(text(&mount["mountPath"])) == path)
        };
        match mount(&config.data.dir) {
            Some(data) if owned(manifests, &workload, data) => {}
            _ => wrong.push(format!(
                "{place}: data.dir is on no writable claim of each pod's own"
            )),
        }
        if config.role.infers() && mount(&config.models.dir).is_none() {
            wrong.push(format!("{place}: models.dir is on no volume"));
        }
        if server["securityContext"]["readOnlyRootFilesystem"] == true
            && mount(Path::new("/tmp")).is_none_or(|tmp| tmp["readOnly"] == true)
        {
            wrong.push(format!("{place}: SQLite has no folder for temporary files"));
        }
    }
    wrong
}

/// Returns whether a mount is a claim that belongs to one pod, and may be written.
fn owned(manifests: &Manifests, workload: &Workload<'_>, mount: &Value) -> bool {
    let name = text(&mount["name"]);
    let claimed = list(&workload.pod()["volumes"])
        .iter()
        .any(|volume| volume["name"] == name && !volume["persistentVolumeClaim"].is_null());
    let single = claimed && least_replicas(manifests, workload) == 1;
    (single || workload.claim_templates().contains(&name)) && mount["readOnly"] != true
}
