//! Durable predictions: batches of 32 over HTTP, against the bare logging service that makes the
//! same transactions, and `/predict` with and without its log.
//!
//! Every row is a new one. Both services begin with an empty file and stand the whole time, so both
//! files grow alike. A client is a thread with one connection and one request out; it patches the
//! names of the images in a request made beforehand, so that it costs little.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};

use crate::http::{self, Connection};
use crate::load::{self, Load};
use crate::machine::{Noise, Watch};
use crate::process::{Cpu, pause};
use crate::report::{Report, Table, Verdict};
use crate::rounds::Plan;
use crate::server::{Places, Server};
use crate::stats::{Spread, percentile, sorted};

/// Predictions of one request.
const BATCH: usize = 32;
/// Clients, each with one request out.
const CLIENTS: usize = 32;
/// Load before a round that is not counted.
const SETTLE: Duration = Duration::from_millis(400);
/// Load that is counted.
const MEASURE: Duration = Duration::from_millis(2500);
/// The promises.
const LEAST_RATIO: f64 = 0.7;
const LEAST_ROWS: f64 = 20_000.0;
const LEAST_PREDICT: f64 = 0.95;
const PLAN: Plan = Plan {
    wanted: 6,
    within: Duration::from_secs(100),
};

/// What one side did in one round.
#[derive(Debug, Clone, Copy)]
struct Side {
    rows_per_second: f64,
    /// CPU time of the server for each row, in microseconds.
    server: f64,
    p50: f64,
    p99: f64,
}

pub(super) fn run(places: &Places) -> anyhow::Result<Report> {
    let mut report = Report::new("log");
    ingest(places, &mut report)?;
    predict(places, &mut report)?;
    Ok(report)
}

fn ingest(places: &Places, report: &mut Report) -> anyhow::Result<()> {
    let impetus = places.start_log(&[])?;
    let bare = places.start_bare_log()?;
    let roots = [impetus.pid(), bare.pid()];
    let next = AtomicU64::new(0);
    let mut bare_first = false;
    let rounds = PLAN.take(report, "ingest", &roots, || {
        bare_first = !bare_first;
        let measure = |server| one(server, &roots, &next);
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
    let title = format!(
        "POST /log, {BATCH} predictions of 300 bytes, {CLIENTS} connections: median (min–max)"
    );
    let mut table = Table::new(
        title,
        ["server", "rows/s", "server CPU µs/row", "p50 ms", "p99 ms"],
    );
    for (name, sides) in [("bare", &bares), ("impetus", &impetuses)] {
        let mut cell = |figure: &str, digits: usize, of: fn(&Side) -> f64| {
            let spread = Spread::of(sides.iter().map(of))?;
            let spread = report.figure(format!("{name}.{figure}"), spread);
            anyhow::Ok(spread.text(digits))
        };
        table.row([
            name.to_owned(),
            cell("rows_per_second", 0, |side| side.rows_per_second)?,
            cell("server_cpu_micros", 1, |side| side.server)?,
            cell("p50_ms", 1, |side| side.p50)?,
            cell("p99_ms", 1, |side| side.p99)?,
        ]);
    }
    report.table(table);
    let ratio = Spread::of(
        pairs
            .iter()
            .map(|(bare, impetus)| impetus.rows_per_second / bare.rows_per_second),
    )?;
    let ratio = report.figure("ingest.ratio", ratio);
    let rows = Spread::of(impetuses.iter().map(|side| side.rows_per_second))?;
    report.verdict(Verdict::new(
        "/log, batches of 32: at least 0.7 of the bare service",
        Some(ratio.text(3)),
        rounds.quiet.then_some(ratio.median >= LEAST_RATIO),
    ));
    report.verdict(Verdict::new(
        "/log, batches of 32: at least 20,000 rows a second",
        Some(rows.text(0)),
        rounds.quiet.then_some(rows.median >= LEAST_ROWS),
    ));
    Ok(())
}

fn one(server: &Server, roots: &[u32], next: &AtomicU64) -> anyhow::Result<(Side, Noise)> {
    load(server.port, SETTLE, next)?;
    let watch = Watch::begin(roots)?;
    let cpu = server.cpu()?;
    let began = Instant::now();
    let latencies = load(server.port, MEASURE, next)?;
    let seconds = began.elapsed().as_secs_f64();
    let used = server.cpu()?.seconds() - cpu.seconds();
    let noise = watch.end(roots, Cpu::default())?;
    let rows = (latencies.len() * BATCH) as f64;
    let latencies = sorted(latencies);
    let at = |percent| percentile(&latencies, percent).unwrap_or_default();
    let side = Side {
        rows_per_second: rows / seconds,
        server: used / rows * 1e6,
        p50: at(50.0),
        p99: at(99.0),
    };
    Ok((side, noise))
}

/// Logs for that long from all clients; returns how long each request took, in milliseconds.
fn load(port: u16, time: Duration, next: &AtomicU64) -> anyhow::Result<Vec<f64>> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let client = |index| {
            let is_over = &is_over;
            scope.spawn(move || client(port, index, next, is_over))
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        pause(time);
        is_over.store(true, Ordering::Relaxed);
        let mut latencies = Vec::new();
        for client in clients {
            latencies.extend(client.join().map_err(|_| anyhow!("a client panicked"))??);
        }
        Ok(latencies)
    })
}

