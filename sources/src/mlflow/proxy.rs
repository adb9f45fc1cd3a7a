//! The files of a version as the registry hands them out.
//!
//! **Listing** goes from folder to folder, since an answer tells of one folder only; the numbers of
//! files, folders and levels are limited. A folder that is not there is answered like an empty one.
//!
//! **Reading** is by ranges where there are any. Release 3 has ranges and entity tags; release 2 sends
//! chunks without a length, and always the whole file. A listing carries no entity tag, so the one
//! that came with a file's first bytes is kept, and a file that is read on has to have it still. Where
//! there is none, the bytes that are there already are passed over, and only the size tells whether
//! the file is another one. A version's files do not change by anything that MLflow does.
//!
//! **Invariant:** a stream that ends without an error has brought as many bytes as the listing says.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_DISPOSITION, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, IF_RANGE,
    RANGE,
};
use reqwest::{Response, StatusCode};
use tokio::time::timeout;

use super::error::RegistryError;
use super::http::{AskError, Http, broken, is_page, short};
use super::wire::ListAnswer;
use crate::remote::{ByteStream, Listing, Remote, RemoteError, RemoteFile};

/// The files of a version as the registry hands them out.
#[derive(Clone)]
pub struct ProxiedArtifacts {
    http: Http,
    /// The path below the proxy; it neither begins nor ends with a `/`.
    path: Arc<str>,
    /// The entity tags that came with the beginnings of files.
    seen: Arc<Mutex<BTreeMap<String, String>>>,
}

/// What is known of the stream that an answer becomes.
struct Tail {
    response: Response,
    place: String,
    /// How long it may be silent.
    silence: Duration,
    /// How many bytes are to be passed over.
    skip: u64,
    /// How many are to follow, where that is known.
    left: Option<u64>,
}

const ARTIFACTS: &str = "mlflow-artifacts/artifacts";
/// The most files and folders of one version. Language models come in some hundred files.
const MAX_ENTRIES: usize = 10_000;
/// The most folders of one version: each costs a call.
const MAX_FOLDERS: usize = 500;
/// The most folders within each other.
const MAX_DEPTH: usize = 12;

// === impl ProxiedArtifacts ===

impl ProxiedArtifacts {
    pub(super) fn new(http: Http, path: &str) -> Self {
        Self {
            http,
            path: Arc::from(path),
            seen: Arc::default(),
        }
    }

    async fn folders(&self) -> Result<Listing, RemoteError> {
        let mut files = Vec::new();
        let mut folders = vec![String::new()];
        let mut entries = 0;
        let mut asked = 0;
        while let Some(folder) = folders.pop() {
            asked += 1;
            if asked > MAX_FOLDERS || folder.split('/').count() > MAX_DEPTH {
                let why = format!(
                    "there are more than {MAX_FOLDERS} folders in it, or {MAX_DEPTH} within each other"
                );
                return Err(self.garbage(&folder, why));
            }
            for entry in self.folder(&folder).await?.files {
                entries += 1;
                if entries > MAX_ENTRIES {
                    let why = format!("there are more than {MAX_ENTRIES} files in it");
                    return Err(self.garbage(&folder, why));
                }
                let path = match folder.as_str() {
                    "" => entry.path.clone(),
                    folder => format!("{folder}/{}", entry.path),
                };
                if entry.path.contains('/') || !RemoteFile::is_safe(&path) {
                    let why = format!(
                        "there is a name in it that no file may have: {:?}",
                        short(&path)
                    );
                    return Err(self.garbage(&folder, why));
                }
                match entry.is_dir {
                    true => folders.push(path),
                    false => files.push(RemoteFile {
                        path,
                        size: entry.file_size,
                        etag: None,
                        checksum: None,
                    }),
                }
            }
        }
        if files.is_empty() {
            return Err(RemoteError::NotThere {
                place: self.place(""),
                what: "file".to_owned(),
            });
        }
        files.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        Ok(Listing { files })
    }

    async fn folder(&self, folder: &str) -> Result<ListAnswer, RemoteError> {
        let path = match folder {
            "" => self.path.to_string(),
            folder => format!("{}/{folder}", self.path),
        };
        let answer = self.http.ask(ARTIFACTS, &[("path", &path)]).await;
        answer.map_err(|error| self.failed(folder, error))
    }

