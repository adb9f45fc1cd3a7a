//! What it costs that a worker is a process: the same server with `models.isolation = "thread"`
//! beside it, loaded in turn.
//!
//! A round loads one side, then the other twice, then the first again, so that a machine that
//! becomes slower or quicker meanwhile favours neither. Both sides read the same bodies, decode them
//! the same way, and lay the inputs into the same kind of shared memory; only what is at the other
//! end of the socket differs. Two sizes:
//!
//! * 12 KB, the demo model with numbers as JSON, one connection, one request after another: what
//!   each costs is the same for both, so the difference of the medians is that of the isolation.
//! * 602 KB, `benches/models/wide` with pictures of 224 by 224, several connections. They are sent
//!   as PNG: as JSON, reading 150,528 numbers would cost many times what moving them does. The
//!   pictures are of one colour each, the cheapest there are to decode.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use image::{ImageFormat, Rgb, RgbImage};
use serde_json::Value;

use crate::http::{self, Connection};
use crate::load::{self, Load, Sample};
use crate::machine::{Noise, Watch};
use crate::process::Cpu;
use crate::report::{Report, Table, Verdict};
use crate::rounds::Plan;
use crate::server::{Places, Server};
use crate::stats::{Spread, percentile, sorted};

/// Width and height of the large input.
const WIDE: u32 = 224;
/// Load before a round that is not counted.
const SETTLE: Duration = Duration::from_millis(300);
/// Load that is counted.
const MEASURE: Duration = Duration::from_millis(1000);
const PLAN: Plan = Plan {
    wanted: 8,
    within: Duration::from_secs(80),
};
/// The promise for small inputs, in microseconds.
const MOST_MICROS: f64 = 60.0;
/// The promise for large inputs, as a share of the throughput on threads.
const LEAST_RATIO: f64 = 0.95;

/// What is asked.
struct Question {
    name: &'static str,
    connections: usize,
    samples: Arc<Vec<Sample>>,
}

/// What one side did in one round.
#[derive(Debug, Clone, Copy)]
struct Side {
    per_second: f64,
    /// CPU time of the server and its workers for each request, in microseconds.
    server: f64,
    /// Microseconds.
    p50: f64,
    p99: f64,
}

/// What one side has done so far in one round.
#[derive(Debug, Default)]
struct Sum {
    answers: f64,
    seconds: f64,
    /// CPU seconds of the server and its workers.
    used: f64,
    /// Milliseconds.
    latencies: Vec<f64>,
}

/// Both sides of one round.
#[derive(Debug, Clone, Copy)]
struct Pair {
    thread: Side,
    process: Side,
}

pub(super) fn run(places: &Places) -> anyhow::Result<Report> {
    let mut report = Report::new("isolation");
    let mut table = Table::new(
        "POST /predict, workers on threads and in processes: median (min–max)",
        [
            "input",
            "worker",
            "requests/s",
            "server CPU µs/request",
            "p50 µs",
            "p99 µs",
        ],
    );
    let samples = load::samples(&places.surface().join("samples"))?;
    let small = Question {
        name: "12 KB, 1 connection",
        connections: 1,
        samples,
    };
    let (pairs, quiet) = small.ask(places, (&mut report, &mut table))?;
    let more = Spread::of(pairs.iter().map(|pair| pair.process.p50 - pair.thread.p50))?;
    report.figure("small.p50_above_thread_micros", more);
    report.verdict(Verdict::new(
        "isolation, 12 KB: at most 60 µs more at p50 than on a thread",
        Some(format!("{} µs", more.text(0))),
        quiet.then_some(more.median <= MOST_MICROS),
    ));
    let places = places.with_models(places.wide.clone());
    let large = Question {
        name: "602 KB, 8 connections",
        connections: 8,
        samples: pictures(&places)?,
    };
    let (pairs, quiet) = large.ask(&places, (&mut report, &mut table))?;
    let ratio = |pair: &Pair| pair.process.per_second / pair.thread.per_second;
    let ratio = Spread::of(pairs.iter().map(ratio))?;
    report.figure("large.throughput.ratio", ratio);
    report.verdict(Verdict::new(
        "isolation, 602 KB: at least 0.95 of the throughput on threads",
        Some(ratio.text(3)),
        quiet.then_some(ratio.median >= LEAST_RATIO),
    ));
    report.table(table);
    Ok(report)
}

