//! Resident memory of the server's own process after ten thousand predictions.

use std::time::Duration;

use anyhow::ensure;

use crate::load::{self, Load};
use crate::process::status;
use crate::report::{Report, Table, Verdict};
use crate::server::Places;
use crate::stats::Spread;

/// Predictions before the look.
const PREDICTIONS: u64 = 10_000;
const CONNECTIONS: usize = 32;
/// The promise, in MB of a million bytes: the stricter reading.
const MOST: f64 = 40.0;

pub(super) fn run(places: &Places) -> anyhow::Result<Report> {
    let mut report = Report::new("memory");
    let samples = load::samples(&places.surface().join("samples"))?;
    let server = places.start_impetus(&[])?;
    let mut figure = |name: &str, field: &str| {
        let one = Spread::of([megabytes(server.pid(), field)?])?;
        anyhow::Ok(report.figure(name, one).median)
    };
    let fresh = figure("ready_mb", "VmRSS:")?;
    let mut load = Load::open(server.port, CONNECTIONS, samples)?;
    let mut served = 0;
    while served < PREDICTIONS {
        let outcome = load.run(Duration::from_millis(500))?;
        ensure!(outcome.wrong == 0, "{} answers were wrong", outcome.wrong);
        served = server.model()?.predictions;
    }
    let after = figure("after_mb", "VmRSS:")?;
    let peak = figure("peak_mb", "VmHWM:")?;
    let mut table = Table::new(
        "Resident memory of the server process, workers apart: MB",
        ["when", "MB"],
    );
    table.row(["ready, nothing served".to_owned(), format!("{fresh:.1}")]);
    table.row([
        format!("after {served} predictions at {CONNECTIONS} connections"),
        format!("{after:.1}"),
    ]);
    table.row(["highest ever".to_owned(), format!("{peak:.1}")]);
    for (index, worker) in server.model()?.workers.into_iter().enumerate() {
        let resident = megabytes(worker.pid, "VmRSS:")?;
        table.row([
            format!("for comparison: worker {index}"),
            format!("{resident:.1}"),
        ]);
    }
    report.table(table);
    report.verdict(Verdict::new(
        "server process: under 40 MB resident",
        Some(format!("{after:.1} MB")),
        Some(after < MOST),
    ));
    Ok(report)
}

fn megabytes(pid: u32, name: &str) -> anyhow::Result<f64> {
    Ok(status(pid, name)? as f64 * 1024.0 / 1e6)
}
