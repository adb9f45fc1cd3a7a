//! A model's statistics, as Triton counts them.

use impetus_actors::serving::{self, ServedModel, Timed};
use serde::Serialize;
use utoipa::ToSchema;

/// The statistics of one version of a model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct ModelStatistics {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// When the last request was answered, in milliseconds since 1970; 0 before the first.
    pub last_inference: u64,
    /// Rows that were answered.
    pub inference_count: u64,
    /// Batches that were run.
    pub execution_count: u64,
    /// What the requests took.
    pub inference_stats: InferStatistics,
    /// What the batches took, by their size.
    pub batch_stats: Vec<BatchStatistics>,
}

/// What requests took.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct InferStatistics {
    /// Requests that were answered, from end to end.
    pub success: StatisticDuration,
    /// Requests that failed, from end to end.
    pub fail: StatisticDuration,
    /// Waiting for a worker.
    pub queue: StatisticDuration,
    /// Bringing inputs to the worker.
    pub compute_input: StatisticDuration,
    /// Running the model.
    pub compute_infer: StatisticDuration,
    /// Bringing outputs from the worker.
    pub compute_output: StatisticDuration,
    /// Answers from a cache; there is none.
    pub cache_hit: StatisticDuration,
    /// Requests that a cache did not have; there is none.
    pub cache_miss: StatisticDuration,
}

/// What batches of one size took.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct BatchStatistics {
    /// How many rows they have.
    pub batch_size: u64,
    /// Bringing inputs to the worker.
    pub compute_input: StatisticDuration,
    /// Running the model.
    pub compute_infer: StatisticDuration,
    /// Bringing outputs from the worker.
    pub compute_output: StatisticDuration,
}

/// How often something was done, and how long that took together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct StatisticDuration {
    /// How often.
    pub count: u64,
    /// Nanoseconds.
    pub ns: u64,
}

/// Returns the statistics of a model.
#[must_use]
pub fn statistics(model: &ServedModel) -> ModelStatistics {
    let (spec, measured) = (model.spec(), model.statistics());
    ModelStatistics {
        name: spec.name.clone(),
        version: spec.version.clone(),
        last_inference: measured.last_inference_ms,
        inference_count: measured.inference_count,
        execution_count: measured.execution_count,
        inference_stats: InferStatistics {
            success: measured.success.into(),
            fail: measured.fail.into(),
            queue: measured.queue.into(),
            compute_input: measured.compute.input.into(),
            compute_infer: measured.compute.infer.into(),
            compute_output: measured.compute.output.into(),
            ..InferStatistics::default()
        },
        batch_stats: measured.batches.into_iter().map(Into::into).collect(),
    }
}

impl From<serving::BatchStatistics> for BatchStatistics {
    fn from(measured: serving::BatchStatistics) -> Self {
        Self {
            batch_size: measured.rows,
            compute_input: measured.compute.input.into(),
            compute_infer: measured.compute.infer.into(),
            compute_output: measured.compute.output.into(),
        }
    }
}

impl From<Timed> for StatisticDuration {
    fn from(Timed { count, ns }: Timed) -> Self {
        Self { count, ns }
    }
}
