//! What the mock knows: kinds, and an object of each.

use serde_json::{Value, json};

use super::POD;

/// A kind of object.
#[derive(Debug)]
pub struct Kind {
    /// Group and version, as in a manifest.
    pub api: &'static str,
    pub plural: &'static str,
    pub name: &'static str,
    pub short: &'static [&'static str],
    pub namespaced: bool,
}

pub const KINDS: &[Kind] = &[
    kind("v1", "pods", "Pod", &["po"]),
    kind("v1", "services", "Service", &["svc"]),
    kind("v1", "endpoints", "Endpoints", &["ep"]),
    kind("v1", "events", "Event", &["ev"]),
    kind("v1", "configmaps", "ConfigMap", &["cm"]),
    kind("v1", "secrets", "Secret", &[]),
    kind("v1", "serviceaccounts", "ServiceAccount", &["sa"]),
    kind(
        "v1",
        "persistentvolumeclaims",
        "PersistentVolumeClaim",
        &["pvc"],
    ),
    Kind {
        namespaced: false,
        ..kind("v1", "namespaces", "Namespace", &["ns"])
    },
    Kind {
        namespaced: false,
        ..kind("v1", "nodes", "Node", &["no"])
    },
    kind("apps/v1", "deployments", "Deployment", &["deploy"]),
    kind("apps/v1", "statefulsets", "StatefulSet", &["sts"]),
    kind("apps/v1", "replicasets", "ReplicaSet", &["rs"]),
    kind(
        "autoscaling/v2",
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        &["hpa"],
    ),
    kind(
        "policy/v1",
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        &["pdb"],
    ),
    kind(
        "networking.k8s.io/v1",
        "networkpolicies",
        "NetworkPolicy",
        &["netpol"],
    ),
    kind(
        "discovery.k8s.io/v1",
        "endpointslices",
        "EndpointSlice",
        &[],
    ),
    kind("rbac.authorization.k8s.io/v1", "roles", "Role", &[]),
    kind(
        "rbac.authorization.k8s.io/v1",
        "rolebindings",
        "RoleBinding",
        &[],
    ),
    kind("monitoring.coreos.com/v1", "podmonitors", "PodMonitor", &[]),
    kind(
        "monitoring.coreos.com/v1",
        "servicemonitors",
        "ServiceMonitor",
        &[],
    ),
    kind(
        "monitoring.coreos.com/v1",
        "prometheusrules",
        "PrometheusRule",
        &[],
    ),
    kind("metrics.k8s.io/v1beta1", "pods", "PodMetrics", &[]),
];

const fn kind(
    api: &'static str,
    plural: &'static str,
    name: &'static str,
    short: &'static [&'static str],
) -> Kind {
    Kind {
        api,
        plural,
        name,
        short,
        namespaced: true,
    }
}

/// Answers what `kubectl` asks before anything else.
pub fn discovery(path: &str) -> Option<Value> {
    match path {
        "/version" => Some(json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0"})),
        "/api" => Some(json!({"kind": "APIVersions", "versions": ["v1"]})),
        "/apis" => {
            let mut apis: Vec<&str> = KINDS.iter().map(|kind| kind.api).collect();
            apis.dedup();
            let groups: Vec<Value> = apis.iter().filter_map(|api| group(api)).collect();
            Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        _ => resources(path.strip_prefix("/apis/").or(path.strip_prefix("/api/"))?),
    }
}

fn group(api: &str) -> Option<Value> {
    let (name, version) = api.split_once('/')?;
    let version = json!({"groupVersion": api, "version": version});
    Some(json!({"name": name, "versions": [version], "preferredVersion": version}))
}

fn resources(api: &str) -> Option<Value> {
    let of_it: Vec<Value> = KINDS
        .iter()
        .filter(|kind| kind.api == api)
        .map(Kind::resource)
        .collect();
    (!of_it.is_empty()).then(|| {
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api, "resources": of_it})
    })
}

// === impl Kind ===

