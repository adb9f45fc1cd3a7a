//! How much a prompt of 1,024 tokens holds up the streams that run.
//!
//! Seven streams generate; once all of them do, and have done so calmly for a while, the long prompt
//! comes. Chunks of it alternate with steps, so the time between two tokens may be longer by one
//! chunk. How long a chunk takes the bare loop says in the same round, for each chunk of such a prompt:
//! later ones look back on more. The promise holds the p99 of the streams meanwhile against their p99
//! before and the longest chunk.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::machine::{Noise, Watch};
use crate::process::Cpu;
use crate::report::{Report, Table, Verdict};
use crate::rounds::Plan;
use crate::server::Places;
use crate::stats::{Spread, percentile, sorted};
use crate::streams::{Prompts, Question, Streams, Window, gaps};
use crate::text::{Loop, Shape, TextServer, USUAL_SHAPE};

const STREAMS: usize = 7;
/// Tokens of the prompts of those that run.
const SHORT: usize = 16;
/// Tokens of their answers: more than are generated before the long prompt has been taken in.
const TOKENS: usize = 192;
/// Events of each stream before the long prompt comes.
const CALM: usize = 96;
const LONG: usize = 1024;
/// The server's own choice for `generation.prefill_chunk`.
const CHUNK: usize = 128;
const PLAN: Plan = Plan {
    wanted: 4,
    within: Duration::from_secs(120),
};

/// Milliseconds.
#[derive(Debug, Clone, Copy)]
struct Times {
    calm_p50: f64,
    calm_p99: f64,
    held_up_p50: f64,
    held_up_p99: f64,
    /// The longest of the bare loop's.
    chunk: f64,
    /// Of the long prompt.
    to_first: f64,
}

pub(super) fn run(places: &Places) -> anyhow::Result<Report> {
    let mut report = Report::new("generate-prefill");
    let shape = Shape::find(places, USUAL_SHAPE)?;
    let text = TextServer::start(places, &shape, &[])?;
    let mut bare = Loop::bare(places, &shape)?;
    bare.take_in(LONG, CHUNK)?;
    let mut prompts = Prompts::new(shape.vocabulary);
    let roots = [text.server.pid(), bare.pid()];
    let rounds = PLAN.take(&mut report, "round", &roots, || {
        let watch = Watch::begin(&roots)?;
        let chunks = bare.take_in(LONG, CHUNK)?.chunks;
        let longest = chunks.into_iter().fold(0.0, f64::max) * 1e3;
        let times = round(&text, &mut prompts, longest)?;
        let noise: Noise = watch.end(&roots, Cpu::default())?;
        Ok((times, noise))
    })?;
    let mut table = Table::new(
        format!("{STREAMS} streams, and a prompt of {LONG} tokens: ms, median (min–max)"),
        ["what", "ms"],
    );
    let mut figure = |what: &str, name: &str, of: fn(&Times) -> f64| {
        let spread = Spread::of(rounds.taken.iter().map(of))?;
        let spread = report.figure(name, spread);
        table.row([what.to_owned(), spread.text(1)]);
        anyhow::Ok(spread)
    };
    figure("between two tokens, before: p50", "calm_p50_ms", |t| {
        t.calm_p50
    })?;
    figure("p99", "calm_p99_ms", |t| t.calm_p99)?;
    figure("meanwhile: p50", "held_up_p50_ms", |t| t.held_up_p50)?;
    figure("p99", "held_up_p99_ms", |t| t.held_up_p99)?;
    figure("the longest chunk of the bare loop", "chunk_ms", |t| {
        t.chunk
    })?;
    figure("first token of the long prompt", "first_token_ms", |t| {
        t.to_first
    })?;
    let more = |times: &Times| (times.held_up_p99 - times.calm_p99) / times.chunk;
    let more = Spread::of(rounds.taken.iter().map(more))?;
    let more = report.figure("more_in_chunks", more);
    report.table(table);
    report.verdict(Verdict::new(
        "p99 between tokens while 1,024 tokens are taken in: at most one chunk more",
        Some(format!("{} chunks", more.text(2))),
        rounds.quiet.then_some(more.median <= 1.0),
    ));
    Ok(report)
}

fn round(text: &TextServer, prompts: &mut Prompts, chunk: f64) -> anyhow::Result<Times> {
    let mut streams = Streams::open(text.server.port, text.model, STREAMS + 1)?;
    for lane in 1..=STREAMS {
        let prompt = prompts.draw(SHORT);
        let tokens = TOKENS;
        streams.ask(lane, &Question { prompt, tokens })?;
    }
    // All of them, and none has to be taken in any more.
    until(&mut streams, |streams| all_have(streams, 2))?;
    let calm = Instant::now();
    until(&mut streams, |streams| all_have(streams, CALM))?;
    let prompt = prompts.draw(LONG);
    let asked = Instant::now();
    streams.ask(0, &Question { prompt, tokens: 2 })?;
    until(&mut streams, |streams| {
        streams.events(0) > 0 || streams.is_idle(0)
    })?;
    ensure!(
        (1..=STREAMS).all(|lane| !streams.is_idle(lane)),
        "a stream was over before the long prompt was taken in"
    );
    streams.finish()?;
    let tracks = streams.take();
    let long = tracks.iter().find(|track| track.lane == 0);
    let long = long.context("no answer to the long prompt")?.clone();
    let others: Vec<_> = tracks.into_iter().filter(|track| track.lane > 0).collect();
    let at = |window, percent| {
        let gaps = sorted(gaps(&others, window));
        percentile(&gaps, percent).context("no token came")
    };
    let before = Window {
        begins: calm,
        ends: asked,
    };
    let meanwhile = Window {
        begins: asked,
        ends: long.events.first().copied().context("no first token")?,
    };
    Ok(Times {
        calm_p50: at(before, 50.0)?,
        calm_p99: at(before, 99.0)?,
        held_up_p50: at(meanwhile, 50.0)?,
        held_up_p99: at(meanwhile, 99.0)?,
        chunk,
        to_first: long.to_first(),
    })
}

fn all_have(streams: &Streams, events: usize) -> bool {
    (1..=STREAMS).all(|lane| streams.events(lane) >= events)
}

fn until(streams: &mut Streams, holds: impl Fn(&Streams) -> bool) -> anyhow::Result<()> {
    while !holds(streams) {
        streams.turn()?;
    }
    Ok(())
}
