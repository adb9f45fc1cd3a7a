//! Tokens a second of a model of 135 million parameters with 1, 8 and 16 streams, against a bare loop
//! and, where it is installed, onnxruntime-genai.
//!
//! Everybody has the same folder and as many threads, and generates 64 tokens to prompts of 64 that
//! nobody has seen before. The loops take a whole batch: prompt after prompt, then its steps. Streams
//! ask again as soon as they have their answer, so the server has the same prompts to take in for as
//! many tokens, only between the steps; what counts is a whole number of answers. Two ratios come of
//! it: of all tokens a second, prompts included, and of the time of a step, which for the server is
//! the median time between two tokens of a stream. The latter says what the machinery costs, the
//! former what is left after scheduling.

use anyhow::ensure;

use crate::machine::{Noise, Watch};
use crate::process::Cpu;
use crate::report::{Report, Table, Verdict};
use crate::rounds::Plan;
use crate::server::Places;
use crate::stats::{Spread, percentile, sorted};
use crate::streams::{Prompts, Streams, gaps, rate};
use crate::text::{Loop, SHAPES, Shape, TextServer};

/// Tokens of each prompt and of each answer.
const LENGTHS: (usize, usize) = (64, 64);
/// How many streams, how many of its answers a stream is watched for, and what of the bare loop's
/// tokens a second is promised.
const STREAMS: [(usize, usize, f64); 3] = [(1, 8, 0.95), (8, 3, 0.85), (16, 2, 0.85)];
/// What of onnxruntime-genai's is promised, by streams; it has no batches of 16.
const OF_GENAI: [(usize, f64); 2] = [(1, 1.0), (8, 1.8)];
const PLAN: Plan = Plan {
    wanted: 4,
    within: std::time::Duration::from_secs(150),
};

/// What one side did in one round.
#[derive(Debug, Clone, Copy)]
struct Side {
    per_second: f64,
    /// Milliseconds.
    step: f64,
    step_p99: f64,
}

/// What all did in one round.
#[derive(Debug, Clone, Copy)]
struct Round {
    server: Side,
    to_first: f64,
    bare: Side,
    genai: Option<Side>,
}

/// Whom there is to compare.
struct Contestants {
    server: TextServer,
    prompts: Prompts,
    bare: Loop,
    genai: Option<Loop>,
}

pub(super) fn run(places: &Places, only: Option<&str>) -> anyhow::Result<Report> {
    let mut report = Report::new("generate");
    let mut table = Table::new(
        format!(
            "{} tokens to prompts of {}: median (min–max)",
            LENGTHS.1, LENGTHS.0
        ),
        [
            "model",
            "streams",
            "who",
            "tokens/s",
            "step ms",
            "p99 ms",
            "first token ms",
        ],
    );
    let mut ratios = Table::new(
        "The server as a multiple of the others",
        ["model", "streams", "of", "tokens/s", "step"],
    );
    for name in SHAPES {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let shape = Shape::find(places, name)?;
        let mut contestants = Contestants::start(places, &shape)?;
        if contestants.genai.is_none() {
            report.note("onnxruntime-genai is not installed: `make peers-text`");
        }
        for (streams, answers, least) in STREAMS {
            let what = format!("{name}, {streams} streams, round");
            let mut turn = 0;
            let roots = contestants.roots();
            let rounds = PLAN.take(&mut report, &what, &roots, || {
                turn += 1;
                contestants.round(turn, streams, answers)
            })?;
            let found = Found {
                name,
                streams,
                rounds: &rounds.taken,
                quiet: rounds.quiet,
            };
            found.tell(&mut report, &mut table)?;
            found.judge(&mut report, &mut ratios, least)?;
        }
    }
    report.table(table);
    report.table(ratios);
    Ok(report)
}

// === impl Contestants ===

