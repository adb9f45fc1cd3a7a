//! Where a model is, as people write it.
//!
//! `models:/surface@champion`, `models:/surface/3` and `models:/surface/Production` are MLflow's way
//! to name a version of a registered model; everything else is the address of a folder or a file:
//! `s3://bucket/path`, `gs://bucket/path`, `az://container/path`, `https://host/path`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::store::without_secrets;

const REGISTRY: &str = "models:/";
const STORES: [&str; 7] = ["s3", "gs", "az", "abfs", "abfss", "http", "https"];

/// Where a model is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Location {
    /// A version of a registered model.
    Registry(RegistryUri),
    /// The address of a folder or a file in a store.
    Store(String),
}

/// A version of a model in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegistryUri {
    /// The registered model's name.
    pub name: String,
    /// Which of its versions.
    pub selector: Selector,
}

/// Which version of a registered model is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Selector {
    /// The one that an alias points to.
    Alias(String),
    /// The one of this number.
    Version(u64),
    /// The newest one in a stage.
    Stage(String),
    /// The newest one.
    Latest,
}

/// Why a text is no location.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{text:?} is no place where a model can be: {why}; write it as models:/NAME@ALIAS, models:/NAME/VERSION, models:/NAME/STAGE, or as an address such as s3://BUCKET/PATH, gs://BUCKET/PATH, az://CONTAINER/PATH, https://HOST/PATH"
)]
pub struct LocationError {
    text: String,
    why: &'static str,
}

// === impl Location ===

impl Location {
    /// Returns it as it may be shown to anybody: without what may be a credential in an address.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Registry(uri) => uri.to_string(),
            Self::Store(address) => without_secrets(address),
        }
    }

    /// Returns the name by which a model from there is usually called: that in the registry, or the last
    /// part of the address without the ending of a file. Empty when there is none.
    #[must_use]
    pub fn usual_name(&self) -> String {
        match self {
            Self::Registry(uri) => uri.name.clone(),
            Self::Store(address) => {
                let path = address.split(['?', '#']).next().unwrap_or_default();
                let last = path.trim_end_matches('/').rsplit('/').next();
                let last = last.unwrap_or_default();
                last.strip_suffix(".onnx").unwrap_or(last).to_owned()
            }
        }
    }
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        let wrong = |why| LocationError {
            text: text.to_owned(),
            why,
        };
        if let Some(rest) = text.strip_prefix(REGISTRY) {
            return RegistryUri::read(rest).map(Self::Registry).map_err(wrong);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(wrong("it has no scheme"));
        };
        if !STORES.contains(&scheme) {
            return Err(wrong("its scheme is not one that is known"));
        }
        if rest.trim_matches('/').is_empty() {
            return Err(wrong("nothing follows its scheme"));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(wrong("it has blanks in it"));
        }
        Ok(Self::Store(text.to_owned()))
    }
}

impl TryFrom<String> for Location {
    type Error = LocationError;

    fn try_from(text: String) -> Result<Self, LocationError> {
        text.parse()
    }
}

impl From<Location> for String {
    fn from(location: Location) -> Self {
        location.to_string()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(uri) => uri.fmt(f),
            Self::Store(address) => f.write_str(address),
        }
    }
}

// === impl RegistryUri ===

impl RegistryUri {
    fn read(rest: &str) -> Result<Self, &'static str> {
        let rest = rest.trim_start_matches('/');
        let (name, selector) = match (rest.rsplit_once('@'), rest.rsplit_once('/')) {
            (Some((name, alias)), _) if !alias.contains('/') => {
                (name, Selector::Alias(alias.to_owned()))
            }
            (_, Some((name, "latest"))) => (name, Selector::Latest),
            (_, Some((name, which))) => match which.parse() {
                Ok(number) => (name, Selector::Version(number)),
                Err(_) => (name, Selector::Stage(which.to_owned())),
            },
            _ => return Err("it names no version, alias or stage"),
        };
        let which_is_empty = match &selector {
            Selector::Alias(which) | Selector::Stage(which) => which.is_empty(),
            Selector::Version(_) | Selector::Latest => false,
        };
        if name.is_empty() {
            return Err("it names no model");
        }
        if name.contains('/') {
            return Err("it has more parts than a name and a version");
        }
        if which_is_empty {
            return Err("it names no version, alias or stage");
        }
        Ok(Self {
            name: name.to_owned(),
            selector,
        })
    }
}

impl fmt::Display for RegistryUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.selector {
            Selector::Alias(alias) => write!(f, "{REGISTRY}{name}@{alias}"),
            Selector::Version(number) => write!(f, "{REGISTRY}{name}/{number}"),
            Selector::Stage(stage) => write!(f, "{REGISTRY}{name}/{stage}"),
            Selector::Latest => write!(f, "{REGISTRY}{name}/latest"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(name: &str, selector: Selector) -> Location {
        let name = name.to_owned();
        Location::Registry(RegistryUri { name, selector })
    }

    #[test]
    fn the_three_ways_to_name_a_version_are_told_apart() {
        let cases = [
            (
                "models:/surface@champion",
                registry("surface", Selector::Alias("champion".into())),
            ),
            (
                "models:/surface/3",
                registry("surface", Selector::Version(3)),
            ),
            (
                "models:/surface/Production",
                registry("surface", Selector::Stage("Production".into())),
            ),
            (
                "models:/surface/latest",
                registry("surface", Selector::Latest),
            ),
            (
                "models:/a b.c@x/1",
                registry("a b.c@x", Selector::Version(1)),
            ),
        ];
        for (text, location) in cases {
            assert_eq!(text.parse(), Ok(location.clone()), "{text}");
            assert_eq!(location.to_string(), text);
        }
    }

    #[test]
    fn addresses_are_kept_as_they_are_written() {
        for text in ["s3://b/p", "gs://b", "https://h:1/p/m.onnx", "az://c/p/"] {
            assert_eq!(text.parse::<Location>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_model_is_usually_called_by_the_last_part_of_its_address() {
        for (text, name) in [
            ("models:/surface@champion", "surface"),
            ("s3://bucket/models/surface/", "surface"),
            ("https://host/a/surface.onnx?token=1", "surface"),
        ] {
            assert_eq!(text.parse::<Location>().unwrap().usual_name(), name);
        }
    }

    #[test]
    fn what_is_no_location_is_refused_with_the_reason() {
        let cases = [
            ("surface", "no scheme"),
            ("ftp://h/p", "not one that is known"),
            ("s3://", "nothing follows"),
            ("https://h/a b", "blanks"),
            ("models:/surface", "names no version"),
            ("models:/surface@", "names no version"),
            ("models:/@champion", "names no model"),
            ("models:/a/b/3", "more parts"),
        ];
        for (text, why) in cases {
            let error = text.parse::<Location>().unwrap_err().to_string();
            assert!(
                error.contains(why) && error.contains(text),
                "{text}: {error}"
            );
        }
    }
}
