//! The execution providers of a library: which it has, and how each is registered.
//!
//! The library is loaded at run time, so the build knows all providers and links none: what
//! the library lacks is found out by asking it. A provider that it has registers by loading a second
//! library beside it, with everything that one needs; some fail only when a session is made, so
//! nothing but a session that was made proves anything. [`probe`] makes one of a graph with one
//! node.
//!
//! A graph's operators that a provider does not have are run by those registered behind it, and in
//! the end by the CPU, as ONNX Runtime does it.

use std::path::Path;

use ort::ep::{self, ExecutionProvider};
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use serde::{Deserialize, Serialize};

use super::super::RuntimeInfo;
use super::super::provider::{ComputeUnits, Provider, ProviderOptions};
use super::library::{self, Library};
use crate::error::shortened;

/// What a library says about a provider, as far as it could be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// Name and version of the library, or why it cannot be used.
    pub library: Result<RuntimeInfo, String>,
    /// The providers that it has.
    pub has: Vec<Provider>,
    /// Whether the provider makes a session, or what it says instead.
    pub usable: Result<(), String>,
}

/// Loads a library and makes a session with a provider. May crash where a driver does.
#[must_use]
pub fn probe(path: &Path, provider: Provider, options: &ProviderOptions) -> Probed {
    let library = match library::start(path) {
        Ok(library) => library,
        Err(error) => {
            return Probed {
                library: Err(error.to_string()),
                has: Vec::new(),
                usable: Err("the library cannot be used".to_owned()),
            };
        }
    };
    let usable = match in_library(provider) {
        false => Err(absent(library, provider)),
        true => try_out(library, provider, options).map_err(|error| {
            let said = in_short(error.message());
            shortened(format!("{said}; it needs {}", provider.needs()))
        }),
    };
    Probed {
        library: Ok(library.info.clone()),
        has: all_in_library(),
        usable,
    }
}

fn try_out(library: &Library, provider: Provider, options: &ProviderOptions) -> ort::Result<()> {
    let mut builder = Session::builder(&library.environment)?;
    if provider == Provider::DirectMl {
        builder = builder.with_memory_pattern(false)?;
    }
    register(&mut builder, provider, options, 1)?;
    builder.commit_from_memory(ONE_NODE).map(|_| ())
}

/// Returns whether the library that has been started has this provider.
pub(super) fn in_library(provider: Provider) -> bool {
    let has = match provider {
        Provider::Cpu => ep::CPU::is_available(),
        Provider::Cuda => ep::CUDA::is_available(),
        Provider::TensorRt => ep::TensorRT::is_available(),
        Provider::Rocm => ep::ROCm::is_available(),
        Provider::MiGraphX => ep::MIGraphX::is_available(),
        Provider::OpenVino => ep::OpenVINO::is_available(),
        Provider::DirectMl => ep::DirectML::is_available(),
        Provider::CoreMl => ep::CoreML::is_available(),
    };
    // It fails for want of memory alone, and then a session fails as well and says so.
    has.unwrap_or(false)
}

/// Says that a library lacks a provider, which it has, and what to do.
pub(super) fn absent(library: &Library, provider: Provider) -> String {
    let has: Vec<&str> = all_in_library().into_iter().map(Provider::as_str).collect();
    format!(
        "the ONNX Runtime library {} has no {provider} (it has {}): set library in [runtime] to {}, or take \
         {provider} out of the providers",
        library.path.display(),
        has.join(", "),
        provider.found_in(),
    )
}

fn all_in_library() -> Vec<Provider> {
    let all = Provider::ALL.into_iter();
    all.filter(|one| in_library(*one)).collect()
}

/// Returns what the runtime says without the place in its source and the number of its error.
pub(super) fn in_short(message: &str) -> &str {
    const ERROR: &str = "[ONNXRuntimeError] : ";
    let said = message.rsplit_once(ERROR).and_then(|(_, rest)| {
        let mut parts = rest.splitn(3, " : ");
        parts.nth(2)
    });
    said.unwrap_or(message).trim()
}

