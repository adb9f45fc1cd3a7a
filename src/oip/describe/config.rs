//! A model's configuration in the terms of Triton's `ModelConfig`.

use std::time::Duration;

use impetus_actors::serving::description::TimeoutAction;
use impetus_actors::serving::{Priority, ServedModel};
use impetus_engine::{DType, TensorSpec};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::metadata::PLATFORM;
use super::{extents, unknown_yet};
use crate::oip::{Refusal, datatype};

/// A model's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModelConfig {
    /// Its name.
    pub name: String,
    /// What executes it.
    pub platform: &'static str,
    /// What executes it, without the kind of file.
    pub backend: &'static str,
    /// Which of its versions are served.
    pub version_policy: VersionPolicy,
    /// Rows of a batch at most; 0 for a model that does not batch.
    pub max_batch_size: i32,
    /// What it takes.
    pub input: Vec<TensorConfig>,
    /// What it gives.
    pub output: Vec<TensorConfig>,
    /// How requests are put together; absent for a model that does not batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dynamic_batching: Option<DynamicBatching>,
    /// What serves it.
    pub instance_group: Vec<InstanceGroup>,
    /// The name of its file.
    pub default_model_filename: String,
}

/// Which versions of a model are served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum VersionPolicy {
    /// The newest ones.
    Latest {
        /// How many.
        num_versions: u32,
    },
    /// All of them.
    All {},
    /// Those that are named.
    Specific {
        /// Which.
        versions: Vec<i64>,
    },
}

/// An input or an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TensorConfig {
    /// Its name.
    pub name: String,
    /// Its element type.
    #[serde(serialize_with = "as_data_type")]
    #[schema(value_type = String, example = "TYPE_FP32")]
    pub data_type: DType,
    /// Its dimensions without the batch's, -1 where any extent will do.
    pub dims: Vec<i64>,
}

/// How requests are put together to batches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DynamicBatching {
    /// Sizes for which a batch waits.
    pub preferred_batch_size: Vec<i32>,
    /// How long a request waits for others.
    pub max_queue_delay_microseconds: u64,
    /// Whether answers leave in the order in which requests came.
    pub preserve_ordering: bool,
    /// How many priorities there are; 1 is the highest.
    pub priority_levels: u64,
    /// The priority of a request that says none.
    pub default_priority_level: u64,
    /// How requests wait.
    pub default_queue_policy: QueuePolicy,
}

/// How requests wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct QueuePolicy {
    /// What becomes of one that has waited too long: `REJECT` or `DELAY`.
    pub timeout_action: &'static str,
    /// How long one may wait; 0 for no limit beside the request's own.
    pub default_timeout_microseconds: u64,
    /// Whether a request may say so itself.
    pub allow_timeout_override: bool,
    /// How many may wait; 0 for any number.
    pub max_queue_size: u32,
}

/// What serves a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct InstanceGroup {
    /// Its name.
    pub name: String,
    /// On what it runs.
    pub kind: &'static str,
    /// How many workers there are.
    pub count: i32,
}

/// Returns a model's configuration.
///
/// # Errors
/// The model has not been loaded yet.
pub fn config(model: &ServedModel) -> Result<ModelConfig, Refusal> {
    let signature = model.signature().ok_or_else(|| unknown_yet(model))?;
    let (spec, limits) = (model.spec(), model.limits());
    let batches = signature.batches;
    let tensors = |specs: &[TensorSpec]| {
        let specs = specs.iter();
        specs.map(|spec| TensorConfig::of(spec, batches)).collect()
    };
    Ok(ModelConfig {
        name: spec.name.clone(),
        platform: PLATFORM,
        backend: "onnxruntime",
        version_policy: VersionPolicy::Latest { num_versions: 1 },
        max_batch_size: if batches { int(limits.max_batch) } else { 0 },
        input: tensors(&signature.inputs),
        output: tensors(&signature.outputs),
        dynamic_batching: batches.then(|| DynamicBatching::of(model)),
        instance_group: vec![InstanceGroup {
            name: format!("{}_0", spec.name),
            kind: "KIND_CPU",
            count: int(limits.workers),
        }],
        default_model_filename: spec
            .path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
    })
}

// === impl TensorConfig ===

impl TensorConfig {
    fn of(spec: &TensorSpec, batches: bool) -> Self {
        let dims = extents(&spec.shape);
        Self {
            name: spec.name.clone(),
            data_type: spec.dtype,
            dims: dims.into_iter().skip(usize::from(batches)).collect(),
        }
    }
}

// === impl DynamicBatching ===

impl DynamicBatching {
    fn of(model: &ServedModel) -> Self {
        let policy = model.batching();
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self {
            preferred_batch_size: policy.preferred.iter().copied().map(int).collect(),
            max_queue_delay_microseconds: micros(policy.delay),
            preserve_ordering: false,
            priority_levels: 2,
            default_priority_level: match policy.priority {
                Priority::High => 1,
                Priority::Normal => 2,
            },
            default_queue_policy: QueuePolicy {
                timeout_action: match policy.timeout_action {
                    TimeoutAction::Reject => "REJECT",
                    TimeoutAction::Delay => "DELAY",
                },
                default_timeout_microseconds: policy.timeout.map_or(0, micros),
                allow_timeout_override: policy.allow_timeout_override,
                max_queue_size: u32::try_from(policy.queue).unwrap_or(u32::MAX),
            },
        }
    }
}

fn int(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn as_data_type<S: Serializer>(dtype: &DType, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(datatype::in_config(*dtype))
}
