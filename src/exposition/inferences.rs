//! Inferences: how long they took and where that time went, and how large batches were.
//!
//! These are the times inside the server, from the admission of a request to its answer, by the
//! version of the model that gave it and the protocol over which it was asked for. A version that
//! was loaded anew stands twice for a moment, and is counted as one.

use std::collections::BTreeMap;

use impetus_actors::histogram::{HistogramSnapshot, SizeSnapshot};
use impetus_actors::serving::{InferenceTimesSnapshot, Protocol, ServedModel};

use super::descriptor::Kind::{Counter, Histogram};
use super::descriptor::{Descriptor, Label, Present, subject};
use super::families::{Families, Family};
use crate::http::AppState;

const BY_PROTOCOL: &[Label] = &[
    Label::model(),
    Label::words("protocol", || Protocol::ALL.map(Protocol::as_str).to_vec()),
    Label::version(),
];

const UNUSED: &str = "before the first inference that was asked for over that protocol";

subject! { "Inferences";
    REQUEST = Descriptor::new("impetus_inference_request_duration_seconds", Histogram, "seconds")
        .help(
            "Time from the admission of a request to its answer, of those that were answered with a \
             prediction. Reading the request and writing the answer are not in it.",
        )
        .labels(BY_PROTOCOL)
        .of(Present::Inference)
        .except(UNUSED);
    QUEUE = Descriptor::new("impetus_inference_queue_duration_seconds", Histogram, "seconds")
        .help("The part of that time in which the request waited for a worker, also for one that had another batch to run first.")
        .labels(BY_PROTOCOL)
        .of(Present::Inference)
        .except(UNUSED);
    COMPUTE = Descriptor::new("impetus_inference_compute_duration_seconds", Histogram, "seconds")
        .help("The part of that time in which the engine ran the batch that the request was in.")
        .labels(BY_PROTOCOL)
        .of(Present::Inference)
        .except(UNUSED);
    BATCH = Descriptor::new("impetus_inference_batch_size", Histogram, "rows")
        .help(
            "Rows of each batch that was run. It has no protocol: one batch has requests of several.",
        )
        .labels(&[Label::model(), Label::version()])
        .of(Present::Inference);
    WAITS = Descriptor::new("impetus_inference_share_waits_total", Counter, "batches")
        .help("Batches that waited for those of other models before they were handed to a worker.")
        .labels(&[Label::model(), Label::version()])
        .of(Present::Inference);
}

/// What is known of one version of a model.
#[derive(Default)]
struct Measured {
    times: [Option<InferenceTimesSnapshot>; Protocol::ALL.len()],
    rows: SizeSnapshot,
    waits: u64,
}

pub(super) fn expose(state: &AppState, out: &mut Families) {
    let entries = state.catalog.entries();
    let mut versions: BTreeMap<(&str, &str), Measured> = BTreeMap::new();
    for model in entries.values().flat_map(|entry| entry.versions()) {
        let spec = model.spec();
        let key = (spec.name.as_str(), spec.version.as_str());
        versions.entry(key).or_default().add(model);
    }
    out.add(times(&REQUEST, &versions, |times| &times.request));
    out.add(times(&QUEUE, &versions, |times| &times.queue));
    out.add(times(&COMPUTE, &versions, |times| &times.compute));
    let (mut batches, mut waits) = (Family::new(&BATCH), Family::new(&WAITS));
    for ((model, version), measured) in &versions {
        batches.sizes(&[model, version], &measured.rows);
        waits.count(&[model, version], measured.waits);
    }
    out.add(batches);
    out.add(waits);
}

fn times(
    of: &'static Descriptor,
    versions: &BTreeMap<(&str, &str), Measured>,
    which: fn(&InferenceTimesSnapshot) -> &HistogramSnapshot,
) -> Family {
    let mut family = Family::new(of);
    for ((model, version), measured) in versions {
        for (protocol, times) in Protocol::ALL.iter().zip(&measured.times) {
            if let Some(times) = times {
                family.histogram(&[model, protocol.as_str(), version], which(times));
            }
        }
    }
    family
}

// === impl Measured ===

impl Measured {
    fn add(&mut self, model: &ServedModel) {
        for (so_far, protocol) in self.times.iter_mut().zip(Protocol::ALL) {
            let own = model.inference_times(protocol);
            *so_far = match (*so_far, own) {
                (Some(a), Some(b)) => Some(a.plus(&b)),
                (a, b) => a.or(b),
            };
        }
        self.rows = self.rows.plus(&model.batch_rows());
        self.waits += model.share_waits();
    }
}
