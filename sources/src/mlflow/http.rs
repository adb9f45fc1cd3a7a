//! The calls themselves: their deadlines, the limits of what is read, and what an answer means that
//! is not the one that was wanted.

use std::error::Error as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::RegistryError;
use super::{Auth, MlflowSettings};

/// A registry's address, and all that is needed to ask there.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: Client,
    base: Url,
    shown: String,
    auth: Auth,
    timeout: Duration,
    silence: Duration,
    calls: Arc<AtomicU64>,
}

/// Why a call did not bring what was wanted.
#[derive(Debug)]
pub(super) enum AskError {
    /// MLflow said why, in its own form.
    Coded(Coded),
    /// Anything else.
    Other(RegistryError),
}

/// A refusal in MLflow's own form.
#[derive(Debug)]
pub(super) struct Coded {
    pub(super) status: u16,
    pub(super) code: String,
    pub(super) message: String,
}

#[derive(Deserialize)]
struct CodedBody {
    error_code: String,
    #[serde(default)]
    message: String,
}

/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Shorter than a server keeps an idle connection, so that few requests meet one that closes.
const IDLE: Duration = Duration::from_secs(4);
/// The longest answer that is read, in bytes: a page of 200 models with descriptions of 5,000
/// characters for each of their four stages comes to 4 MB.
const MAX_ANSWER: usize = 16 << 20;
/// The longest refusal that is read, in bytes.
const MAX_REFUSAL: usize = 64 << 10;
/// The most that is repeated of it, in characters.
const MAX_WORDS: usize = 300;
/// The most certificates are read of, in bytes: ten times what a system has.
const MAX_CERTIFICATES: u64 = 4 << 20;

// === impl Http ===

impl Http {
    pub(super) fn new(settings: MlflowSettings) -> Result<Self, RegistryError> {
        let base = address(&settings.url)?;
        let builder = Client::builder()
            .user_agent(concat!("impetus/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_WITHIN.min(settings.timeout))
            .pool_idle_timeout(IDLE);
        let builder = match &settings.ca_file {
            Some(file) => builder.tls_certs_merge(authorities(file)?),
            None if base.scheme() == "https" => builder,
            // A machine without any certificates can still speak plain HTTP.
            None => builder.tls_certs_only([]),
        };
        let client = builder
            .build()
            .map_err(|error| RegistryError::Misconfigured {
                why: format!("no TLS: {}", cause(&error)),
            })?;
        Ok(Self {
            client,
            shown: base.as_str().trim_end_matches('/').to_owned(),
            base,
            auth: settings.auth,
            timeout: settings.timeout,
            silence: settings.silence,
            calls: Arc::default(),
        })
    }

    /// Returns the address as errors name it.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Returns how many requests have been made.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    /// Returns how long a download may be silent.
    pub(super) fn silence(&self) -> Duration {
        self.silence
    }

    /// Returns the address of something in the interface; every part of `path` becomes one of it,
    /// whatever is in it.
    pub(super) fn place(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut parts) = url.path_segments_mut() {
            parts
                .pop_if_empty()
                .extend(["api", "2.0"])
                .extend(path.split('/'));
        }
        url
    }

    /// Returns a request that says who asks.
    pub(super) fn get(&self, url: Url) -> RequestBuilder {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let request = self.client.get(url);
        match &self.auth {
            Auth::None => request,
            Auth::Basic { user, password } => request.basic_auth(user, Some(password)),
            Auth::Bearer(token) => request.bearer_auth(token),
        }
    }

    /// Asks, and reads the answer.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, AskError> {
        let mut url = self.place(path);
        url.query_pairs_mut().extend_pairs(query);
        let request = self.get(url).timeout(self.timeout);
        let mut response = request.send().await.map_err(|error| self.broken(&error))?;
        if response.status() != StatusCode::OK {
            return Err(self.refusal(response).await);
        }
        let body = self.body(&mut response, MAX_ANSWER).await?;
        let Some(body) = body else {
            let why = format!("it is longer than {} MiB", MAX_ANSWER >> 20);
            return Err(AskError::Other(self.garbage(why)));
        };
        serde_json::from_slice(&body).map_err(|error| {
            let why = match is_page(&response) {
                true => "it is a page for people; is that the address of an MLflow server, or of something in front of it?".to_owned(),
                false => format!("it is not what MLflow answers: {error}"),
            };
            AskError::Other(self.garbage(why))
        })
    }

    /// Returns a body, or nothing where it is longer than that.
    async fn body(
        &self,
        response: &mut Response,
        limit: usize,
    ) -> Result<Option<Vec<u8>>, AskError> {
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.broken(&error))?
        {
            if body.len() + chunk.len() > limit {
                return Ok(None);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Some(body))
    }

