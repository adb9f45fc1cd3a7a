//! How long the first token takes when a prompt begins as another one did.
//!
//! A round draws a beginning of 512 tokens that nobody has seen and sends requests with it one after
//! the other, each with a few tokens of its own behind. The first has all of it taken in.

use std::time::Duration;

use crate::machine::{Noise, Watch};
use crate::process::Cpu;
use crate::report::{Report, Table, Verdict};
use crate::rounds::Plan;
use crate::server::Places;
use crate::stats::Spread;
use crate::streams::{Prompts, Question, Streams};
use crate::text::{Shape, TextServer, USUAL_SHAPE};

/// Tokens that all requests of a round begin with.
const SHARED: usize = 512;
/// Tokens that only one of them has.
const OWN: usize = 8;
/// Tokens of each answer.
const TOKENS: usize = 8;
/// Requests behind the first one.
const AGAIN: usize = 4;
/// Beginnings in a round.
const BEGINNINGS: usize = 3;
/// The promise.
const LEAST_RATIO: f64 = 10.0;
const PLAN: Plan = Plan {
    wanted: 4,
    within: Duration::from_secs(90),
};

/// Milliseconds to the first token.
#[derive(Debug, Clone, Copy)]
struct Times {
    first: f64,
    second: f64,
    later: f64,
}

pub(super) fn run(places: &Places) -> anyhow::Result<Report> {
    let mut report = Report::new("generate-prefix");
    let shape = Shape::find(places, USUAL_SHAPE)?;
    let text = TextServer::start(places, &shape, &[])?;
    let mut prompts = Prompts::new(shape.vocabulary);
    let roots = [text.server.pid()];
    let rounds = PLAN.take(&mut report, "round", &roots, || round(&text, &mut prompts))?;
    let times: Vec<Times> = rounds.taken.into_iter().flatten().collect();
    let mut table = Table::new(
        format!("First token of prompts with {SHARED} tokens in common and {OWN} of their own: ms"),
        ["request", "median (min–max)"],
    );
    for (request, of) in [
        ("first", (|times| times.first) as fn(&Times) -> f64),
        ("second", |times| times.second),
        ("later", |times| times.later),
    ] {
        let spread = Spread::of(times.iter().map(of))?;
        let spread = report.figure(format!("{request}.first_token_ms"), spread);
        table.row([request.to_owned(), spread.text(1)]);
    }
    report.table(table);
    let ratio = Spread::of(times.iter().map(|times| times.first / times.second))?;
    let ratio = report.figure("first_to_second", ratio);
    report.verdict(Verdict::new(
        "shared prefix of 512 tokens: first token at least ten times sooner from the second request on",
        Some(format!("{} times", ratio.text(1))),
        rounds.quiet.then_some(ratio.median >= LEAST_RATIO),
    ));
    Ok(report)
}

fn round(text: &TextServer, prompts: &mut Prompts) -> anyhow::Result<(Vec<Times>, Noise)> {
    let roots = [text.server.pid()];
    let mut streams = Streams::open(text.server.port, text.model, 1)?;
    let watch = Watch::begin(&roots)?;
    let mut all = Vec::with_capacity(BEGINNINGS);
    for _ in 0..BEGINNINGS {
        let shared = prompts.draw(SHARED);
        let mut ask = || {
            let mut prompt = shared.clone();
            prompt.extend(prompts.draw(OWN));
            let question = Question {
                prompt,
                tokens: TOKENS,
            };
            anyhow::Ok(streams.alone(&question)?.to_first())
        };
        let (first, second) = (ask()?, ask()?);
        let later = (0..AGAIN).map(|_| ask()).collect::<Result<Vec<f64>, _>>()?;
        all.push(Times {
            first,
            second,
            later: Spread::of(later)?.median,
        });
    }
    Ok((all, watch.end(&roots, Cpu::default())?))
}
