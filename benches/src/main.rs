//! The benchmarks of Impetus. `docs/benchmarks.md` says what they mean and how to read them.
//!
//! Each suite measures one promise on the release binary, against the bare program where the
//! promise is a ratio, and says whether it is kept. Rounds that others have disturbed are taken
//! again ([`machine`]); a promise that only disturbed rounds speak for is not judged.

mod http;
mod landing;
mod load;
mod machine;
mod process;
mod report;
mod rounds;
mod server;
mod stats;
mod streams;
mod suites;
mod text;

use std::path::{Path, PathBuf};

use clap::Parser;

use machine::Machine;
use report::{Report, say};
use server::Places;
use suites::{Asked, Suite};
use text::SHAPES;

#[derive(Debug, Parser)]
#[command(about = "Measures what docs/benchmarks.md promises")]
struct Cli {
    /// The suites to run; when none is named, all but `log-large`, `log-drain` and those of text.
    suites: Vec<Suite>,
    /// Predictions in the logs that `log-large` and `log-drain` make, instead of ten million and
    /// 200,000.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1_000..))]
    rows: Option<u64>,
    /// The server to measure (default: the one beside this program).
    #[arg(long)]
    impetus: Option<PathBuf>,
    /// Where the models of language are that `models/make_shapes.py` has made (default:
    /// `target/bench/shapes`).
    #[arg(long)]
    shapes: Option<PathBuf>,
    /// The only one of them that `generate` measures.
    #[arg(long, value_parser = SHAPES)]
    shape: Option<String>,
    /// Where the JSON goes.
    #[arg(long, default_value_os_t = Path::new("target").join("bench"))]
    out: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let places = Places::find(cli.impetus, cli.shapes)?;
    let suites = match cli.suites {
        none if none.is_empty() => Suite::usual().collect(),
        some => some,
    };
    let asked = Asked {
        rows: cli.rows,
        shape: cli.shape,
    };
    say(&format!("machine: {}", Machine::read()));
    let mut reports = Vec::new();
    for suite in suites {
        say(&format!("\n== {}", suite.title()));
        let report = suite.run(&places, &asked)?;
        say(&report.to_string());
        report.save(&cli.out)?;
        reports.push(report);
    }
    summarize(&reports);
    say(&format!("\nJSON: {}", cli.out.display()));
    Ok(())
}

fn summarize(reports: &[Report]) {
    let mut table = report::Table::new("All targets", ["target", "found", "verdict"]);
    for verdict in reports.iter().flat_map(Report::verdicts) {
        table.row([
            verdict.target.clone(),
            verdict.found.clone(),
            verdict.word().to_owned(),
        ]);
    }
    say(&format!("\n{table}"));
}
