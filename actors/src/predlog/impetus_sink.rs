//! The logging service of another Impetus as a sink.
//!
//! Predictions go to its `POST /log` as they were sent here, each with its origin: the key and the
//! device that it has in this server's file. So the other server makes the row of it that it would
//! have made of the original, whichever batch it comes in and however often.
//!
//! One call is one attempt. An answer that blames predictions is taken at its word: those that it
//! names are refused for good and the others are sent again; where it names none, the batch is
//! halved until the one is found that it means. Each such answer leaves less to send, which bounds
//! their number. Any other answer, and none, is an error, and the forwarder decides when to try
//! again.
//!
//! **Invariant:** nothing counts as kept, and nothing as refused, on the word of something that is
//! no logging service. A 200 has to say how many predictions were logged, a 400 or 422 has to have
//! the form of this project's errors; redirects are not followed, and proxies not used.

mod answer;
mod body;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, StatusCode};

use self::answer::Answer;
use super::address::without_password;
use super::config::ImpetusSettings;
use super::row::Landed;
use super::sink::{Delivery, RefusedRow, Sink, SinkError};

/// Sends predictions to another server; an incarnation of the forwarder has its own.
#[derive(Debug)]
pub(crate) struct ImpetusSink {
    url: Arc<str>,
    /// The address as errors name it, without a password.
    shown: String,
    ca_file: Option<PathBuf>,
    within: Duration,
    /// Made when it is first needed, since a certificate that cannot be read is a state of the
    /// sink and no reason not to start.
    client: Option<Client>,
}

// === impl ImpetusSink ===

impl ImpetusSink {
    /// How long a connection may take: a server that is gone answers nothing at all.
    const CONNECT_WITHIN: Duration = Duration::from_secs(5);
    /// How long the question may take whether the server is there.
    const CHECK_WITHIN: Duration = Duration::from_secs(5);
    /// Shorter than a server keeps an idle connection, so that few requests meet one that closes.
    const IDLE: Duration = Duration::from_secs(20);

    /// Returns a sink whose requests take no longer than `within`; nothing is connected yet.
    pub(crate) fn new(settings: &ImpetusSettings, within: Duration) -> Self {
        let url = settings.url.trim_end_matches('/');
        Self {
            url: Arc::from(url),
            shown: without_password(url),
            ca_file: settings.ca_file.clone(),
            within,
            client: None,
        }
    }

    async fn client(&mut self) -> Result<&Client, SinkError> {
        let client = match self.client.take() {
            Some(client) => client,
            None => self.connectable().await?,
        };
        Ok(self.client.insert(client))
    }

    async fn connectable(&self) -> Result<Client, SinkError> {
        let builder = Client::builder()
            .user_agent(concat!("impetus/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(Self::CONNECT_WITHIN.min(self.within))
            .pool_idle_timeout(Self::IDLE)
            .timeout(self.within);
        let secure = self.url.starts_with("https:");
        let ca_file = self.ca_file.clone().filter(|_| secure);
        let making = move || {
            let builder = match ca_file {
                Some(file) => builder.tls_certs_merge(authorities(&file)?),
                None if secure => builder,
                // A machine without any certificates can still speak plain HTTP.
                None => builder.tls_certs_only([]),
            };
            let cannot = |error| SinkError::new(format!("no TLS: {}", cause(&error)));
            builder.build().map_err(cannot)
        };
        // Certificates are files, of which a system may have hundreds.
        let made = tokio::task::spawn_blocking(making).await;
        made.map_err(|error| SinkError::new(error.to_string()))?
    }

    /// Sends the rows at `places` and returns what the server says of them.
    async fn post(&mut self, rows: &[Landed], places: &[usize]) -> Result<Answer, SinkError> {
        let body = body::of(places.iter().map(|place| &rows[*place]));
        let url = format!("{}/log", self.url);
        let request = self.client().await?.post(url);
        let request = request.header(CONTENT_TYPE, "application/json").body(body);
        let response = request.send().await.map_err(|error| self.failed(&error))?;
        let shown = format!("{}/log", self.shown);
        answer::read(response, places.len(), &shown)
            .await
            .map_err(|failure| match failure {
                answer::Failure::Broken(error) => self.failed(&error),
                answer::Failure::Said(error) => error,
            })
    }

    fn failed(&self, error: &reqwest::Error) -> SinkError {
        let shown = &self.shown;
        SinkError::new(if error.is_timeout() && error.is_connect() {
            format!("{shown} cannot be reached: no connection in time")
        } else if error.is_timeout() {
            format!("{shown} does not answer in time")
        } else if error.is_connect() {
            format!("{shown} cannot be reached: {}", cause(error))
        } else {
            format!("{shown} broke off: {}", cause(error))
        })
    }
}

impl Sink for ImpetusSink {
    async fn deliver(&mut self, rows: &[Landed]) -> Result<Delivery, SinkError> {
        let mut refused = Vec::new();
        let mut parts: Vec<Vec<usize>> = vec![(0..rows.len()).collect()];
        while let Some(mut part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            match self.post(rows, &part).await? {
                Answer::Kept => {}
                Answer::Refused(those) => {
                    let named = |place: usize| those.iter().find(|(index, _)| *index == place);
                    let mut rest = Vec::with_capacity(part.len());
                    for (place, index) in part.into_iter().enumerate() {
                        match named(place) {
                            Some((_, reason)) => refused.push(RefusedRow {
                                index,
                                reason: reason.clone(),
                            }),
                            None => rest.push(index),
                        }
                    }
                    parts.push(rest);
                }
                Answer::RefusedWhole(reason) => {
                    if let [index] = part[..] {
                        refused.push(RefusedRow { index, reason });
                    } else {
                        let later = part.split_off(part.len() / 2);
                        parts.extend([later, part]);
                    }
                }
            }
        }
        refused.sort_unstable_by_key(|row| row.index);
        Ok(Delivery { refused })
    }

    async fn check(&mut self) -> Result<(), SinkError> {
        let within = Self::CHECK_WITHIN.min(self.within);
        let url = format!("{}/health", self.url);
        let request = self.client().await?.get(url).timeout(within);
        let response = request.send().await.map_err(|error| self.failed(&error))?;
        match response.status() {
            StatusCode::OK => Ok(()),
            status => Err(SinkError::new(format!(
                "{}/health answers {}",
                self.shown,
                status.as_u16()
            ))),
        }
    }
}

fn authorities(file: &Path) -> Result<Vec<Certificate>, SinkError> {
    let cannot = |error: &dyn Error| {
        let reason = format!("no certificates in {}: {}", file.display(), cause(error));
        SinkError::new(reason)
    };
    let pem = fs::read(file).map_err(|error| cannot(&error))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|error| cannot(&error))?;
    if found.is_empty() {
        let reason = format!("no certificates in {}", file.display());
        return Err(SinkError::new(reason));
    }
    Ok(found)
}

/// Returns what is at the bottom of an error; at its top is only that a request failed.
fn cause(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}
