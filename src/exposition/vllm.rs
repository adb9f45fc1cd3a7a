//! vLLM's names for figures of generated text, where `metrics.vllm_aliases` asks for them.
//!
//! Dashboards and autoscalers that were made for vLLM read them; what they say is what
//! [`generation`](super::generation) says.

use impetus_actors::serving::{FinishReason, GenerationSnapshot};

use super::descriptor::Kind::{Counter, Gauge, Histogram};
use super::descriptor::{Descriptor, Kind, Label, Present, Values, subject};
use super::families::{Families, Family};
use super::generation::{Figures, TIMES, numbers, times, usage};

const NAME: Label = Label {
    name: "model_name",
    values: Values::Model,
};

const fn alias(name: &'static str, kind: Kind, unit: &'static str) -> Descriptor {
    Descriptor::new(name, kind, unit)
        .labels(&[NAME])
        .of(Present::Inference)
        .except("unless `metrics.vllm_aliases` is set, and of models that generate no text")
}

subject! { "Generated text, as vLLM names it";
    RUNNING = alias("vllm:num_requests_running", Gauge, "sequences")
        .help("`impetus_generation_sequences_running`.");
    WAITING = alias("vllm:num_requests_waiting", Gauge, "sequences")
        .help("`impetus_generation_sequences_waiting`.");
    USAGE = alias("vllm:kv_cache_usage_perc", Gauge, "0 to 1")
        .help("`impetus_generation_kv_cache_usage_ratio`.");
    QUERIES = alias("vllm:prefix_cache_queries_total", Counter, "tokens")
        .help("`impetus_generation_prompt_tokens_total`: every prompt is looked up.");
    HITS = alias("vllm:prefix_cache_hits_total", Counter, "tokens")
        .help("`impetus_generation_prefix_hit_tokens_total`.");
    PROMPT = alias("vllm:prompt_tokens_total", Counter, "tokens")
        .help("`impetus_generation_prompt_tokens_total`.");
    TOKENS = alias("vllm:generation_tokens_total", Counter, "tokens")
        .help("`impetus_generation_tokens_total`.");
    SUCCESS = Descriptor::new("vllm:request_success_total", Counter, "sequences")
        .help("`impetus_generation_finished_total`, those not counted that were cancelled or failed.")
        .labels(&[
            Label::words("finished_reason", || {
                vec![FinishReason::Stop.as_str(), FinishReason::Length.as_str()]
            }),
            NAME,
        ])
        .of(Present::Inference)
        .except("unless `metrics.vllm_aliases` is set, and of models that generate no text");
    FIRST = alias("vllm:time_to_first_token_seconds", Histogram, "seconds")
        .help("`impetus_generation_time_to_first_token_seconds`.");
    BETWEEN = alias("vllm:inter_token_latency_seconds", Histogram, "seconds")
        .help("`impetus_generation_inter_token_latency_seconds`.");
    QUEUE = alias("vllm:request_queue_time_seconds", Histogram, "seconds")
        .help("`impetus_generation_queue_duration_seconds`.");
    WHOLE = alias("vllm:e2e_request_latency_seconds", Histogram, "seconds")
        .help("`impetus_generation_duration_seconds`.");
}

pub(super) fn expose(models: &[Figures<'_>], out: &mut Families) {
    out.add(numbers(&RUNNING, models, |figures| figures.running as f64));
    out.add(numbers(&WAITING, models, |figures| figures.waiting as f64));
    out.add(numbers(&USAGE, models, usage));
    let counters: [fn(&GenerationSnapshot) -> u64; 4] = [
        |figures| figures.prompt_tokens,
        |figures| figures.reused_tokens,
        |figures| figures.prompt_tokens,
        |figures| figures.generated_tokens,
    ];
    for (of, read) in [&QUERIES, &HITS, &PROMPT, &TOKENS]
        .into_iter()
        .zip(counters)
    {
        out.add(numbers(of, models, |figures| read(figures) as f64));
    }
    for (of, read) in [&FIRST, &BETWEEN, &QUEUE, &WHOLE].into_iter().zip(TIMES) {
        out.add(times(of, models, read));
    }
    let mut success = Family::new(&SUCCESS);
    for (name, figures) in models {
        for reason in [FinishReason::Stop, FinishReason::Length] {
            success.count(&[reason.as_str(), name], figures.finished[reason as usize]);
        }
    }
    out.add(success);
}
