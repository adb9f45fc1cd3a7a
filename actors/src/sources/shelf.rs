//! The models that come from elsewhere: what is wanted of them, what their sources mean by it now, and
//! what of it is here.
//!
//! Three write to it, each its own part: whoever asks for a model names its source, the actor that asks
//! the source says which version that is, and the downloader puts down what it has fetched. The model
//! loader reads it beside the model folder. A version that is here stays the one that is served until
//! another one is here as well, whatever becomes of the source or of a download meanwhile.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use impetus_sources::cache::Key;
use impetus_sources::{Listing, Location, ModelVersion, RegistryUri, Selector};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::arrival::{Arrival, ArrivalStage};
use super::folder::{Fingerprint, Found, Wanted};
use crate::serving::description::Description;
use crate::serving::{ModelKind, ModelSpec};

/// Digits of a digest in a key.
const KEY_DIGITS: usize = 24;

/// The models that come from elsewhere.
#[derive(Debug, Default)]
pub struct Shelf {
    models: Mutex<BTreeMap<String, Shelved>>,
}

/// One model.
#[derive(Debug, Clone)]
struct Shelved {
    source: Location,
    /// Whether the configuration says so.
    configured: bool,
    meant: Option<Version>,
    /// Of the version that is meant, while it is not here, or of a source that does not say which it is.
    arrival: Option<Arc<Arrival>>,
    good: Option<Good>,
}

/// The version that a source means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// Whose version it is: one folder of the cache for each model of a registry and each address.
    pub owner: String,
    /// What tells its files from those of every other version of that owner, in whatever registry.
    pub key: String,
    /// Its number in a registry.
    pub number: Option<u64>,
    /// The alias or the stage by which a registry was asked for it, or else the stage it is in there.
    pub stage: Option<String>,
    /// What lies there, where that is what told the version.
    #[serde(skip)]
    pub listing: Option<Arc<Listing>>,
}

/// A version that is here.
#[derive(Debug, Clone)]
pub struct Good {
    /// Which one it is.
    pub version: Version,
    /// The folder it lies in.
    pub path: PathBuf,
    /// What lies there.
    pub found: Found,
}

/// A version that is to be fetched.
#[derive(Debug, Clone)]
pub struct Missing {
    /// The model's name.
    pub name: String,
    /// Where it comes from.
    pub source: Location,
    /// Which version.
    pub version: Version,
    /// How far it is.
    pub arrival: Arc<Arrival>,
}

/// What is remembered of a model from one run to the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    /// Where it came from.
    pub source: Location,
    /// The version that was served.
    pub version: Version,
}

// === impl Shelf ===

impl Shelf {
    /// Begins with the models of the configuration.
    #[must_use]
    pub fn new(models: impl IntoIterator<Item = (String, Location)>) -> Self {
        let shelf = Self::default();
        for (name, source) in models {
            shelf.ask(&name, source);
            if let Some(shelved) = shelf.models().get_mut(&name) {
                shelved.configured = true;
            }
        }
        shelf
    }

    /// Asks for a model. One that comes from there already stays as it is; from somewhere else, the
    /// version that is here serves until another one is.
    pub fn ask(&self, name: &str, source: Location) {
        let mut models = self.models();
        let good = match models.get(name) {
            Some(shelved) if shelved.source == source => return,
            Some(shelved) => shelved.good.clone(),
            None => None,
        };
        let arrival = Arrival::new(source.shown(), not_asked_yet(&source));
        let shelved = Shelved {
            source,
            configured: false,
            meant: None,
            arrival: Some(Arc::new(arrival)),
            good,
        };
        models.insert(name.to_owned(), shelved);
    }