/// Makes some pictures and asks a server of this kind which answers are right.
fn pictures(places: &Places) -> anyhow::Result<Arc<Vec<Sample>>> {
    let server = places.start_impetus(&[])?;
    let mut connection = Connection::open(server.port)?;
    let mut samples = Vec::new();
    for shade in (0..=255_u8).step_by(51) {
        let colour = Rgb([shade, 255 - shade, shade / 2]);
        let picture = RgbImage::from_pixel(WIDE, WIDE, colour);
        let mut png = Cursor::new(Vec::new());
        picture.write_to(&mut png, ImageFormat::Png)?;
        let request = http::post_as("/predict", "image/png", &png.into_inner());
        let answer = connection.exchange(&request)?;
        ensure!(answer.status == 200, "status {}", answer.status);
        let answer: Value = serde_json::from_slice(&answer.body)?;
        let class = answer["class"].as_str().context("no class")?.to_owned();
        samples.push(Sample { request, class });
    }
    Ok(Arc::new(samples))
}

// === impl Question ===

impl Question {
    /// Asks both sides in turn, beginning with each in turn.
    fn ask(
        &self,
        places: &Places,
        (report, table): (&mut Report, &mut Table),
    ) -> anyhow::Result<(Vec<Pair>, bool)> {
        let thread = places.start_impetus(&[("models.isolation", "\"thread\"")])?;
        let process = places.start_impetus(&[("models.isolation", "\"process\"")])?;
        let roots = [thread.pid(), process.pid()];
        let mut thread_first = false;
        let rounds = PLAN.take(report, self.name, &roots, || {
            thread_first = !thread_first;
            let order = match thread_first {
                true => [&thread, &process, &process, &thread],
                false => [&process, &thread, &thread, &process],
            };
            let (mut on_thread, mut in_process) = (Sum::default(), Sum::default());
            let mut noise = Noise::default();
            for server in order {
                let sum = match server.pid() == thread.pid() {
                    true => &mut on_thread,
                    false => &mut in_process,
                };
                noise = noise.or_worse(self.one(server, &roots, sum)?);
            }
            let pair = Pair {
                thread: on_thread.into(),
                process: in_process.into(),
            };
            Ok((pair, noise))
        })?;
        self.show(&rounds.taken, (report, table))?;
        Ok((rounds.taken, rounds.quiet))
    }

    fn show(
        &self,
        taken: &[Pair],
        (report, table): (&mut Report, &mut Table),
    ) -> anyhow::Result<()> {
        let threads: Vec<Side> = taken.iter().map(|pair| pair.thread).collect();
        let processes: Vec<Side> = taken.iter().map(|pair| pair.process).collect();
        for (worker, sides) in [("thread", threads), ("process", processes)] {
            let mut cell = |figure: &str, digits: usize, of: fn(&Side) -> f64| {
                let spread = Spread::of(sides.iter().map(of))?;
                let name = format!("{}.{worker}.{figure}", self.name);
                anyhow::Ok(report.figure(name, spread).text(digits))
            };
            table.row([
                self.name.to_owned(),
                worker.to_owned(),
                cell("requests_per_second", 0, |side| side.per_second)?,
                cell("server_cpu_micros", 0, |side| side.server)?,
                cell("p50_micros", 0, |side| side.p50)?,
                cell("p99_micros", 0, |side| side.p99)?,
            ]);
        }
        Ok(())
    }

    fn one(&self, server: &Server, roots: &[u32], sum: &mut Sum) -> anyhow::Result<Noise> {
        let mut load = Load::open(server.port, self.connections, Arc::clone(&self.samples))?;
        load.run(SETTLE)?;
        let watch = Watch::begin(roots)?;
        let cpu = server.cpu()?;
        let outcome = load.run(MEASURE)?;
        let used = server.cpu()?.seconds() - cpu.seconds();
        let noise = watch.end(roots, Cpu::default())?;
        ensure!(
            outcome.wrong == 0 && outcome.right > 0,
            "{} answers were wrong, {} right",
            outcome.wrong,
            outcome.right
        );
        sum.answers += outcome.right as f64;
        sum.seconds += outcome.seconds;
        sum.used += used;
        sum.latencies.extend(outcome.latencies);
        Ok(noise)
    }
}

// === impl Side ===

impl From<Sum> for Side {
    fn from(sum: Sum) -> Self {
        let latencies = sorted(sum.latencies);
        let at = |percent| percentile(&latencies, percent).unwrap_or_default() * 1e3;
        Self {
            per_second: sum.answers / sum.seconds,
            server: sum.used / sum.answers * 1e6,
            p50: at(50.0),
            p99: at(99.0),
        }
    }
}
