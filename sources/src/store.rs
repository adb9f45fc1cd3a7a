//! Models in object stores and on web servers.
//!
//! An address is a folder, or a single file, which is listed as one file of that name. `s3://`,
//! `gs://` and `az://` (or `abfs://`, `abfss://`) go through the crate `object_store`; `http://` and
//! `https://` are asked directly, so that servers which only serve files do as well as those that
//! speak WebDAV (see [`web`](self)). Each kind is a feature of this crate.
//!
//! Digests are taken from where people put them: a file `SHA256SUMS` in a folder, `NAME.sha256` beside
//! a single file. **An S3 entity tag is not taken for an MD5 digest unless the settings say so**: it is
//! one for objects put in one piece and encrypted by the store's own keys or not at all, and looks just
//! the same and is none with keys of a KMS or of the customer's; the listing does not tell.
//!
//! Settings are found by the longest prefix of the address, so that credentials go only to the place
//! that they are for. They are in no error and in no `Debug` output.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::remote::{Remote, RemoteError};

#[cfg(any(feature = "s3", feature = "gcs", feature = "azure", feature = "http"))]
mod client;
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure", feature = "http"))]
mod failure;
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
mod objects;
mod place;
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure", feature = "http"))]
mod sums;
#[cfg(feature = "http")]
mod web;

pub use place::without_secrets;

/// How many files are listed before a folder is refused as none of a model.
pub const MOST_FILES: usize = 10_000;

/// How stores are asked.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// What is set for addresses that begin alike.
    pub rules: Vec<StoreRule>,
    /// Options for every store that knows their key in lower case, such as `AWS_REGION`; others are
    /// ignored. Meant for the environment's variables. A rule's own options come before them.
    pub environment: BTreeMap<String, Secret>,
    /// How long a connection may take to be made.
    pub connect: Duration,
    /// How long an answer may take to begin, and to go on.
    pub request: Duration,
}

/// What is set for addresses that begin alike.
#[derive(Debug, Clone, Default)]
pub struct StoreRule {
    /// How they begin, whole parts of a path: `s3://bucket`, `https://host/models`.
    pub prefix: String,
    /// Options as `object_store` knows them for the kind of store (`aws_access_key_id`, `endpoint`,
    /// `google_service_account_key`, `azure_storage_account_name`, `allow_http`, …). For `http` and
    /// `https`: `bearer_token`, or `username` and `password`.
    pub options: BTreeMap<String, Secret>,
    /// A file of PEM certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether an entity tag of S3 that looks like an MD5 digest is one.
    pub md5_etags: bool,
}

/// A text that is shown to nobody.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

// === impl StoreSettings ===

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            environment: BTreeMap::new(),
            connect: Duration::from_secs(5),
            request: Duration::from_secs(30),
        }
    }
}

impl StoreSettings {
    /// Returns what stands behind an address. Asks nobody yet; reads the file of certificates.
    ///
    /// # Errors
    ///
    /// [`RemoteError::Unsupported`] where this build lacks the kind of store, or the settings do not
    /// fit it.
    pub fn open(&self, address: &str) -> Result<Box<dyn Remote>, RemoteError> {
        let place = without_secrets(address);
        let unsupported = |why: String| RemoteError::Unsupported {
            place: place.clone(),
            why,
        };
        let scheme = address.split("://").next().unwrap_or_default();
        match scheme {
            #[cfg(feature = "http")]
            "http" | "https" => web::open(self, address).map_err(unsupported),
            #[cfg(feature = "s3")]
            "s3" => objects::open(self, address, objects::s3).map_err(unsupported),
            #[cfg(feature = "gcs")]
            "gs" => objects::open(self, address, objects::gcs).map_err(unsupported),
            #[cfg(feature = "azure")]
            "az" | "abfs" | "abfss" => {
                objects::open(self, address, objects::azure).map_err(unsupported)
            }
            other => Err(unsupported(lacking(other))),
        }
    }

    /// Returns the rule with the longest prefix that an address has.
    #[must_use]
    pub fn rule(&self, address: &str) -> Option<&StoreRule> {
        self.rules
            .iter()
            .filter(|rule| rule.is_for(address))
            .max_by_key(|rule| rule.prefix.len())
    }
}

fn lacking(scheme: &str) -> String {
    let feature = match scheme {
        "http" | "https" => "http",
        "s3" => "s3",
        "gs" => "gcs",
        "az" | "abfs" | "abfss" => "azure",
        other => return format!("{other} is no kind of store that is known"),
    };
    format!("this build was made without the feature {feature}; build it with that feature")
}

// === impl StoreRule ===

impl StoreRule {
    /// Tells whether an address begins with the whole of the prefix's last part.
    fn is_for(&self, address: &str) -> bool {
        address.strip_prefix(&*self.prefix).is_some_and(|rest| {
            rest.is_empty() || rest.starts_with('/') || self.prefix.ends_with('/')
        })
    }
}

// === impl Secret ===

impl Secret {
    /// Returns the text, to be sent and nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(prefixes: &[&str]) -> StoreSettings {
        let rule = |prefix: &&str| StoreRule {
            prefix: (*prefix).to_owned(),
            options: BTreeMap::from([("key".to_owned(), "hush".into())]),
            ..StoreRule::default()
        };
        StoreSettings {
            rules: prefixes.iter().map(rule).collect(),
            ..StoreSettings::default()
        }
    }

    #[test]
    fn the_longest_prefix_of_whole_parts_decides() {
        let settings = settings(&["s3://", "s3://models", "s3://models/a", "https://h"]);
        let cases = [
            ("s3://models/a/b", Some("s3://models/a")),
            ("s3://models/ab", Some("s3://models")),
            ("s3://models2/a", Some("s3://")),
            ("https://h@evil/x", None),
            ("https://h/x", Some("https://h")),
        ];
        for (address, prefix) in cases {
            let found = settings.rule(address).map(|rule| &*rule.prefix);
            assert_eq!(found, prefix, "{address}");
        }
    }

    #[test]
    fn options_are_not_shown() {
        let shown = format!("{:?}", settings(&["s3://"]));
        assert!(shown.contains("key") && !shown.contains("hush"), "{shown}");
    }

    #[test]
    fn what_is_lacking_is_named() {
        assert!(lacking("gs").contains("the feature gcs"));
        let error = StoreSettings::default().open("file:///x").unwrap_err();
        assert!(matches!(error, RemoteError::Unsupported { .. }), "{error}");
    }
}