    async fn open(&self, file: &RemoteFile, from: u64) -> Result<ByteStream, RemoteError> {
        match file.size {
            Some(size) if from == size => return Ok(stream::empty().boxed()),
            Some(size) if from > size => return Err(self.changed(&file.path)),
            _ => {}
        }
        let expected = match (&file.etag, from) {
            (Some(etag), _) => Some(etag.clone()),
            // Where a file begins anew it may be another one than before.
            (None, 0) => None,
            (None, _) => self.seen().get(&file.path).cloned(),
        };
        let url = self
            .http
            .place(&format!("{ARTIFACTS}/{}/{}", self.path, file.path));
        let mut request = self.http.get(url).header(ACCEPT_ENCODING, "identity");
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
            // Only a strong one may be asked to be the same.
            let strong = expected.as_deref().filter(|etag| !etag.starts_with("W/"));
            if let Some(etag) = strong {
                request = request.header(IF_RANGE, etag);
            }
        }
        let sent = timeout(self.http.silence(), request.send()).await;
        let response = match sent {
            Ok(sent) => sent.map_err(|error| self.unreachable(&file.path, broken(&error)))?,
            Err(_) => return Err(self.unreachable(&file.path, self.silent())),
        };
        self.tail(file, from, expected.as_deref(), response).await
    }

    /// Makes a stream of an answer, if it is of the file that was listed.
    async fn tail(
        &self,
        file: &RemoteFile,
        from: u64,
        expected: Option<&str>,
        response: Response,
    ) -> Result<ByteStream, RemoteError> {
        let headers = response.headers();
        let etag = text(headers, &ETAG);
        let is_other = matches!((expected, etag), (Some(one), Some(other)) if one != other);
        let skip = match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT if is_other => {
                return Err(self.changed(&file.path));
            }
            StatusCode::OK if is_page(&response) && !headers.contains_key(CONTENT_DISPOSITION) => {
                let why = "a page for people instead of the file".to_owned();
                return Err(self.garbage(&file.path, why));
            }
            StatusCode::OK => from,
            StatusCode::PARTIAL_CONTENT => {
                let range = text(headers, &CONTENT_RANGE);
                self.check_range(file, from, range)?;
                0
            }
            StatusCode::RANGE_NOT_SATISFIABLE => return Err(self.changed(&file.path)),
            _ => return Err(self.refused(&file.path, response).await),
        };
        let comes = response.content_length();
        if let (Some(comes), Some(size)) = (comes, file.size)
            && comes != size - (from - skip)
        {
            return Err(self.changed(&file.path));
        }
        if let Some(etag) = etag {
            self.seen().insert(file.path.clone(), etag.to_owned());
        }
        let tail = Tail {
            response,
            place: self.place(&file.path),
            silence: self.http.silence(),
            skip,
            left: file.size.map(|size| size - from),
        };
        let chunks = stream::try_unfold(tail, |mut tail| async move {
            let chunk = tail.next().await?;
            Ok(chunk.map(|chunk| (chunk, tail)))
        });
        Ok(chunks.boxed())
    }

    /// Checks that a part begins where it was asked to and is one of a file of the right size.
    fn check_range(
        &self,
        file: &RemoteFile,
        from: u64,
        range: Option<&str>,
    ) -> Result<(), RemoteError> {
        let parts = range.and_then(|range| {
            let (range, whole) = range.strip_prefix("bytes ")?.split_once('/')?;
            let (first, _) = range.split_once('-')?;
            Some((first.parse::<u64>().ok()?, whole.parse::<u64>().ok()))
        });
        match (parts, file.size) {
            (Some((_, Some(whole))), Some(size)) if whole != size => Err(self.changed(&file.path)),
            (Some((first, _)), _) if first == from => Ok(()),
            _ => {
                let why = "it is a part of the file that was not asked for".to_owned();
                Err(self.garbage(&file.path, why))
            }
        }
    }

    async fn refused(&self, path: &str, response: Response) -> RemoteError {
        match self.http.refusal(response).await {
            // Release 2 has no better words for a file that is not there.
            AskError::Coded(coded) if coded.message.contains("No such file") => {
                self.not_there(path)
            }
            error => self.failed(path, error),
        }
    }

    fn failed(&self, path: &str, error: AskError) -> RemoteError {
        let error = match error {
            AskError::Coded(coded) if coded.says_that_there_is_none() => {
                return self.not_there(path);
            }
            error => self.http.failed(error),
        };
        match error {
            RegistryError::Unreachable { why, .. } | RegistryError::Unavailable { why, .. } => {
                self.unreachable(path, why)
            }
            RegistryError::Unauthorized { status, why, .. } => RemoteError::Refused {
                place: self.place(path),
                status,
                why,
            },
            error @ RegistryError::WrongHost { .. } => RemoteError::Unsupported {
                place: self.place(path),
                why: error.to_string(),
            },
            RegistryError::Garbage { why, .. } | RegistryError::Rejected { why, .. } => {
                self.garbage(path, why)
            }
            error => self.garbage(path, error.to_string()),
        }
    }

    fn place(&self, path: &str) -> String {
        let url = format!("{}/{ARTIFACTS}/{}", self.http.shown(), self.path);
        match path {
            "" => url,
            path => format!("{url}/{path}"),
        }
    }

    fn silent(&self) -> String {
        silent(self.http.silence())
    }

    fn unreachable(&self, path: &str, why: String) -> RemoteError {
        RemoteError::Unreachable {
            place: self.place(path),
            why,
        }
    }

    fn not_there(&self, path: &str) -> RemoteError {
        RemoteError::NotThere {
            place: self.place(path),
            what: "file".to_owned(),
        }
    }

    fn changed(&self, path: &str) -> RemoteError {
        RemoteError::Changed {
            place: self.place(path),
        }
    }

    fn garbage(&self, path: &str, why: String) -> RemoteError {
        RemoteError::Garbage {
            place: self.place(path),
            why,
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remote for ProxiedArtifacts {
    fn list(&self) -> BoxFuture<'_, Result<Listing, RemoteError>> {
        Box::pin(self.folders())
    }

    fn read<'a>(
        &'a self,
        file: &'a RemoteFile,
        from: u64,
    ) -> BoxFuture<'a, Result<ByteStream, RemoteError>> {
        Box::pin(self.open(file, from))
    }

    fn recognises(&self, file: &RemoteFile) -> bool {
        let known = file.etag.is_some() || file.checksum.is_some();
        known || self.seen().contains_key(&file.path)
    }
}

