//! What a scrape costs on a large server: 50 models with four workers each.
//!
//! Every worker is a process with the demo model, so there is everything that a scrape speaks of:
//! 50 models, 200 workers, 256 actors. Scrapes come over one connection, as Prometheus' do, from the
//! health port, in both formats in turn, while the workers are idle. What others do to the time a
//! scrape takes they hardly do to the CPU time the server spends on it, which is shown beside it: that
//! of both formats together, less what the server used in as much time without scrapes.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tempfile::TempDir;

use crate::http::Connection;
use crate::machine::{Noise, Watch};
use crate::process::{Cpu, pause};
use crate::report::{Report, Table, Verdict};
use crate::rounds::Plan;
use crate::server::{Places, Server};
use crate::stats::Spread;

const MODELS: usize = 50;
const WORKERS: usize = 4;
/// Scrapes of a round, in each format.
const SCRAPES: usize = 150;
const EVERY: Duration = Duration::from_millis(10);
/// How long the server is watched while nobody scrapes.
const IDLE: Duration = Duration::from_secs(3);
/// Milliseconds that a scrape takes at most.
const MOST_MS: f64 = 5.0;
/// Bytes that it has at most.
const MOST_BYTES: f64 = 1e6;
const PLAN: Plan = Plan {
    wanted: 3,
    within: Duration::from_secs(45),
};

const FORMATS: [(&str, &str); 2] = [
    ("text", "text/plain"),
    ("openmetrics", "application/openmetrics-text"),
];

/// The scrapes of a round in each format, and the CPU time of the server for one of them.
struct Round {
    scrapes: [Scrapes; 2],
    cpu_ms: f64,
}

/// Milliseconds and bytes of the scrapes of one format.
#[derive(Default)]
struct Scrapes {
    ms: Vec<f64>,
    bytes: Vec<f64>,
}

pub(super) fn run(places: &Places) -> anyhow::Result<Report> {
    let mut report = Report::new("scrape");
    let folder = copies(places)?;
    // As much as fits 200 times into a machine of 16 GiB.
    let settings = [
        ("models.workers", WORKERS.to_string()),
        ("memory.headroom", "\"16MiB\"".to_owned()),
        ("memory.headroom_min", "\"16MiB\"".to_owned()),
    ];
    let settings: Vec<(&str, &str)> = settings.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let server = places
        .with_models(folder.path().to_owned())
        .start_impetus(&settings)?;
    let served: usize = server.models()?.iter().map(|m| m.serving().len()).sum();
    ensure!(served == MODELS * WORKERS, "{served} workers serve");
    let roots = [server.pid()];
    let before = Cpu::of_process(server.pid())?;
    pause(IDLE);
    let idle = Cpu::of_process(server.pid())?.minus(before).seconds() / IDLE.as_secs_f64();
    let rounds = PLAN.take(&mut report, "scrapes", &roots, || round(&server, idle))?;
    let cpu = Spread::of(rounds.taken.iter().map(|round| round.cpu_ms))?;
    let cpu = report.figure("cpu_ms", cpu);
    report.note(format!(
        "CPU time of the server per scrape: {} ms",
        cpu.text(2)
    ));
    let mut all: [Scrapes; 2] = Default::default();
    for round in rounds.taken {
        for (all, scrapes) in all.iter_mut().zip(round.scrapes) {
            all.ms.extend(scrapes.ms);
            all.bytes.extend(scrapes.bytes);
        }
    }
    let mut table = Table::new(
        format!("A scrape of {MODELS} models with {WORKERS} workers each"),
        ["format", "ms, median (min–max)", "p99", "bytes", "scrapes"],
    );
    for ((format, _), scrapes) in FORMATS.into_iter().zip(all) {
        let took = report.figure(format!("{format}_ms"), Spread::of(scrapes.ms)?);
        let bytes = report.figure(format!("{format}_bytes"), Spread::of(scrapes.bytes)?);
        table.row([
            format.to_owned(),
            took.text(2),
            format!("{:.2}", took.p99),
            format!("{:.0}", bytes.max),
            took.count.to_string(),
        ]);
        report.verdict(Verdict::new(
            &format!("a scrape of 50 models and 200 workers, {format}: p99 under 5 ms"),
            Some(format!(
                "median {:.2} ms, p99 {:.2} ms",
                took.median, took.p99
            )),
            rounds.quiet.then_some(took.p99 < MOST_MS),
        ));
        report.verdict(Verdict::new(
            &format!("the same, {format}: under 1 MB"),
            Some(format!("{:.0} bytes", bytes.max)),
            Some(bytes.max < MOST_BYTES),
        ));
    }
    report.table(table);
    Ok(report)
}

/// Makes a folder with as many copies of the demo model as there are to be models.
fn copies(places: &Places) -> anyhow::Result<TempDir> {
    let folder = tempfile::tempdir()?;
    for number in 0..MODELS {
        let copy: PathBuf = folder.path().join(format!("surface-{number:02}"));
        fs::create_dir(&copy)?;
        // Its description says what it is called, and these are called otherwise.
        fs::copy(places.surface().join("model.onnx"), copy.join("model.onnx"))?;
    }
    Ok(folder)
}

fn round(server: &Server, idle: f64) -> anyhow::Result<(Round, Noise)> {
    let requests = FORMATS.map(|(_, accept)| {
        format!("GET /api/health/metrics HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\n\r\n")
            .into_bytes()
    });
    let roots = [server.pid()];
    let watch = Watch::begin(&roots)?;
    let (began, before) = (Instant::now(), Cpu::of_process(server.pid())?);
    let mut connection = Connection::open(server.health_port)?;
    let mut scrapes: [Scrapes; 2] = Default::default();
    for _ in 0..SCRAPES {
        for (request, scrapes) in requests.iter().zip(&mut scrapes) {
            let began = Instant::now();
            let answer = connection.exchange(request)?;
            scrapes.ms.push(began.elapsed().as_secs_f64() * 1e3);
            ensure!(answer.status == 200, "status {}", answer.status);
            scrapes.bytes.push(answer.body.len() as f64);
            pause(EVERY);
        }
    }
    let used = Cpu::of_process(server.pid())?.minus(before).seconds();
    let of_scrapes = used - idle * began.elapsed().as_secs_f64();
    let round = Round {
        cpu_ms: of_scrapes * 1e3 / (SCRAPES * FORMATS.len()) as f64,
        scrapes,
    };
    Ok((round, watch.end(&roots, Cpu::default())?))
}
