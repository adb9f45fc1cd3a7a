//! The command line.
//!
//! `impetus serve` is the server; the other commands are for the person in
//! front of it: `check-config` says what the server would run with, `doctor` whether it could, `status`
//! how a running one is, `predictions` what it has logged, `chat` what a model of it has to say, `metrics` which
//! figures it has, `openapi` what it answers over HTTP. `worker` is the
//! server's own re-execution of itself and is hidden, since nobody else can
//! start one that works.
//!
//! Parsing ends in an [`Exit`] rather than in `std::process::exit`, so that
//! `main` stays the only place that ends the process: help and version are an
//! orderly end, every misuse is [`Exit::Usage`], the same as wrong configuration.
//! The commands here are functions from arguments and streams to an `Exit`.

pub mod chat;
pub mod check_config;
pub mod doctor;
mod fetch;
pub mod metrics;
pub mod models;
pub mod openapi;
pub mod predictions;
pub mod status;
mod table;
mod words;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{ConfigError, LogFormat, Period};
use crate::exit::Exit;

/// A model server that heals itself.
#[derive(Debug, Parser)]
#[command(
    name = "impetus",
    version,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server
    Serve(ServeArgs),
    /// Run one model worker; started by the server alone
    #[command(hide = true)]
    Worker(WorkerArgs),
    /// Check the configuration and print what holds in the end
    CheckConfig(CheckConfigArgs),
    /// Say whether a server of this configuration could run here, and which execution providers are usable
    Doctor(DoctorArgs),
    /// Say which metrics a server has
    Metrics(MetricsArgs),
    /// Print the OpenAPI document of what a server of this configuration answers over HTTP
    Openapi(OpenapiArgs),
    /// Show how a running server is: actors, models, score
    Status(StatusArgs),
    /// Show what a running server has logged: its predictions, or their statistics
    Predictions(PredictionsArgs),
    /// Talk with a model of a running server
    Chat(ChatArgs),
    /// List, load and unload models of a running server, or fetch models
    Models(ModelsArgs),
}

/// Arguments of `impetus serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// TOML file to configure from; the environment overrules it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Arguments of `impetus worker`, which reads neither file nor environment.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct WorkerArgs {
    /// Process that started this worker, and with which it ends
    #[arg(long, value_name = "PID")]
    pub parent: u32,
    /// What to log, as in the server's configuration
    #[arg(long, value_name = "DIRECTIVES", default_value = "info")]
    pub log_level: String,
    /// Form of the log
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    pub log_format: LogFormat,
    /// Library to load before it is asked for
    #[arg(long, value_name = "FILE")]
    pub runtime: Option<PathBuf>,
    /// Make one session with this execution provider, say what came of it and end
    #[arg(long, value_name = "PROVIDER", requires = "runtime")]
    pub probe: Option<String>,
    /// How that provider is set up, as JSON
    #[arg(long, value_name = "JSON", requires = "probe")]
    pub probe_options: Option<String>,
}

/// Arguments of `impetus doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// TOML file to configure from; the environment overrules it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Form of the answer
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub output: DoctorOutput,
}

/// Arguments of `impetus check-config`.
#[derive(Clone, Debug, Args)]
pub struct CheckConfigArgs {
    /// TOML file to check; the environment overrules it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Form of the answer
    #[arg(long, value_name = "FORMAT", default_value = "toml")]
    pub output: ConfigOutput,
    /// Print the reference of all keys as Markdown instead
    #[arg(long, conflicts_with_all = ["config", "output"])]
    pub reference: bool,
}

/// Arguments of `impetus metrics`.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct MetricsArgs {
    /// Print the reference of all metrics as Markdown
    #[arg(long)]
    pub reference: bool,
    /// Print the name of every series, one on each line
    #[arg(long)]
    pub names: bool,
}

