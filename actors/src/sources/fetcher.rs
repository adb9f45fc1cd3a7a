//! From a source to a folder that a worker can load from.
//!
//! A version of a model is fetched into the cache under a key that no other version of any source has,
//! becomes an entry there when it is whole and verified, and is looked at like any folder of a model. So
//! what is half here is never loaded, and what is here already is never fetched.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use impetus_sources::cache::{Cache, CacheError, CacheSettings, Entry, Key, Pin, Staged, Staging};
use impetus_sources::fetch::{FetchError, FetchLimits, FetchOrder, Manifest, fetch};
use impetus_sources::store::StoreSettings;
use impetus_sources::{
    ArtifactRoot, Listing, Location, MlflowClient, ModelVersion, Progress, RegistryError,
    RegistryUri, Remote, RemoteError,
};
use impetus_supervision::Clock;
use thiserror::Error;
use tokio::sync::{Mutex, OnceCell};

use super::folder::look_into;
use super::shelf::{Good, Version};
use crate::serving::description::Description;

/// How often a model that changes while it is fetched is listed again before that is a failure.
const MOST_CHANGES: usize = 3;

/// Fetches models.
pub struct Fetcher {
    settings: FetcherSettings,
    /// Opened when it is first needed: a volume that does not answer is no reason not to start.
    cache: OnceCell<Cache>,
    /// What is held in the cache.
    pins: Mutex<BTreeMap<Key, Pin>>,
}

/// What it works with.
pub struct FetcherSettings {
    /// Where models end.
    pub cache: CacheSettings,
    /// How stores are reached.
    pub stores: StoreSettings,
    /// The registry, where there is one.
    pub registry: Option<Arc<MlflowClient>>,
    /// How long a place may take to list what lies there.
    pub list_within: Duration,
    /// The bounds of a download.
    pub limits: FetchLimits,
    /// The time, for what is written down.
    pub clock: Arc<dyn Clock>,
}

/// Why a model is not here.
#[derive(Debug, Error)]
pub enum FetchProblem {
    /// The place says so.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The registry says so.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The download did not succeed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The cache could not take it.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// It is a model of a registry, and there is none.
    #[error("{0} is a model of a registry, and none is configured; set registry.url")]
    NoRegistry(RegistryUri),
    /// The place takes too long.
    #[error("{place} did not say within {seconds} s what lies there; it is tried again")]
    TooSlow {
        /// The place.
        place: String,
        /// How long was waited.
        seconds: u64,
    },
    /// What lies there changes faster than it can be fetched.
    #[error(
        "{place} has changed {MOST_CHANGES} times while it was fetched; it is tried again later"
    )]
    Unsteady {
        /// The place.
        place: String,
    },
    /// What lies there is no model.
    #[error("{place} holds no model that can be served: {why}")]
    NoModel {
        /// The place.
        place: String,
        /// What is wrong with it.
        why: String,
    },
}

/// One version on its way.
struct Way<'a> {
    name: &'a str,
    source: &'a Location,
    version: &'a Version,
    progress: &'a Progress,
}

// === impl Fetcher ===

impl Fetcher {
    /// Makes one; nothing is opened yet.
    #[must_use]
    pub fn new(settings: FetcherSettings) -> Self {
        Self {
            settings,
            cache: OnceCell::new(),
            pins: Mutex::default(),
        }
    }

    /// Asks a source which version it means.
    ///
    /// # Errors
    /// It does not say.
    pub async fn look(&self, source: &Location) -> Result<Version, FetchProblem> {
        match source {
            Location::Registry(uri) => {
                let registry = self.registry(uri)?;
                let version = registry.resolve(uri).await?;
                Ok(Version::registered(registry.url(), uri, version))
            }
            Location::Store(address) => {
                let remote = self.settings.stores.open(address)?;
                let listing = self.list(&*remote, address).await?;
                Ok(Version::of_listing(address, listing))
            }
        }
    }

    /// Returns a version that is in the cache.
    pub async fn recall(&self, name: &str, version: &Version) -> Option<Good> {
        let cache = self.cache().await.ok()?;
        let entry = cache.entry(&version.cache_key()).await.ok()??;
        good(name, version, &entry.path).await.ok()
    }

