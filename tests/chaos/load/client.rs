//! A client that does what clients are to do.

use std::time::Duration;

use serde_json::json;

use super::reply::judge;
use super::{PATIENCE, Prediction, Reply, Scene};
use crate::agent;
use crate::ledger::{Entry, LogBook, Outcome, Span};
use crate::random::Random;
use crate::schedule::{MODELS, Part};

pub struct Client<'a> {
    scene: Scene<'a>,
    random: Random,
    agent: ureq::Agent,
    entries: Vec<Entry>,
    log: LogWriter,
    /// A batch that was not acknowledged, to be sent again.
    pending: Option<Batch>,
}

/// Writes batches of predictions to be logged, each with images that no other has.
pub struct LogWriter {
    name: String,
    batches: usize,
    pub book: LogBook,
}

pub struct Batch {
    images: Vec<String>,
    pub body: Vec<u8>,
}

// === impl Client ===

impl<'a> Client<'a> {
    pub fn new(scene: Scene<'a>, number: usize, random: Random) -> Self {
        Self {
            scene,
            random,
            agent: agent(PATIENCE),
            entries: Vec::new(),
            log: LogWriter::new(format!("client-{number}")),
            pending: None,
        }
    }

    /// Does one thing and pauses, as long as the server asks for if it refused.
    pub fn act(&mut self) {
        let retry_after = match self.random.below(100) {
            0..25 => self.predict("surface"),
            25..40 => self.predict_picture(),
            40..75 => {
                let model = self.random.pick(&MODELS[1..]);
                self.predict(model)
            }
            75..88 => self.log(),
            _ => self.read(),
        };
        let pause = match retry_after {
            Some(asked) => asked.min(self.random.millis(300, 800)),
            None => self.random.millis(5, 60),
        };
        std::thread::park_timeout(pause);
    }

    pub fn into_books(self) -> (Vec<Entry>, LogBook) {
        (self.entries, self.log.book)
    }

    fn predict(&mut self, model: &'static str) -> Option<Duration> {
        let prediction = self.scene.samples.ordinary(model, &mut self.random);
        self.send(&prediction)
    }

    fn predict_picture(&mut self) -> Option<Duration> {
        let prediction = self.scene.samples.picture(&mut self.random);
        self.send(&prediction)
    }

    fn send(&mut self, prediction: &Prediction) -> Option<Duration> {
        let from = self.scene.began.elapsed();
        let reply = prediction.send(&self.agent, self.scene.site);
        let outcome = prediction.outcome(&reply);
        self.note(from, (prediction.kind, prediction.part()), outcome, &reply)
    }

    fn log(&mut self) -> Option<Duration> {
        let batch = match self.pending.take() {
            Some(batch) => batch,
            None => self.log.batch(&mut self.random),
        };
        let from = self.scene.began.elapsed();
        let request = self
            .agent
            .post(self.scene.site.server.url("/log"))
            .header("content-type", "application/json");
        let reply = Reply::read(request.send(&batch.body));
        let outcome = batch.outcome(&reply);
        if outcome == Outcome::Right {
            self.log.acknowledge(batch);
        } else {
            self.pending = Some(batch);
        }
        self.note(from, ("log", Part::Log), outcome, &reply)
    }

    fn read(&mut self) -> Option<Duration> {
        let (path, part) = self.random.pick(&[
            ("/api/health/status", Part::Always),
            ("/api/models/list", Part::Always),
            ("/metrics", Part::Always),
            ("/stats", Part::Log),
            ("/predictions?limit=5", Part::Log),
        ]);
        let from = self.scene.began.elapsed();
        let reply = Reply::read(self.agent.get(self.scene.site.server.url(path)).call());
        let outcome = judge(&reply, |reply| {
            let is_there = !reply.body.is_empty();
            is_there.then_some(()).ok_or_else(|| "nothing".to_owned())
        });
        self.note(from, (path, part), outcome, &reply)
    }

    /// Writes down what came of a request; returns how long to wait if it was refused.
    fn note(
        &mut self,
        from: Duration,
        (kind, part): (&'static str, Part),
        outcome: Outcome,
        reply: &Result<Reply, String>,
    ) -> Option<Duration> {
        let was_refused = matches!(outcome, Outcome::Refused { .. });
        let to = self.scene.began.elapsed();
        self.entries.push(Entry {
            kind,
            part,
            well_behaved: true,
            span: Span { from, to },
            outcome,
        });
        let asked = reply.as_ref().ok().and_then(|reply| reply.retry_after);
        was_refused.then(|| asked.unwrap_or(Duration::from_secs(1)))
    }
}

// === impl LogWriter ===

impl LogWriter {
    pub fn new(name: String) -> Self {
        Self {
            name,
            batches: 0,
            book: LogBook::default(),
        }
    }

    /// Makes a batch of one to five predictions and notes them as sent.
    pub fn batch(&mut self, random: &mut Random) -> Batch {
        self.batches += 1;
        let images: Vec<String> = (0..=random.below(5))
            .map(|index| format!("{}-{}-{index}", self.name, self.batches))
            .collect();
        self.book.sent.extend(images.iter().cloned());
        // Without an id, the server finds by the content that it has a prediction already.
        let with_id = random.percent(50);
        let predictions: Vec<_> = images
            .iter()
            .map(|image| {
                let mut prediction = json!({
                    "image_id": image,
                    "timestamp": "2025-01-01T12:00:00Z",
                    "model_version": "1",
                    "model_name": "surface",
                    "inference_time_ms": 4.25,
                    "detections": [],
                    "defect_detected": random.percent(20),
                    "confidence_scores": {"scratch": random.unit()},
                    "processing_notes": "",
                });
                if with_id {
                    prediction["id"] = json!(image);
                }
                prediction
            })
            .collect();
        let body = json!({
            "batch_size": predictions.len(),
            "predictions": predictions,
            "timestamp": "2025-01-01T12:00:00Z",
            "edge_device_id": self.name,
        });
        Batch {
            images,
            body: body.to_string().into_bytes(),
        }
    }

    pub fn acknowledge(&mut self, batch: Batch) {
        self.book.acknowledged.extend(batch.images);
    }
}

// === impl Batch ===

impl Batch {
    pub fn outcome(&self, reply: &Result<Reply, String>) -> Outcome {
        judge(reply, |reply| {
            let logged = &reply.json()["logged"];
            let is_all = *logged == self.images.len();
            is_all
                .then_some(())
                .ok_or_else(|| format!("{logged} logged"))
        })
    }
}