/// Arguments of `impetus openapi`.
#[derive(Clone, Debug, Args)]
pub struct OpenapiArgs {
    /// TOML file to configure from; the environment overrules it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Arguments of `impetus status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// Address of the server, or of its health port
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// Form of the answer
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub output: StatusOutput,
    /// Longest wait for the answer
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub timeout: Period,
    /// Show what has happened to the actors instead
    #[arg(long)]
    pub events: bool,
    /// Events of this actor alone
    #[arg(long, value_name = "NAME", requires = "events")]
    pub actor: Option<String>,
    /// Show at most so many events
    #[arg(long, value_name = "N", default_value_t = 100, requires = "events",
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
}

/// Arguments of `impetus predictions`.
#[derive(Clone, Debug, Args)]
pub struct PredictionsArgs {
    /// Address of the server
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// Form of the answer
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub output: PredictionsOutput,
    /// Show at most so many; 20 when not given, and all as csv or jsonl
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Those of this model alone
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Those of this device alone
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// Those alone that found a defect
    #[arg(long)]
    pub defects: bool,
    /// Those made then or later, as 2025-01-01T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Those made before
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Show statistics of all predictions instead
    #[arg(long, conflicts_with_all = ["limit", "model", "device", "defects", "from", "to"])]
    pub stats: bool,
    /// Longest wait for the answer, or for the beginning of a file
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub timeout: Period,
}

/// Arguments of `impetus chat`.
#[derive(Clone, Debug, Args)]
pub struct ChatArgs {
    /// What to ask; without it every line of the input is a question
    pub prompt: Option<String>,
    /// Address of the server
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// Which model; may be left out when only one generates text
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// What the model is told before the conversation
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Most tokens of an answer; as many as there is room for when not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_tokens: Option<u32>,
    /// How freely it answers, from 0 to 2; as the model's folder says when not given
    #[arg(long, value_name = "T")]
    pub temperature: Option<f32>,
    /// Longest wait for an answer, from the question to its end
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    pub timeout: Period,
}

/// Arguments of `impetus models`.
#[derive(Clone, Debug, Args)]
pub struct ModelsArgs {
    /// What to do with them
    #[command(subcommand)]
    pub command: ModelsCommand,
}

/// What there is to do with models.
#[derive(Clone, Debug, Subcommand)]
pub enum ModelsCommand {
    /// List the models of a running server, every version of them
    List(ServerArgs),
    /// Load a model as it lies in its source now, beside the version that serves
    Load(OrderArgs),
    /// Unload a model, once it has answered what it has
    Unload(OrderArgs),
    /// Fetch models into the cache, or have a running server fetch one
    Download(DownloadArgs),
}

/// Which server to ask, and in which form to show its answer.
#[derive(Clone, Debug, Args)]
pub struct ServerArgs {
    /// Address of the server
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// Form of the answer
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub output: ModelsOutput,
    /// Longest wait for the answer
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    pub timeout: Period,
}

/// Arguments of `impetus models load` and `unload`.
#[derive(Clone, Debug, Args)]
pub struct OrderArgs {
    /// The name of the model
    pub name: String,
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Arguments of `impetus models download`.
#[derive(Clone, Debug, Args)]
pub struct DownloadArgs {
    /// Where models come from, such as models:/NAME@ALIAS or s3://BUCKET/PATH; those of the
    /// configuration when not given
    #[arg(value_name = "SOURCE")]
    pub sources: Vec<String>,
    /// The name under which the model is served; that in the registry, or of the folder or the file
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// TOML file to configure from; the environment overrules it
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    pub config: Option<PathBuf>,
    /// Have the server at this address fetch it, and load it
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Form of the answer
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub output: ModelsOutput,
    /// Longest time for each model
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    pub timeout: Period,
}

/// Forms in which `impetus models` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ModelsOutput {
    /// For people
    Table,
    /// What the server answered, or an object of the same kind
    Json,
}

/// Forms in which `impetus predictions` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PredictionsOutput {
    /// One prediction a line, cut to the terminal
    Table,
    /// What the server answered
    Json,
    /// One JSON object a line
    Jsonl,
    /// Comma-separated values with a line of names
    Csv,
}

/// Forms in which `impetus check-config` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConfigOutput {
    /// A configuration file, with a comment behind each value that somebody set
    Toml,
    /// One object of `config`, `sources` and `warnings`
    Json,
}

