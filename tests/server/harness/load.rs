//! Clients that send predictions and check every answer.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Scope, ScopedJoinHandle};

use serde_json::json;

use super::{Answer, Server, content_type, new_agent, samples};

/// A sample as a request, and the class that is the right answer.
pub struct Sample {
    pub class: String,
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

/// Returns every sample as a picture, and those of the model's own size as numbers as well.
pub fn requests() -> &'static [Sample] {
    static REQUESTS: OnceLock<Vec<Sample>> = OnceLock::new();
    REQUESTS.get_or_init(|| {
        let mut requests = Vec::new();
        for (class, path) in samples() {
            if let Some(numbers) = numbers_of(&path) {
                requests.push(Sample {
                    class: class.clone(),
                    content_type: "application/json",
                    body: json!({ "data": numbers }).to_string().into_bytes(),
                });
            }
            let body = fs::read(&path).unwrap();
            requests.push(Sample {
                class,
                content_type: content_type(&path),
                body,
            });
        }
        requests
    })
}

/// Returns a picture's 3072 numbers, colour by colour, if it has the size that the model takes.
pub fn numbers_of(picture: &Path) -> Option<Vec<f32>> {
    let picture = image::open(picture).unwrap().into_rgb8();
    let numbers = (0..3).flat_map(|color| {
        let of_color = picture
            .pixels()
            .map(move |pixel| f32::from(pixel.0[color]) / 255.0);
        of_color.collect::<Vec<_>>()
    });
    (picture.dimensions() == (32, 32)).then(|| numbers.collect())
}

/// Has `clients` threads send `each` requests, one after the other; counts the answers, and
/// returns what was wrong with any.
pub fn run(server: &Server, clients: usize, each: usize, answered: &AtomicUsize) -> Vec<String> {
    let client = |client: usize| {
        let agent = new_agent();
        let mut complaints = Vec::new();
        for number in 0..each {
            let sample = &requests()[(client * 5 + number) % requests().len()];
            match send(&agent, server, sample) {
                Ok(answer) => complaints.extend(complaint(sample, &answer)),
                Err(error) => complaints.push(format!("no answer: {error}")),
            }
            answered.fetch_add(1, Ordering::SeqCst);
        }
        complaints
    };
    std::thread::scope(|scope| {
        let client = &client;
        let clients: Vec<_> = (0..clients)
            .map(|n| scope.spawn(move || client(n)))
            .collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    })
}

/// Sends one request.
pub fn send(agent: &ureq::Agent, server: &Server, sample: &Sample) -> Result<Answer, ureq::Error> {
    let request = agent
        .post(server.url("/predict"))
        .header("content-type", sample.content_type);
    request.send(&sample.body).map(Answer::from)
}

/// Says what is wrong with an answer, if anything is.
pub fn complaint(sample: &Sample, answer: &Answer) -> Option<String> {
    let right = answer.status == 200 && answer.json()["class"] == sample.class.as_str();
    (!right).then(|| {
        format!(
            "{} for a {}: {}",
            answer.status,
            sample.class,
            answer.text()
        )
    })
}

/// Sends a request that a stopped worker keeps; the thread returns what was wrong in the end.
pub fn hold<'scope>(
    scope: &'scope Scope<'scope, '_>,
    server: &'scope Server,
    number: usize,
) -> ScopedJoinHandle<'scope, Option<String>> {
    scope.spawn(move || {
        let sample = &requests()[number];
        match send(&new_agent(), server, sample) {
            Ok(answer) => complaint(sample, &answer),
            Err(error) => Some(error.to_string()),
        }
    })
}

/// Waits until so many requests are with the model, sent (each a batch of its own) or queued.
pub fn wait_until_held(server: &Server, requests: usize) {
    server.wait_for("the requests to be held", || {
        let model = server.status()["models"][0].clone();
        let queued = model["queued"].as_u64().unwrap();
        let batches: u64 = model["workers"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|w| w["in_flight"].as_u64())
            .sum();
        queued + batches >= u64::try_from(requests).unwrap()
    });
}
