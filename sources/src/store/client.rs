//! What every client of a store has in common.

use std::time::Duration;

use object_store::{BackoffConfig, Certificate, ClientOptions, RetryConfig};

use super::{StoreRule, StoreSettings};

/// Returns how connections are made: bounded in what they wait for, not in how long a body takes.
pub(super) fn options(
    settings: &StoreSettings,
    rule: Option<&StoreRule>,
) -> Result<ClientOptions, String> {
    let mut options = ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(settings.connect)
        .with_read_timeout(settings.request);
    for certificate in Certificate::from_pem_bundle(&certificates(rule)?)
        .map_err(|error| format!("its file of certificates cannot be used: {error}"))?
    {
        options = options.with_root_certificate(certificate);
    }
    Ok(options)
}

/// Reads the file of certificates that a rule names. Blocks.
pub(super) fn certificates(rule: Option<&StoreRule>) -> Result<Vec<u8>, String> {
    let Some(path) = rule.and_then(|rule| rule.ca_file.as_ref()) else {
        return Ok(Vec::new());
    };
    std::fs::read(path).map_err(|error| {
        let path = path.display();
        format!("the file of certificates {path} cannot be read: {error}")
    })
}

/// Returns how often the crate asks again by itself: once, since whoever downloads does so too.
pub(super) fn retry(settings: &StoreSettings) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(1),
            base: 2.0,
        },
        max_retries: 1,
        retry_timeout: settings.request,
    }
}
