//! Which of its predictions a model has logged, and how surely.

use serde::{Deserialize, Serialize};

/// What a model says of the log of its own predictions. What it leaves out is as the server's
/// configuration has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Which predictions are logged, instead of `predlog.mode`.
    pub mode: Option<LogMode>,
    /// The part of them that is, where they are sampled, instead of `predlog.sample`.
    pub sample: Option<f64>,
    /// Whether a prediction is answered after it is on the disk, instead of `predlog.durable`.
    pub durable: Option<bool>,
}

/// Which predictions of a model are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogMode {
    /// None.
    Off,
    /// Those of a part of the requests.
    Sampled,
    /// All.
    On,
}

// === impl Log ===

impl Log {
    /// Returns what is wrong, if anything is.
    pub(super) fn problem(&self) -> Option<String> {
        let sample = self.sample?;
        // What is no number is in no range either.
        (!(0.0..=1.0).contains(&sample))
            .then(|| format!("log.sample is {sample}: it must be 0 to 1"))
    }
}

#[cfg(test)]
mod tests {
    use crate::serving::description::Description;

    fn problem(text: &str) -> Option<String> {
        let description: Description = toml::from_str(text).unwrap();
        let again = toml::to_string(&description).unwrap();
        assert_eq!(toml::from_str::<Description>(&again).unwrap(), description);
        description.problem()
    }

    #[test]
    fn a_part_that_is_none_is_a_problem_that_names_its_key() {
        assert_eq!(
            problem("[log]\nmode = \"sampled\"\nsample = 0.05\ndurable = true"),
            None
        );
        assert_eq!(problem("[log]\nsample = 0.0"), None);
        for wrong in ["1.5", "-0.1"] {
            let problem = problem(&format!("[log]\nsample = {wrong}")).unwrap();
            assert!(problem.contains("log.sample"), "{problem}");
        }
    }

    #[test]
    fn a_mode_that_there_is_not_is_refused_with_those_that_there_are() {
        let refused = toml::from_str::<Description>("[log]\nmode = \"some\"").unwrap_err();
        assert!(refused.to_string().contains("sampled"), "{refused}");
    }
}