impl fmt::Debug for ProxiedArtifacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxiedArtifacts({})", self.place(""))
    }
}

// === impl Tail ===

impl Tail {
    /// Returns the next bytes, or nothing at the end, if it is the right one.
    async fn next(&mut self) -> Result<Option<Bytes>, RemoteError> {
        loop {
            let chunk = match timeout(self.silence, self.response.chunk()).await {
                Ok(chunk) => chunk.map_err(|error| self.broke_off(broken(&error)))?,
                Err(_) => return Err(self.broke_off(silent(self.silence))),
            };
            let Some(mut chunk) = chunk else {
                return match (self.skip, self.left) {
                    (0, None | Some(0)) => Ok(None),
                    (_, left) => Err(self.broke_off(format!(
                        "it ended {} bytes early",
                        self.skip.saturating_add(left.unwrap_or_default())
                    ))),
                };
            };
            let skipped =
                usize::try_from(self.skip).map_or(chunk.len(), |skip| skip.min(chunk.len()));
            chunk.advance(skipped);
            self.skip -= skipped as u64;
            if chunk.is_empty() {
                continue;
            }
            if let Some(left) = &mut self.left {
                let Some(rest) = left.checked_sub(chunk.len() as u64) else {
                    return Err(RemoteError::Changed {
                        place: self.place.clone(),
                    });
                };
                *left = rest;
            }
            return Ok(Some(chunk));
        }
    }

    fn broke_off(&self, why: String) -> RemoteError {
        RemoteError::Unreachable {
            place: self.place.clone(),
            why,
        }
    }
}

fn silent(silence: Duration) -> String {
    format!("nothing came for {} s", silence.as_secs_f64())
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
