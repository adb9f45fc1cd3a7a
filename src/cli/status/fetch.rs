//! One question to a server, with a deadline.

use std::time::Duration;

use serde_json::Value;

/// Largest answer that is read.
const LARGEST_ANSWER: u64 = 16 * 1024 * 1024;

/// What the server shows its status under.
pub(super) const STATUS: &str = "/api/health/status";

/// And what has happened under this.
pub(super) const EVENTS: &str = "/api/health/events";

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoStatus {
    #[error("no answer from {url}: {reason}")]
    Unreachable { url: String, reason: ureq::Error },
    #[error("{url} answered {code}, but not with the status of an impetus server")]
    Stranger { url: String, code: u16 },
    #[error("{0}")]
    Refused(String),
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

/// Asks for `path` under a base address.
pub(super) fn fetch(
    base: &str,
    path: &str,
    query: &[(&str, String)],
    within: Duration,
) -> Result<Answer, NoStatus> {
    let url = endpoint(base, path);
    if url.starts_with("https://") {
        return Err(NoStatus::Tls { url });
    }
    let agent = ureq::Agent::new_with_config(
        ureq::Agent::config_builder()
            .timeout_global(Some(within))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .build(),
    );
    let unreachable = |reason| NoStatus::Unreachable {
        url: url.clone(),
        reason,
    };
    let mut request = agent.get(&url);
    for (name, value) in query {
        request = request.query(name, value);
    }
    let mut response = request.call().map_err(unreachable)?;
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
    pub(super) fn stranger(self) -> NoStatus {
        NoStatus::Stranger {
            url: self.url,
            code: self.code,
        }
    }
}
