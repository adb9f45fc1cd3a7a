//! What a model's folder says about it, beside the graph itself.
//!
//! This is the shape of `model.toml`; what the folder has instead is made into the same. Everything
//! in it is optional, and what it leaves out is as the server's configuration has it. A
//! key or a value that is not understood makes the model one that cannot be loaded, with the reason:
//! a misspelt limit must not be no limit.

mod batching;
mod expected;
mod files;
mod generation;
mod image;
mod isolation;
mod log;
mod units;
mod versions;
mod warm_up;

use std::path::PathBuf;
use std::time::Duration;

use impetus_engine::Provider;
use serde::{Deserialize, Serialize};

pub use batching::{Batching, TimeoutAction, WhenFull};
pub use expected::{Expectations, ExpectedTensor};
pub use files::{inside, read_labels};
pub use generation::Generation;
pub use image::{Channels, ImageInput, Layout};
pub use isolation::Isolation;
pub use log::{Log, LogMode};
pub use versions::VersionPolicy;
pub use warm_up::{SampleInput, WarmUp};

/// The description of one model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Name; the folder's name when absent, and the same when given.
    pub name: Option<String>,
    /// Version; `1` when absent.
    pub version: Option<String>,
    /// Which versions are served where the folder holds several.
    #[serde(default)]
    pub versions: VersionPolicy,
    /// The model's file, in its folder or in that of a version; `model.onnx` when absent.
    pub file: Option<String>,
    /// What the model does: `text-generation` and `embedding` decide how it is asked, others are
    /// informative. Without it the files beside the graph tell.
    pub task: Option<String>,
    /// Names of the classes, in the order of the output.
    #[serde(default)]
    pub labels: Vec<String>,
    /// A file in the model's folder with those names, one a line.
    pub labels_file: Option<PathBuf>,
    /// The output whose classes they are; every one when absent.
    pub labels_output: Option<String>,
    /// Labels that mean "nothing is wrong".
    #[serde(default)]
    pub defect_free_labels: Vec<String>,
    /// How images become tensors; without it the model takes numbers only.
    pub image: Option<ImageInput>,
    /// Whether readiness depends on it, beside those that the configuration names.
    #[serde(default)]
    pub required: bool,
    /// How many workers serve it, instead of `models.workers`.
    #[serde(alias = "instances")]
    pub workers: Option<usize>,
    /// With how many threads each of them computes, instead of `models.threads`.
    pub threads: Option<usize>,
    /// How many more stand by, loaded and warm, instead of `models.spares`.
    pub spares: Option<usize>,
    /// Its share of the machine beside other models that have work; 1 when absent.
    pub share: Option<u32>,
    /// How its requests wait and become batches.
    #[serde(default)]
    pub batching: Batching,
    /// How it generates text, if that is what it does.
    #[serde(default)]
    pub generation: Generation,
    /// What may execute it, in the order in which that is tried, instead of `runtime.providers`.
    pub providers: Option<Vec<Provider>>,
    /// Whether a worker is a process or a thread of the server, instead of `models.isolation`.
    pub isolation: Option<Isolation>,
    /// Whether the first dimension counts rows that have nothing to do with each other, where the
    /// graph leaves it free; so it is taken to be when absent.
    pub stackable: Option<bool>,
    /// What it may take in time.
    #[serde(default)]
    pub budgets: Budgets,
    /// How its workers are restarted.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// What it may take in memory.
    #[serde(default)]
    pub memory: MemoryPolicy,
    /// Which of its predictions are logged.
    #[serde(default)]
    pub log: Log,
    /// What it is run with when it is loaded, after the smallest inputs that it takes.
    #[serde(default)]
    pub warm_up: Vec<WarmUp>,
    /// What its inputs and outputs are said to be.
    #[serde(skip)]
    pub expects: Expectations,
    /// What about it was not understood, or does nothing here, a line for each.
    #[serde(skip)]
    pub notes: Vec<String>,
    /// The files that it was made from or refers to, beside `model.toml` and `config.pbtxt`.
    #[serde(skip)]
    pub reads: Vec<PathBuf>,
}

/// Times that hold for one model instead of those of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    /// Longest time for one run, instead of one that is learned.
    #[serde(default, with = "units::period")]
    pub run: Option<Duration>,
    /// Longest time for reading the model.
    #[serde(default, with = "units::period")]
    pub load: Option<Duration>,
    /// Longest time for its first run.
    #[serde(default, with = "units::period")]
    pub warm_up: Option<Duration>,
}

/// A restart policy that holds for the workers of one model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestartPolicy {
    /// Restarts within `within` that are still healing.
    pub restarts: Option<u32>,
    /// The sliding window in which they are counted.
    #[serde(default, with = "units::period")]
    pub within: Option<Duration>,
    /// Pause before the second restart in a row.
    #[serde(default, with = "units::period")]
    pub backoff_min: Option<Duration>,
    /// Longest pause between two restarts.
    #[serde(default, with = "units::period")]
    pub backoff_max: Option<Duration>,
    /// How long a worker that restarted too often rests.
    #[serde(default, with = "units::period")]
    pub cool_down: Option<Duration>,
}

