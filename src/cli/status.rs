//! `impetus status`: how a running server is, in a terminal.
//!
//! One question to `/api/health/status`, or with `--events` to `/api/health/events`, which answer from memory however
//! busy the server is, and so has a short deadline. The answer is shown
//! whatever its status code: a 503 is the very case in which somebody looks.
//!
//! [`render`] is a pure function of the answer; ages are differences between
//! timestamps that the server wrote, so that a clock that runs apart on this
//! side changes nothing. Colour is always in the text and taken out again where
//! it is not wanted (no terminal, `NO_COLOR`).

mod events;
mod render;
mod report;
#[cfg(test)]
mod tests;
mod tree;

use std::io::Write;

use crate::cli::fetch::{NoAnswer, STATUS, fetch};
use crate::cli::words::one_line;
use crate::cli::{StatusArgs, StatusOutput, answered};
use crate::exit::Exit;
use events::History;

pub use render::render;
pub use report::Report;

/// What has happened to the actors.
const EVENTS: &str = "/api/health/events";

/// How the command ends when it had something to show.
type Shown = Result<Exit, NoAnswer>;

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
    let shown = match args.events {
        true => events(args, width, out),
        false => status(args, width, out),
    };
    match shown {
        Ok(exit) => exit,
        Err(error) => {
            let told = writeln!(err, "impetus: {error}\n{}", advice(&error));
            let exit = match error {
                NoAnswer::Refused(_) => Exit::Usage,
                _ => Exit::Unreachable,
            };
            answered(told, exit)
        }
    }
}

/// Shows how the server is.
fn status(args: &StatusArgs, width: Option<usize>, out: &mut dyn Write) -> Shown {
    let answer = fetch(&args.url, STATUS, &[], args.timeout.get())?;
    let report = answer.body.as_ref().and_then(Report::read);
    let (Some(raw), Some(report)) = (&answer.body, report) else {
        return Err(answer.stranger("status"));
    };
    let written = match args.output {
        StatusOutput::Json => writeln!(out, "{raw:#}"),
        StatusOutput::Human => out.write_all(render(&report, width).as_bytes()),
    };
    let exit = match report.status.as_str() {
        "healthy" | "degraded" => Exit::Clean,
        _ => Exit::Unhealthy,
    };
    Ok(answered(written, exit))
}

/// Shows what has happened to the actors, or to one.
fn events(args: &StatusArgs, width: Option<usize>, out: &mut dyn Write) -> Shown {
    let mut query = vec![("limit", args.limit.to_string())];
    query.extend(args.actor.clone().map(|actor| ("actor", actor)));
    let answer = fetch(&args.url, EVENTS, &query, args.timeout.get())?;
    let history = answer.body.as_ref().and_then(History::read);
    let (Some(raw), Some(history)) = (&answer.body, history) else {
        let refusal = answer.body.as_ref().and_then(|body| body["error"].as_str());
        return Err(match refusal {
            Some(refusal) => NoAnswer::Refused(one_line(refusal)),
            None => answer.stranger("status"),
        });
    };
    let written = match args.output {
        StatusOutput::Json => writeln!(out, "{raw:#}"),
        StatusOutput::Human => out.write_all(history.render(width).as_bytes()),
    };
    Ok(answered(written, Exit::Clean))
}

fn advice(error: &NoAnswer) -> &'static str {
    match error {
        NoAnswer::Unreachable { .. } => {
            "  Is the server running? `impetus serve` starts one; --url names another address.\n  \
             If it runs and does not answer, its health thread still may: --url http://127.0.0.1:8081"
        }
        NoAnswer::Refused(_) => "  `impetus status` lists the actors",
        NoAnswer::Stranger { .. } | NoAnswer::Tls { .. } | NoAnswer::BrokenOff { .. } => {
            "  --url names the address of the server, such as http://127.0.0.1:8080"
        }
    }
}