impl Contestants {
    fn start(places: &Places, shape: &Shape) -> anyhow::Result<Self> {
        let mut all = Self {
            server: TextServer::start(places, shape, &[])?,
            prompts: Prompts::new(shape.vocabulary),
            bare: Loop::bare(places, shape)?,
            genai: Loop::genai(places, shape)?,
        };
        // Nobody's first run counts.
        all.bare.generate(1, LENGTHS)?;
        if let Some(genai) = &mut all.genai {
            genai.generate(1, LENGTHS)?;
        }
        Ok(all)
    }

    fn roots(&self) -> Vec<u32> {
        let loops = [Some(&self.bare), self.genai.as_ref()];
        let loops = loops.into_iter().flatten().map(Loop::pid);
        [self.server.server.pid()]
            .into_iter()
            .chain(loops)
            .collect()
    }

    /// Has each do the same, beginning with another one each time.
    fn round(
        &mut self,
        turn: usize,
        streams: usize,
        answers: usize,
    ) -> anyhow::Result<(Round, Noise)> {
        let roots = self.roots();
        let (mut server, mut bare, mut genai) = (None, None, None);
        let mut noise = Noise::default();
        for place in 0..3 {
            match (place + turn) % 3 {
                0 => {
                    let (side, heard) = self.serve(&roots, streams, answers)?;
                    server = Some(side);
                    noise = noise.or_worse(heard);
                }
                1 => {
                    let (side, heard) = repeat(&mut self.bare, &roots, streams, answers)?;
                    bare = Some(side);
                    noise = noise.or_worse(heard);
                }
                _ => {
                    let takes_part = OF_GENAI.iter().any(|(batch, _)| *batch == streams);
                    if let Some(other) = self.genai.as_mut().filter(|_| takes_part) {
                        let (side, heard) = repeat(other, &roots, streams, answers)?;
                        genai = Some(side);
                        noise = noise.or_worse(heard);
                    }
                }
            }
        }
        let (Some((server, to_first)), Some(bare)) = (server, bare) else {
            anyhow::bail!("a round without both sides");
        };
        let round = Round {
            server,
            to_first,
            bare,
            genai,
        };
        Ok((round, noise))
    }

    fn serve(
        &mut self,
        roots: &[u32],
        count: usize,
        answers: usize,
    ) -> anyhow::Result<((Side, f64), Noise)> {
        let mut streams = Streams::open(self.server.server.port, self.server.model, count)?;
        let mut watch = None;
        let busy = streams.keep_busy(&mut self.prompts, LENGTHS, answers, &mut || {
            watch = Some(Watch::begin(roots)?);
            Ok(())
        })?;
        let noise = match watch {
            Some(watch) => watch.end(roots, Cpu::default())?,
            None => anyhow::bail!("a time without a beginning"),
        };
        streams.finish()?;
        let tracks = streams.take();
        let between = sorted(gaps(&tracks, busy.window));
        let firsts = tracks.iter().filter(|track| busy.window.has(track.asked));
        let to_first = Spread::of(firsts.map(|track| track.to_first()))?;
        let side = Side {
            per_second: rate(&tracks, busy.window),
            step: percentile(&between, 50.0).unwrap_or_default(),
            step_p99: percentile(&between, 99.0).unwrap_or_default(),
        };
        Ok(((side, to_first.median), noise))
    }
}

fn repeat(
    other: &mut Loop,
    roots: &[u32],
    batch: usize,
    times: usize,
) -> anyhow::Result<(Side, Noise)> {
    let watch = Watch::begin(roots)?;
    let (mut whole, mut steps) = (0.0, Vec::new());
    for _ in 0..times {
        let generated = other.generate(batch, LENGTHS)?;
        whole += generated.whole;
        steps.extend(generated.steps.into_iter().map(|seconds| seconds * 1e3));
    }
    let noise = watch.end(roots, Cpu::default())?;
    ensure!(whole > 0.0, "a batch that took no time");
    let steps = sorted(steps);
    let side = Side {
        per_second: (batch * LENGTHS.1 * times) as f64 / whole,
        step: percentile(&steps, 50.0).unwrap_or_default(),
        step_p99: percentile(&steps, 99.0).unwrap_or_default(),
    };
    Ok((side, noise))
}

