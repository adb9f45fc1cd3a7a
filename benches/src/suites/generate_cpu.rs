//! What of the CPU time of 16 streams the server process takes: HTTP, text, supervision and health,
//! everything that is not the worker with its model.

use std::time::Duration;

use anyhow::Context;

use crate::machine::{Noise, Watch};
use crate::process::Cpu;
use crate::report::{Report, Table, Verdict};
use crate::rounds::Plan;
use crate::server::Places;
use crate::stats::Spread;
use crate::streams::{Prompts, Streams, rate};
use crate::text::{Shape, TextServer, USUAL_SHAPE};

const STREAMS: usize = 16;
const LENGTHS: (usize, usize) = (64, 64);
/// How many of its answers a stream is watched for.
const ANSWERS: usize = 3;
/// The promise.
const MOST_SHARE: f64 = 0.05;
const PLAN: Plan = Plan {
    wanted: 4,
    within: Duration::from_secs(120),
};

/// What was used in one round.
#[derive(Debug, Clone, Copy)]
struct Used {
    /// Of the server's and the workers' time together.
    share: f64,
    /// Microseconds for each token.
    server: f64,
    worker: f64,
    client: f64,
}

pub(super) fn run(places: &Places) -> anyhow::Result<Report> {
    let mut report = Report::new("generate-cpu");
    let shape = Shape::find(places, USUAL_SHAPE)?;
    let text = TextServer::start(places, &shape, &[])?;
    let mut prompts = Prompts::new(shape.vocabulary);
    let roots = [text.server.pid()];
    let what = format!("{STREAMS} streams, round");
    let rounds = PLAN.take(&mut report, &what, &roots, || one(&text, &mut prompts))?;
    let mut table = Table::new(
        format!("CPU time with {STREAMS} streams, µs for each token: median (min–max)"),
        ["who", "µs"],
    );
    for (who, of) in [
        ("server", (|used| used.server) as fn(&Used) -> f64),
        ("worker", |used| used.worker),
        ("client", |used| used.client),
    ] {
        let spread = Spread::of(rounds.taken.iter().map(of))?;
        let spread = report.figure(format!("{who}.micros_per_token"), spread);
        table.row([who.to_owned(), spread.text(1)]);
    }
    report.table(table);
    let share = Spread::of(rounds.taken.iter().map(|used| used.share))?;
    let share = report.figure("server.share", share);
    report.verdict(Verdict::new(
        "server process at 16 streams: under 5% of its and the worker's CPU time",
        Some(format!("{} of one", share.text(4))),
        rounds.quiet.then_some(share.median < MOST_SHARE),
    ));
    Ok(report)
}

fn one(text: &TextServer, prompts: &mut Prompts) -> anyhow::Result<(Used, Noise)> {
    let (server, roots) = (&text.server, [text.server.pid()]);
    let read = || anyhow::Ok((Cpu::of_process(server.pid())?, server.cpu()?));
    let mut streams = Streams::open(server.port, text.model, STREAMS)?;
    let mut begun = None;
    let busy = streams.keep_busy(prompts, LENGTHS, ANSWERS, &mut || {
        begun = Some((Watch::begin(&roots)?, read()?));
        Ok(())
    })?;
    let (watch, (own, all)) = begun.context("a time without a beginning")?;
    let (own_then, all_then) = read()?;
    let noise = watch.end(&roots, Cpu::default())?;
    streams.finish()?;
    let tokens = rate(&streams.take(), busy.window) * busy.window.seconds();
    let own = own_then.minus(own).seconds();
    let all = all_then.minus(all).seconds();
    let each = |seconds: f64| seconds / tokens * 1e6;
    let used = Used {
        share: own / all,
        server: each(own),
        worker: each(all - own),
        client: each(busy.client),
    };
    Ok((used, noise))
}
