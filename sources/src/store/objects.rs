//! S3, Google Cloud Storage and Azure Blob Storage, through the crate `object_store`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ClientOptions, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};
use reqwest::Url;
use tokio::time::timeout;

use super::failure::of_store;
use super::{MOST_FILES, StoreRule, StoreSettings, client, sums, without_secrets};
use crate::remote::{ByteStream, Checksum, Listing, Remote, RemoteError, RemoteFile};

/// How many times as long as one request a whole listing may take.
const LISTING: u32 = 10;

/// A folder, or a file, in a store.
struct Objects {
    store: Arc<dyn ObjectStore>,
    place: String,
    path: Path,
    /// Whether the address ends in `/`, and so can be no file.
    is_folder: bool,
    /// Whether the address was found to be a file when it was listed.
    is_single: AtomicBool,
    md5_etags: bool,
    request: Duration,
}

/// What a kind of store is made from.
pub(super) struct Making<'a> {
    settings: &'a StoreSettings,
    rule: Option<&'a StoreRule>,
    address: &'a str,
    options: ClientOptions,
}

/// Opens an address in a kind of store.
pub(super) fn open(
    settings: &StoreSettings,
    address: &str,
    make: fn(Making<'_>) -> Result<Arc<dyn ObjectStore>, String>,
) -> Result<Box<dyn Remote>, String> {
    let url = Url::parse(address).map_err(|error| format!("it is no address: {error}"))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it has a ? or # in it; write them as %3F and %23".to_owned());
    }
    let path = Path::from_url_path(url.path()).map_err(|error| error.to_string())?;
    let rule = settings.rule(address);
    let store = make(Making {
        settings,
        rule,
        address,
        options: client::options(settings, rule)?,
    })?;
    Ok(Box::new(Objects {
        store,
        place: without_secrets(address),
        is_folder: path.as_ref().is_empty() || url.path().ends_with('/'),
        path,
        is_single: AtomicBool::new(false),
        md5_etags: url.scheme() == "s3" && rule.is_some_and(|rule| rule.md5_etags),
        request: settings.request,
    }))
}

/// Makes a store by its builder, which knows which options there are.
macro_rules! make {
    ($builder:ty, $making:expr) => {{
        let Making {
            settings,
            rule,
            address,
            options,
        } = $making;
        let mut builder = <$builder>::new()
            .with_client_options(options)
            .with_retry(client::retry(settings));
        for (key, value) in &settings.environment {
            if let Ok(key) = key.to_ascii_lowercase().parse() {
                builder = builder.with_config(key, value.expose());
            }
        }
        for (key, value) in rule.map(|rule| &rule.options).into_iter().flatten() {
            let known = key.to_ascii_lowercase().parse();
            let known = known.map_err(|_| format!("it does not know the option {key:?}"))?;
            builder = builder.with_config(known, value.expose());
        }
        let store = builder.with_url(address).build();
        let store = store.map_err(|error| without_secrets(&error.to_string()))?;
        Ok(Arc::new(store) as Arc<dyn ObjectStore>)
    }};
}

#[cfg(feature = "s3")]
pub(super) fn s3(making: Making<'_>) -> Result<Arc<dyn ObjectStore>, String> {
    make!(object_store::aws::AmazonS3Builder, making)
}

#[cfg(feature = "gcs")]
pub(super) fn gcs(making: Making<'_>) -> Result<Arc<dyn ObjectStore>, String> {
    make!(object_store::gcp::GoogleCloudStorageBuilder, making)
}

#[cfg(feature = "azure")]
pub(super) fn azure(making: Making<'_>) -> Result<Arc<dyn ObjectStore>, String> {
    make!(object_store::azure::MicrosoftAzureBuilder, making)
}

// === impl Objects ===

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Objects").field(&self.place).finish()
    }
}

impl Remote for Objects {
    fn list(&self) -> BoxFuture<'_, Result<Listing, RemoteError>> {
        let within = self.request * LISTING;
        async move {
            timeout(within, self.find())
                .await
                .unwrap_or_else(|_| Err(self.too_slow(within)))
        }
        .boxed()
    }

    fn read<'a>(
        &'a self,
        file: &'a RemoteFile,
        from: u64,
    ) -> BoxFuture<'a, Result<ByteStream, RemoteError>> {
        async move {
            let path = self.path_of(file)?;
            let options = GetOptions {
                if_match: file.etag.clone(),
                range: (from > 0).then_some(GetRange::Offset(from)),
                ..GetOptions::default()
            };
            let place = format!("{}: {}", self.place, file.path);
            let asked = timeout(self.request * 2, self.store.get_opts(&path, options)).await;
            let answer = asked
                .map_err(|_| self.too_slow(self.request * 2))?
                .map_err(|error| of_store(&error, &place, "such object"))?;
            let is_other = file.etag.is_some() && answer.meta.e_tag != file.etag;
            if is_other || file.size.is_some_and(|size| size != answer.meta.size) {
                return Err(RemoteError::Changed { place });
            }
            let bytes = answer.into_stream();
            let failed = move |error| broken(&of_store(&error, &place, "such object"));
            Ok(bytes.map_err(failed).boxed())
        }
        .boxed()
    }
}

