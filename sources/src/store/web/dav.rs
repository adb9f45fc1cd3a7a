//! Listing a folder by WebDAV, through the crate `object_store`.

use std::sync::Arc;

use futures_util::StreamExt;
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{HeaderMap, ObjectStore};
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderValue};

use crate::remote::{Listing, RemoteError, RemoteFile};
use crate::store::failure::of_store;
use crate::store::{MOST_FILES, StoreRule, StoreSettings, client};

/// A server that may speak WebDAV.
pub(super) struct Dav {
    store: Arc<dyn ObjectStore>,
}

// === impl Dav ===

impl Dav {
    pub(super) fn try_new(
        settings: &StoreSettings,
        rule: Option<&StoreRule>,
        url: &Url,
        authorization: Option<HeaderValue>,
    ) -> Result<Self, String> {
        let headers: HeaderMap = authorization
            .map(|value| (AUTHORIZATION, value))
            .into_iter()
            .collect();
        let options = client::options(settings, rule)?
            .with_allow_http(url.scheme() == "http")
            .with_default_headers(headers);
        let store = HttpBuilder::new()
            .with_url(url.origin().ascii_serialization())
            .with_client_options(options)
            .with_retry(client::retry(settings))
            .build()
            .map_err(|error| error.to_string())?;
        let store = Arc::new(store);
        Ok(Self { store })
    }

    pub(super) async fn list(&self, place: &str, url: &Url) -> Result<Listing, RemoteError> {
        let garbage = |why: String| RemoteError::Garbage {
            place: place.to_owned(),
            why,
        };
        let folder = Path::from_url_path(url.path()).map_err(|error| garbage(error.to_string()))?;
        let mut listed = self.store.list(Some(&folder));
        let mut files = Vec::new();
        while let Some(object) = listed.next().await {
            let object = object.map_err(|error| match of_store(&error, place, "such folder") {
                RemoteError::Garbage { place, why } => RemoteError::Unsupported {
                    place,
                    why: format!(
                        "it has no SHA256SUMS and does not list folders by WebDAV ({why}); \
                         put a SHA256SUMS there, or name a single file"
                    ),
                },
                error => error,
            })?;
            let whole = object.location.as_ref();
            let path = whole.strip_prefix(folder.as_ref()).unwrap_or(whole);
            let path = path.trim_start_matches('/').to_owned();
            if !RemoteFile::is_safe(&path) {
                return Err(garbage(format!("{path:?} cannot be the name of a file")));
            }
            files.push(RemoteFile {
                path,
                size: Some(object.size),
                etag: object.e_tag,
                checksum: None,
            });
            if files.len() > MOST_FILES {
                return Err(garbage(format!(
                    "there are more than {MOST_FILES} files in it"
                )));
            }
        }
        if files.is_empty() {
            return Err(RemoteError::NotThere {
                place: place.to_owned(),
                what: "folder with files in it, nor a SHA256SUMS,".to_owned(),
            });
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Listing { files })
    }
}
