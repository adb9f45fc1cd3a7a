//! Files on web servers.
//!
//! An address whose path ends in `/`, also after redirects, is a folder. Web servers have no way in
//! common to list one, so it is what its `SHA256SUMS` names; where there is none, what the server
//! lists by WebDAV. Anything else is a single file.
//!
//! What a file's entity tag is for its identity, the time of its last change is where a server sends no
//! tag. Both are sent back as conditions, and compared with what is answered, because many servers
//! ignore conditions. A server that ignores ranges as well is read from the beginning, and what is
//! there already is skipped.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use reqwest::header::{
    CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_UNMODIFIED_SINCE,
    LAST_MODIFIED, RANGE,
};
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, Url};
use tokio::time::timeout;

use super::failure::{cause, of_status};
use super::{MOST_FILES, StoreRule, StoreSettings, client, sums, without_secrets};
use crate::remote::{ByteStream, Checksum, Listing, Remote, RemoteError, RemoteFile};

mod dav;

/// What the time of the last change begins with where it stands for an entity tag.
const CHANGED_AT: &str = "last-modified:";
/// How many files are asked about at a time.
const ASKED_AT_A_TIME: usize = 8;
/// How many times as long as one request a whole listing may take.
const LISTING: u32 = 10;

/// A folder, or a file, on a web server.
struct Web {
    client: Client,
    url: Url,
    place: String,
    access: Access,
    dav: dav::Dav,
    request: Duration,
    /// Where the files of the last listing are, if not below the address.
    base: Mutex<Option<Url>>,
}

/// How the server is told who asks.
#[derive(Clone, Default)]
enum Access {
    #[default]
    Open,
    Bearer(String),
    Basic(String, String),
}

/// Opens an address of a web server.
pub(super) fn open(settings: &StoreSettings, address: &str) -> Result<Box<dyn Remote>, String> {
    let url = Url::parse(address).map_err(|error| format!("it is no address: {error}"))?;
    let rule = settings.rule(address);
    let access = Access::of(rule)?;
    let pem = client::certificates(rule)?;
    let trusted = Certificate::from_pem_bundle(&pem)
        .map_err(|error| format!("its file of certificates cannot be used: {error}"))?;
    let mut builder = Client::builder()
        .connect_timeout(settings.connect)
        .read_timeout(settings.request);
    if !trusted.is_empty() {
        builder = builder.tls_certs_merge(trusted);
    }
    let client = builder.build().map_err(|error| cause(&error))?;
    let dav = dav::Dav::try_new(settings, rule, &url, access.header()?)?;
    Ok(Box::new(Web {
        client,
        url,
        place: without_secrets(address),
        access,
        dav,
        request: settings.request,
        base: Mutex::default(),
    }))
}

// === impl Access ===

impl Access {
    fn of(rule: Option<&StoreRule>) -> Result<Self, String> {
        let mut given = BTreeMap::new();
        for (key, value) in rule.map(|rule| &rule.options).into_iter().flatten() {
            match &**key {
                "bearer_token" | "username" | "password" => {
                    given.insert(&**key, value.expose().to_owned());
                }
                other => return Err(format!("it does not know the option {other:?}")),
            }
        }
        let mut take = |key| given.remove(key);
        match (take("bearer_token"), take("username"), take("password")) {
            (None, None, None) => Ok(Self::Open),
            (Some(token), None, None) => Ok(Self::Bearer(token)),
            (None, Some(user), password) => Ok(Self::Basic(user, password.unwrap_or_default())),
            _ => Err("set bearer_token, or username and password".to_owned()),
        }
    }

    fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Open => request,
            Self::Bearer(token) => request.bearer_auth(token),
            Self::Basic(user, password) => request.basic_auth(user, Some(password)),
        }
    }

    /// Returns the header by which another client says the same.
    fn header(&self) -> Result<Option<HeaderValue>, String> {
        let probe = self.apply(Client::new().get("http://localhost/"));
        let request = probe
            .build()
            .map_err(|_| "its credentials have characters that cannot be sent".to_owned())?;
        Ok(request.headers().get("authorization").cloned())
    }
}

// === impl Web ===

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Web").field(&self.place).finish()
    }
}

impl Remote for Web {
    fn list(&self) -> BoxFuture<'_, Result<Listing, RemoteError>> {
        let within = self.request * LISTING;
        async move {
            timeout(within, self.find())
                .await
                .unwrap_or_else(|_| Err(self.unreachable("the listing takes too long".to_owned())))
        }
        .boxed()
    }

    fn read<'a>(
        &'a self,
        file: &'a RemoteFile,
        from: u64,
    ) -> BoxFuture<'a, Result<ByteStream, RemoteError>> {
        async move {
            let url = self.url_of(file)?;
            let mut request = conditions(self.request(Method::GET, &url), file);
            if from > 0 {
                request = request.header(RANGE, format!("bytes={from}-"));
            }
            let answer = self.send(request, &url, "such file").await?;
            let place = shown(&url);
            let skip = still_the_same(&answer, file, from, &place)?;
            Ok(body(answer, skip, place))
        }
        .boxed()
    }
}