/// Registers a provider for the session to be made.
pub(super) fn register(
    builder: &mut SessionBuilder,
    provider: Provider,
    options: &ProviderOptions,
    threads: usize,
) -> ort::Result<()> {
    let device = i32::try_from(options.device).unwrap_or(i32::MAX);
    let memory = options
        .device_memory
        .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let cache = options.cache_dir.as_ref().map(|dir| dir.display());
    match provider {
        // It is there without being registered.
        Provider::Cpu => Ok(()),
        Provider::Cuda => {
            let mut cuda = ep::CUDA::default().with_device_id(device);
            if let Some(bytes) = memory {
                cuda = cuda.with_memory_limit(bytes);
            }
            cuda.register(builder)
        }
        Provider::TensorRt => {
            let mut tensorrt = ep::TensorRT::default().with_device_id(device);
            if let Some(bytes) = memory {
                tensorrt = tensorrt.with_max_workspace_size(bytes);
            }
            if let Some(dir) = cache {
                tensorrt = tensorrt
                    .with_engine_cache(true)
                    .with_engine_cache_path(dir)
                    .with_timing_cache(true);
            }
            tensorrt.register(builder)
        }
        Provider::Rocm => {
            let mut rocm = ep::ROCm::default().with_device_id(device);
            if let Some(bytes) = memory {
                rocm = rocm.with_mem_limit(bytes);
            }
            rocm.register(builder)
        }
        Provider::MiGraphX => {
            let mut migraphx = ep::MIGraphX::default().with_device_id(device);
            if let Some(bytes) = memory {
                migraphx = migraphx.with_mem_limit(bytes);
            }
            migraphx.register(builder)
        }
        Provider::OpenVino => {
            let mut openvino = ep::OpenVINO::default();
            if let Some(device) = &options.openvino_device {
                openvino = openvino.with_device_type(device);
            }
            if threads > 0 {
                openvino = openvino.with_num_threads(threads);
            }
            if let Some(dir) = cache {
                openvino = openvino.with_cache_dir(dir);
            }
            openvino.register(builder)
        }
        Provider::DirectMl => ep::DirectML::default()
            .with_device_id(device)
            .register(builder),
        Provider::CoreMl => {
            let mut coreml = ep::CoreML::default().with_compute_units(units(options.compute_units));
            if let Some(dir) = cache {
                coreml = coreml.with_model_cache_dir(dir);
            }
            coreml.register(builder)
        }
    }
}

fn units(units: ComputeUnits) -> ep::coreml::ComputeUnits {
    match units {
        ComputeUnits::CpuOnly => ep::coreml::ComputeUnits::CPUOnly,
        ComputeUnits::CpuAndGpu => ep::coreml::ComputeUnits::CPUAndGPU,
        ComputeUnits::CpuAndNeuralEngine => ep::coreml::ComputeUnits::CPUAndNeuralEngine,
    }
}

/// A model in ONNX's own form: one Relu of one float, `x` to `y`.
const ONE_NODE: &[u8] = b"\x08\x08\
    \x3a\x33\
    \x0a\x0c\x0a\x01x\x12\x01y\x22\x04Relu\
    \x12\x01g\
    \x5a\x0f\x0a\x01x\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x01\
    \x62\x0f\x0a\x01y\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x01\
    \x42\x04\x0a\x00\x10\x0d";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_runtime_says_is_kept_without_where_in_its_source_it_says_it() {
        let long = "/src/provider_bridge_ort.cc:2043 Provider& Get() [ONNXRuntimeError] : 1 : FAIL : \
                    Failed to load library a.so with error: b.so: cannot open ";
        let short = "Failed to load library a.so with error: b.so: cannot open";
        assert_eq!(in_short(long), short);
        assert_eq!(in_short(short), short);
    }
}
