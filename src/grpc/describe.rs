//! What the server and its models say of themselves, as messages.

use impetus_engine::DType;

use super::proto::model_config::SchedulingChoice;
use super::proto::model_instance_group::Kind;
use super::proto::model_metadata_response::TensorMetadata;
use super::proto::model_queue_policy::TimeoutAction;
use super::proto::model_version_policy::{All, Latest, PolicyChoice, Specific};
use super::proto::{
    DataType, InferBatchStatistics, InferStatistics, ModelConfig, ModelDynamicBatching, ModelInput,
    ModelInstanceGroup, ModelMetadataResponse, ModelOutput, ModelQueuePolicy, ModelStatistics,
    ModelTransactionPolicy, ModelVersionPolicy, ServerMetadataResponse, StatisticDuration,
};
use crate::oip::{datatype, describe};

impl From<describe::ServerMetadata> for ServerMetadataResponse {
    fn from(server: describe::ServerMetadata) -> Self {
        Self {
            name: server.name.to_owned(),
            version: server.version.to_owned(),
            extensions: server.extensions.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<describe::ModelMetadata> for ModelMetadataResponse {
    fn from(model: describe::ModelMetadata) -> Self {
        Self {
            name: model.name,
            versions: model.versions,
            platform: model.platform.to_owned(),
            inputs: model.inputs.into_iter().map(Into::into).collect(),
            outputs: model.outputs.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<describe::TensorMetadata> for TensorMetadata {
    fn from(tensor: describe::TensorMetadata) -> Self {
        Self {
            name: tensor.name,
            datatype: datatype::name(tensor.datatype).to_owned(),
            shape: tensor.shape,
        }
    }
}

impl From<describe::ModelConfig> for ModelConfig {
    fn from(config: describe::ModelConfig) -> Self {
        let batching = config.dynamic_batching.map(Into::into);
        Self {
            name: config.name,
            platform: config.platform.to_owned(),
            backend: config.backend.to_owned(),
            version_policy: Some(config.version_policy.into()),
            max_batch_size: config.max_batch_size,
            input: config.input.into_iter().map(Into::into).collect(),
            output: config.output.into_iter().map(Into::into).collect(),
            scheduling_choice: batching.map(SchedulingChoice::DynamicBatching),
            instance_group: config.instance_group.into_iter().map(Into::into).collect(),
            default_model_filename: config.default_model_filename,
            model_transaction_policy: Some(ModelTransactionPolicy { decoupled: false }),
            ..Self::default()
        }
    }
}

impl From<describe::VersionPolicy> for ModelVersionPolicy {
    fn from(policy: describe::VersionPolicy) -> Self {
        let choice = match policy {
            describe::VersionPolicy::Latest { num_versions } => {
                PolicyChoice::Latest(Latest { num_versions })
            }
            describe::VersionPolicy::All {} => PolicyChoice::All(All {}),
            describe::VersionPolicy::Specific { versions } => {
                PolicyChoice::Specific(Specific { versions })
            }
        };
        Self {
            policy_choice: Some(choice),
        }
    }
}

impl From<describe::TensorConfig> for ModelInput {
    fn from(tensor: describe::TensorConfig) -> Self {
        Self {
            name: tensor.name,
            data_type: data_type(tensor.data_type),
            dims: tensor.dims,
            ..Self::default()
        }
    }
}

impl From<describe::TensorConfig> for ModelOutput {
    fn from(tensor: describe::TensorConfig) -> Self {
        Self {
            name: tensor.name,
            data_type: data_type(tensor.data_type),
            dims: tensor.dims,
            ..Self::default()
        }
    }
}

impl From<describe::DynamicBatching> for ModelDynamicBatching {
    fn from(batching: describe::DynamicBatching) -> Self {
        Self {
            preferred_batch_size: batching.preferred_batch_size,
            max_queue_delay_microseconds: batching.max_queue_delay_microseconds,
            preserve_ordering: batching.preserve_ordering,
            priority_levels: batching.priority_levels,
            default_priority_level: batching.default_priority_level,
            default_queue_policy: Some(batching.default_queue_policy.into()),
            ..Self::default()
        }
    }
}

impl From<describe::QueuePolicy> for ModelQueuePolicy {
    fn from(policy: describe::QueuePolicy) -> Self {
        let action = TimeoutAction::from_str_name(policy.timeout_action);
        Self {
            timeout_action: action.unwrap_or_default().into(),
            default_timeout_microseconds: policy.default_timeout_microseconds,
            allow_timeout_override: policy.allow_timeout_override,
            max_queue_size: policy.max_queue_size,
        }
    }
}

impl From<describe::InstanceGroup> for ModelInstanceGroup {
    fn from(group: describe::InstanceGroup) -> Self {
        let kind = Kind::from_str_name(group.kind);
        Self {
            name: group.name,
            kind: kind.unwrap_or_default().into(),
            count: group.count,
            ..Self::default()
        }
    }
}

impl From<describe::ModelStatistics> for ModelStatistics {
    fn from(model: describe::ModelStatistics) -> Self {
        Self {
            name: model.name,
            version: model.version,
            last_inference: model.last_inference,
            inference_count: model.inference_count,
            execution_count: model.execution_count,
            inference_stats: Some(model.inference_stats.into()),
            batch_stats: model.batch_stats.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }
}

impl From<describe::InferStatistics> for InferStatistics {
    fn from(all: describe::InferStatistics) -> Self {
        Self {
            success: duration(all.success),
            fail: duration(all.fail),
            queue: duration(all.queue),
            compute_input: duration(all.compute_input),
            compute_infer: duration(all.compute_infer),
            compute_output: duration(all.compute_output),
            cache_hit: duration(all.cache_hit),
            cache_miss: duration(all.cache_miss),
        }
    }
}

impl From<describe::BatchStatistics> for InferBatchStatistics {
    fn from(batches: describe::BatchStatistics) -> Self {
        Self {
            batch_size: batches.batch_size,
            compute_input: duration(batches.compute_input),
            compute_infer: duration(batches.compute_infer),
            compute_output: duration(batches.compute_output),
        }
    }
}

fn duration(of: describe::StatisticDuration) -> Option<StatisticDuration> {
    let describe::StatisticDuration { count, ns } = of;
    Some(StatisticDuration { count, ns })
}

fn data_type(dtype: DType) -> i32 {
    let known = DataType::from_str_name(datatype::in_config(dtype));
    known.unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_type_and_every_word_of_the_configuration_has_a_number() {
        for dtype in DType::ALL {
            assert_ne!(
                data_type(dtype),
                i32::from(DataType::TypeInvalid),
                "{dtype}"
            );
        }
        assert!(Kind::from_str_name("KIND_CPU").is_some());
        assert!(TimeoutAction::from_str_name("REJECT").is_some());
        assert!(TimeoutAction::from_str_name("DELAY").is_some());
    }
}
