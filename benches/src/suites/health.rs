//! Latency of the liveness probe, as the kubelet asks: a new connection each time.
//!
//! Five conditions: nothing else to do; both cores saturated by predictions; both cores saturated
//! by programs that only spin; the CPU quota cut to an eighth of the machine while 32 connections
//! ask for all of it; and both cores saturated while faults strike ([`faults`]). Both ports are
//! asked in turn. The client is outside the quota but has to share saturated cores like everybody
//! else.

mod faults;
mod quota;

use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::http::{self, Connection};
use crate::load::{self, Load, Sample};
use crate::machine::{Noise, Watch};
use crate::process::{Cpu, cores, pause};
use crate::report::{Report, Table, Verdict};
use crate::rounds::Plan;
use crate::server::{Places, Server};
use crate::stats::Spread;
use quota::Quota;

/// Connections of the load.
const CONNECTIONS: usize = 32;
/// Part of the machine that the quota leaves.
const SHARE: u32 = 8;

/// One condition, and what is promised under it.
struct Condition {
    name: &'static str,
    target: &'static str,
    /// Milliseconds that the 99th percentile stays under.
    most: f64,
    probes: usize,
    every: Duration,
    plan: Plan,
}

const IDLE: Condition = Condition {
    name: "idle",
    target: "health, idle: p99 under 1 ms",
    most: 1.0,
    probes: 800,
    every: Duration::from_millis(2),
    plan: Plan {
        wanted: 3,
        within: Duration::from_secs(20),
    },
};
const PREDICTING: Condition = Condition {
    name: "saturated by predictions",
    target: "health, cores saturated by predictions: p99 under 10 ms",
    most: 10.0,
    probes: 500,
    every: Duration::from_millis(4),
    plan: Plan {
        wanted: 3,
        within: Duration::from_secs(25),
    },
};
const SPINNING: Condition = Condition {
    name: "saturated by spinning programs",
    target: "health, cores saturated by other programs: p99 under 10 ms",
    ..PREDICTING
};
const THROTTLED: Condition = Condition {
    name: "quota an eighth, under load",
    target: "health, CPU quota throttled eightfold: p99 under 1 s",
    most: 1000.0,
    probes: 150,
    every: Duration::from_millis(11),
    plan: Plan {
        wanted: 2,
        within: Duration::from_secs(40),
    },
};

/// Milliseconds by port, the health port first.
type Latencies = [Vec<f64>; 2];

pub(super) fn run(places: &Places) -> anyhow::Result<Report> {
    let mut report = Report::new("health");
    let mut table = Table::new(
        "GET /api/health/live, each on a new connection: milliseconds",
        ["condition", "port", "p50", "p99", "max", "probes"],
    );
    let samples = load::samples(&places.surface().join("samples"))?;
    let server = places.start_impetus(&[])?;
    let roots = [server.pid()];
    IDLE.measure(&server, &roots, (&mut report, &mut table))?;
    let busy = Background::start(server.port, &samples)?;
    PREDICTING.measure(&server, &roots, (&mut report, &mut table))?;
    busy.stop()?;
    let spinners = Spinners::start(places)?;
    let with_spinners: Vec<u32> = spinners.pids().chain(roots).collect();
    SPINNING.measure(&server, &with_spinners, (&mut report, &mut table))?;
    drop(spinners);
    throttled(&server, &samples, (&mut report, &mut table))?;
    drop(server);
    faults::measure(places, &mut report, &mut table)?;
    report.table(table);
    Ok(report)
}

fn throttled(
    server: &Server,
    samples: &Arc<Vec<Sample>>,
    out: (&mut Report, &mut Table),
) -> anyhow::Result<()> {
    let quota = match Quota::of(SHARE, server.pid()) {
        Ok(quota) => quota,
        Err(error) => {
            let why = format!("a CPU quota cannot be set here: {error:#}");
            let verdict = Verdict::new(THROTTLED.target, Some(why), None);
            out.0.verdict(verdict);
            return Ok(());
        }
    };
    let busy = Background::start(server.port, samples)?;
    let (report, table) = out;
    let before = quota.throttled();
    THROTTLED.measure(server, &[server.pid()], (&mut *report, table))?;
    let times = quota.throttled().saturating_sub(before);
    report.note(format!("the quota throttled the server {times} times"));
    ensure!(times > 0, "the quota was never reached");
    drop(quota);
    busy.stop()
}

// === impl Condition ===

impl Condition {
    fn measure(
        &self,
        server: &Server,
        roots: &[u32],
        (report, table): (&mut Report, &mut Table),
    ) -> anyhow::Result<()> {
        let rounds = self
            .plan
            .take(report, self.name, roots, || self.round(server, roots))?;
        let mut all = Latencies::default();
        for round in rounds.taken {
            for (all, some) in all.iter_mut().zip(round) {
                all.extend(some);
            }
        }
        for (latencies, port) in all.into_iter().zip(["8081 (health)", "8080 (main)"]) {
            let figure = Spread::of(latencies)?;
            let name = format!("{}.{}_ms", self.name, &port[..4]);
            let Spread {
                median,
                p99,
                max,
                count,
                ..
            } = report.figure(name, figure);
            table.row([
                self.name.to_owned(),
                port.to_owned(),
                format!("{median:.2}"),
                format!("{p99:.2}"),
                format!("{max:.2}"),
                count.to_string(),
            ]);
            // What the kubelet asks is the health port; the mirror is shown and not promised.
            if port.starts_with("8081") {
                report.verdict(Verdict::new(
                    self.target,
                    Some(format!("p99 {p99:.2} ms")),
                    rounds.quiet.then_some(p99 < self.most),
                ));
            }
        }
        Ok(())
    }

    fn round(&self, server: &Server, roots: &[u32]) -> anyhow::Result<(Latencies, Noise)> {
        let request = http::get_once("/api/health/live");
        let watch = Watch::begin(roots)?;
        let mut latencies = Latencies::default();
        for _ in 0..self.probes {
            for (port, latencies) in [server.health_port, server.port].iter().zip(&mut latencies) {
                let began = Instant::now();
                let answer = Connection::open(*port)?.exchange(&request)?;
                latencies.push(began.elapsed().as_secs_f64() * 1e3);
                ensure!(answer.status == 200, "status {}", answer.status);
                pause(self.every / 2);
            }
        }
        Ok((latencies, watch.end(roots, Cpu::default())?))
    }
}

/// Predictions without end, on a thread of their own.
struct Background {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<()>>,
}

// === impl Background ===

impl Background {
    fn start(port: u16, samples: &Arc<Vec<Sample>>) -> anyhow::Result<Self> {
        let mut load = Load::open(port, CONNECTIONS, Arc::clone(samples))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("load".to_owned())
            .spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    load.run(Duration::from_millis(500))?;
                }
                Ok(())
            })?;
        pause(Duration::from_millis(500));
        Ok(Self { stop, thread })
    }

    fn stop(self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(ended) => ended,
            Err(_) => anyhow::bail!("the load panicked"),
        }
    }
}

/// Programs that keep every core busy; dropping them ends them.
struct Spinners(Vec<Child>);

// === impl Spinners ===

impl Spinners {
    fn start(places: &Places) -> anyhow::Result<Self> {
        let mut spinners = Self(Vec::new());
        for _ in 0..cores() {
            let mut spin = std::process::Command::new(&places.bare);
            spin.args(["spin", "--seconds", "120"]).stdin(Stdio::null());
            spinners.0.push(spin.spawn()?);
        }
        pause(Duration::from_millis(200));
        Ok(spinners)
    }

    fn pids(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().map(Child::id)
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