/// Forms in which `impetus doctor` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DoctorOutput {
    /// A table, and what to do
    Human,
    /// One object of `fit` and `findings`
    Json,
}

/// Forms in which `impetus status` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StatusOutput {
    /// A tree of actors, in colour in a terminal
    Human,
    /// What the server answered
    Json,
}

// === impl Cli ===

impl Cli {
    /// Reads a command line, the program's name first.
    ///
    /// # Errors
    ///
    /// With how to end, after help, version or the mistake has been printed.
    pub fn read<I>(args: I) -> Result<Self, Exit>
    where
        I: IntoIterator<Item: Into<OsString> + Clone>,
    {
        Self::try_parse_from(args).map_err(|error| {
            // Nobody is left to tell when the terminal itself is gone.
            let _ = error.print();
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Clean,
                _ => Exit::Usage,
            }
        })
    }
}

// === impl WorkerArgs ===

impl WorkerArgs {
    /// Returns the command line, after the program's name, that reads back as these arguments.
    pub fn command_line(&self) -> Vec<OsString> {
        let words = [
            "worker".to_owned(),
            format!("--parent={}", self.parent),
            format!("--log-level={}", self.log_level),
            format!("--log-format={}", self.log_format.as_str()),
        ];
        let runtime = self.runtime.iter().map(|path| {
            let mut word = OsString::from("--runtime=");
            word.push(path);
            word
        });
        let probe = self.probe.iter().map(|name| format!("--probe={name}"));
        let options = self.probe_options.iter();
        let options = options.map(|options| format!("--probe-options={options}"));
        words
            .into_iter()
            .chain(probe)
            .chain(options)
            .map(OsString::from)
            .chain(runtime)
            .collect()
    }
}

/// Prints what is wrong with a configuration, one line for each problem, and returns how to end.
pub fn refuse_config(error: &ConfigError, err: &mut dyn Write) -> Exit {
    for line in error.to_string().lines() {
        // The exit code says it too, should stderr be closed.
        let _ = writeln!(err, "impetus: {line}");
    }
    Exit::Usage
}

/// Returns the end that belongs to the result of writing the answer: a reader
/// that has had enough (`impetus status | head`) is no failure.
fn answered(written: io::Result<()>, exit: Exit) -> Exit {
    match written {
        Ok(()) => exit,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => exit,
        Err(_) => Exit::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit_of(words: &[&str]) -> Exit {
        Cli::read(words).expect_err("this command line ends by itself")
    }

    #[test]
    fn every_misuse_ends_with_the_same_code_as_wrong_configuration() {
        for words in [
            &["impetus"][..],
            &["impetus", "serv"],
            &["impetus", "serve", "--confg", "x"],
            &["impetus", "status", "--timeout", "5"],
            &["impetus", "check-config", "--reference", "--output", "json"],
            &["impetus", "worker"],
            &["impetus", "metrics"],
            &["impetus", "metrics", "--names", "--reference"],
        ] {
            assert_eq!(exit_of(words), Exit::Usage, "{words:?}");
        }
    }

    #[test]
    fn help_and_version_are_an_orderly_end() {
        assert_eq!(exit_of(&["impetus", "--help"]), Exit::Clean);
        assert_eq!(exit_of(&["impetus", "--version"]), Exit::Clean);
    }

    #[test]
    fn a_worker_reads_the_command_line_that_its_parent_makes() {
        let args = WorkerArgs {
            parent: 4711,
            log_level: "info,impetus_engine=debug".to_owned(),
            log_format: LogFormat::Human,
            runtime: Some(PathBuf::from("/opt/libonnxruntime.so")),
            probe: Some("cuda".to_owned()),
            probe_options: Some("{\"device\": 1}".to_owned()),
        };
        let mut words = vec![OsString::from("impetus")];
        words.extend(args.command_line());
        match Cli::read(words).expect("well-formed").command {
            Command::Worker(read) => assert_eq!(read, args),
            other => panic!("read as {other:?}"),
        }
    }
}
