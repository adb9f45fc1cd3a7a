//! What the file beside a model, `model.toml`, says about it.
//!
//! Everything in it is optional, and what it leaves out is as the server's configuration has it. A
//! key or a value that is not understood makes the model one that cannot be loaded, with the reason:
//! a misspelt limit must not be no limit.

mod batching;
mod versions;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use batching::{Batching, TimeoutAction, WhenFull};
pub use versions::VersionPolicy;

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
    /// What the model does; informative.
    pub task: Option<String>,
    /// Names of the classes, in the order of the output.
    #[serde(default)]
    pub labels: Vec<String>,
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
    /// What it may take in time.
    #[serde(default)]
    pub budgets: Budgets,
    /// How its workers are restarted.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// What it may take in memory.
    #[serde(default)]
    pub memory: MemoryPolicy,
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

/// How a picture becomes the model's input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageInput {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Order of the colours.
    #[serde(default)]
    pub channels: Channels,
    /// Order of the dimensions.
    #[serde(default)]
    pub layout: Layout,
    /// Each 8-bit sample is multiplied with this first.
    #[serde(default = "one_255th")]
    pub scale: f32,
    /// Then this is subtracted, one number per colour.
    #[serde(default = "zeros")]
    pub mean: [f32; 3],
    /// Then it is divided by this, one number per colour.
    #[serde(default = "ones")]
    pub std: [f32; 3],
}

/// Order of the colours in a tensor made from a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// Order of the dimensions in a tensor made from a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Colour, row, column.
    #[default]
    Chw,
    /// Row, column, colour.
    Hwc,
}

fn one_255th() -> f32 {
    1.0 / 255.0
}

fn zeros() -> [f32; 3] {
    [0.0; 3]
}

fn ones() -> [f32; 3] {
    [1.0; 3]
}

/// Times and sizes with units, as people write them.
mod units {
    use std::fmt::Display;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer};

    fn parse<'de, D, T, E: Display>(
        deserializer: D,
        parse: impl FnOnce(&str) -> Result<T, E>,
        example: &str,
    ) -> Result<Option<T>, D::Error>
    where
        D: Deserializer<'de>,
    {
        let text = String::deserialize(deserializer)?;
        parse(&text).map(Some).map_err(|error| {
            D::Error::custom(format!(
                "{text:?} is not understood ({error}); write it like {example:?}"
            ))
        })
    }

    pub(super) mod period {
        use std::time::Duration;

        use serde::{Deserializer, Serializer};

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Duration>, D::Error> {
            let positive = |text: &str| match humantime::parse_duration(text) {
                Ok(Duration::ZERO) => Err("it must be longer than nothing".to_owned()),
                Ok(period) => Ok(period),
                Err(error) => Err(error.to_string()),
            };
            super::parse(deserializer, positive, "1s 500ms")
        }

        pub(in super::super) fn serialize<S: Serializer>(
            period: &Option<Duration>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match period {
                Some(period) => serializer.collect_str(&humantime::format_duration(*period)),
                None => serializer.serialize_none(),
            }
        }
    }

    /// A period that may be nothing.
    pub(super) mod wait {
        use std::time::Duration;

        use serde::Deserializer;

        pub(in super::super) use super::period::serialize;

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Duration>, D::Error> {
            super::parse(deserializer, humantime::parse_duration, "2ms")
        }
    }

    pub(super) mod size {
        use bytesize::ByteSize;
        use serde::{Deserializer, Serializer};

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<u64>, D::Error> {
            let bytes = |text: &str| text.parse::<ByteSize>().map(|size| size.as_u64());
            super::parse(deserializer, bytes, "512MiB")
        }

        pub(in super::super) fn serialize<S: Serializer>(
            size: &Option<u64>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match size {
                Some(size) => serializer.collect_str(&ByteSize(*size)),
                None => serializer.serialize_none(),
            }
        }
    }
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
        if let Some(problem) = self.batching.problem() {
            return Some(problem);
        }
        if self.spares.is_some_and(|spares| spares > 16) {
            return Some("spares must be 0 to 16".to_owned());
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
        assert!(refused("[budgets]\nruns = \"1s\"").contains("runs"));
    }
}
