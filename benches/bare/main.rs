//! The same model without Impetus: what isolation, supervision and health cost is told by comparison.
//!
//! `serve` is the obvious server: an actix-web handler that reads the body, runs an ONNX Runtime
//! session of its HTTP worker on the spot, and answers. No queue, no health, no log, no other
//! process; a crash of the model is a crash of the server. `load` is the least program that can
//! answer anything: library, session, one run.
//!
//! Both open the session as Impetus's workers do, the JSON reader is the very file that the server
//! uses, and the answer has the same fields, so that nothing but the machinery differs.

mod answer;
mod error;
mod model;
#[path = "../../src/http/predict/numbers.rs"]
mod numbers;
mod serve;

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
    /// Serves `POST /predict`.
    Serve(ServeArgs),
    /// Loads the model, runs it once, says `ready` on standard output and ends.
    Load(ModelArgs),
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

#[derive(Debug, Clone, Args)]
struct ModelArgs {
    /// The ONNX Runtime library.
    #[arg(long)]
    library: PathBuf,
    /// Folder with `model.onnx` and `model.toml`.
    #[arg(long)]
    model: PathBuf,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Serve(args) => serve::serve(args),
        Command::Load(args) => load(&args),
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
