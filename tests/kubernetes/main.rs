//! The Kubernetes manifests: rendered, valid, and sound by rules that no schema has.
//!
//! Every kustomization under `k8s/` is rendered by kubectl and validated strictly against the
//! schemas of Kubernetes 1.34. Then come our own checks (`checks/`): functions from what was rendered
//! to a list of what is wrong with it. Where a manifest must agree with the server, they ask the
//! server: the environment of every container is loaded as its configuration, and ports, folders and
//! deadlines are compared with what comes of that. Each check is proven by manifests that somebody
//! has broken on purpose (`broken`).
//!
//! Nothing here needs a cluster. What a real kubelet makes of the probes is shown elsewhere.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod broken;
mod checks;
mod examples;
mod manifests;
mod quantity;
mod render;
mod rendered;