fn client(
    port: u16,
    index: usize,
    next: &AtomicU64,
    is_over: &AtomicBool,
) -> anyhow::Result<Vec<f64>> {
    let mut request = Request::new(index);
    let mut connection = Connection::open(port)?;
    let mut latencies = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let bytes = request.of_new_rows(next.fetch_add(BATCH as u64, Ordering::Relaxed));
        let began = Instant::now();
        let answer = connection.exchange(bytes)?;
        latencies.push(began.elapsed().as_secs_f64() * 1e3);
        let logged = answer.body.starts_with(b"{\"logged\":32");
        ensure!(
            answer.status == 200 && logged,
            "a batch was not logged: {}",
            answer.status
        );
    }
    Ok(latencies)
}

/// A request whose images can be renamed, and their times with them.
struct Request {
    bytes: Vec<u8>,
    /// Where the names of the images are.
    names: Vec<usize>,
    /// Where the times are.
    times: Vec<usize>,
}

impl Request {
    /// Digits of a name.
    const DIGITS: usize = 12;
    /// What stands for a time, up to its milliseconds, before there is one.
    const TIME: &str = "2025-06-01T##:##:##.###";
    /// The time that passes from one row to the next, in microseconds: predictions are logged soon
    /// after they were made, and at about the pace that is hoped for.
    const BETWEEN_ROWS: u64 = 40;

    fn new(client: usize) -> Self {
        let classes = ["good", "scratch", "dent", "crack", "stain", "hole"];
        let mark = "@".repeat(Self::DIGITS);
        let predictions: Vec<String> = (0..BATCH)
            .map(|index| {
                let class = classes[index % classes.len()];
                format!(
                    "{{\"image_id\":\"{mark}\",\"timestamp\":\"{}Z\",\
                     \"model_version\":\"3\",\"model_name\":\"surface\",\"inference_time_ms\":{}.25,\
                     \"detections\":[{{\"class\":\"{class}\",\"confidence\":0.{},\"bbox\":[4,8,20,24],\
                     \"uncertain\":false}}],\"defect_detected\":{},\
                     \"confidence_scores\":{{\"{class}\":0.9}},\"processing_notes\":\"\"}}",
                    Self::TIME,
                    index % 7 + 2,
                    50 + index,
                    class != "good"
                )
            })
            .collect();
        let body = format!(
            "{{\"predictions\":[{}],\"batch_size\":{BATCH},\"timestamp\":\"2025-06-01T12:00:00Z\",\
             \"edge_device_id\":\"line-{client}\"}}",
            predictions.join(",")
        );
        let bytes = http::post("/log", &body);
        let find = |what: &str| {
            let windows = bytes.windows(what.len()).enumerate();
            let found = windows.filter(|(_, window)| *window == what.as_bytes());
            found.map(|(place, _)| place).collect()
        };
        let (names, times) = (find(&mark), find(Self::TIME));
        Self {
            bytes,
            names,
            times,
        }
    }