    /// Holds the entries that these files or folders are in, so that no server removes them from the
    /// cache; what was held before and is not among them is held no more.
    ///
    /// # Errors
    /// The first that could not be held; all others are.
    pub async fn hold(&self, used: &[PathBuf]) -> Result<(), CacheError> {
        // A server whose models all lie in the folder never touches the cache.
        let Some(cache) = self.cache.get() else {
            return Ok(());
        };
        let mut pins = self.pins.lock().await;
        let entries = cache.entries().await?;
        hold(cache, &mut pins, &entries, used).await?;
        // As often as everybody's signs of life are to be looked at.
        cache.sweep().await
    }

    /// Fetches a version, unless it is in the cache. Dropped, it leaves what has come, to be resumed.
    ///
    /// # Errors
    /// See [`FetchProblem`]; what is in the cache stays as it is.
    pub async fn fetch(
        &self,
        name: &str,
        source: &Location,
        version: &Version,
        progress: &Progress,
    ) -> Result<Good, FetchProblem> {
        let way = Way {
            name,
            source,
            version,
            progress,
        };
        let cache = self.cache().await?;
        let key = version.cache_key();
        let entry = match cache.stage(&key, self.settings.limits.within).await? {
            Staged::There(entry) => entry,
            Staged::Ours(staging) => self.bring(cache, staging, &way).await?,
        };
        // Held at once: nobody makes room by it before it is loaded.
        if let Some(pin) = cache.pin(&key).await? {
            self.pins.lock().await.insert(key, pin);
        }
        let looked = good(name, version, &entry.path).await;
        looked.map_err(|why| way.no_model(why))
    }

    async fn bring(
        &self,
        cache: &Cache,
        staging: Staging,
        way: &Way<'_>,
    ) -> Result<Entry, FetchProblem> {
        let manifest = {
            let filling = self.fill(cache, &staging, way);
            let mut filling = std::pin::pin!(filling);
            // Three signs of life within a lease's time.
            let mut renewal = tokio::time::interval(self.settings.cache.ttl / 3);
            loop {
                tokio::select! {
                    filled = &mut filling => break filled?,
                    _ = renewal.tick() => staging.renew().await?,
                }
            }
        };
        let manifest = named_as_graph(staging.path(), manifest)?;
        // What is no model never becomes an entry.
        if let Err(why) = good(way.name, way.version, staging.path()).await {
            staging.discard().await?;
            return Err(way.no_model(why));
        }
        Ok(staging.commit(manifest).await?)
    }

    /// Brings the files of a version into the folder that is staged for it.
    async fn fill(
        &self,
        cache: &Cache,
        staging: &Staging,
        way: &Way<'_>,
    ) -> Result<Manifest, FetchProblem> {
        let place = way.source.shown();
        let remote = self.remote(way.source, way.version).await?;
        for _ in 0..MOST_CHANGES {
            let listing = self.list(&*remote, &place).await?;
            if let Location::Store(address) = way.source
                && !Version::of_listing(address, listing.clone()).is(way.version)
            {
                // It is another version by now, which is fetched under a key of its own.
                return Err(RemoteError::Changed { place }.into());
            }
            // What has come already is counted by the cache itself.
            let lies = lying(staging.path()).await;
            let to_come = listing.size().unwrap_or_default().saturating_sub(lies);
            cache.make_room(to_come).await?;
            let order = FetchOrder {
                listing,
                into: staging.path().to_owned(),
                from: place.clone(),
                at: self.now(),
            };
            let limits = &self.settings.limits;
            match fetch(&*remote, &order, limits, way.progress).await {
                Err(error) if error.is_changed() => {}
                fetched => return Ok(fetched?),
            }
        }
        Err(FetchProblem::Unsteady { place })
    }

    /// Returns the place where the files of a version lie.
    async fn remote(
        &self,
        source: &Location,
        version: &Version,
    ) -> Result<Box<dyn Remote>, FetchProblem> {
        let address = match source {
            Location::Store(address) => address.clone(),
            Location::Registry(uri) => {
                let of_registry = ModelVersion {
                    name: uri.name.clone(),
                    version: version.number.unwrap_or_default(),
                    ..ModelVersion::default()
                };
                match self.registry(uri)?.artifacts(&of_registry).await? {
                    ArtifactRoot::Proxied(proxied) => return Ok(proxied),
                    ArtifactRoot::Store(address) => address,
                }
            }
        };
        Ok(self.settings.stores.open(&address)?)
    }

