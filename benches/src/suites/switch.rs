//! What a change of version costs the requests that come meanwhile.
//!
//! The same load runs twice in a round: once undisturbed, once while a new version of the model appears
//! in its source, is loaded beside the old one and takes over. Where a version comes from makes no
//! difference from here on, so it comes from the model folder. Its worker is loaded on the same cores as
//! everything else, which is the price; nobody waits for the switch itself.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;

use crate::load::{self, Load, Outcome};
use crate::machine::Watch;
use crate::process::Cpu;
use crate::report::{Report, Table, Verdict};
use crate::rounds::Plan;
use crate::server::{Places, Server};
use crate::stats::{Spread, percentile, sorted};

/// Keep-alive connections, each with one request out.
const CONNECTIONS: usize = 4;
const SETTLE: Duration = Duration::from_millis(300);
/// Load that is counted; a switch takes less.
const MEASURE: Duration = Duration::from_secs(3);
const PLAN: Plan = Plan {
    wanted: 6,
    within: Duration::from_secs(90),
};

/// Milliseconds of the requests of a round.
#[derive(Debug, Clone, Copy)]
struct Times {
    calm: Latencies,
    switching: Latencies,
}

#[derive(Debug, Clone, Copy)]
struct Latencies {
    p50: f64,
    p99: f64,
    longest: f64,
}

pub(super) fn run(places: &Places) -> anyhow::Result<Report> {
    let mut report = Report::new("switch");
    let samples = load::samples_for(&places.surface().join("samples"), "/predict")?;
    let folder = tempfile::tempdir()?;
    let model = folder.path().join("surface");
    fs::create_dir_all(&model)?;
    fs::copy(
        places.surface().join("model.toml"),
        model.join("model.toml"),
    )?;
    let mut version = 1;
    put(places, &model, version)?;
    let server = places
        .with_models(folder.path().to_owned())
        .start_impetus(&[("models.poll_every", "\"50ms\"")])?;
    let roots = [server.pid()];
    let rounds = PLAN.take(&mut report, "round", &roots, || {
        let mut load = Load::open(server.port, CONNECTIONS, samples.clone())?;
        load.run(SETTLE)?;
        let watch = Watch::begin(&roots)?;
        let calm = latencies(load.run(MEASURE)?)?;
        version += 1;
        put(places, &model, version)?;
        let switching = latencies(load.run(MEASURE)?)?;
        serves(&server, version)?;
        let noise = watch.end(&roots, Cpu::default())?;
        anyhow::Ok((Times { calm, switching }, noise))
    })?;
    conclude(&mut report, &rounds.taken, rounds.quiet)?;
    Ok(report)
}

fn conclude(report: &mut Report, taken: &[Times], quiet: bool) -> anyhow::Result<()> {
    let mut table = Table::new(
        format!(
            "POST /predict, {CONNECTIONS} connections, {} s each: ms, median (min–max)",
            MEASURE.as_secs()
        ),
        ["while", "p50", "p99", "longest"],
    );
    type Side = fn(&Times) -> Latencies;
    let sides: [(&str, Side); 2] = [
        ("nothing changes", |times| times.calm),
        ("a version takes over", |times| times.switching),
    ];
    for (name, side) in sides {
        let mut cell = |figure: &str, of: fn(Latencies) -> f64| {
            let spread = Spread::of(taken.iter().map(|times| of(side(times))))?;
            anyhow::Ok(report.figure(format!("{name}.{figure}"), spread).text(2))
        };
        table.row([
            name.to_owned(),
            cell("p50_ms", |l| l.p50)?,
            cell("p99_ms", |l| l.p99)?,
            cell("longest_ms", |l| l.longest)?,
        ]);
    }
    report.table(table);
    let more = |times: &Times| times.switching.p99 - times.calm.p99;
    let p99 = Spread::of(taken.iter().map(more))?;
    let p99 = report.figure("more.p99_ms", p99);
    let more = |times: &Times| times.switching.longest - times.calm.longest;
    let longest = Spread::of(taken.iter().map(more))?;
    let longest = report.figure("more.longest_ms", longest);
    let batch = Spread::of(taken.iter().map(|times| times.calm.p50))?;
    for (what, found) in [("p99", p99), ("the longest", longest)] {
        report.verdict(Verdict::new(
            &format!("a version takes over: {what} of the requests longer by at most one batch"),
            Some(format!(
                "{} ms longer, a batch and its way take {} ms",
                found.text(2),
                batch.text(2)
            )),
            quiet.then_some(found.median <= batch.median),
        ));
    }
    Ok(())
}

/// Puts a version of the model there, whole from one moment to the next.
fn put(places: &Places, model: &Path, version: u64) -> anyhow::Result<()> {
    let fresh = model.join(".fresh");
    fs::create_dir_all(&fresh)?;
    fs::copy(
        places.surface().join("model.onnx"),
        fresh.join("model.onnx"),
    )?;
    fs::rename(fresh, model.join(version.to_string()))?;
    Ok(())
}

fn latencies(outcome: Outcome) -> anyhow::Result<Latencies> {
    ensure!(outcome.wrong == 0, "{} answers were wrong", outcome.wrong);
    let sorted = sorted(outcome.latencies);
    let at = |percent| percentile(&sorted, percent).unwrap_or_default();
    Ok(Latencies {
        p50: at(50.0),
        p99: at(99.0),
        longest: sorted.last().copied().unwrap_or_default(),
    })
}

/// Makes sure that the switch was within the time that was measured.
fn serves(server: &Server, version: u64) -> anyhow::Result<()> {
    let answer = crate::http::Connection::open(server.port)?
        .exchange(&crate::http::get("/v2/models/surface"))?;
    let body: serde_json::Value = serde_json::from_slice(&answer.body)?;
    let versions = body["versions"].as_array().cloned().unwrap_or_default();
    let there = versions
        .iter()
        .any(|known| known.as_str() == Some(&version.to_string()));
    ensure!(there, "version {version} does not serve yet: {body}");
    Ok(())
}