impl Kind {
    fn resource(&self) -> Value {
        json!({
            "name": self.plural, "singularName": self.name.to_lowercase(), "kind": self.name,
            "namespaced": self.namespaced, "shortNames": self.short,
            "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
        })
    }

    /// Returns an object of that name, as well as one can be.
    pub fn object(&self, namespace: &str, name: &str) -> Value {
        let mut object = json!({
            "apiVersion": self.api, "kind": self.name,
            "metadata": {
                "name": name, "uid": "1", "resourceVersion": "1", "generation": 1,
                "creationTimestamp": "2025-01-01T12:00:00Z", "labels": {"app": "impetus-llm-server"},
            },
        });
        if self.namespaced {
            object["metadata"]["namespace"] = namespace.into();
        }
        for (field, value) in self.contents().as_object().cloned().unwrap_or_default() {
            object[field] = value;
        }
        object
    }

    fn contents(&self) -> Value {
        let container =
            json!({"name": "impetus-llm-server", "image": "gerdsenai/impetus-llm-server:latest"});
        let template = json!({
            "metadata": {"labels": {"app": "impetus-llm-server"}},
            "spec": {"containers": [container]},
        });
        match self.name {
            "Pod" => json!({
                "spec": {"nodeName": "node", "containers": [container]},
                "status": {
                    "phase": "Running", "podIP": "127.0.0.1",
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "containerStatuses": [{
                        "name": "impetus-llm-server", "ready": true, "restartCount": 0,
                        "image": "", "imageID": "",
                        "state": {"running": {"startedAt": "2025-01-01T12:00:00Z"}},
                    }],
                },
            }),
            "Deployment" | "StatefulSet" | "ReplicaSet" => json!({
                "spec": {
                    "replicas": 1, "template": template,
                    "selector": {"matchLabels": {"app": "impetus-llm-server"}},
                    "updateStrategy": {"type": "RollingUpdate"},
                },
                "status": {
                    "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1,
                    "readyReplicas": 1, "availableReplicas": 1,
                    "currentRevision": "1", "updateRevision": "1",
                },
            }),
            "Event" => json!({
                "type": "Warning", "reason": "Unhealthy",
                "message": "Readiness probe failed: HTTP probe failed with statuscode: 503",
                "involvedObject": {"kind": "Pod", "name": POD},
            }),
            "PodMetrics" => json!({
                "timestamp": "2025-01-01T12:00:00Z", "window": "30s",
                "containers": [{"name": "impetus-llm-server", "usage": {"cpu": "100m", "memory": "64Mi"}}],
            }),
            "PersistentVolumeClaim" | "Namespace" => json!({"status": {"phase": "Active"}}),
            _ => json!({}),
        }
    }

    /// Returns a list of one.
    pub fn list(&self, namespace: &str) -> Value {
        json!({
            "apiVersion": self.api, "kind": format!("{}List", self.name),
            "metadata": {"resourceVersion": "1"}, "items": [self.object(namespace, POD)],
        })
    }

    /// Returns a list of one as the columns that `kubectl get` prints.
    pub fn table(&self) -> Value {
        let cells = match self.name {
            "Event" => vec![
                "1m",
                "Warning",
                "Unhealthy",
                POD,
                "Readiness probe failed: statuscode 503",
            ],
            _ => vec![POD, "1/1", "Running"],
        };
        let names = match self.name {
            "Event" => vec!["Last Seen", "Type", "Reason", "Object", "Message"],
            _ => vec!["Name", "Ready", "Status"],
        };
        let column = |name: &&str| json!({"name": name, "type": "string", "format": "", "description": "", "priority": 0});
        json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "Table", "metadata": {"resourceVersion": "1"},
            "columnDefinitions": names.iter().map(column).collect::<Vec<_>>(),
            "rows": [{"cells": cells, "object": {
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": {"name": POD, "namespace": "mlops", "creationTimestamp": "2025-01-01T12:00:00Z"},
            }}],
        })
    }
}