    /// Returns what an answer means that is no success.
    pub(super) async fn refusal(&self, mut response: Response) -> AskError {
        let body = match self.body(&mut response, MAX_REFUSAL).await {
            Ok(body) => body.unwrap_or_default(),
            Err(error) => return error,
        };
        let status = response.status();
        let url = self.shown.clone();
        let number = status.as_u16();
        if status.is_redirection() {
            let location = response.headers().get(LOCATION);
            let to = location
                .and_then(|to| to.to_str().ok())
                .unwrap_or("nowhere");
            // What follows the path may be a secret of somebody's.
            let to = short(to.split(['?', '#']).next().unwrap_or_default());
            return AskError::Other(self.garbage(format!(
                "it leads elsewhere ({number}, to {to}); redirects are not followed, so name the registry's own address, and credentials where it asks people to log in"
            )));
        }
        if let Ok(coded) = serde_json::from_slice::<CodedBody>(&body) {
            return AskError::Coded(Coded {
                status: number,
                code: short(&coded.error_code),
                message: short(&coded.message),
            });
        }
        let why = if is_page(&response) {
            "it answers with a page for people".to_owned()
        } else {
            short(&String::from_utf8_lossy(&body))
        };
        AskError::Other(match status {
            StatusCode::FORBIDDEN if why.contains("Invalid Host") => {
                let host = self.base.host_str().unwrap_or_default();
                let port = self.base.port().map(|port| format!(":{port}"));
                let host = format!("{host}{}", port.unwrap_or_default());
                RegistryError::WrongHost { url, host }
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RegistryError::Unauthorized {
                url,
                status: number,
                why,
            },
            StatusCode::TOO_MANY_REQUESTS => RegistryError::Unavailable {
                url,
                status: number,
                why,
            },
            _ if status.is_server_error() => RegistryError::Unavailable {
                url,
                status: number,
                why,
            },
            _ => self.garbage(format!(
                "{number} to a question that every MLflow understands; is there one, and below this path?"
            )),
        })
    }

    /// Returns the error that a failed call is, where it is not about what was asked for.
    pub(super) fn failed(&self, error: AskError) -> RegistryError {
        let coded = match error {
            AskError::Other(error) => return error,
            AskError::Coded(coded) => coded,
        };
        let (url, status, why) = (self.shown.clone(), coded.status, coded.message);
        match coded.code.as_str() {
            "PERMISSION_DENIED" | "UNAUTHENTICATED" | "CUSTOMER_UNAUTHORIZED" => {
                RegistryError::Unauthorized { url, status, why }
            }
            _ if matches!(status, 401 | 403) => RegistryError::Unauthorized { url, status, why },
            _ if status >= 500 || status == 429 => RegistryError::Unavailable { url, status, why },
            _ => RegistryError::Rejected {
                url,
                code: coded.code,
                why,
            },
        }
    }

    pub(super) fn garbage(&self, why: impl Into<String>) -> RegistryError {
        RegistryError::Garbage {
            url: self.shown.clone(),
            why: why.into(),
        }
    }

    fn broken(&self, error: &reqwest::Error) -> AskError {
        AskError::Other(RegistryError::Unreachable {
            url: self.shown.clone(),
            why: broken(error),
        })
    }
}

// === impl Coded ===

impl Coded {
    /// Tells whether it says that what was asked for does not exist.
    pub(super) fn says_that_there_is_none(&self) -> bool {
        self.code == "RESOURCE_DOES_NOT_EXIST"
            // So it is said of aliases.
            || self.code == "INVALID_PARAMETER_VALUE" && self.message.contains("not found")
    }
}

/// Returns what went wrong with a connection, without the address.
pub(super) fn broken(error: &reqwest::Error) -> String {
    if error.is_timeout() && error.is_connect() {
        "no connection in time".to_owned()
    } else if error.is_timeout() {
        "no whole answer in time".to_owned()
    } else if error.is_connect() {
        cause(error)
    } else {
        format!("it broke off: {}", cause(error))
    }
}

/// Tells whether an answer is meant to be looked at by people.
pub(super) fn is_page(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

/// Cuts a text of somebody else's to what fits into a line.
pub(super) fn short(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let text = text.trim();
    let cut: String = text.chars().take(MAX_WORDS).map(plain).collect();
    match text.chars().nth(MAX_WORDS) {
        Some(_) => cut + "…",
        None => cut,
    }
}

fn cause(error: &reqwest::Error) -> String {
    let mut innermost = error.source();
    while let Some(deeper) = innermost.and_then(std::error::Error::source) {
        innermost = Some(deeper);
    }
    innermost.map_or_else(
        || "no reason is given".to_owned(),
        |cause| short(&cause.to_string()),
    )
}

/// Reads the registry's address. It is not repeated in what is said of it: there may be a password
/// in it.
fn address(text: &str) -> Result<Url, RegistryError> {
    let wrong = |why: &str| RegistryError::Misconfigured {
        why: format!(
            "{why}; write its address as https://HOST, https://HOST:PORT or https://HOST/PATH"
        ),
    };
    let url = Url::parse(text).map_err(|error| wrong(&format!("its address is none ({error})")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("its address is neither http nor https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong(
            "there are credentials in its address, which belong into settings of their own",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("there is more in its address than a path"));
    }
    Ok(url)
}

fn authorities(file: &Path) -> Result<Vec<Certificate>, RegistryError> {
    let wrong = |why: String| RegistryError::Misconfigured {
        why: format!(
            "the certificates in {} cannot be used: {why}",
            file.display()
        ),
    };
    let size = fs::metadata(file)
        .map_err(|error| wrong(error.to_string()))?
        .len();
    if size > MAX_CERTIFICATES {
        return Err(wrong("the file is far too large".to_owned()));
    }
    let pem = fs::read(file).map_err(|error| wrong(error.to_string()))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|error| wrong(cause(&error)))?;
    match found.is_empty() {
        true => Err(wrong("there are none in it; it has to be PEM".to_owned())),
        false => Ok(found),
    }
}
