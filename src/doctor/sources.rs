//! The places from which models come, other than the model folder.

use std::sync::Arc;

use impetus_actors::sources::fetcher::Fetcher;
use impetus_sources::Location;
use impetus_supervision::SystemClock;
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::{Finding, State, Subject};
use crate::serve::remote_models;

/// Asks the registry, and every source of a model, whether it can be had from here.
pub(super) fn sources(subject: &Subject<'_>) -> Vec<Finding> {
    let config = &subject.loaded.config;
    if config.registry.url.is_empty() && config.models.remote.is_empty() {
        return Vec::new();
    }
    let failed = |check: &str, found: String, advice: &str| {
        Finding::new(check, State::Failed, found).advise(advice)
    };
    let client = match remote_models::client(config) {
        Ok(client) => client,
        Err(error) => {
            let advice = "look at [registry] in the configuration";
            return vec![failed("registry", format!("{error:#}"), advice)];
        }
    };
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let advice = "look at the limits of this process";
            return vec![failed("sources", format!("no thread: {error}"), advice)];
        }
    };
    let mut findings = Vec::new();
    if let Some(client) = &client {
        let limit = config.registry.check_timeout.get();
        let asked = runtime.block_on(async { timeout(limit, client.ping()).await });
        let problem = match asked {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {} s", limit.as_secs_f64())),
        };
        findings.push(match problem {
            None => Finding::new("registry", State::Ok, format!("{} answers", client.url())),
            Some(problem) => failed(
                "registry",
                problem,
                "a server serves what it has, and asks on",
            ),
        });
    }
    let fetcher = remote_models::fetcher(config, client, Arc::new(SystemClock::new()));
    for (name, source) in &config.models.remote {
        let check = format!("model {name}");
        // One that is none was refused with the configuration.
        let Ok(source) = source.parse::<Location>() else {
            continue;
        };
        findings.push(match runtime.block_on(look(&fetcher, &source)) {
            Ok(version) => Finding::new(
                &check,
                State::Ok,
                format!("{}: version {version}", source.shown()),
            ),
            Err(problem) => failed(
                &check,
                problem,
                "a server serves what it has of it, and asks on",
            ),
        });
    }
    findings
}

async fn look(fetcher: &Fetcher, source: &Location) -> Result<String, String> {
    let version = fetcher.look(source).await;
    version
        .map(|version| version.label())
        .map_err(|problem| problem.to_string())
}
