//! A worker is killed from outside, as the kernel's memory killer does; the next request is sent at
//! once. With one worker it has to wait for a new process and a new load of the model; with two
//! the other one answers.
//!
//! Nothing is set for this beside the number of workers: a death that somebody else has brought
//! about waits for no backoff, however often it comes.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::http::Connection;
use crate::load;
use crate::machine::{Noise, Watch};
use crate::process::{Cpu, pause};
use crate::report::{Report, Table, Verdict};
use crate::rounds::Plan;
use crate::server::{ModelStatus, Places, Server, kill};
use crate::stats::Spread;

/// The promise: an answer so long after the time that the new load itself took.
const MOST_ABOVE_LOAD: f64 = 50.0;
/// Deaths in one round.
const DEATHS: usize = 8;
const PLAN: Plan = Plan {
    wanted: 4,
    within: Duration::from_secs(35),
};

/// One death: milliseconds to the next answer, and those of the load of the one who gave it.
#[derive(Debug, Clone, Copy)]
struct Death {
    answered: f64,
    load: f64,
}

pub(super) fn run(places: &Places) -> anyhow::Result<Report> {
    let mut report = Report::new("worker");
    let mut table = Table::new(
        "SIGKILL of a worker to the next 200: milliseconds",
        [
            "workers",
            "median (min–max)",
            "p99",
            "load of the new one",
            "above the load",
            "deaths",
        ],
    );
    for workers in ["1", "2"] {
        let server = places.start_impetus(&[("models.workers", workers)])?;
        let samples = load::samples(&places.surface().join("samples"))?;
        let request = &samples.first().context("no sample")?.request;
        let what = format!("{workers} worker(s), {DEATHS} deaths");
        let rounds = PLAN.take(&mut report, &what, &[server.pid()], || {
            deaths(&server, request)
        })?;
        let quiet = rounds.quiet;
        let deaths: Vec<Death> = rounds.taken.into_iter().flatten().collect();
        let mut figure = |name: &str, of: fn(&Death) -> f64| {
            let spread = Spread::of(deaths.iter().map(of))?;
            anyhow::Ok(report.figure(format!("{workers}_workers.{name}_ms"), spread))
        };
        let answered = figure("answered", |death| death.answered)?;
        let load = figure("load", |death| death.load)?;
        let above = figure("above_load", |death| death.answered - death.load)?;
        table.row([
            workers.to_owned(),
            answered.text(1),
            format!("{:.1}", answered.p99),
            load.text(1),
            above.text(1),
            answered.count.to_string(),
        ]);
        if workers == "1" {
            let target = "worker killed → next answer from the new one: load + 50 ms";
            let found = format!("load + {} ms", above.text(1));
            let met = quiet.then_some(above.max <= MOST_ABOVE_LOAD);
            report.verdict(Verdict::new(target, Some(found), met));
        }
    }
    report.table(table);
    Ok(report)
}

fn deaths(server: &Server, request: &[u8]) -> anyhow::Result<(Vec<Death>, Noise)> {
    let watch = Watch::begin(&[server.pid()])?;
    let mut connection = Connection::open(server.port)?;
    let mut deaths = Vec::with_capacity(DEATHS);
    for _ in 0..DEATHS {
        let before = server.wait_until("all workers", ModelStatus::is_served)?;
        // For a calm start.
        pause(Duration::from_millis(50));
        let calm = connection.exchange(request)?;
        ensure!(calm.status == 200, "status {} before the kill", calm.status);
        let victim = before.serving().first().copied();
        let victim = victim.context("a model without a process")?;
        kill(victim)?;
        let began = Instant::now();
        let answer = connection.exchange(request)?;
        let answered = began.elapsed().as_secs_f64() * 1e3;
        ensure!(
            answer.status == 200,
            "status {} after the kill",
            answer.status
        );
        let after = server.wait_until("a new worker", |model| {
            model.is_served() && !model.serving().contains(&victim)
        })?;
        deaths.push(Death {
            answered,
            load: after.last_load_ms,
        });
    }
    let noise = watch.end(&[server.pid()], Cpu::default())?;
    Ok((deaths, noise))
}
