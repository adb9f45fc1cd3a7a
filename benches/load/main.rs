//! HTTP load for whoever measures servers from a script: requests that were written beforehand, many
//! keep-alive connections, figures as JSON on standard output.
//!
//! It shares the cores with what it measures, so it has to be cheap and the same for every server:
//! one thread, one `poll` for all sockets, and of an answer only the status is read. What is right
//! in an answer is for the script to find out before. Its own CPU time is among the figures.
//!
//! With `--rate` the load is open: requests are due at fixed times whether or not earlier ones have
//! been answered, and their latency counts from when they were due, so a server that stands still
//! for a while is not spared what had to wait meanwhile. Everything is bounded: by time or by count,
//! and by a deadline for each answer.

mod answer;
mod lane;
mod load;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;

use load::{Load, Until};

#[derive(Debug, Parser)]
struct Cli {
    /// The port on the loopback.
    #[arg(long)]
    port: u16,
    /// Connections, each with one request out at a time.
    #[arg(long)]
    connections: usize,
    /// File of requests, each whole with its head, behind its length as four bytes, little-endian.
    /// They are sent in turn.
    #[arg(long)]
    requests: PathBuf,
    /// For how long.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How many requests instead.
    #[arg(long)]
    count: Option<u64>,
    /// Seconds of load before, which are not counted.
    #[arg(long, default_value_t = 0.0)]
    settle: f64,
    /// Requests that are due each second; without it each connection sends as soon as it can.
    #[arg(long)]
    rate: Option<f64>,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    ensure!(cli.connections > 0, "there must be a connection at least");
    ensure!(
        cli.rate.is_none_or(|rate| rate > 0.0),
        "the rate must be more than nothing"
    );
    let requests = read(&cli.requests)?;
    let mut load = Load::open(cli.port, cli.connections, &requests, cli.rate)?;
    if cli.settle > 0.0 {
        load.run(Until::Passed(Duration::try_from_secs_f64(cli.settle)?))?;
    }
    let until = match cli.count {
        Some(count) => Until::Sent(count),
        None => Until::Passed(Duration::try_from_secs_f64(cli.seconds)?),
    };
    let outcome = load.run(until)?;
    let mut stdout = std::io::stdout();
    serde_json::to_writer(&mut stdout, &outcome.figures())?;
    stdout.write_all(b"\n")?;
    Ok(())
}

/// Reads the file of requests.
fn read(path: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let bytes = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut rest = &bytes[..];
    let mut requests = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_le_bytes(*length))?;
        let request = after.get(..length).context("the last request is cut off")?;
        requests.push(request.to_owned());
        rest = &after[length..];
    }
    ensure!(!requests.is_empty(), "{} holds no requests", path.display());
    Ok(requests)
}
