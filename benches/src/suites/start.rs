//! From the start of the process to its first answers.
//!
//! *Live* is the first 200 of the health port; *ready* is the first 200 of `/api/health/ready` on
//! the same connection. Both are asked for every millisecond, so a figure is half a millisecond too
//! high on average; to ask more often would take from the server the cores it starts on. The bare program is what no server can be quicker than: it loads
//! the library, opens the session, runs it once and says so. Launches alternate.

use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::http::{self, Connection};
use crate::machine::{Noise, Watch};
use crate::process::{Cpu, pause};
use crate::report::{Report, Table, Verdict};
use crate::rounds::Plan;
use crate::server::Places;
use crate::stats::Spread;

/// The promise for the first live answer, in milliseconds.
const MOST_TO_LIVE: f64 = 50.0;
/// The promise for readiness, as a multiple of the bare program's time.
const MOST_RATIO: f64 = 1.2;
/// How often a server that is not there yet is asked.
const ASK_EVERY: Duration = Duration::from_millis(1);
/// How long a start may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);
/// Launches of each in one round.
const LAUNCHES: usize = 5;
const PLAN: Plan = Plan {
    wanted: 4,
    within: Duration::from_secs(30),
};

/// Milliseconds from one launch of each.
#[derive(Debug, Clone, Copy)]
struct Launch {
    live: f64,
    ready: f64,
    bare: f64,
}

pub(super) fn run(places: &Places) -> anyhow::Result<Report> {
    let mut report = Report::new("start");
    // Once for the page cache.
    let mut ended = Cpu::default();
    launch(places, &mut ended)?;
    let what = format!("{LAUNCHES} launches");
    let rounds = PLAN.take(&mut report, &what, &[], || round(places))?;
    let launches: Vec<Launch> = rounds.taken.into_iter().flatten().collect();
    let mut figure = |name: &str, of: fn(&Launch) -> f64| {
        anyhow::Ok(report.figure(name, Spread::of(launches.iter().map(of))?))
    };
    let live = figure("live_ms", |launch| launch.live)?;
    let ready = figure("ready_ms", |launch| launch.ready)?;
    let bare = figure("bare_ms", |launch| launch.bare)?;
    let ratio = figure("ready.ratio", |launch| launch.ready / launch.bare)?;
    let mut table = Table::new(
        format!(
            "Process start to the first answer, {} launches: median (min–max)",
            launches.len()
        ),
        ["until", "ms"],
    );
    table.row(["live".to_owned(), live.text(1)]);
    table.row(["ready".to_owned(), ready.text(1)]);
    table.row([
        "bare program: library, session, one run".to_owned(),
        bare.text(1),
    ]);
    table.row(["ready ÷ bare program".to_owned(), ratio.text(2)]);
    report.table(table);
    report.verdict(Verdict::new(
        "process start → first live answer: under 50 ms",
        Some(format!("{} ms", live.text(1))),
        rounds.quiet.then_some(live.median < MOST_TO_LIVE),
    ));
    report.verdict(Verdict::new(
        "process start → ready: at most 1.2 × a bare program's load",
        Some(format!("× {}", ratio.text(2))),
        rounds.quiet.then_some(ratio.median <= MOST_RATIO),
    ));
    Ok(report)
}

fn round(places: &Places) -> anyhow::Result<(Vec<Launch>, Noise)> {
    let watch = Watch::begin(&[])?;
    let mut ended = Cpu::default();
    let launches = (0..LAUNCHES)
        .map(|_| launch(places, &mut ended))
        .collect::<anyhow::Result<_>>()?;
    Ok((launches, watch.end(&[], ended)?))
}

fn launch(places: &Places, ended: &mut Cpu) -> anyhow::Result<Launch> {
    let bare = bare(places)?;
    let began = Instant::now();
    let server = places.spawn_impetus(&[])?;
    let mut connection = connected(server.health_port, began)?;
    let live = answered(&mut connection, "/api/health/live", began)?;
    let ready = answered(&mut connection, "/api/health/ready", began)?;
    *ended = ended.plus(server.end()?);
    Ok(Launch { live, ready, bare })
}

/// Tries until somebody listens.
fn connected(port: u16, began: Instant) -> anyhow::Result<Connection> {
    loop {
        match Connection::open(port) {
            Ok(connection) => return Ok(connection),
            Err(error) if began.elapsed() > PATIENCE => return Err(error.into()),
            Err(_) => pause(ASK_EVERY),
        }
    }
}

/// Asks until there is a 200; returns the milliseconds since `began`.
fn answered(connection: &mut Connection, path: &str, began: Instant) -> anyhow::Result<f64> {
    let request = http::get(path);
    loop {
        let answer = connection.exchange(&request)?;
        let took = began.elapsed();
        if answer.status == 200 {
            return Ok(took.as_secs_f64() * 1e3);
        }
        ensure!(took < PATIENCE, "no 200 from {path}");
        pause(ASK_EVERY);
    }
}

fn bare(places: &Places) -> anyhow::Result<f64> {
    let began = Instant::now();
    let mut child = places.bare("load").stdout(Stdio::piped()).spawn()?;
    let mut stdout = child.stdout.take().context("it was asked for")?;
    let mut said = [0; 6];
    stdout.read_exact(&mut said)?;
    let took = began.elapsed().as_secs_f64() * 1e3;
    ensure!(said == *b"ready\n", "the bare program said something else");
    ensure!(child.wait()?.success(), "the bare program failed");
    Ok(took)
}