    async fn list(&self, remote: &dyn Remote, place: &str) -> Result<Listing, FetchProblem> {
        let limit = self.settings.list_within;
        match tokio::time::timeout(limit, remote.list()).await {
            Ok(listing) => Ok(listing?),
            Err(_) => Err(FetchProblem::TooSlow {
                place: place.to_owned(),
                seconds: limit.as_secs(),
            }),
        }
    }

    /// Returns the seconds since 1970, for people who read a manifest.
    fn now(&self) -> u64 {
        let since = self.settings.clock.wall().duration_since(UNIX_EPOCH);
        since.unwrap_or_default().as_secs()
    }

    fn registry(&self, uri: &RegistryUri) -> Result<&MlflowClient, FetchProblem> {
        let registry = self.settings.registry.as_deref();
        registry.ok_or_else(|| FetchProblem::NoRegistry(uri.clone()))
    }

    async fn cache(&self) -> Result<&Cache, CacheError> {
        let settings = &self.settings.cache;
        let open = || Cache::open(settings.clone());
        self.cache.get_or_try_init(open).await
    }
}

// === impl Way ===

impl Way<'_> {
    fn no_model(&self, why: String) -> FetchProblem {
        FetchProblem::NoModel {
            place: self.source.shown(),
            why,
        }
    }
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher")
            .field("cache", &self.settings.cache)
            .field("registry", &self.settings.registry)
            .finish_non_exhaustive()
    }
}

/// Holds those of the entries that are used, and lets go of the others.
async fn hold(
    cache: &Cache,
    pins: &mut BTreeMap<Key, Pin>,
    entries: &[Entry],
    used: &[PathBuf],
) -> Result<(), CacheError> {
    let is_used = |entry: &Entry| {
        let path = std::fs::canonicalize(&entry.path).unwrap_or_else(|_| entry.path.clone());
        used.iter()
            .any(|used| used.starts_with(&path) || used.starts_with(&entry.path))
    };
    let used: Vec<&Entry> = entries.iter().filter(|entry| is_used(entry)).collect();
    pins.retain(|key, _| used.iter().any(|entry| entry.key == *key));
    let mut failed = None;
    for entry in used {
        let held = match pins.get(&entry.key) {
            Some(pin) => pin.renew().await,
            None => match cache.pin(&entry.key).await {
                Ok(pin) => {
                    pins.extend(pin.map(|pin| (entry.key.clone(), pin)));
                    Ok(())
                }
                Err(error) => Err(error),
            },
        };
        failed = failed.or(held.err());
    }
    failed.map_or(Ok(()), Err)
}

/// Gives a model that is one file the name by which a graph is found, whatever it is called where it
/// comes from.
fn named_as_graph(folder: &Path, mut manifest: Manifest) -> Result<Manifest, FetchError> {
    let plain = Description::default().file_name().to_owned();
    let [only] = manifest.files.as_mut_slice() else {
        return Ok(manifest);
    };
    if only.path != plain && only.path.ends_with(".onnx") && !only.path.contains('/') {
        let target = folder.join(&plain);
        std::fs::rename(folder.join(&only.path), &target).map_err(|error| FetchError::Disk {
            at: target,
            doing: "put in its place",
            why: error.to_string(),
        })?;
        only.path = plain;
    }
    Ok(manifest)
}

/// Looks at the folder of a version; says why it is that of no model.
async fn good(name: &str, version: &Version, path: &Path) -> Result<Good, String> {
    let (asked, folder) = (name.to_owned(), path.to_owned());
    let looked = tokio::task::spawn_blocking(move || look_into(&asked, &folder)).await;
    let looked = looked.map_err(|panicked| format!("looking at it failed: {panicked}"))?;
    let found = looked.ok_or_else(|| {
        "there is no model.onnx in it, nor the file that a description beside it names".to_owned()
    })?;
    if let Some(problem) = found.problem {
        return Err(problem);
    }
    Ok(Good {
        version: version.clone(),
        path: path.to_owned(),
        found: match version.number {
            Some(number) => found.numbered(number),
            None => found,
        },
    })
}

/// Returns how many bytes lie in a folder, as far as that can be seen.
async fn lying(folder: &Path) -> u64 {
    fn count(folder: &Path) -> u64 {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let sizes = entries.map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => count(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        });
        sizes.sum()
    }
    let folder = folder.to_owned();
    let counting = tokio::task::spawn_blocking(move || count(&folder));
    counting.await.unwrap_or_default()
}
