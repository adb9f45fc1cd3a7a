//! Generated text: tokens in and out, how long people wait for them, and how full the slots are.
//!
//! Tokens and times are counted by the name of the model, whichever version it is; what waits and runs
//! is the sum over its versions.

use std::sync::Arc;

use impetus_actors::histogram::HistogramSnapshot;
use impetus_actors::serving::{FinishReason, GenerationSnapshot, ModelEntry};

use super::descriptor::Kind::{Counter, Gauge, Histogram};
use super::descriptor::{Descriptor, Label, Present, subject};
use super::families::{Families, Family};
use crate::http::AppState;

const BY_MODEL: &[Label] = &[Label::model()];

/// Which models have none of these.
const OTHER_MODELS: &str = "of models that generate no text";

const fn described(
    name: &'static str,
    kind: super::descriptor::Kind,
    unit: &'static str,
) -> Descriptor {
    Descriptor::new(name, kind, unit)
        .labels(BY_MODEL)
        .of(Present::Inference)
        .except(OTHER_MODELS)
}

subject! { "Generated text";
    PROMPT = described("impetus_generation_prompt_tokens_total", Counter, "tokens")
        .help("Tokens of prompts that were taken in, those included whose keys and values were there already.");
    REUSED = described("impetus_generation_prefix_hit_tokens_total", Counter, "tokens")
        .help("Tokens of prompts whose keys and values were there already, from a request that began alike.");
    TOKENS = described("impetus_generation_tokens_total", Counter, "tokens")
        .help("Tokens that were generated.");
    FIRST = described("impetus_generation_time_to_first_token_seconds", Histogram, "seconds")
        .help("Time from the admission of a sequence to its first token.");
    BETWEEN = described("impetus_generation_inter_token_latency_seconds", Histogram, "seconds")
        .help("Time from each token of a sequence to the next one, pauses included in which it changed to another worker.");
    QUEUE = described("impetus_generation_queue_duration_seconds", Histogram, "seconds")
        .help("Time from the admission of a sequence until it was given a slot.");
    WHOLE = described("impetus_generation_duration_seconds", Histogram, "seconds")
        .help("Time from the admission of a sequence to its end, whatever that was.");
    WAITING = described("impetus_generation_sequences_waiting", Gauge, "sequences")
        .help("Sequences that wait for a slot.");
    RUNNING = described("impetus_generation_sequences_running", Gauge, "sequences")
        .help("Sequences that have a slot.");
    USAGE = described("impetus_generation_kv_cache_usage_ratio", Gauge, "0 to 1")
        .help("Share of the slots' room for keys and values that running sequences have filled.");
    FINISHED = Descriptor::new("impetus_generation_finished_total", Counter, "sequences")
        .help(
            "Sequences that have ended: at a stop token, at their length, cancelled by a caller that \
             had gone or had found its stop string, or failed.",
        )
        .labels(&[
            Label::model(),
            Label::words("reason", || FinishReason::ALL.map(FinishReason::as_str).to_vec()),
        ])
        .of(Present::Inference)
        .except(OTHER_MODELS);
    RESUMED = described("impetus_generation_resumed_total", Counter, "sequences")
        .help("Times that a sequence went on with another worker because its own was lost.");
    STEPS = described("impetus_generation_steps_total", Counter, "steps")
        .help("Steps of workers: a token of each running sequence, or a chunk of one prompt.");
    SECONDS = Descriptor::new("impetus_generation_step_seconds_total", Counter, "seconds")
        .help("Time that workers took for their steps: in the runtime, and for everything else in them.")
        .labels(&[Label::model(), Label::words("part", || vec!["runtime", "own"])])
        .of(Present::Inference)
        .except(OTHER_MODELS);
}

/// Reads one of the counts.
type Count = fn(&GenerationSnapshot) -> u64;

/// The figures of one model.
pub(super) type Figures<'a> = (&'a str, GenerationSnapshot);

pub(super) fn expose(state: &AppState, out: &mut Families) {
    let entries = state.catalog.entries();
    let models: Vec<Figures<'_>> = entries
        .iter()
        .filter_map(|(name, entry)| Some((name.as_str(), entry.generation()?)))
        .collect();
    let counters: [(_, Count); 5] = [
        (&PROMPT, |figures| figures.prompt_tokens),
        (&REUSED, |figures| figures.reused_tokens),
        (&TOKENS, |figures| figures.generated_tokens),
        (&RESUMED, |figures| figures.resumed),
        (&STEPS, |figures| figures.steps),
    ];
    for (of, read) in counters {
        out.add(numbers(of, &models, |figures| read(figures) as f64));
    }
    out.add(numbers(&WAITING, &models, |figures| figures.waiting as f64));
    out.add(numbers(&RUNNING, &models, |figures| figures.running as f64));
    out.add(numbers(&USAGE, &models, usage));
    for (of, read) in [&FIRST, &BETWEEN, &QUEUE, &WHOLE].into_iter().zip(TIMES) {
        out.add(times(of, &models, read));
    }
    let (mut finished, mut seconds) = (Family::new(&FINISHED), Family::new(&SECONDS));
    for (name, figures) in &models {
        for (reason, count) in FinishReason::ALL.into_iter().zip(figures.finished) {
            finished.count(&[name, reason.as_str()], count);
        }
        seconds.add(&[name, "runtime"], figures.run_micros as f64 / 1e6);
        seconds.add(&[name, "own"], figures.own_micros as f64 / 1e6);
    }
    out.add(finished);
    out.add(seconds);
    if state.config.metrics.vllm_aliases {
        super::vllm::expose(&models, out);
    }
}

/// The times that are told, in the order of the metrics.
pub(super) const TIMES: [fn(&GenerationSnapshot) -> &HistogramSnapshot; 4] = [
    |figures| &figures.first_token,
    |figures| &figures.between_tokens,
    |figures| &figures.queued,
    |figures| &figures.whole,
];

pub(super) fn numbers(
    of: &'static Descriptor,
    models: &[Figures<'_>],
    read: impl Fn(&GenerationSnapshot) -> f64,
) -> Family {
    let mut family = Family::new(of);
    for (name, figures) in models {
        family.add(&[name], read(figures));
    }
    family
}

pub(super) fn times(
    of: &'static Descriptor,
    models: &[Figures<'_>],
    read: fn(&GenerationSnapshot) -> &HistogramSnapshot,
) -> Family {
    let mut family = Family::new(of);
    for (name, figures) in models {
        family.histogram(&[name], read(figures));
    }
    family
}

pub(super) fn usage(figures: &GenerationSnapshot) -> f64 {
    match figures.cache_tokens {
        0 => 0.0,
        room => figures.cached_tokens as f64 / room as f64,
    }
}

/// Returns how many tokens all models have generated.
pub(super) fn all_tokens<'a>(entries: impl IntoIterator<Item = &'a Arc<ModelEntry>>) -> u64 {
    let generated = entries.into_iter().filter_map(|entry| entry.generation());
    generated.map(|figures| figures.generated_tokens).sum()
}
