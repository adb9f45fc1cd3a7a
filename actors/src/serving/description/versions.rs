//! Which of the versions that lie in a model's folder are served.
//!
//! The policies and their meaning are those of Triton's `version_policy`: a folder that was laid
//! out for it is served with the same versions here. What is not there is not missed, so that a
//! version named before it arrives is served once it has.

use serde::{Deserialize, Serialize};

/// Which versions of a model are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VersionPolicy {
    /// The highest so many.
    Latest(u32),
    /// Every one there is.
    All,
    /// These, where they are.
    Specific(Vec<u64>),
}

// === impl VersionPolicy ===

impl VersionPolicy {
    /// Returns which of the versions found are wanted, each once, the lowest first.
    #[must_use]
    pub fn select(&self, found: &[u64]) -> Vec<u64> {
        let mut wanted = found.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        match self {
            Self::All => {}
            Self::Latest(count) => {
                let count = usize::try_from(*count).unwrap_or(usize::MAX);
                wanted.drain(..wanted.len().saturating_sub(count));
            }
            Self::Specific(named) => wanted.retain(|version| named.contains(version)),
        }
        wanted
    }

    /// Returns why no version could ever be wanted, if that is so.
    pub(super) fn problem(&self) -> Option<String> {
        match self {
            Self::Latest(0) => Some("versions.latest must be 1 or more".to_owned()),
            Self::Specific(named) if named.is_empty() => {
                Some("versions.specific must name a version".to_owned())
            }
            _ => None,
        }
    }
}

impl Default for VersionPolicy {
    fn default() -> Self {
        Self::Latest(1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Description;
    use super::*;

    #[test]
    fn each_policy_selects_its_versions_the_lowest_first() {
        let found = [10, 2, 1, 2, 7];
        assert_eq!(VersionPolicy::default().select(&found), [10]);
        assert_eq!(VersionPolicy::Latest(3).select(&found), [2, 7, 10]);
        assert_eq!(VersionPolicy::Latest(9).select(&found), [1, 2, 7, 10]);
        assert_eq!(VersionPolicy::All.select(&found), [1, 2, 7, 10]);
        assert_eq!(
            VersionPolicy::Specific(vec![7, 1, 3]).select(&found),
            [1, 7]
        );
        assert!(VersionPolicy::All.select(&[]).is_empty());
        assert!(VersionPolicy::default().select(&[]).is_empty());
    }

    #[test]
    fn a_policy_is_written_as_a_word_or_a_table() {
        let read = |text| toml::from_str::<Description>(text).unwrap().versions;
        assert_eq!(read(""), VersionPolicy::Latest(1));
        assert_eq!(read("versions = \"all\""), VersionPolicy::All);
        assert_eq!(read("versions = { latest = 2 }"), VersionPolicy::Latest(2));
        assert_eq!(
            read("versions = { specific = [1, 3] }"),
            VersionPolicy::Specific(vec![1, 3])
        );
        let refused = |text| toml::from_str::<Description>(text).unwrap_err().to_string();
        assert!(refused("versions = \"newest\"").contains("newest"));
        assert!(refused("versions = { latest = -1 }").contains("-1"));
    }

    #[test]
    fn a_policy_that_selects_nothing_whatever_comes_is_a_problem() {
        let problem = |text| toml::from_str::<Description>(text).unwrap().problem();
        assert_eq!(problem("versions = { latest = 1 }"), None);
        assert!(
            problem("versions = { latest = 0 }")
                .unwrap()
                .contains("versions.latest")
        );
        assert!(
            problem("versions = { specific = [] }")
                .unwrap()
                .contains("versions.specific")
        );
    }
}
