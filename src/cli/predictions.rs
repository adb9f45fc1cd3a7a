//! `impetus predictions`: what a running server has logged, in a terminal.
//!
//! One question to `/predictions`, `/stats` or `/export`, with a deadline. Tables are pure functions
//! of the answer; CSV and JSON Lines are copied as they come, however much that is, and an export
//! that breaks off ends the command with an error, whatever was written by then.

mod listing;
mod stats;
#[cfg(test)]
mod tests;

use std::io::Write;

use serde_json::Value;

use crate::cli::fetch::{Answer, Copied, NoAnswer, copy, fetch};
use crate::cli::words::one_line;
use crate::cli::{PredictionsArgs, PredictionsOutput, answered};
use crate::exit::Exit;

/// Predictions in a table when nobody says how many.
const USUAL: u64 = 20;
/// The most that one answer has.
const MOST: u64 = 1000;

/// Why there is nothing to show.
#[derive(Debug)]
enum Failure {
    NoAnswer(NoAnswer),
    /// The server cannot answer now.
    Unavailable(String),
}

type Shown = Result<Exit, Failure>;

/// Runs the command on the process's own stdout and stderr, and returns how to end.
pub fn run(args: &PredictionsArgs) -> Exit {
    let mut out = anstream::stdout();
    let mut err = anstream::stderr();
    let width = terminal_size::terminal_size_of(std::io::stdout())
        .map(|(terminal_size::Width(columns), _)| usize::from(columns));
    run_on(args, width, &mut out, &mut err)
}

/// Runs the command on these streams. Lines are cut to `width` where there is one.
pub fn run_on(
    args: &PredictionsArgs,
    width: Option<usize>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Exit {
    let shown = match args.output {
        _ if args.stats => stats(args, width, out),
        PredictionsOutput::Table | PredictionsOutput::Json => page(args, width, out),
        PredictionsOutput::Csv => export(args, "csv", out),
        PredictionsOutput::Jsonl => export(args, "jsonl", out),
    };
    match shown {
        Ok(exit) => exit,
        Err(failure) => {
            let (reason, advice, exit) = failure.told();
            answered(writeln!(err, "impetus: {reason}\n{advice}"), exit)
        }
    }
}

/// Shows one page.
fn page(args: &PredictionsArgs, width: Option<usize>, out: &mut dyn Write) -> Shown {
    let limit = args.limit.unwrap_or(USUAL);
    if limit > MOST {
        let refusal = format!("--limit is at most {MOST} here; csv and jsonl have no such bound");
        return Err(Failure::NoAnswer(NoAnswer::Refused(refusal)));
    }
    let mut query = filters(args);
    query.push(("limit", limit.to_string()));
    let answer = fetch(&args.url, "/predictions", &query, args.timeout.get())?;
    let page = answer.body.as_ref().filter(|_| answer.code == 200);
    let Some(predictions) = page.and_then(|page| page["predictions"].as_array()) else {
        return Err(refused(answer, "predictions"));
    };
    let written = match args.output {
        PredictionsOutput::Json => writeln!(out, "{:#}", answer.body.unwrap_or_default()),
        _ => {
            let more = answer.body.as_ref().map(|page| &page["next_cursor"]);
            let is_all = more.is_none_or(Value::is_null);
            out.write_all(listing::render(predictions, is_all, width).as_bytes())
        }
    };
    Ok(answered(written, Exit::Clean))
}

/// Copies a file.
fn export(args: &PredictionsArgs, format: &str, out: &mut dyn Write) -> Shown {
    let mut query = filters(args);
    query.push(("format", format.to_owned()));
    query.extend(args.limit.map(|limit| ("limit", limit.to_string())));
    let from = (args.url.as_str(), "/export");
    match copy(from, &query, args.timeout.get(), out)? {
        Copied::Whole => Ok(answered(out.flush(), Exit::Clean)),
        Copied::NotWritten(error) => Ok(answered(Err(error), Exit::Clean)),
        Copied::Refused(answer) => Err(refused(answer, "predictions")),
    }
}

/// Shows what has been counted.
fn stats(args: &PredictionsArgs, width: Option<usize>, out: &mut dyn Write) -> Shown {
    if matches!(
        args.output,
        PredictionsOutput::Csv | PredictionsOutput::Jsonl
    ) {
        let refusal = "--stats is shown as a table or as json".to_owned();
        return Err(Failure::NoAnswer(NoAnswer::Refused(refusal)));
    }
    let answer = fetch(&args.url, "/stats", &[], args.timeout.get())?;
    let counted = answer.body.as_ref().filter(|_| answer.code == 200);
    let Some(counted) = counted.filter(|stats| stats["total"].is_u64()) else {
        return Err(refused(answer, "statistics"));
    };
    let written = match args.output {
        PredictionsOutput::Json => writeln!(out, "{counted:#}"),
        _ => out.write_all(stats::render(counted, width).as_bytes()),
    };
    Ok(answered(written, Exit::Clean))
}

fn filters(args: &PredictionsArgs) -> Vec<(&'static str, String)> {
    let given = [
        ("model", &args.model),
        ("edge_device_id", &args.device),
        ("from", &args.from),
        ("to", &args.to),
    ];
    let given = given.into_iter();
    let mut filters: Vec<_> = given
        .filter_map(|(name, value)| Some((name, value.clone()?)))
        .collect();
    if args.defects {
        filters.push(("defect_only", "true".to_owned()));
    }
    filters
}

fn refused(answer: Answer, what: &'static str) -> Failure {
    let code = answer.body.as_ref().and_then(|body| body["code"].as_str());
    if answer.code == 404 && code != Some("kept_elsewhere") {
        // It may be an Impetus, but none that logs.
        return Failure::NoAnswer(answer.stranger(what));
    }
    match (answer.error().map(one_line), answer.code) {
        (Some(reason), 500..) => Failure::Unavailable(reason),
        (Some(reason), _) => Failure::NoAnswer(NoAnswer::Refused(reason)),
        (None, _) => Failure::NoAnswer(answer.stranger(what)),
    }
}

// === impl Failure ===

impl Failure {
    /// Returns what went wrong, what to do, and how to end.
    fn told(&self) -> (String, &'static str, Exit) {
        let error = match self {
            Self::Unavailable(reason) => {
                let advice = "  Ask again in a moment; `impetus status` shows what is wrong";
                return (reason.clone(), advice, Exit::Unhealthy);
            }
            Self::NoAnswer(error) => error,
        };
        let (advice, exit) = match error {
            NoAnswer::Unreachable { .. } => (
                "  Is the server running? `impetus serve` starts one; --url names another address",
                Exit::Unreachable,
            ),
            NoAnswer::BrokenOff { .. } => (
                "  Its log says why; ask for less with --from and --to, or again",
                Exit::Unreachable,
            ),
            NoAnswer::Refused(_) => (
                "  `impetus predictions --help` lists what can be asked for; --url names another server",
                Exit::Usage,
            ),
            NoAnswer::Stranger { .. } | NoAnswer::Tls { .. } => (
                "  --url names the address of a server that logs, such as http://127.0.0.1:8080",
                Exit::Unreachable,
            ),
        };
        (error.to_string(), advice, exit)
    }
}

impl From<NoAnswer> for Failure {
    fn from(error: NoAnswer) -> Self {
        Self::NoAnswer(error)
    }
}
