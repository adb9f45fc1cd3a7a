//! The liveness probe while every core is saturated and faults strike: workers are killed, workers
//! are stopped, and requests come that never end.
//!
//! Beside the probe there are predictions without end on 32 connections, and a thread that strikes
//! every 150 ms. Probes go to the health port, as everybody is told to ask, in turn on a connection
//! that is kept and on a new one. The settings are the defaults but for two: no fall counts towards
//! a limit or a backoff, so that no worker rests and the faults go on for the whole time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use super::super::hang::killer;
use super::Background;
use crate::http::{self, Connection};
use crate::load;
use crate::machine::{Noise, Watch};
use crate::process::{Cpu, cores, pause};
use crate::report::{Report, Table, Verdict};
use crate::rounds::{Plan, Rounds};
use crate::server::{Places, Server, freeze, kill};
use crate::stats::Spread;

const NAME: &str = "saturated, faults strike";
/// The promise, in milliseconds.
const MOST: f64 = 10.0;
/// How long one round probes.
const LASTS: Duration = Duration::from_secs(10);
/// Pause between two probes.
const PROBE_EVERY: Duration = Duration::from_millis(2);
/// Pause between two strikes.
const STRIKE_EVERY: Duration = Duration::from_millis(150);
/// Most requests that never end that are waited for at a time.
const KILLERS: usize = 16;
const PLAN: Plan = Plan {
    wanted: 2,
    within: Duration::from_secs(45),
};
/// What strikes, over and over.
const STRIKES: [Strike; 8] = [
    Strike::Kill,
    Strike::Killer,
    Strike::Kill,
    Strike::Stop,
    Strike::Kill,
    Strike::Killer,
    Strike::Kill,
    Strike::Killer,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strike {
    /// SIGKILL of a worker of the model under load.
    Kill,
    /// SIGSTOP of one.
    Stop,
    /// A request that never ends, for the other model.
    Killer,
}

/// What one round found.
#[derive(Debug, Default)]
struct Round {
    /// Milliseconds on the connection that is kept, and on new ones.
    latencies: [Vec<f64>; 2],
    /// Share of all cores that the server, its workers and the load took.
    busy: f64,
    /// Strikes of each kind.
    struck: [usize; 3],
    /// Hangs that the server found and ended.
    hangs: u64,
}

/// Who strikes.
struct Striker<'a> {
    server: &'a Server,
    /// Killers that have been sent, each with its answer out.
    out: VecDeque<Connection>,
    serial: u16,
    frozen: Option<u32>,
    struck: [usize; 3],
}

pub(super) fn measure(
    places: &Places,
    report: &mut Report,
    table: &mut Table,
) -> anyhow::Result<()> {
    let samples = places.surface().join("samples");
    let samples = load::samples_for(&samples, "/predict?model=surface")?;
    let models = [places.surface(), places.killers.join("endless")];
    let (places, _folder) = places.with_only(&models)?;
    let settings = [
        ("supervision.restarts", "1000"),
        ("supervision.stable_after", "\"1ms\""),
    ];
    let server = places.start_impetus(&settings)?;
    let mut striker = Striker {
        server: &server,
        out: VecDeque::new(),
        serial: 0,
        frozen: None,
        struck: [0; 3],
    };
    let rounds = PLAN.take(report, NAME, &[server.pid()], || {
        let busy = Background::start(server.port, &samples)?;
        let round = round(&mut striker);
        busy.stop()?;
        server.wait_until_all("calm", |models| models.iter().all(|model| model.ready))?;
        round
    })?;
    show(rounds, report, table)
}

fn show(rounds: Rounds<Round>, report: &mut Report, table: &mut Table) -> anyhow::Result<()> {
    let mut worst: f64 = 0.0;
    for (index, connection) in ["kept", "new"].into_iter().enumerate() {
        let all = rounds
            .taken
            .iter()
            .flat_map(|round| &round.latencies[index]);
        let spread = Spread::of(all.copied())?;
        report.figure(format!("{NAME}.{connection}_ms"), spread);
        worst = worst.max(spread.p99);
        table.row([
            NAME.to_owned(),
            format!("8081, {connection}"),
            format!("{:.2}", spread.median),
            format!("{:.2}", spread.p99),
            format!("{:.2}", spread.max),
            spread.count.to_string(),
        ]);
    }
    for round in &rounds.taken {
        let [kills, stops, killers] = round.struck;
        report.note(format!(
            "{NAME}: {kills} × SIGKILL, {stops} × SIGSTOP, {killers} requests that never end in {} s, \
             {} hangs ended; server, workers and load took {:.0}% of the cores",
            LASTS.as_secs(),
            round.hangs,
            round.busy * 1e2
        ));
    }
    report.verdict(Verdict::new(
        "health, cores saturated and faults strike: p99 under 10 ms",
        Some(format!("p99 {worst:.2} ms")),
        rounds.quiet.then_some(worst < MOST),
    ));
    Ok(())
}