/// Memory of the workers of one model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryPolicy {
    /// Headroom beside what a worker has when it is loaded and warm, in bytes.
    #[serde(default, with = "units::size")]
    pub headroom: Option<u64>,
}

// === impl Description ===

impl Description {
    /// Returns what is wrong between its keys, if anything is.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let RestartPolicy {
            backoff_min,
            backoff_max,
            ..
        } = &self.restart;
        if self
            .workers
            .is_some_and(|workers| !(1..=256).contains(&workers))
        {
            return Some("workers must be 1 to 256".to_owned());
        }
        if self
            .threads
            .is_some_and(|threads| !(1..=256).contains(&threads))
        {
            return Some("threads must be 1 to 256".to_owned());
        }
        if self.share.is_some_and(|share| !(1..=1000).contains(&share)) {
            return Some("share must be 1 to 1000".to_owned());
        }
        let sections = [
            self.batching.problem(),
            self.generation.problem(),
            self.log.problem(),
        ];
        if let Some(problem) = sections.into_iter().flatten().next() {
            return Some(problem);
        }
        if self.spares.is_some_and(|spares| spares > 16) {
            return Some("spares must be 0 to 16".to_owned());
        }
        if !self.labels.is_empty() && self.labels_file.is_some() {
            return Some("labels and labels_file say the same: keep one of them".to_owned());
        }
        if let Some(empty) = self.warm_up.iter().position(|one| one.inputs.is_empty()) {
            return Some(format!("warm_up[{empty}] has no inputs"));
        }
        if let Some(problem) = self.providers.as_deref().and_then(provider_problem) {
            return Some(problem);
        }
        if let Some(problem) = self.versions.problem() {
            return Some(problem);
        }
        if let (Some(min), Some(max)) = (backoff_min, backoff_max)
            && min > max
        {
            return Some(format!(
                "restart.backoff_min ({}) must not be more than restart.backoff_max ({})",
                humantime::format_duration(*min),
                humantime::format_duration(*max),
            ));
        }
        None
    }
}

/// Returns what is wrong with an order of execution providers, if anything is.
fn provider_problem(order: &[Provider]) -> Option<String> {
    if order.is_empty() {
        return Some("providers must name at least one, such as \"cpu\"".to_owned());
    }
    let twice = order
        .iter()
        .enumerate()
        .find(|(i, one)| order[..*i].contains(one));
    twice.map(|(_, one)| format!("providers names \"{one}\" twice"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_unit_that_people_write() {
        let description: Description = toml::from_str(
            r#"
            workers = 3
            spares = 1
            required = true
            [budgets]
            run = "1s 500ms"
            [restart]
            restarts = 9
            cool_down = "2m"
            [memory]
            headroom = "512MiB"
            "#,
        )
        .unwrap();
        assert_eq!(description.budgets.run, Some(Duration::from_millis(1500)));
        assert_eq!(description.budgets.load, None);
        assert_eq!(
            description.restart.cool_down,
            Some(Duration::from_secs(120))
        );
        assert_eq!(description.memory.headroom, Some(512 << 20));
        let text = toml::to_string(&description).unwrap();
        assert_eq!(toml::from_str::<Description>(&text).unwrap(), description);
    }

    #[test]
    fn what_contradicts_itself_is_a_problem() {
        let problem = |text| toml::from_str::<Description>(text).unwrap().problem();
        assert_eq!(problem("workers = 2"), None);
        assert!(problem("workers = 0").unwrap().contains("workers"));
        assert_eq!(problem("providers = [\"cuda\", \"cpu\"]"), None);
        assert!(problem("providers = []").unwrap().contains("at least one"));
        let twice = problem("providers = [\"cpu\", \"cpu\"]");
        assert!(twice.unwrap().contains("\"cpu\" twice"));
        assert!(problem("spares = 99").unwrap().contains("spares"));
        assert_eq!(problem("instances = 2\nthreads = 2\nshare = 3"), None);
        assert!(problem("threads = 0").unwrap().contains("threads"));
        assert!(problem("share = 0").unwrap().contains("share"));
        let backwards = "[restart]\nbackoff_min = \"2s\"\nbackoff_max = \"1s\"";
        assert!(problem(backwards).unwrap().contains("backoff_max"));
    }

    #[test]
    fn a_value_without_its_unit_is_refused_by_name_and_example() {
        let refused = |text| {
            let error = toml::from_str::<Description>(text).unwrap_err();
            error.to_string()
        };
        assert!(refused("[budgets]\nrun = \"fast\"").contains("1s 500ms"));
        assert!(refused("[budgets]\nrun = \"0s\"").contains("longer than nothing"));
        assert!(refused("[memory]\nheadroom = \"lots\"").contains("512MiB"));
        assert!(refused("providers = [\"cdua\"]").contains("`cuda`"));
        assert!(refused("[budgets]\nruns = \"1s\"").contains("runs"));
    }
}
