//! The same model without Impetus: what isolation, supervision and health cost is told by comparison.
//!
//! `serve` is the obvious server: an actix-web handler that reads the body, runs an ONNX Runtime
//! session of its HTTP worker on the spot, and answers. No queue, no health, no log, no other
//! process; a crash of the model is a crash of the server. `load` is the least program that can
//! answer anything: library, session, one run. `repeat` is what the model alone allows: sessions that
//! run batch after batch, without HTTP; `generate` is the same for text. `log` is the obvious logging service, and `drain` the least
//! that brings its rows to PostgreSQL.
//!
//! All open the session as Impetus's workers do, the JSON reader is the very file that the server
//! uses, and the answer has the same fields, so that nothing but the machinery differs.

mod answer;
mod drain;
mod error;
mod generate;
mod log;
mod model;
#[path = "../../src/http/predict/numbers.rs"]
mod numbers;
mod repeat;
mod serve;
mod v2;

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};

// The reader expects its error type and what it reads with one module up.
use error::ApiError;
use impetus::oip::json;
use model::Model;

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves `POST /predict` and `POST /v2/models/{name}/infer`.
    Serve(ServeArgs),
    /// Runs the model again and again; says rows a second for each size of batch, as JSON.
    Repeat(RepeatArgs),
    /// Generates text as standard input asks; says how long it took, as JSON.
    Generate(GenerateArgs),
    /// Loads the model, runs it once, says `ready` on standard output and ends.
    Load(ModelArgs),
    /// Serves `POST /log`.
    Log(LogArgs),
    /// Writes the rows of a prediction log to PostgreSQL; says how long it took, as JSON.
    Drain(DrainArgs),
    /// Keeps one core busy.
    Spin {
        /// For how long; a benchmark that dies leaves nothing spinning for ever.
        #[arg(long)]
        seconds: u64,
    },
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// The port on the loopback.
    #[arg(long)]
    port: u16,
    /// HTTP workers, each with a session of its own.
    #[arg(long)]
    workers: usize,
    #[command(flatten)]
    model: ModelArgs,
}

#[derive(Debug, Args)]
struct LogArgs {
    /// The port on the loopback.
    #[arg(long)]
    port: u16,
    /// HTTP workers.
    #[arg(long)]
    workers: usize,
    /// Where the database is made.
    #[arg(long)]
    folder: PathBuf,
}

#[derive(Debug, Args)]
struct DrainArgs {
    /// The file with the rows.
    #[arg(long)]
    file: PathBuf,
    /// The database, which is empty.
    #[arg(long)]
    url: String,
}

#[derive(Debug, Args)]
struct RepeatArgs {
    /// Sizes of batches.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8")]
    batches: Vec<usize>,
    /// Sessions, each on a thread of its own.
    #[arg(long)]
    sessions: usize,
    /// For how long each size is run.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    #[command(flatten)]
    model: ModelArgs,
}

#[derive(Debug, Args)]
struct GenerateArgs {
    /// Threads that compute.
    #[arg(long)]
    threads: usize,
    /// Sequences that there is room for.
    #[arg(long, default_value_t = 16)]
    slots: usize,
    /// Tokens of each that there is room for.
    #[arg(long, default_value_t = 4096)]
    max_len: usize,
    /// Lets threads spin that have nothing to do.
    #[arg(long)]
    spin: bool,
    #[command(flatten)]
    model: ModelArgs,
}

#[derive(Debug, Clone, Args)]
struct ModelArgs {
    /// The ONNX Runtime library.
    #[arg(long)]
    library: PathBuf,
    /// Folder with `model.onnx` and `model.toml`, or `genai_config.json` for a model of language.
    #[arg(long)]
    model: PathBuf,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Serve(args) => serve::serve(args),
        Command::Repeat(args) => repeat::repeat(&args),
        Command::Generate(args) => generate::generate(&args),
        Command::Load(args) => load(&args),
        Command::Log(args) => log::serve(args.port, args.workers, &args.folder),
        Command::Drain(args) => drain::drain(&args.file, &args.url),
        Command::Spin { seconds } => {
            let end = Instant::now() + Duration::from_secs(seconds);
            while Instant::now() < end {
                std::hint::spin_loop();
            }
            Ok(())
        }
    }
}

fn load(args: &ModelArgs) -> anyhow::Result<()> {
    let environment = model::start_runtime(&args.library)?;
    let mut model = Model::open(&environment, &args.model)?;
    let zeros = vec![0.0; model.numbers()];
    model.run(&zeros)?;
    let mut stdout = std::io::stdout();
    stdout.write_all(b"ready\n")?;
    stdout.flush()?;
    // As a worker does: the destructors of the native library are nobody's business here.
    std::process::exit(0)
}
