//! How a model generates text.

use serde::{Deserialize, Serialize};

/// What a model says of how it generates. What it leaves out is as the server's configuration has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Generation {
    /// Sequences that run at a time, instead of `generation.slots`.
    pub slots: Option<usize>,
    /// Most tokens of prompt and answer together, instead of `generation.max_len`.
    pub max_len: Option<usize>,
    /// Most tokens of a prompt in one step, instead of `generation.prefill_chunk`.
    pub prefill_chunk: Option<usize>,
}

// === impl Generation ===

impl Generation {
    /// Returns what is wrong, if anything is.
    pub(super) fn problem(&self) -> Option<String> {
        let bounds = [
            ("slots", self.slots, 1, 1024),
            ("max_len", self.max_len, 2, 1 << 20),
            ("prefill_chunk", self.prefill_chunk, 1, 65_536),
        ];
        let wrong = bounds.into_iter().find_map(|(key, said, least, most)| {
            let said = said.filter(|said| !(least..=most).contains(said))?;
            Some((key, said, least, most))
        });
        wrong.map(|(key, said, least, most)| {
            format!("generation.{key} is {said}: it must be {least} to {most}")
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::serving::description::Description;

    #[test]
    fn a_bound_that_is_none_is_a_problem_that_names_its_key() {
        let problem = |text: &str| toml::from_str::<Description>(text).unwrap().problem();
        assert_eq!(problem("[generation]\nslots = 4\nmax_len = 512"), None);
        for (key, wrong) in [("slots", 0), ("max_len", 1), ("prefill_chunk", 0)] {
            let said = problem(&format!("[generation]\n{key} = {wrong}")).unwrap();
            assert!(said.contains(key), "{said}");
        }
    }
}