fn round(striker: &mut Striker<'_>) -> anyhow::Result<(Round, Noise)> {
    let server = striker.server;
    let roots = [server.pid()];
    let (watch, began) = (Watch::begin(&roots)?, Instant::now());
    let (used_before, hangs_before) = (used(server)?, hangs(server)?);
    let stop = Arc::new(AtomicBool::new(false));
    let mut round = Round::default();
    striker.struck = [0; 3];
    std::thread::scope(|scope| {
        let striking = scope.spawn(|| striker.strike_until(&stop));
        let probed = probe(server.health_port, &mut round.latencies);
        stop.store(true, Ordering::Relaxed);
        let struck = striking.join();
        probed?;
        match struck {
            Ok(struck) => struck,
            Err(_) => bail!("the striker panicked"),
        }
    })?;
    // Nobody waits for them any more, so their runs are interrupted.
    striker.out.clear();
    round.struck = striker.struck;
    round.hangs = hangs(server)? - hangs_before;
    ensure!(round.hangs > 0, "no fault has struck");
    let all = began.elapsed().as_secs_f64() * cores() as f64;
    round.busy = (used(server)? - used_before) / all;
    Ok((round, watch.end(&roots, Cpu::default())?))
}

/// Returns the CPU seconds of the server, its workers and the load.
fn used(server: &Server) -> anyhow::Result<f64> {
    let own = Cpu::of_process(std::process::id())?;
    Ok(server.cpu()?.plus(own).seconds())
}

/// Returns how many workers have hung so far.
fn hangs(server: &Server) -> anyhow::Result<u64> {
    Ok(server.models()?.iter().map(|model| model.hangs).sum())
}

fn probe(port: u16, latencies: &mut [Vec<f64>; 2]) -> anyhow::Result<()> {
    let (again, once) = (
        http::get("/api/health/live"),
        http::get_once("/api/health/live"),
    );
    let mut kept = Connection::open(port)?;
    let end = Instant::now() + LASTS;
    while Instant::now() < end {
        for (fresh, latencies) in latencies.iter_mut().enumerate() {
            let began = Instant::now();
            let answer = match fresh {
                0 => kept.exchange(&again)?,
                _ => Connection::open(port)?.exchange(&once)?,
            };
            latencies.push(began.elapsed().as_secs_f64() * 1e3);
            ensure!(answer.status == 200, "status {}", answer.status);
            pause(PROBE_EVERY);
        }
    }
    Ok(())
}

// === impl Striker ===

impl Striker<'_> {
    fn strike_until(&mut self, stop: &AtomicBool) -> anyhow::Result<()> {
        for strike in STRIKES.into_iter().cycle() {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            if self.strike(strike)? {
                self.struck[strike as usize] += 1;
            }
            pause(STRIKE_EVERY);
        }
        Ok(())
    }

    /// Strikes, if there is somebody to strike.
    fn strike(&mut self, strike: Strike) -> anyhow::Result<bool> {
        if strike == Strike::Killer {
            let mut connection = Connection::open(self.server.port)?;
            self.serial += 1;
            connection.send(&killer(self.serial))?;
            self.out.push_back(connection);
            if self.out.len() > KILLERS {
                self.out.pop_front();
            }
            return Ok(true);
        }
        let models = self.server.models()?;
        let model = models.iter().find(|model| model.name == "surface");
        let serving = model.map(|model| model.serving()).unwrap_or_default();
        let victim = serving.into_iter().find(|pid| Some(*pid) != self.frozen);
        let Some(victim) = victim else {
            return Ok(false);
        };
        if strike == Strike::Stop {
            self.frozen = Some(victim);
            // One that ends meanwhile has been replaced by another.
            return Ok(freeze(victim).is_ok());
        }
        Ok(kill(victim).is_ok())
    }
}
