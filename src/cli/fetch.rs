//! One question to a server, with a deadline.

use std::io::{self, BufReader, Read, Write};
use std::time::Duration;

use serde_json::Value;
use ureq::config::ConfigBuilder;
use ureq::http::Response;
use ureq::typestate::AgentScope;
use ureq::{Body, BodyReader};

/// Largest answer that is read.
const LARGEST_ANSWER: u64 = 16 * 1024 * 1024;

/// What the server shows its status under.
pub(super) const STATUS: &str = "/api/health/status";

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("no answer from {url}: {reason}")]
    Unreachable { url: String, reason: ureq::Error },
    #[error("{url} answered {code}, but not with the {what} of an impetus server")]
    Stranger {
        url: String,
        code: u16,
        what: &'static str,
    },
    #[error("{0}")]
    Refused(String),
    #[error("{url} broke off, and what was written is not all of it: {reason}")]
    BrokenOff { url: String, reason: io::Error },
    #[error("{url} asks for TLS, which this command does not speak; use http://")]
    Tls { url: String },
}

/// What a server answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) url: String,
    pub(super) code: u16,
    /// The body, where it is JSON.
    pub(super) body: Option<Value>,
}

/// What came of a question that is answered bit by bit.
pub(super) enum Streaming {
    /// The answer, which ends when the server has said all.
    Begun(BufReader<BodyReader<'static>>),
    /// The server answered something else.
    Refused(Answer),
}

/// How a file was copied.
#[derive(Debug)]
pub(super) enum Copied {
    /// To its end.
    Whole,
    /// Not at all, for the server answered something else.
    Refused(Answer),
    /// Until it could not be written any more.
    NotWritten(io::Error),
}

/// Asks for `path` under a base address.
pub(super) fn fetch(
    base: &str,
    path: &str,
    query: &[(&str, String)],
    within: Duration,
) -> Result<Answer, NoAnswer> {
    let url = endpoint(base, path);
    let agent = agent().timeout_global(Some(within)).build();
    let response = ask(&url, query, agent)?;
    read(url, response)
}

/// Posts an order to `path` under a base address; `within` is the longest wait for the answer.
pub(super) fn post(
    base: &str,
    path: &str,
    order: &Value,
    within: Duration,
) -> Result<Answer, NoAnswer> {
    let url = endpoint(base, path);
    let agent = speaking(&url, agent().timeout_global(Some(within)).build())?;
    let response = agent.post(&url).send_json(order);
    let response = response.map_err(|reason| NoAnswer::Unreachable {
        url: url.clone(),
        reason,
    })?;
    read(url, response)
}

/// Asks for a file under a base address and copies it to `out` as it comes; `within` is the longest
/// wait for its beginning, and how long it then takes is for whoever watches it to decide.
pub(super) fn copy(
    (base, path): (&str, &str),
    query: &[(&str, String)],
    within: Duration,
    out: &mut dyn Write,
) -> Result<Copied, NoAnswer> {
    let url = endpoint(base, path);
    let agent = agent()
        .timeout_resolve(Some(within))
        .timeout_connect(Some(within))
        .timeout_send_request(Some(within))
        .timeout_recv_response(Some(within));
    let mut response = ask(&url, query, agent.build())?;
    if !response.status().is_success() {
        return Ok(Copied::Refused(read(url, response)?));
    }
    let mut file = response.body_mut().as_reader();
    let mut part = vec![0; 64 * 1024];
    loop {
        match file.read(&mut part) {
            Ok(0) => return Ok(Copied::Whole),
            Ok(length) => {
                if let Err(error) = out.write_all(&part[..length]) {
                    return Ok(Copied::NotWritten(error));
                }
            }
            Err(reason) => return Err(NoAnswer::BrokenOff { url, reason }),
        }
    }
}

/// Posts a question to `path` under a base address whose answer comes bit by bit; `within` is the longest wait for
/// its end.
pub(super) fn stream(
    (base, path): (&str, &str),
    question: &Value,
    within: Duration,
) -> Result<Streaming, NoAnswer> {
    let url = endpoint(base, path);
    let agent = speaking(&url, agent().timeout_global(Some(within)).build())?;
    let response = agent.post(&url).send_json(question);
    let response = response.map_err(|reason| NoAnswer::Unreachable {
        url: url.clone(),
        reason,
    })?;
    if !response.status().is_success() {
        return Ok(Streaming::Refused(read(url, response)?));
    }
    let answer = response.into_body().into_reader();
    Ok(Streaming::Begun(BufReader::new(answer)))
}

fn agent() -> ConfigBuilder<AgentScope> {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
}

fn ask(
    url: &str,
    query: &[(&str, String)],
    config: ureq::config::Config,
) -> Result<Response<Body>, NoAnswer> {
    let mut request = speaking(url, config)?.get(url);
    for (name, value) in query {
        request = request.query(name, value);
    }
    request.call().map_err(|reason| NoAnswer::Unreachable {
        url: url.into(),
        reason,
    })
}

/// Returns an agent that can speak to an address.
fn speaking(url: &str, config: ureq::config::Config) -> Result<ureq::Agent, NoAnswer> {
    match url.starts_with("https://") {
        true => Err(NoAnswer::Tls { url: url.into() }),
        false => Ok(ureq::Agent::new_with_config(config)),
    }
}

fn read(url: String, mut response: Response<Body>) -> Result<Answer, NoAnswer> {
    let unreachable = |reason| NoAnswer::Unreachable {
        url: url.clone(),
        reason,
    };
    let code = response.status().as_u16();
    let body = response
        .body_mut()
        .with_config()
        .limit(LARGEST_ANSWER)
        .read_to_vec()
        .map_err(unreachable)?;
    let body = serde_json::from_slice(&body).ok();
    Ok(Answer { url, code, body })
}

/// Returns the address of a path under a base address, which may lack its scheme, and may be that
/// of the status.
pub(super) fn endpoint(base: &str, path: &str) -> String {
    let base = base.trim_end_matches('/').trim_end_matches(STATUS);
    match base.contains("://") {
        true => format!("{base}{path}"),
        false => format!("http://{base}{path}"),
    }
}

// === impl Answer ===

impl Answer {
    /// It is not what an Impetus server answers.
    pub(super) fn stranger(self, what: &'static str) -> NoAnswer {
        NoAnswer::Stranger {
            url: self.url,
            code: self.code,
            what,
        }
    }

    /// Returns what the server said is wrong, as any error of an Impetus server says it, or one in OpenAI's
    /// form.
    pub(super) fn error(&self) -> Option<&str> {
        let body = self.body.as_ref().filter(|_| self.code >= 400)?;
        body["error"]
            .as_str()
            .or_else(|| body["error"]["message"].as_str())
    }
}
