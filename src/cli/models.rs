//! `impetus models`: the models of a running server, and models fetched by hand.
//!
//! `list`, `load` and `unload` ask a server. `download` fetches by itself, with the cache and the
//! credentials of the configuration and a bar that shows how far it is: what an init container does before
//! the server starts. With `--url` it has a server fetch instead, and watches.

mod download;
mod listing;
mod render;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::fetch::{Answer, NoAnswer, fetch, post};
use crate::cli::words::one_line;
use crate::cli::{ModelsArgs, ModelsCommand, ModelsOutput, OrderArgs, ServerArgs, answered};
use crate::exit::Exit;

/// What is asked for in every order.
const LIST: &str = "/api/models/list";

/// Why there is nothing to show.
#[derive(Debug)]
enum Failure {
    NoAnswer(NoAnswer),
    /// The server did not do it, or it failed here.
    NotDone(String),
    /// The command line or the configuration asks for what cannot be.
    Usage(String),
}

/// Where the command writes.
pub struct Terminal<'a> {
    /// Its answer.
    pub out: &'a mut dyn Write,
    /// What else there is to say.
    pub err: &'a mut dyn Write,
    /// Columns of the terminal, where there is one.
    pub width: Option<usize>,
    /// Whether what is shown may be overwritten.
    pub is_terminal: bool,
}

type Shown = Result<Exit, Failure>;

/// Runs the command on the process's own streams, and returns how to end.
pub fn run(args: &ModelsArgs, env: Vec<(String, String)>) -> Exit {
    use std::io::IsTerminal as _;
    let width = terminal_size::terminal_size_of(std::io::stdout());
    let mut terminal = Terminal {
        out: &mut anstream::stdout(),
        err: &mut anstream::stderr(),
        width: width.map(|(terminal_size::Width(columns), _)| usize::from(columns)),
        is_terminal: std::io::stderr().is_terminal(),
    };
    run_on(args, env, &mut terminal)
}

/// Runs the command on these streams.
pub fn run_on(args: &ModelsArgs, env: Vec<(String, String)>, terminal: &mut Terminal<'_>) -> Exit {
    let shown = match &args.command {
        ModelsCommand::List(args) => list(args, terminal),
        ModelsCommand::Load(args) => order("load", args, terminal),
        ModelsCommand::Unload(args) => order("unload", args, terminal),
        ModelsCommand::Download(args) => download::download(args, env, terminal),
    };
    shown.unwrap_or_else(|failure| failure.tell(terminal.err))
}

fn list(args: &ServerArgs, terminal: &mut Terminal<'_>) -> Shown {
    let answer = fetch(&args.url, LIST, &[], args.timeout.get())?;
    let list = answer.body.as_ref().filter(|_| answer.code == 200);
    let Some(models) = list.and_then(|list| list["models"].as_array()) else {
        return Err(refused(answer, "models"));
    };
    let written = match args.output {
        ModelsOutput::Json => writeln!(terminal.out, "{:#}", answer.body.unwrap_or_default()),
        ModelsOutput::Table => {
            let problem = list.and_then(|list| list["source_problem"].as_str());
            let text = listing::render(models, problem, terminal.width);
            terminal.out.write_all(text.as_bytes())
        }
    };
    Ok(answered(written, Exit::Clean))
}

fn order(what: &str, args: &OrderArgs, terminal: &mut Terminal<'_>) -> Shown {
    let path = format!("/api/models/{what}");
    let body = json!({"name": args.name});
    let answer = post(&args.server.url, &path, &body, args.server.timeout.get())?;
    if answer.code != 200 {
        return Err(refused(answer, "models"));
    }
    let done = answer.body.unwrap_or_default();
    let written = match args.server.output {
        ModelsOutput::Json => writeln!(terminal.out, "{done:#}"),
        ModelsOutput::Table => writeln!(terminal.out, "{}", said(&args.name, &done)),
    };
    Ok(answered(written, Exit::Clean))
}

/// Says what an order has come to.
fn said(name: &str, done: &Value) -> String {
    let name = one_line(name);
    let Some(loaded) = done["loaded"].as_array() else {
        return format!("{name} is unloaded");
    };
    let versions = loaded.iter().filter_map(|model| model["version"].as_str());
    let versions: Vec<String> = versions.map(one_line).collect();
    match versions.as_slice() {
        [version] => format!("{name} version {version} is loaded"),
        versions => format!("{name} versions {} are loaded", versions.join(", ")),
    }
}

/// Returns the failure that a server's refusal is.
fn refused(answer: Answer, what: &'static str) -> Failure {
    match answer.error() {
        Some(error) => Failure::NotDone(one_line(error)),
        None => Failure::NoAnswer(answer.stranger(what)),
    }
}

/// How often a server is asked how far a download is.
const WATCH_EVERY: Duration = Duration::from_millis(200);

// === impl Failure ===

impl Failure {
    fn tell(self, err: &mut dyn Write) -> Exit {
        let (reason, exit) = match self {
            Self::NoAnswer(NoAnswer::Unreachable { url, reason }) => {
                let advice = "look whether it runs and listens there, or name it with --url";
                (
                    format!("no answer from {url}: {reason}\n{advice}"),
                    Exit::Unreachable,
                )
            }
            Self::NoAnswer(other) => (other.to_string(), Exit::Unreachable),
            Self::NotDone(reason) => (reason, Exit::Unhealthy),
            Self::Usage(reason) => (reason, Exit::Usage),
        };
        answered(writeln!(err, "impetus: {reason}"), exit)
    }
}

impl From<NoAnswer> for Failure {
    fn from(reason: NoAnswer) -> Self {
        Self::NoAnswer(reason)
    }
}
