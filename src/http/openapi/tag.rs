//! The headings under which operations stand.

use utoipa::openapi::tag::{Tag, TagBuilder};
use utoipa::openapi::{OpenApi, PathItem};

use super::finish::operations;

pub(in crate::http) const PREDICT: &str = "predict";
pub(in crate::http) const V2: &str = "Open Inference Protocol v2";
pub(in crate::http) const V1: &str = "KServe V1";
pub(in crate::http) const OPENAI: &str = "OpenAI";
pub(in crate::http) const MODELS: &str = "models";
pub(in crate::http) const LOG: &str = "prediction log";
pub(in crate::http) const HEALTH: &str = "health";
pub(in crate::http) const SERVICES: &str = "services";
pub(in crate::http) const METRICS: &str = "metrics";
pub(in crate::http) const ADMIN: &str = "admin";
pub(in crate::http) const FAULTS: &str = "faults";
pub(in crate::http) const DOCUMENT: &str = "this document";

/// Every heading in the order in which a reader meets it, with what stands under it.
const ALL: [(&str, &str); 12] = [
    (PREDICT, "Numbers or a picture in, a class out"),
    (
        OPENAI,
        "Text in, text out, token by token, as OpenAI's clients speak it",
    ),
    (
        V2,
        "Tensors in, tensors out, as Triton Inference Server and KServe speak it",
    ),
    (
        V1,
        "KServe's first protocol, and what models there are for OpenAI's clients",
    ),
    (
        MODELS,
        "Which models there are, and loading and unloading them",
    ),
    (
        LOG,
        "Predictions that were made elsewhere, kept and read again",
    ),
    (
        HEALTH,
        "The health plane: whether to restart it, to send it traffic, to wake somebody",
    ),
    (
        SERVICES,
        "The health of the inference and the logging service, as their clients know it",
    ),
    (METRICS, "For Prometheus"),
    (ADMIN, "What an operator on this machine may order"),
    (FAULTS, "Breaking things on purpose, on game days"),
    (DOCUMENT, "The description of all this"),
];

/// Returns the headings that something stands under.
pub(super) fn used_in(document: &OpenApi) -> Vec<Tag> {
    let stands_under = |name: &str, item: &PathItem| {
        let tags = operations(item).filter_map(|operation| operation.tags.as_ref());
        tags.flatten().any(|tag| tag == name)
    };
    let used = |name: &str| {
        document
            .paths
            .paths
            .values()
            .any(|item| stands_under(name, item))
    };
    ALL.iter()
        .filter(|(name, _)| used(name))
        .map(|(name, about)| {
            TagBuilder::new()
                .name(*name)
                .description(Some(*about))
                .build()
        })
        .collect()
}
