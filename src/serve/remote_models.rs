//! What fetches models from elsewhere, put together from the configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use impetus_actors::downloader::{self, DownloaderSettings, Downloads};
use impetus_actors::registry::{self, RegistrySettings, RegistryStatus};
use impetus_actors::serving::Catalog;
use impetus_actors::sources::fetcher::{Fetcher, FetcherSettings};
use impetus_actors::sources::shelf::Shelf;
use impetus_sources::cache::CacheSettings;
use impetus_sources::fetch::FetchLimits;
use impetus_sources::store::{Secret, StoreRule, StoreSettings};
use impetus_sources::{Auth, MlflowClient, MlflowSettings};
use impetus_supervision::{ChildSpec, Clock};

use super::settings;
use crate::config::{Config, DownloadsConfig, RegistryConfig, StoresConfig, store_environment};
use crate::http::Webhook;

/// The kinds of stores.
const SCHEMES: [&str; 7] = ["s3", "gs", "az", "abfs", "abfss", "http", "https"];
/// The folder of the cache in the data folder, where no other is named.
const CACHE: &str = "model-cache";
/// The file in the data folder in which it is remembered what was served.
const MEMORY: &str = "remote-models.json";
/// After how long what was left of a download that nobody goes on with is removed.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// Everything about models from elsewhere that the rest of the server holds.
pub(super) struct RemoteModels {
    /// The actors, in the order of their start.
    pub(super) children: Vec<ChildSpec>,
    pub(super) downloads: Downloads,
    pub(super) registry: Option<Arc<RegistryStatus>>,
    pub(super) webhook: Option<Arc<Webhook>>,
}

/// Returns the models of the configuration that come from elsewhere.
pub(super) fn shelf(config: &Config) -> Arc<Shelf> {
    let models = config.models.remote.iter().filter_map(|(name, source)| {
        // A source that is none was refused with the configuration.
        Some((name.clone(), source.parse().ok()?))
    });
    Arc::new(Shelf::new(models))
}