    fn of_new_rows(&mut self, first: u64) -> &[u8] {
        for (row, (name_at, time_at)) in self.names.iter().zip(&self.times).enumerate() {
            let number = first + row as u64;
            let name = format!("{number:0width$}", width = Self::DIGITS);
            self.bytes[*name_at..name_at + Self::DIGITS].copy_from_slice(name.as_bytes());
            let millis = number * Self::BETWEEN_ROWS / 1_000;
            let time = format!(
                "{:02}:{:02}:{:02}.{:03}",
                millis / 3_600_000 % 24,
                millis / 60_000 % 60,
                millis / 1_000 % 60,
                millis % 1_000
            );
            let time_at = time_at + "2025-06-01T".len();
            self.bytes[time_at..time_at + time.len()].copy_from_slice(time.as_bytes());
        }
        &self.bytes
    }
}

/// `/predict` with its log on and off, on two servers that are the same otherwise.
fn predict(places: &Places, report: &mut Report) -> anyhow::Result<()> {
    let samples = load::samples(&places.surface().join("samples"))?;
    let on = places.start_impetus(&[("predlog.mode", "\"on\"")])?;
    let off = places.start_impetus(&[("predlog.mode", "\"off\"")])?;
    let roots = [on.pid(), off.pid()];
    let mut off_first = false;
    let rounds = PLAN.take(report, "predict", &roots, || {
        off_first = !off_first;
        let measure = |server: &Server| {
            let mut load = Load::open(server.port, CLIENTS, samples.clone())?;
            load.run(SETTLE)?;
            let watch = Watch::begin(&roots)?;
            let cpu = server.cpu()?;
            let outcome = load.run(MEASURE)?;
            let used = server.cpu()?.seconds() - cpu.seconds();
            let noise = watch.end(&roots, Cpu::default())?;
            ensure!(outcome.wrong == 0, "{} answers were wrong", outcome.wrong);
            let right = outcome.right as f64;
            anyhow::Ok(((right / outcome.seconds, used / right * 1e6), noise))
        };
        let ((off, first), (on, second)) = if off_first {
            let off = measure(&off)?;
            (off, measure(&on)?)
        } else {
            let on = measure(&on)?;
            (measure(&off)?, on)
        };
        Ok(((off, on), first.or_worse(second)))
    })?;
    let pairs = rounds.taken;
    let mut table = Table::new(
        format!("POST /predict, {CLIENTS} connections: median (min–max)"),
        ["log", "requests/s", "server CPU µs/request"],
    );
    for (name, side) in [("off", 0), ("on", 1)] {
        let of = |pair: &((f64, f64), (f64, f64))| if side == 0 { pair.0 } else { pair.1 };
        let rate = Spread::of(pairs.iter().map(|pair| of(pair).0))?;
        let cpu = Spread::of(pairs.iter().map(|pair| of(pair).1))?;
        let rate = report.figure(format!("predict.{name}.per_second"), rate);
        let cpu = report.figure(format!("predict.{name}.cpu_micros"), cpu);
        table.row([name.to_owned(), rate.text(0), cpu.text(0)]);
    }
    report.table(table);
    let ratio = Spread::of(pairs.iter().map(|(off, on)| on.0 / off.0))?;
    let ratio = report.figure("predict.ratio", ratio);
    report.verdict(Verdict::new(
        "/predict with its log on: at least 0.95 of the throughput without",
        Some(ratio.text(3)),
        rounds.quiet.then_some(ratio.median >= LEAST_PREDICT),
    ));
    Ok(())
}