impl Objects {
    async fn find(&self) -> Result<Listing, RemoteError> {
        let mut objects = self.objects().await?;
        self.is_single.store(false, Ordering::Relaxed);
        if objects.is_empty() && !self.is_folder {
            return self.single().await;
        }
        if objects.is_empty() {
            return Err(RemoteError::NotThere {
                place: self.place.clone(),
                what: "folder with files in it".to_owned(),
            });
        }
        drop_markers(&mut objects);
        let mut files = Vec::with_capacity(objects.len());
        for (path, object) in objects {
            if !RemoteFile::is_safe(&path) {
                return Err(self.garbage(format!("{path:?} cannot be the name of a file")));
            }
            files.push(self.file(path, &object));
        }
        let sums = match files.iter().find(|file| file.path == sums::SUMS) {
            Some(file) => {
                let path = self.path_of(file)?;
                let text = self.text(&path).await?.unwrap_or_default();
                sums::of_folder(&text).map_err(|why| self.garbage(why))?
            }
            None => BTreeMap::new(),
        };
        for file in &mut files {
            if let Some(sum) = sums.get(&file.path) {
                file.checksum = Some(sum.clone());
            }
        }
        Ok(Listing { files })
    }

    /// Returns everything below the path, by the path from there.
    async fn objects(&self) -> Result<BTreeMap<String, ObjectMeta>, RemoteError> {
        let prefix = (!self.path.as_ref().is_empty()).then_some(&self.path);
        let mut listed = self.store.list(prefix);
        let mut objects = BTreeMap::new();
        while let Some(object) = listed.next().await {
            let object = object.map_err(|error| of_store(&error, &self.place, "such folder"))?;
            let whole = object.location.as_ref();
            let path = match prefix {
                Some(prefix) => whole.strip_prefix(prefix.as_ref()).unwrap_or(whole),
                None => whole,
            };
            let path = path.trim_start_matches('/').to_owned();
            if path.is_empty() {
                continue;
            }
            objects.insert(path, object);
            if objects.len() > MOST_FILES {
                return Err(self.garbage(format!("there are more than {MOST_FILES} files in it")));
            }
        }
        Ok(objects)
    }

    async fn single(&self) -> Result<Listing, RemoteError> {
        let what = "such file, and no folder with files in it,";
        let head = self.store.head(&self.path).await;
        let object = head.map_err(|error| of_store(&error, &self.place, what))?;
        let name = self.path.filename().unwrap_or_default().to_owned();
        if !RemoteFile::is_safe(&name) {
            return Err(self.garbage(format!("{name:?} cannot be the name of a file")));
        }
        let mut file = self.file(name, &object);
        let beside = format!("{}.sha256", self.path);
        let beside = Path::parse(beside).map_err(|error| self.garbage(error.to_string()))?;
        if let Some(text) = self.text(&beside).await? {
            let sum = sums::of_file(&text, &file.path);
            let sum = sum.ok_or_else(|| self.garbage(format!("{beside} has no digest in it")))?;
            file.checksum = Some(sum);
        }
        self.is_single.store(true, Ordering::Relaxed);
        Ok(Listing { files: vec![file] })
    }

    fn file(&self, path: String, object: &ObjectMeta) -> RemoteFile {
        let md5 = object
            .e_tag
            .as_deref()
            .map(|etag| etag.trim_matches('"'))
            .filter(|etag| self.md5_etags && is_md5(etag));
        RemoteFile {
            path,
            size: Some(object.size),
            etag: object.e_tag.clone(),
            checksum: md5.map(|md5| Checksum::Md5(md5.to_lowercase())),
        }
    }

    /// Reads a short text; nothing where there is none, or where it may not be known whether there is.
    async fn text(&self, path: &Path) -> Result<Option<String>, RemoteError> {
        let place = format!("{}: {path}", self.place);
        let answer = match self.store.get(path).await {
            Ok(answer) => answer,
            // S3 says 403 of what is not there to whoever may not list.
            Err(
                object_store::Error::NotFound { .. } | object_store::Error::PermissionDenied { .. },
            ) => return Ok(None),
            Err(error) => return Err(of_store(&error, &place, "such object")),
        };
        if answer.meta.size > sums::MOST as u64 {
            return Err(self.garbage(format!("{path} is too long for a file of digests")));
        }
        let bytes = answer.bytes().await;
        let bytes = bytes.map_err(|error| of_store(&error, &place, "such object"))?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn path_of(&self, file: &RemoteFile) -> Result<Path, RemoteError> {
        let whole = match self.path.as_ref() {
            "" => file.path.clone(),
            path if self.is_single.load(Ordering::Relaxed) => path.to_owned(),
            path => format!("{path}/{}", file.path),
        };
        Path::parse(whole).map_err(|error| self.garbage(error.to_string()))
    }

    fn garbage(&self, why: String) -> RemoteError {
        let place = self.place.clone();
        RemoteError::Garbage { place, why }
    }

    fn too_slow(&self, after: Duration) -> RemoteError {
        RemoteError::Unreachable {
            place: self.place.clone(),
            why: format!("it gives no answer within {} s", after.as_secs()),
        }
    }
}

/// Removes the empty objects that stand for folders.
fn drop_markers(objects: &mut BTreeMap<String, ObjectMeta>) {
    let folders: std::collections::BTreeSet<String> = objects
        .keys()
        .flat_map(|path| path.match_indices('/').map(|(at, _)| path[..at].to_owned()))
        .collect();
    objects.retain(|path, object| object.size > 0 || !folders.contains(path));
}

/// A body that ends early is a broken connection, whatever the crate calls it.
fn broken(error: &RemoteError) -> RemoteError {
    match error {
        RemoteError::Garbage { place, why } => RemoteError::Unreachable {
            place: place.clone(),
            why: why.clone(),
        },
        error => error.clone(),
    }
}

fn is_md5(etag: &str) -> bool {
    etag.len() == 32 && etag.bytes().all(|byte| byte.is_ascii_hexdigit())
}