impl Web {
    async fn find(&self) -> Result<Listing, RemoteError> {
        self.set_base(None);
        if self.url.path().ends_with('/') {
            return self.folder(&self.url).await;
        }
        let (mut file, at) = self.single(&self.url).await?;
        if at.path().ends_with('/') {
            self.set_base(Some(at.clone()));
            return self.folder(&at).await;
        }
        if self.url.query().is_none() {
            let mut beside = self.url.clone();
            beside.set_path(&format!("{}.sha256", self.url.path()));
            if let Some(text) = self.text(&beside).await? {
                let sum = sums::of_file(&text, &file.path).ok_or_else(|| {
                    self.garbage(format!("{} has no digest in it", shown(&beside)))
                })?;
                file.checksum = Some(sum);
            }
        }
        Ok(Listing { files: vec![file] })
    }

    /// Returns the file at an address and where it was found after redirects.
    async fn single(&self, url: &Url) -> Result<(RemoteFile, Url), RemoteError> {
        let (headers, at, size) = self.head(url).await?;
        let path = name_of(url);
        if !RemoteFile::is_safe(&path) {
            return Err(self.garbage(format!("{path:?} cannot be the name of a file")));
        }
        let file = RemoteFile {
            path,
            size,
            etag: validator(&headers),
            checksum: None,
        };
        Ok((file, at))
    }

    /// Asks about a file without its content. Servers that do not know `HEAD`, and addresses signed for
    /// `GET` alone, are asked for the first byte instead.
    async fn head(&self, url: &Url) -> Result<(HeaderMap, Url, Option<u64>), RemoteError> {
        let request = self.request(Method::HEAD, url);
        let answer = self.answer(request, url).await?;
        // A server that sends on to a folder may well have nothing to show there itself.
        let is_folder = answer.url().path().ends_with('/') && answer.url().path() != url.path();
        if answer.status().is_success() || is_folder {
            let size = number(answer.headers(), "content-length");
            let at = answer.url().clone();
            return Ok((answer.headers().clone(), at, size));
        }
        if !matches!(answer.status().as_u16(), 400 | 401 | 403 | 405 | 501) {
            return Err(refusal(answer, url, "such file").await);
        }
        let request = self.request(Method::GET, url).header(RANGE, "bytes=0-0");
        let answer = self.send(request, url, "such file").await?;
        let size = match answer.status().as_u16() {
            206 => range(answer.headers()).and_then(|(_, size)| size),
            _ => number(answer.headers(), "content-length"),
        };
        let at = answer.url().clone();
        Ok((answer.headers().clone(), at, size))
    }

    async fn folder(&self, url: &Url) -> Result<Listing, RemoteError> {
        let Some(text) = self.text(&below(url, sums::SUMS)).await? else {
            return self.dav.list(&self.place, url).await;
        };
        let sums = sums::of_folder(&text).map_err(|why| self.garbage(why))?;
        if sums.len() > MOST_FILES {
            return Err(self.garbage(format!("there are more than {MOST_FILES} files in it")));
        }
        let asked = stream::iter(sums).map(|(path, sum)| self.summed(url, path, sum));
        let files = asked.buffered(ASKED_AT_A_TIME).try_collect().await?;
        Ok(Listing { files })
    }

    async fn summed(
        &self,
        folder: &Url,
        path: String,
        sum: Checksum,
    ) -> Result<RemoteFile, RemoteError> {
        if !RemoteFile::is_safe(&path) {
            return Err(self.garbage(format!("{path:?} cannot be the name of a file")));
        }
        let (headers, _, size) = self.head(&below(folder, &path)).await?;
        Ok(RemoteFile {
            path,
            size,
            etag: validator(&headers),
            checksum: Some(sum),
        })
    }

    /// Reads a short text; nothing where there is none.
    async fn text(&self, url: &Url) -> Result<Option<String>, RemoteError> {
        let request = self.request(Method::GET, url);
        let answer = self.answer(request, url).await?;
        match answer.status().as_u16() {
            200 => {}
            // Some stores say 403 of what is not there to whoever may not list.
            403 | 404 | 410 => return Ok(None),
            _ => return Err(refusal(answer, url, "such file").await),
        }
        let mut text = Vec::new();
        let mut bytes = body(answer, 0, shown(url));
        while let Some(chunk) = bytes.try_next().await? {
            text.extend_from_slice(&chunk);
            if text.len() > sums::MOST {
                let why = format!("{} is too long for a file of digests", shown(url));
                return Err(self.garbage(why));
            }
        }
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }

    fn request(&self, method: Method, url: &Url) -> RequestBuilder {
        self.access.apply(self.client.request(method, url.clone()))
    }

    /// Sends a request and refuses every answer that is no success.
    async fn send(
        &self,
        request: RequestBuilder,
        url: &Url,
        what: &str,
    ) -> Result<Response, RemoteError> {
        let answer = self.answer(request, url).await?;
        match answer.status().is_success() {
            true => Ok(answer),
            false => Err(refusal(answer, url, what).await),
        }
    }

