//! Models from elsewhere: their downloads, and the registry they come from.

use impetus_actors::downloader::DownloadState;

use super::descriptor::Kind::{Counter, Gauge};
use super::descriptor::{Descriptor, Label, Present, subject};
use super::families::{Families, Family};
use crate::http::AppState;

/// How downloads end.
const ENDS: [DownloadState; 3] = [
    DownloadState::Done,
    DownloadState::Failed,
    DownloadState::Cancelled,
];

subject! { "Models from elsewhere";
    DOWNLOADS = Descriptor::new("impetus_downloads_total", Counter, "downloads")
        .help("Downloads of models that are over, by how they ended. One that is tried again counts each time.")
        .labels(&[Label::words("outcome", || ENDS.map(DownloadState::as_str).to_vec())])
        .of(Present::Inference);
    RUNNING = Descriptor::new("impetus_downloads_running", Gauge, "downloads")
        .help("Downloads of models that are under way.")
        .of(Present::Inference);
    RECEIVED = Descriptor::new("impetus_download_bytes_total", Counter, "bytes")
        .help("Bytes of downloads that are over; those that were here before count as well.")
        .of(Present::Inference);
    FAILURES = Descriptor::new("impetus_registry_failures_total", Counter, "calls")
        .help("Times that the model registry did not answer, or with what cannot be used; 0 when none is configured.")
        .of(Present::Inference);
}

pub(super) fn expose(state: &AppState, out: &mut Families) {
    if !state.role().infers() {
        return;
    }
    let counted = state
        .downloads
        .as_ref()
        .map(|downloads| downloads.counted());
    let counted = counted.unwrap_or_default();
    let mut downloads = Family::new(&DOWNLOADS);
    for end in ENDS {
        downloads.count(&[end.as_str()], counted.of(end));
    }
    out.add(downloads);
    out.one(&RUNNING, counted.running as f64);
    let mut received = Family::new(&RECEIVED);
    received.count(&[], counted.bytes);
    out.add(received);
    let registry = state.plane.sources().registry.as_ref();
    let mut failures = Family::new(&FAILURES);
    failures.count(
        &[],
        registry.map_or(0, |registry| registry.snapshot().failures),
    );
    out.add(failures);
}
