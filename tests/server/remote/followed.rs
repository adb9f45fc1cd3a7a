//! Requests that do not cease while a model is exchanged.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::load::{complaint, requests};
use crate::harness::{Answer, Server, new_agent};

/// What came of them.
#[derive(Debug, Default)]
pub struct Outcome {
    pub answered: usize,
    /// The versions that have answered.
    pub versions: BTreeSet<String>,
    /// What was wrong with any answer.
    pub complaints: Vec<String>,
}

const CLIENTS: usize = 3;

/// Sends requests to a model, from several threads, for as long as something else is done.
pub fn while_asked(server: &Server, model: &str, done: impl FnOnce()) -> Outcome {
    let (outcome, over) = (Mutex::new(Outcome::default()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (outcome, over) = (&outcome, &over);
            scope.spawn(move || {
                let agent = new_agent();
                let samples = requests().iter().cycle().skip(number);
                for sample in samples.take_while(|_| !over.load(Ordering::Relaxed)) {
                    let request = agent
                        .post(server.url(&format!("/predict?model={model}")))
                        .header("content-type", sample.content_type);
                    let answer = request.send(&sample.body).map(Answer::from);
                    outcome.lock().unwrap().note(sample, answer);
                }
            });
        }
        // Also where it fails: nobody else would tell them to stop.
        let stop = Stop(&over);
        done();
        drop(stop);
    });
    outcome.into_inner().unwrap()
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

// === impl Outcome ===

impl Outcome {
    fn note(&mut self, sample: &crate::harness::load::Sample, answer: Result<Answer, ureq::Error>) {
        self.answered += 1;
        match answer {
            Err(error) => self.complaints.push(format!("no answer: {error}")),
            Ok(answer) => match complaint(sample, &answer) {
                Some(complaint) => self.complaints.push(complaint),
                None => {
                    let version = answer.json()["version"].as_str().unwrap().to_owned();
                    self.versions.insert(version);
                }
            },
        }
    }

    /// Checks that none failed and that these versions have answered, and no others.
    #[track_caller]
    pub fn assert_none_failed(&self, versions: &[&str]) {
        assert!(self.complaints.is_empty(), "{:#?}", self.complaints);
        assert!(self.versions.iter().eq(versions), "{self:?}");
    }
}