/// What was found with one number of streams.
struct Found<'a> {
    name: &'static str,
    streams: usize,
    rounds: &'a [Round],
    quiet: bool,
}

// === impl Found ===

impl Found<'_> {
    fn tell(&self, report: &mut Report, table: &mut Table) -> anyhow::Result<()> {
        self.row(report, table, "impetus", |round| Some(round.server))?;
        self.row(report, table, "bare", |round| Some(round.bare))?;
        self.row(report, table, "genai", |round| round.genai)
    }

    fn row(
        &self,
        report: &mut Report,
        table: &mut Table,
        who: &str,
        of: fn(&Round) -> Option<Side>,
    ) -> anyhow::Result<()> {
        let sides: Vec<Side> = self.rounds.iter().filter_map(of).collect();
        if sides.is_empty() {
            return Ok(());
        }
        let (name, streams) = (self.name, self.streams);
        let mut cell = |figure: &str, digits, of: fn(&Side) -> f64| {
            let spread = Spread::of(sides.iter().map(of))?;
            let spread = report.figure(format!("{name}.{streams}.{who}.{figure}"), spread);
            anyhow::Ok(spread.text(digits))
        };
        let speed = cell("tokens_per_second", 1, |side| side.per_second)?;
        let step = cell("step_ms", 2, |side| side.step)?;
        let tail = cell("step_p99_ms", 2, |side| side.step_p99)?;
        let first = match who {
            "impetus" => {
                let firsts = Spread::of(self.rounds.iter().map(|round| round.to_first))?;
                let figure = format!("{name}.{streams}.{who}.first_token_ms");
                report.figure(figure, firsts).text(1)
            }
            _ => String::new(),
        };
        table.row([
            name.to_owned(),
            streams.to_string(),
            who.to_owned(),
            speed,
            step,
            tail,
            first,
        ]);
        Ok(())
    }

    fn judge(&self, report: &mut Report, table: &mut Table, least: f64) -> anyhow::Result<()> {
        self.compare(report, table, ("bare", least), |round| Some(round.bare))?;
        let of_genai = OF_GENAI
            .iter()
            .find(|(streams, _)| *streams == self.streams);
        match of_genai {
            Some((_, least)) => self.compare(report, table, ("genai", *least), |r| r.genai),
            None => Ok(()),
        }
    }

    fn compare(
        &self,
        report: &mut Report,
        table: &mut Table,
        (who, least): (&str, f64),
        of: fn(&Round) -> Option<Side>,
    ) -> anyhow::Result<()> {
        let pairs = self.rounds.iter();
        let pairs = pairs.filter_map(|round| Some((round.server, of(round)?)));
        let pairs: Vec<(Side, Side)> = pairs.collect();
        if pairs.is_empty() {
            return Ok(());
        }
        let (name, streams) = (self.name, self.streams);
        let mut ratio = |figure: &str, of: fn(&(Side, Side)) -> f64| {
            let ratio = Spread::of(pairs.iter().map(of))?;
            anyhow::Ok(report.figure(format!("{name}.{streams}.of_{who}.{figure}"), ratio))
        };
        let speed = ratio("tokens_per_second", |(ours, theirs)| {
            ours.per_second / theirs.per_second
        })?;
        let step = ratio("steps", |(ours, theirs)| theirs.step / ours.step)?;
        table.row([
            name.to_owned(),
            streams.to_string(),
            who.to_owned(),
            speed.text(3),
            step.text(3),
        ]);
        report.verdict(Verdict::new(
            &format!("{name}, {streams} streams: at least {least} of {who}'s tokens a second"),
            Some(format!("{}; of its steps {}", speed.text(3), step.text(3))),
            self.quiet.then_some(speed.median >= least),
        ));
        Ok(())
    }
}