/// Puts the actors together.
///
/// # Errors
/// A file with a secret or a certificate cannot be read, or the cache not be opened.
pub(super) fn assemble(
    config: &Config,
    shelf: &Arc<Shelf>,
    catalog: &Arc<Catalog>,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<RemoteModels> {
    let client = client(config)?;
    let downloads = &config.downloads;
    let settings = DownloaderSettings {
        fetcher: Arc::new(fetcher(config, client.clone(), Arc::clone(clock))),
        parallel: downloads.parallel,
        backoff: settings::backoff(
            config,
            downloads.backoff_min.get(),
            downloads.backoff_max.get(),
        )?,
        poll_every: config.stores.poll_every.get(),
        // Three times within a lease, as whoever shares the cache expects.
        hold_every: downloads.lease.get() / 3,
        memory: config.data.dir.join(MEMORY),
    };
    let parts = downloader::child(settings, Arc::clone(shelf), Arc::clone(catalog));
    let mut remote = RemoteModels {
        children: vec![settings::healing(config, parts.spec)?],
        downloads: parts.downloads,
        registry: None,
        webhook: None,
    };
    if let Some(client) = client {
        let (child, actor, status) = registry::child(
            registry_settings(&config.registry, client),
            Arc::clone(shelf),
            parts.actor,
        );
        remote.children.push(settings::healing(config, child)?);
        remote.downloads = remote.downloads.with_registry(actor.clone());
        remote.registry = Some(status);
        remote.webhook =
            webhook(&config.registry)?.map(|secrets| Arc::new(Webhook::new(&secrets, actor)));
    }
    Ok(remote)
}

/// Returns what fetches models, as the configuration has it.
pub(crate) fn fetcher(
    config: &Config,
    registry: Option<Arc<MlflowClient>>,
    clock: Arc<dyn Clock>,
) -> Fetcher {
    let downloads = &config.downloads;
    let most = Some(downloads.max_size.get()).filter(|most| *most > 0);
    Fetcher::new(FetcherSettings {
        cache: CacheSettings {
            root: cache_dir(config),
            bytes: most.unwrap_or(u64::MAX),
            owner: uuid::Uuid::new_v4().to_string(),
            ttl: downloads.lease.get(),
            abandoned: ABANDONED,
        },
        stores: stores(&config.stores),
        registry,
        list_within: config.stores.list_timeout.get(),
        limits: limits(downloads),
        clock,
    })
}

/// Returns the client of the registry, where one is configured.
///
/// # Errors
/// A file with a secret or a certificate cannot be read.
pub(crate) fn client(config: &Config) -> anyhow::Result<Option<Arc<MlflowClient>>> {
    let (registry, silence) = (&config.registry, config.downloads.stall_timeout.get());
    if registry.url.is_empty() {
        return Ok(None);
    }
    let auth = if let Some(token) = file(&registry.token_file) {
        Auth::Bearer(secret("registry.token_file", &token)?)
    } else if !registry.username.is_empty() {
        let password = match file(&registry.password_file) {
            Some(file) => secret("registry.password_file", &file)?,
            None => String::new(),
        };
        Auth::Basic {
            user: registry.username.clone(),
            password,
        }
    } else {
        Auth::None
    };
    let client = MlflowClient::new(MlflowSettings {
        url: registry.url.clone(),
        auth,
        ca_file: file(&registry.ca_file),
        timeout: registry.poll_timeout.get(),
        silence,
    })
    .context("the registry cannot be asked; look at [registry] in the configuration")?;
    Ok(Some(Arc::new(client)))
}

/// Returns the folder of the cache.
pub(crate) fn cache_dir(config: &Config) -> PathBuf {
    file(&config.downloads.dir).unwrap_or_else(|| config.data.dir.join(CACHE))
}

fn stores(stores: &StoresConfig) -> StoreSettings {
    let options = store_environment()
        .into_iter()
        .chain(stores.options.clone());
    let rule = |ca_file: PathBuf| {
        let rule = |scheme: &&str| StoreRule {
            prefix: format!("{scheme}://"),
            ca_file: Some(ca_file.clone()),
            ..StoreRule::default()
        };
        SCHEMES.iter().map(rule).collect()
    };
    StoreSettings {
        rules: file(&stores.ca_file).map(rule).unwrap_or_default(),
        environment: options
            .map(|(name, value)| (name.to_lowercase(), Secret::from(value)))
            .collect(),
        request: stores.list_timeout.get(),
        ..StoreSettings::default()
    }
}

fn registry_settings(registry: &RegistryConfig, client: Arc<MlflowClient>) -> RegistrySettings {
    RegistrySettings {
        client,
        check_every: registry.check_every.get(),
        check_within: registry.check_timeout.get(),
        poll_every: registry.poll_every.get(),
        poll_within: registry.poll_timeout.get(),
        calls_a_minute: registry.calls_a_minute,
    }
}

fn limits(downloads: &DownloadsConfig) -> FetchLimits {
    FetchLimits {
        parallel: downloads.files,
        bytes: downloads.max_model.get(),
        stall: downloads.stall_timeout.get(),
        retries: downloads.retries,
        first_pause: downloads.backoff_min.get(),
        longest_pause: downloads.backoff_max.get(),
        ..FetchLimits::default()
    }
}

/// Returns the secrets by which webhooks are signed, where there are any.
fn webhook(registry: &RegistryConfig) -> anyhow::Result<Option<Vec<String>>> {
    let Some(file) = file(&registry.webhook_secret_file) else {
        return Ok(None);
    };
    let text = secret("registry.webhook_secret_file", &file)?;
    let secrets = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(Some(secrets.map(str::to_owned).collect()))
}

fn secret(key: &str, file: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("{} cannot be read; it is what {key} names", file.display()))?;
    let text = text.trim();
    anyhow::ensure!(
        !text.is_empty(),
        "{} is empty; it is what {key} names",
        file.display()
    );
    Ok(text.to_owned())
}

fn file(path: &Path) -> Option<PathBuf> {
    Some(path.to_owned()).filter(|path| !path.as_os_str().is_empty())
}