    async fn answer(&self, request: RequestBuilder, url: &Url) -> Result<Response, RemoteError> {
        let unreachable = |why| RemoteError::Unreachable {
            place: shown(url),
            why,
        };
        let seconds = self.request.as_secs();
        timeout(self.request, request.send())
            .await
            .map_err(|_| unreachable(format!("it gives no answer within {seconds} s")))?
            .map_err(|error| unreachable(cause(&error.without_url())))
    }

    fn url_of(&self, file: &RemoteFile) -> Result<Url, RemoteError> {
        let base = self
            .base
            .lock()
            .map_err(|_| self.garbage("its lock is poisoned".into()))?;
        let base = base.as_ref().unwrap_or(&self.url);
        match base.path().ends_with('/') {
            true => Ok(below(base, &file.path)),
            false => Ok(base.clone()),
        }
    }

    fn set_base(&self, url: Option<Url>) {
        if let Ok(mut base) = self.base.lock() {
            *base = url;
        }
    }

    fn garbage(&self, why: String) -> RemoteError {
        let place = self.place.clone();
        RemoteError::Garbage { place, why }
    }

    fn unreachable(&self, why: String) -> RemoteError {
        let place = self.place.clone();
        RemoteError::Unreachable { place, why }
    }
}

/// Adds what must still hold of a file.
fn conditions(request: RequestBuilder, file: &RemoteFile) -> RequestBuilder {
    let with = |name: HeaderName, value: &str| match HeaderValue::from_str(value) {
        Ok(value) => Some((name, value)),
        Err(_) => None,
    };
    let condition = match file.etag.as_deref() {
        Some(etag) => match etag.strip_prefix(CHANGED_AT) {
            Some(time) => with(IF_UNMODIFIED_SINCE, time),
            // A weak tag never matches by the letter of the protocol.
            None if etag.starts_with("W/") => None,
            None => with(IF_MATCH, etag),
        },
        None => None,
    };
    match condition {
        Some((name, value)) => request.header(name, value),
        None => request,
    }
}

/// Checks that an answer is of the file that was listed; returns how many of its bytes to skip.
fn still_the_same(
    answer: &Response,
    file: &RemoteFile,
    from: u64,
    place: &str,
) -> Result<u64, RemoteError> {
    let place = place.to_owned();
    let headers = answer.headers();
    let tag = validator(headers);
    let mut other = file.etag.is_some() && tag.is_some() && tag != file.etag;
    let partial = answer.status().as_u16() == 206;
    let size = match partial {
        true => range(headers).and_then(|(_, size)| size),
        false => number(headers, "content-length"),
    };
    if let (Some(size), Some(listed)) = (size, file.size) {
        other |= size != listed;
    }
    if other {
        return Err(RemoteError::Changed { place });
    }
    match (partial, range(headers)) {
        (false, _) => Ok(from),
        (true, Some((start, _))) if start == from => Ok(0),
        (true, _) => Err(RemoteError::Garbage {
            place,
            why: format!("it was asked for the bytes from {from} on and sends others"),
        }),
    }
}

/// Returns what comes, without the bytes that are there already.
fn body(answer: Response, skip: u64, place: String) -> ByteStream {
    stream::try_unfold((answer, skip), move |(mut answer, mut skip)| {
        let place = place.clone();
        async move {
            loop {
                let chunk = answer.chunk().await.map_err(|error| {
                    let why = cause(&error.without_url());
                    RemoteError::Unreachable {
                        place: place.clone(),
                        why,
                    }
                })?;
                let Some(mut chunk) = chunk else {
                    return Ok(None);
                };
                let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
                skip -= skipped as u64;
                let rest: Bytes = chunk.split_off(skipped);
                if !rest.is_empty() {
                    return Ok(Some((rest, (answer, skip))));
                }
            }
        }
    })
    .boxed()
}

async fn refusal(answer: Response, url: &Url, what: &str) -> RemoteError {
    let status = answer.status();
    let why = match answer.content_length() {
        Some(0..=4096) => answer.text().await.unwrap_or_default(),
        _ => status.canonical_reason().unwrap_or_default().to_owned(),
    };
    of_status(status.as_u16(), &shown(url), what, &why)
}

/// Returns what changes when the file does.
fn validator(headers: &HeaderMap) -> Option<String> {
    let text = |name| Some(headers.get(name)?.to_str().ok()?.to_owned());
    text(ETAG).or_else(|| Some(format!("{CHANGED_AT}{}", text(LAST_MODIFIED)?)))
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// Reads `bytes FIRST-LAST/SIZE`; returns the first and the size.
fn range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, size) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, size.trim().parse().ok()))
}

/// Returns the address of a path below a folder's.
fn below(folder: &Url, path: &str) -> Url {
    let mut url = folder.clone();
    url.set_query(None);
    if let Ok(mut parts) = url.path_segments_mut() {
        parts.pop_if_empty().extend(path.split('/'));
    }
    url
}

fn name_of(url: &Url) -> String {
    let last = url.path().rsplit('/').next().unwrap_or_default();
    object_store::path::Path::from_url_path(last)
        .map(String::from)
        .unwrap_or_default()
}

fn shown(url: &Url) -> String {
    without_secrets(url.as_str())
}
