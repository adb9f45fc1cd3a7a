//! What executes models: the library, and the providers in it.

use std::path::PathBuf;

use impetus_engine::Provider;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::load::nearest;
use super::units::Bytes;

/// The native model runtime, and on what it computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RuntimeConfig {
    /// Path of the ONNX Runtime library. Empty = look beside the binary, in `.onnxruntime` two folders above it and in the working folder, then where the system keeps libraries.
    pub library: PathBuf,
    /// Execution providers in the order in which they are tried for each model: `cpu`, `cuda`, `tensorrt`, `rocm`, `migraphx`, `openvino`, `directml`, `coreml`. The first that the library has and that opens the model runs it; the CPU is taken only where it is named. A model may say otherwise (`providers` in its `model.toml`). `impetus doctor` says which are usable here.
    pub providers: Vec<String>,
    /// Which device of its kind a provider uses, counted from 0: for `cuda`, `tensorrt`, `rocm`, `migraphx` and `directml`.
    #[schemars(range(max = 1024))]
    pub device: u32,
    /// Most memory of the device that one worker takes: the arena of `cuda`, `rocm` and `migraphx`, the workspace of `tensorrt`. 0 = the provider's own bound, which is mostly all there is.
    pub device_memory: Bytes,
    /// Folder in which `tensorrt`, `openvino` and `coreml` keep what they compile, so that the next load need not. Empty = nothing is kept.
    pub cache_dir: PathBuf,
    /// Device of `openvino`, in OpenVINO's words: `CPU`, `GPU`, `NPU`, `AUTO:GPU,CPU` and the like. Empty = as OpenVINO chooses.
    pub openvino_device: String,
    /// On which of Apple's units Core ML may compute, for the provider `coreml` and for Core ML models.
    pub coreml_compute_units: CoreMlUnits,
}

/// On which of Apple's units Core ML may compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CoreMlUnits {
    /// The CPU.
    CpuOnly,
    /// CPU and GPU.
    CpuAndGpu,
    /// CPU and Neural Engine.
    #[default]
    CpuAndNeuralEngine,
}

// === impl RuntimeConfig ===

impl RuntimeConfig {
    /// Returns the providers in their order; names that are none are left out, and validation has
    /// refused them.
    pub fn order(&self) -> Vec<Provider> {
        let names = self.providers.iter();
        names.filter_map(|name| name.parse().ok()).collect()
    }

    /// Returns what is wrong with the list of providers, a text for each.
    pub(super) fn provider_problems(&self) -> Vec<String> {
        if self.providers.is_empty() {
            return vec!["must name at least one provider, such as \"cpu\"".to_owned()];
        }
        let mut problems = Vec::new();
        for (position, name) in self.providers.iter().enumerate() {
            let names = || Provider::ALL.iter().map(|one| one.as_str());
            if name.parse::<Provider>().is_err() {
                let hint = match nearest(&name.to_lowercase(), names()) {
                    Some(meant) => format!(", did you mean \"{meant}\"?"),
                    None => format!("; they are {}", names().collect::<Vec<_>>().join(", ")),
                };
                problems.push(format!("\"{name}\" is no execution provider{hint}"));
            } else if self.providers[..position].contains(name) {
                problems.push(format!("names \"{name}\" twice"));
            }
        }
        problems
    }
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            library: PathBuf::new(),
            providers: vec![Provider::Cpu.as_str().to_owned()],
            device: 0,
            device_memory: Bytes::mib(0),
            cache_dir: PathBuf::new(),
            openvino_device: String::new(),
            coreml_compute_units: CoreMlUnits::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(names: &[&str]) -> Vec<String> {
        let providers = names.iter().map(|name| (*name).to_owned()).collect();
        RuntimeConfig {
            providers,
            ..RuntimeConfig::default()
        }
        .provider_problems()
    }

    #[test]
    fn a_name_that_is_none_is_refused_with_the_one_that_was_probably_meant() {
        assert_eq!(problems(&["tensorrt", "cuda", "cpu"]), Vec::<String>::new());
        assert!(problems(&["cdua"])[0].contains("did you mean \"cuda\"?"));
        assert!(problems(&["CUDA"])[0].contains("did you mean \"cuda\"?"));
        assert!(problems(&["abacus"])[0].contains("they are cpu, cuda"));
        assert!(problems(&["cpu", "cpu"])[0].contains("twice"));
        assert!(problems(&[])[0].contains("at least one"));
    }
}
