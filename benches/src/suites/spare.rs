//! A worker is killed from outside while another one, loaded and warm, stands by; the next request
//! is sent at once, and the spare answers it.
//!
//! Before each death one worker serves and one stands by: what is measured is the taking over and
//! never a load.

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

/// The promise, in milliseconds.
const MOST: f64 = 20.0;
/// Deaths in one round.
const DEATHS: usize = 8;
const PLAN: Plan = Plan {
    wanted: 4,
    within: Duration::from_secs(40),
};

/// One death, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Death {
    /// To the next answer.
    answered: f64,
    /// What the same request had taken before.
    calm: f64,
    /// Until there was a spare again.
    whole: f64,
}

pub(super) fn run(places: &Places) -> anyhow::Result<Report> {
    let mut report = Report::new("spare");
    let settings = [("models.workers", "1"), ("models.spares", "1")];
    let server = places.start_impetus(&settings)?;
    let samples = load::samples(&places.surface().join("samples"))?;
    let request = &samples.first().context("no sample")?.request;
    let what = format!("{DEATHS} deaths");
    let rounds = PLAN.take(&mut report, &what, &[server.pid()], || {
        deaths(&server, request)
    })?;
    let quiet = rounds.quiet;
    let deaths: Vec<Death> = rounds.taken.into_iter().flatten().collect();
    let mut figure = |name: &str, of: fn(&Death) -> f64| {
        anyhow::Ok(report.figure(name, Spread::of(deaths.iter().map(of))?))
    };
    let answered = figure("answered_ms", |death| death.answered)?;
    let calm = figure("calm_ms", |death| death.calm)?;
    let whole = figure("spare_again_ms", |death| death.whole)?;
    let mut table = Table::new(
        "SIGKILL of the worker that serves, one stands by: milliseconds",
        ["until", "median (min–max)", "p99", "deaths"],
    );
    for (until, spread) in [
        ("the next 200", answered),
        ("for comparison: a 200 before the death", calm),
        ("there is a spare again", whole),
    ] {
        table.row([
            until.to_owned(),
            spread.text(1),
            format!("{:.1}", spread.p99),
            spread.count.to_string(),
        ]);
    }
    report.table(table);
    report.verdict(Verdict::new(
        "worker killed, with a spare → next answer: under 20 ms",
        Some(format!("{} ms", answered.text(1))),
        quiet.then_some(answered.max < MOST),
    ));
    Ok(report)
}

fn deaths(server: &Server, request: &[u8]) -> anyhow::Result<(Vec<Death>, Noise)> {
    let watch = Watch::begin(&[server.pid()])?;
    let mut connection = Connection::open(server.port)?;
    let mut exchange = |when: &str| {
        let began = Instant::now();
        let answer = connection.exchange(request)?;
        ensure!(answer.status == 200, "status {} {when}", answer.status);
        Ok(began.elapsed().as_secs_f64() * 1e3)
    };
    let mut deaths = Vec::with_capacity(DEATHS);
    for _ in 0..DEATHS {
        let before = server.wait_until("a worker and a spare", is_whole)?;
        // For a calm start.
        pause(Duration::from_millis(50));
        exchange("before the kill")?;
        let calm = exchange("before the kill")?;
        let victim = before.serving().first().copied();
        let victim = victim.context("nobody serves")?;
        let began = Instant::now();
        kill(victim)?;
        let answered = exchange("after the kill")?;
        let after = server.wait_until("a spare again", |model| {
            is_whole(model) && !model.standing_by().contains(&victim)
        })?;
        let whole = began.elapsed().as_secs_f64() * 1e3;
        ensure!(
            after.serving() == before.standing_by(),
            "it was not the spare that took over"
        );
        deaths.push(Death {
            answered,
            calm,
            whole,
        });
    }
    let noise = watch.end(&[server.pid()], Cpu::default())?;
    Ok((deaths, noise))
}

fn is_whole(model: &ModelStatus) -> bool {
    model.ready && model.serving().len() == 1 && model.standing_by().len() == 1
}
