//! `POST /predict` with numbers, at 32 connections, against the bare server.
//!
//! Both servers stand the whole time; a round loads one and then the other, beginning with each in
//! turn. The load shares the two cores with the server, so the ratio of throughputs is diluted by
//! the client's own time, which is the same for both; the CPU time for each request is not.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;

use crate::load::{self, Load, Outcome, Sample};
use crate::machine::{Noise, Watch};
use crate::process::{Cpu, Switches, cores};
use crate::report::{Report, Table, Verdict};
use crate::rounds::Plan;
use crate::server::{Places, Server};
use crate::stats::{Spread, percentile, sorted};

/// Keep-alive connections, each with one request out.
const CONNECTIONS: usize = 32;
/// Load before a round that is not counted: connections are accepted, pages touched.
const SETTLE: Duration = Duration::from_millis(400);
/// Load that is counted.
const MEASURE: Duration = Duration::from_millis(2500);
/// The promise: throughput as a share of the bare server's.
const LEAST_RATIO: f64 = 0.9;
const PLAN: Plan = Plan {
    wanted: 8,
    within: Duration::from_secs(130),
};

/// What one side did in one round.
#[derive(Debug, Clone, Copy)]
struct Side {
    per_second: f64,
    /// CPU time of the server and its workers for each request, in microseconds.
    server: f64,
    /// CPU time of the client for each request, in microseconds.
    client: f64,
    p50: f64,
    p99: f64,
    voluntary: f64,
    involuntary: f64,
}

pub(super) fn run(places: &Places) -> anyhow::Result<Report> {
    let mut report = Report::new("predict");
    let samples = load::samples(&places.surface().join("samples"))?;
    let impetus = places.start_impetus(&[])?;
    let bare = places.start_bare()?;
    let roots = [impetus.pid(), bare.pid()];
    let mut bare_first = false;
    let rounds = PLAN.take(&mut report, "pair", &roots, || {
        bare_first = !bare_first;
        let measure = |server| one(server, &roots, &samples);
        let ((bare, first), (impetus, second)) = if bare_first {
            let bare = measure(&bare)?;
            (bare, measure(&impetus)?)
        } else {
            let impetus = measure(&impetus)?;
            (measure(&bare)?, impetus)
        };
        Ok(((bare, impetus), first.or_worse(second)))
    })?;
    let pairs = rounds.taken;
    let (bares, impetuses): (Vec<Side>, Vec<Side>) = pairs.iter().copied().unzip();
    let sides = [("bare", &bares[..]), ("impetus", &impetuses[..])];
    let sides = table(&mut report, sides)?;
    report.table(sides);
    let ratio = |of: fn(&Side) -> f64| {
        Spread::of(pairs.iter().map(|(bare, impetus)| of(impetus) / of(bare)))
    };
    let throughput = report.figure("throughput.ratio", ratio(|side| side.per_second)?);
    let cpu = report.figure("server_cpu.ratio", ratio(|side| side.server)?);
    let mut ratios = Table::new(
        "Impetus as a multiple of the bare server",
        ["figure", "ratio"],
    );
    ratios.row(["requests/s".to_owned(), throughput.text(3)]);
    ratios.row(["server CPU per request".to_owned(), cpu.text(3)]);
    report.table(ratios);
    report.verdict(Verdict::new(
        "/predict, JSON, 32 connections: at least 0.9 of the bare server",
        Some(throughput.text(3)),
        rounds.quiet.then_some(throughput.median >= LEAST_RATIO),
    ));
    Ok(report)
}

fn one(
    server: &Server,
    roots: &[u32],
    samples: &Arc<Vec<Sample>>,
) -> anyhow::Result<(Side, Noise)> {
    let mut load = Load::open(server.port, CONNECTIONS, Arc::clone(samples))?;
    load.run(SETTLE)?;
    let watch = Watch::begin(roots)?;
    let (cpu, switches) = (server.cpu()?, Switches::of_tree(server.pid()));
    let outcome = load.run(MEASURE)?;
    let used = server.cpu()?.seconds() - cpu.seconds();
    let switches = Switches::of_tree(server.pid()).since(switches);
    let noise = watch.end(roots, Cpu::default())?;
    ensure!(
        outcome.wrong == 0 && outcome.right > 0,
        "{} of {} answers were wrong",
        outcome.wrong,
        outcome.wrong + outcome.right
    );
    Ok((side(outcome, used, switches), noise))
}

fn side(outcome: Outcome, used: f64, switches: Switches) -> Side {
    let answers = outcome.right as f64;
    let latencies = sorted(outcome.latencies);
    let at = |percent| percentile(&latencies, percent).unwrap_or_default();
    Side {
        per_second: answers / outcome.seconds,
        server: used / answers * 1e6,
        client: outcome.client / answers * 1e6,
        p50: at(50.0),
        p99: at(99.0),
        voluntary: switches.voluntary as f64 / answers,
        involuntary: switches.involuntary as f64 / answers,
    }
}

fn table(report: &mut Report, sides: [(&str, &[Side]); 2]) -> anyhow::Result<Table> {
    let title = format!(
        "POST /predict, 3072 floats as JSON, {CONNECTIONS} keep-alive connections, {} HTTP workers each: median (min–max)",
        cores()
    );
    let mut table = Table::new(
        title,
        [
            "server",
            "requests/s",
            "server CPU µs/request",
            "client CPU µs/request",
            "p50 ms",
            "p99 ms",
            "voluntary switches/request",
            "involuntary",
        ],
    );
    for (name, sides) in sides {
        let mut cell = |figure: &str, digits: usize, of: fn(&Side) -> f64| {
            let spread = Spread::of(sides.iter().map(of))?;
            let spread = report.figure(format!("{name}.{figure}"), spread);
            anyhow::Ok(spread.text(digits))
        };
        table.row([
            name.to_owned(),
            cell("requests_per_second", 0, |s| s.per_second)?,
            cell("server_cpu_micros", 0, |s| s.server)?,
            cell("client_cpu_micros", 0, |s| s.client)?,
            cell("p50_ms", 1, |s| s.p50)?,
            cell("p99_ms", 1, |s| s.p99)?,
            cell("voluntary_switches", 2, |s| s.voluntary)?,
            cell("involuntary_switches", 2, |s| s.involuntary)?,
        ]);
    }
    Ok(table)
}
