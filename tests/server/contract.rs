//! The contract's health plane, endpoint by endpoint, as a client sees it.

mod answers;
mod bodies;
mod error_rate;
mod evaluation;
pub mod onnx;
mod probes;
pub mod steady;

use crate::harness::{Answer, new_agent};

/// Sends a request without a body, with these headers.
pub fn ask(method: &str, url: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = new_agent().run(request.body(()).unwrap());
    Answer::from(answer.unwrap_or_else(|error| panic!("no answer from {url}: {error}")))
}

/// Returns the value of a sample in Prometheus' text, by its name with its labels.
pub fn sample(metrics: &str, series: &str) -> Option<f64> {
    let mut lines = metrics.lines().filter(|line| !line.starts_with('#'));
    let line = lines.find(|line| {
        line.rsplit_once(' ')
            .is_some_and(|(name, _)| name == series)
    })?;
    line.rsplit_once(' ')?.1.parse().ok()
}