    /// Tells whether no model comes from elsewhere.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.models().is_empty()
    }

    /// Returns every name with its source.
    #[must_use]
    pub fn sources(&self) -> Vec<(String, Location)> {
        let models = self.models();
        let sources = models.iter();
        sources
            .map(|(name, shelved)| (name.clone(), shelved.source.clone()))
            .collect()
    }

    /// Returns every version of a registry that is asked for, each once.
    #[must_use]
    pub fn registered(&self) -> Vec<RegistryUri> {
        let models = self.models();
        let uris = models.values().filter_map(|shelved| match &shelved.source {
            Location::Registry(uri) => Some(uri.clone()),
            Location::Store(_) => None,
        });
        let mut uris: Vec<RegistryUri> = uris.collect();
        uris.sort();
        uris.dedup();
        uris
    }

    /// Returns the source of a model that the configuration names.
    #[must_use]
    pub fn configured(&self, name: &str) -> Option<Location> {
        let models = self.models();
        let shelved = models.get(name).filter(|shelved| shelved.configured)?;
        Some(shelved.source.clone())
    }

    /// Returns what keeps a model from being here as its source means it; `None` when nothing does.
    #[must_use]
    pub fn awaited(&self, name: &str) -> Option<Arc<Arrival>> {
        self.models().get(name)?.arrival.clone()
    }

    /// Returns the version that a source means, as it was last said.
    #[must_use]
    pub fn meant(&self, source: &Location) -> Option<Version> {
        let models = self.models();
        let mut of_source = models.values().filter(|m| &m.source == source);
        of_source.find_map(|shelved| shelved.meant.clone())
    }

    /// Tells whether a model of that name comes from elsewhere.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.models().contains_key(name)
    }

    /// Says which version every model of a source is, or why that is not known. Returns the names of
    /// those for which that is another one than before.
    pub fn means(&self, source: &Location, version: Result<Version, String>) -> Vec<String> {
        let mut models = self.models();
        let of_source = models.iter_mut().filter(|(_, m)| &m.source == source);
        let changed = of_source.filter_map(|(name, shelved)| {
            let changed = match &version {
                Ok(version) => shelved.mean(version),
                Err(why) => {
                    shelved.wonder(why);
                    false
                }
            };
            changed.then(|| name.clone())
        });
        changed.collect()
    }

    /// Returns what is to be fetched.
    #[must_use]
    pub fn missing(&self) -> Vec<Missing> {
        let models = self.models();
        let missing = models.iter().filter_map(|(name, shelved)| {
            Some(Missing {
                name: name.clone(),
                source: shelved.source.clone(),
                version: shelved.meant.clone()?,
                arrival: Arc::clone(shelved.arrival.as_ref()?),
            })
        });
        missing.collect()
    }

    /// Puts down a version that is here. One that is not meant any more is not served for it, unless
    /// there is none.
    pub fn arrived(&self, name: &str, good: Good) {
        if let Some(shelved) = self.models().get_mut(name) {
            let meant = shelved.meant.as_ref();
            let is_meant = meant.is_none_or(|meant| meant.is(&good.version));
            if is_meant {
                shelved.arrival = None;
            }
            if is_meant || shelved.good.is_none() {
                shelved.good = Some(good);
            }
        }
    }

    /// Returns the versions that are here.
    #[must_use]
    pub fn here(&self) -> Vec<(String, Good)> {
        let models = self.models();
        let here = models.iter();
        here.filter_map(|(name, shelved)| Some((name.clone(), shelved.good.clone()?)))
            .collect()
    }

    /// Returns what is to be remembered for the next run.
    #[must_use]
    pub fn to_remember(&self) -> BTreeMap<String, Remembered> {
        let models = self.models();
        let here = models.iter().filter_map(|(name, shelved)| {
            let remembered = Remembered {
                source: shelved.source.clone(),
                version: shelved.good.as_ref()?.version.clone(),
            };
            Some((name.clone(), remembered))
        });
        here.collect()
    }

    /// Returns the stage or the alias of a version, where a registry has said one.
    #[must_use]
    pub fn stage_of(&self, name: &str) -> Option<String> {
        let models = self.models();
        let shelved = models.get(name)?;
        let good = shelved.good.as_ref().map(|good| &good.version);
        good.or(shelved.meant.as_ref())?.stage.clone()
    }

    /// Returns what is to be served: of each model the version that is here, and how far the one is that
    /// is to take its place.
    #[must_use]
    pub fn wanted(&self, describe: impl Fn(&Found) -> Vec<Wanted>) -> Vec<Wanted> {
        let models = self.models();
        let mut wanted = Vec::new();
        for (name, shelved) in models.iter() {
            if let Some(good) = &shelved.good {
                wanted.extend(describe(&good.found));
            }
            // A source that does not say which version it means takes nothing from the one that is here.
            let awaited = shelved.good.is_none() || shelved.meant.is_some();
            if let Some(arrival) = shelved.arrival.as_ref().filter(|_| awaited) {
                wanted.push(shelved.awaited(name, arrival));
            }
        }
        wanted
    }

    fn models(&self) -> MutexGuard<'_, BTreeMap<String, Shelved>> {
        // Nothing inside these sections can leave a model half-changed.
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Shelved ===

