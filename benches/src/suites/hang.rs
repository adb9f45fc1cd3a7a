//! A worker hangs with a request in it; the next one gives the answer.
//!
//! Twice. In the first the worker has been stopped with SIGSTOP when the request comes: the request
//! is innocent, so the next worker answers it, and what that takes beyond the execution budget and
//! the new load is what finding out, ending and sending again cost. In the second the request itself
//! never ends (a killer model), and is refused after it has taken a second worker alone: two
//! budgets, one load between them.
//!
//! A hang is the worker's own doing, so a second one soon after waits for its backoff, which is a
//! policy and not a cost: the settings under which every hang counts as the first one are used.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::http::{self, Connection};
use crate::load;
use crate::machine::{Noise, Watch};
use crate::process::{Cpu, pause};
use crate::report::{Report, Table, Verdict};
use crate::rounds::{Plan, Rounds};
use crate::server::{ModelStatus, Places, Server, freeze};
use crate::stats::Spread;

/// The execution budget, in milliseconds.
const BUDGET: f64 = 500.0;
const SETTINGS: [(&str, &str); 4] = [
    ("models.workers", "1"),
    ("models.run_timeout", "\"500ms\""),
    ("supervision.restarts", "1000"),
    ("supervision.stable_after", "\"1ms\""),
];
/// The promise: an answer so long after the budget and the new load, in milliseconds.
const MOST_ABOVE: f64 = 100.0;
/// Hangs in one round.
const HANGS: usize = 5;
const PLAN: Plan = Plan {
    wanted: 4,
    within: Duration::from_secs(45),
};

/// One hang: milliseconds from the request to its answer, and those of the new worker's load.
#[derive(Debug, Clone, Copy)]
struct Hang {
    answered: f64,
    load: f64,
}

/// One way to hang.
struct Case {
    name: &'static str,
    /// Budgets that pass before the answer.
    budgets: f64,
}

const STOPPED: Case = Case {
    name: "stopped with SIGSTOP, answered by the next one",
    budgets: 1.0,
};
const ENDLESS: Case = Case {
    name: "a run that never ends, refused after two",
    budgets: 2.0,
};

pub(super) fn run(places: &Places) -> anyhow::Result<Report> {
    let mut report = Report::new("hang");
    let mut table = Table::new(
        format!("A request that meets a hang, budget {BUDGET:.0} ms: milliseconds"),
        [
            "worker",
            "median (min–max)",
            "load of the new one",
            "above budget and load",
            "hangs",
        ],
    );
    let server = places.start_impetus(&SETTINGS)?;
    let samples = load::samples(&places.surface().join("samples"))?;
    let request = &samples.first().context("no sample")?.request;
    let rounds = PLAN.take(&mut report, STOPPED.name, &[server.pid()], || {
        round(&server, || stopped(&server, request))
    })?;
    let quiet = rounds.quiet;
    let above = STOPPED.show(rounds, (&mut report, &mut table))?;
    report.verdict(Verdict::new(
        "worker hangs → answer from the next one: budget + load + 100 ms",
        Some(format!("budget + load + {} ms", above.text(1))),
        quiet.then_some(above.max <= MOST_ABOVE),
    ));
    drop(server);
    let (places, _folder) = places.with_only(&[places.killers.join("endless")])?;
    let server = places.start_impetus(&SETTINGS)?;
    let mut serial = 0;
    let rounds = PLAN.take(&mut report, ENDLESS.name, &[server.pid()], || {
        round(&server, || {
            serial += 1;
            endless(&server, &killer(serial))
        })
    })?;
    ENDLESS.show(rounds, (&mut report, &mut table))?;
    report.table(table);
    Ok(report)
}

/// Returns a request that never ends; each number makes one that has not been refused before.
pub(super) fn killer(serial: u16) -> Vec<u8> {
    let mut numbers = vec!["0.1".to_owned(); 3 * 32 * 32];
    // See tests/models/README.md: the first number is what triggers the danger, the last one is too
    // little to matter.
    numbers[0] = "2".to_owned();
    numbers[3 * 32 * 32 - 1] = format!("{:.5}", f64::from(serial) * 1e-5);
    let body = format!("{{\"data\":[{}]}}", numbers.join(","));
    http::post("/predict?model=endless", &body)
}

fn round(
    server: &Server,
    mut hang: impl FnMut() -> anyhow::Result<Hang>,
) -> anyhow::Result<(Vec<Hang>, Noise)> {
    let watch = Watch::begin(&[server.pid()])?;
    let hangs = (0..HANGS).map(|_| hang()).collect::<anyhow::Result<_>>()?;
    let noise = watch.end(&[server.pid()], Cpu::default())?;
    Ok((hangs, noise))
}

fn stopped(server: &Server, request: &[u8]) -> anyhow::Result<Hang> {
    let before = server.wait_until("a worker", ModelStatus::is_served)?;
    let mut connection = Connection::open(server.port)?;
    let calm = connection.exchange(request)?;
    ensure!(calm.status == 200, "status {} before the stop", calm.status);
    let victim = before.serving().first().copied();
    let victim = victim.context("a model without a process")?;
    freeze(victim)?;
    let began = Instant::now();
    let answer = connection.exchange(request)?;
    let answered = began.elapsed().as_secs_f64() * 1e3;
    ensure!(answer.status == 200, "status {} at last", answer.status);
    Ok(Hang {
        answered,
        load: load_after(server, victim)?,
    })
}

fn endless(server: &Server, killer: &[u8]) -> anyhow::Result<Hang> {
    let before = server.wait_until("a worker", ModelStatus::is_served)?;
    // For a calm start.
    pause(Duration::from_millis(50));
    let mut connection = Connection::open(server.port)?;
    let victim = before.serving().first().copied();
    let victim = victim.context("a model without a process")?;
    let began = Instant::now();
    let answer = connection.exchange(killer)?;
    let answered = began.elapsed().as_secs_f64() * 1e3;
    ensure!(answer.status == 422, "status {} at last", answer.status);
    Ok(Hang {
        answered,
        load: load_after(server, victim)?,
    })
}

fn load_after(server: &Server, victim: u32) -> anyhow::Result<f64> {
    let after = server.wait_until("a new worker", |model| {
        model.is_served() && !model.serving().contains(&victim)
    })?;
    Ok(after.last_load_ms)
}

// === impl Case ===

impl Case {
    /// Shows what was found; returns what lay above budgets and load.
    fn show(
        &self,
        rounds: Rounds<Vec<Hang>>,
        (report, table): (&mut Report, &mut Table),
    ) -> anyhow::Result<Spread> {
        let hangs: Vec<Hang> = rounds.taken.into_iter().flatten().collect();
        let above = |hang: &Hang| hang.answered - self.budgets * BUDGET - hang.load;
        let answered = Spread::of(hangs.iter().map(|hang| hang.answered))?;
        let load = Spread::of(hangs.iter().map(|hang| hang.load))?;
        let above = Spread::of(hangs.iter().map(above))?;
        let budgets = self.budgets;
        report.figure(format!("{budgets}_budgets.answered_ms"), answered);
        report.figure(format!("{budgets}_budgets.load_ms"), load);
        report.figure(format!("{budgets}_budgets.above_ms"), above);
        table.row([
            self.name.to_owned(),
            answered.text(1),
            load.text(1),
            above.text(1),
            above.count.to_string(),
        ]);
        Ok(above)
    }
}
