//! `impetus status`: how a running server is, in a terminal.
//!
//! One question to `/api/health/status`, which answers from memory however
//! busy the server is, and so has a short deadline. The answer is shown
//! whatever its status code: a 503 is the very case in which somebody looks.
//!
//! [`render`] is a pure function of the answer; ages are differences between
//! timestamps that the server wrote, so that a clock that runs apart on this
//! side changes nothing. Colour is always in the text and taken out again where
//! it is not wanted (no terminal, `NO_COLOR`).

mod render;
mod report;
mod table;
#[cfg(test)]
mod tests;
mod tree;
mod words;

use std::io::Write;
use std::time::Duration;

use crate::cli::{StatusArgs, StatusOutput, answered};
use crate::exit::Exit;

pub use render::render;
pub use report::Report;

/// Largest answer that is read.
const LARGEST_ANSWER: u64 = 16 * 1024 * 1024;

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
enum NoStatus {
    #[error("no answer from {url}: {reason}")]
    Unreachable { url: String, reason: ureq::Error },
    #[error("{url} answered {code}, but not with the status of an impetus server")]
    Stranger { url: String, code: u16 },
    #[error("{url} asks for TLS, which this command does not speak; use http://")]
    Tls { url: String },
}

/// Runs the command on the process's own stdout and stderr, and returns how to end.
pub fn run(args: &StatusArgs) -> Exit {
    let mut out = anstream::stdout();
    let mut err = anstream::stderr();
    let width = terminal_size::terminal_size_of(std::io::stdout())
        .map(|(terminal_size::Width(columns), _)| usize::from(columns));
    run_on(args, width, &mut out, &mut err)
}

/// Runs the command on these streams. Lines are cut to `width` where there is one.
pub fn run_on(
    args: &StatusArgs,
    width: Option<usize>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Exit {
    let (raw, report) = match fetch(&args.url, args.timeout.get()) {
        Ok(answer) => answer,
        Err(error) => {
            let told = writeln!(err, "impetus: {error}\n{}", advice(&error));
            return answered(told, Exit::Unreachable);
        }
    };
    let written = match args.output {
        StatusOutput::Json => writeln!(out, "{raw:#}"),
        StatusOutput::Human => out.write_all(render(&report, width).as_bytes()),
    };
    let exit = match report.status.as_str() {
        "healthy" | "degraded" => Exit::Clean,
        _ => Exit::Unhealthy,
    };
    answered(written, exit)
}

fn fetch(base: &str, within: Duration) -> Result<(serde_json::Value, Report), NoStatus> {
    let url = endpoint(base);
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
    let mut response = agent.get(&url).call().map_err(unreachable)?;
    let code = response.status().as_u16();
    let body = response
        .body_mut()
        .with_config()
        .limit(LARGEST_ANSWER)
        .read_to_vec()
        .map_err(unreachable)?;
    let raw: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
    let report = raw.as_ref().and_then(Report::read);
    match (raw, report) {
        (Some(raw), Some(report)) => Ok((raw, report)),
        _ => Err(NoStatus::Stranger { url, code }),
    }
}

/// Returns the address of the status under a base address, which may lack its scheme.
fn endpoint(base: &str) -> String {
    const PATH: &str = "/api/health/status";
    let base = base.trim_end_matches('/').trim_end_matches(PATH);
    match base.contains("://") {
        true => format!("{base}{PATH}"),
        false => format!("http://{base}{PATH}"),
    }
}

fn advice(error: &NoStatus) -> &'static str {
    match error {
        NoStatus::Unreachable { .. } => {
            "  Is the server running? `impetus serve` starts one; --url names another address.\n  \
             If it runs and does not answer, its health thread still may: --url http://127.0.0.1:8081"
        }
        NoStatus::Stranger { .. } | NoStatus::Tls { .. } => {
            "  --url names the address of the server, such as http://127.0.0.1:8080"
        }
    }
}