impl Shelved {
    fn mean(&mut self, version: &Version) -> bool {
        let before = self.meant.replace(version.clone());
        if let Some(good) = &mut self.good
            && good.version.is(version)
        {
            good.version = version.clone();
            self.arrival = None;
            return false;
        }
        let is_other = before.is_none_or(|before| !before.is(version));
        if is_other {
            let arrival = Arrival::new(self.place(version), "its files are to be fetched");
            self.arrival = Some(Arc::new(arrival));
        }
        is_other
    }

    /// Notes that the source does not say which version it means. What it said before stays true.
    fn wonder(&mut self, why: &str) {
        if self.meant.is_none() && self.good.is_none() {
            let arrival = self
                .arrival
                .get_or_insert_with(|| Arc::new(Arrival::new(self.source.shown(), why.to_owned())));
            arrival.set(ArrivalStage::Waiting(why.to_owned()));
        }
    }

    fn place(&self, version: &Version) -> String {
        match (&self.source, version.number) {
            (Location::Registry(uri), Some(number)) => {
                format!("{} (version {number})", uri)
            }
            _ => self.source.shown(),
        }
    }

    fn awaited(&self, name: &str, arrival: &Arc<Arrival>) -> Wanted {
        let version = match &self.meant {
            Some(meant) => meant.label(),
            None => "unknown".to_owned(),
        };
        Wanted {
            spec: ModelSpec {
                name: name.to_owned(),
                version,
                versioned: true,
                load: 1,
                kind: ModelKind::default(),
                path: PathBuf::new(),
                bytes: 0,
                description: Description::default(),
            },
            fingerprint: Fingerprint::of_text(arrival.place()),
            problem: None,
            arrival: Some(Arc::clone(arrival)),
        }
    }
}

// === impl Version ===

impl Version {
    /// Returns what a version of a registry is to whoever serves it.
    #[must_use]
    pub fn registered(registry: &str, uri: &RegistryUri, version: ModelVersion) -> Self {
        let number = version.version;
        // Two registries that share a cache may call different models the same.
        let run = version.run_id.unwrap_or_default();
        let created = version.created.unwrap_or_default();
        let identity = format!("{registry}\n{}\n{number}\n{run}\n{created}", version.name);
        let stage = match &uri.selector {
            Selector::Alias(alias) => alias.clone(),
            Selector::Stage(stage) => stage.clone(),
            Selector::Version(_) | Selector::Latest => version.stage,
        };
        Self {
            owner: version.name,
            key: format!("{number}-{}", digest(&[identity.as_bytes()])),
            number: Some(number),
            stage: Some(stage).filter(|stage| !stage.is_empty() && stage != "None"),
            listing: None,
        }
    }

    /// Returns the version that lies at an address, as it is listed.
    #[must_use]
    pub fn of_listing(address: &str, listing: Listing) -> Self {
        let told = serde_json::to_vec(&listing).unwrap_or_default();
        let name = Location::Store(address.to_owned()).usual_name();
        Self {
            owner: name,
            key: digest(&[address.as_bytes(), &told]),
            number: None,
            stage: None,
            listing: Some(Arc::new(listing)),
        }
    }

    /// Returns the name of its files in the cache.
    #[must_use]
    pub(super) fn cache_key(&self) -> Key {
        Key::new(&self.owner, &self.key)
    }

    /// Tells whether it has the same files.
    pub(super) fn is(&self, other: &Self) -> bool {
        (&self.owner, &self.key) == (&other.owner, &other.key)
    }

    /// Returns how people call it.
    #[must_use]
    pub fn label(&self) -> String {
        match self.number {
            Some(number) => number.to_string(),
            None => self.key.chars().take(12).collect(),
        }
    }
}

/// Returns the beginning of a digest, of enough digits that no two versions of a cache share them.
fn digest(parts: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let digits = digest
        .finalize()
        .iter()
        .fold(String::new(), |mut digits, byte| {
            digits.push_str(&format!("{byte:02x}"));
            digits
        });
    digits[..KEY_DIGITS].to_owned()
}

fn not_asked_yet(source: &Location) -> String {
    match source {
        Location::Registry(_) => "the registry has not said yet which version that is".to_owned(),
        Location::Store(_) => "nobody has looked yet what lies there".to_owned(),
    }
}

#[cfg(test)]
mod tests;
