//! Images have a tag that says which one, and Impetus' own is the version of this tree.

use crate::manifests::{Manifests, text};

/// Finds images without a tag or with `latest`, and another version of Impetus than this one.
///
/// The base alone is exempt (see `rendered`): its tag is imposed.
pub fn check(manifests: &Manifests) -> Vec<String> {
    let mut wrong = Vec::new();
    for workload in manifests.workloads() {
        for container in workload.containers() {
            let image = text(&container["image"]);
            let tag = image.rsplit_once('/').map_or(image, |(_, rest)| rest);
            match tag.split_once(':').map(|(_, tag)| tag) {
                None | Some("latest" | "") => {
                    wrong.push(format!("{}: {image} may be any version", workload.name()));
                }
                Some(tag) if workload.server() == Some(container) => {
                    let own = env!("CARGO_PKG_VERSION");
                    if tag != own {
                        wrong.push(format!("{}: {image} is not {own}", workload.name()));
                    }
                }
                Some(_) => {}
            }
        }
    }
    wrong
}
