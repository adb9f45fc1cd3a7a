//! What Prometheus scrapes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Metrics, beside those that are always there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Whether the figures of generated text are there a second time, under the names that vLLM gives them, for dashboards and autoscalers that were made for it.
    pub vllm_aliases: bool,
}
