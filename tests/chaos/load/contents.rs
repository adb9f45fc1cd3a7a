//! Requests whose right answer is known, each with a content of its own.

use std::fmt::Write;
use std::io::Cursor;

use image::{ImageFormat, RgbImage};
use serde_json::Value;

use super::Reply;
use super::reply::judge;
use crate::agent;
use crate::harness::load::numbers_of;
use crate::harness::samples;
use crate::ledger::Outcome;
use crate::random::Random;
use crate::schedule::Part;
use crate::site::Site;

/// A request to `/predict` and the answer to it.
pub struct Prediction {
    pub kind: &'static str,
    pub model: &'static str,
    pub content_type: &'static str,
    pub body: Vec<u8>,
    expected: Expected,
}

/// A class, and the confidence within a tolerance.
#[derive(Clone, Debug)]
struct Expected {
    class: String,
    confidence: f64,
    tolerance: f64,
}

/// The samples of the demo model, with what it says about each of them when nothing is wrong.
pub struct Samples {
    numbers: Vec<(Vec<f32>, Expected)>,
    pictures: Vec<(RgbImage, Expected)>,
}

/// What noise may do to the demo model's confidence. It is far below what tells its classes apart.
const TOLERANCE: f64 = 0.05;
/// Beyond this, the first number of a picture wakes the killer in a model.
const MARKER: f64 = 1.5;

// === impl Samples ===

impl Samples {
    /// Asks the server for its answer to each sample, which must be of the sample's class.
    pub fn of(site: &Site) -> Self {
        let (mut numbers, mut pictures) = (Vec::new(), Vec::new());
        for (class, path) in samples() {
            let expected = Expected {
                class,
                confidence: 0.0,
                tolerance: 1.0,
            };
            let picture = image::open(&path).unwrap().into_rgb8();
            let asked = Prediction::of_picture(&picture, expected.clone());
            pictures.push((picture, asked.answered_by(site)));
            if let Some(sample) = numbers_of(&path) {
                let asked = Prediction::of_numbers("surface", &sample, expected);
                numbers.push((sample, asked.answered_by(site)));
            }
        }
        Self { numbers, pictures }
    }

    /// Returns a sample as numbers, with noise.
    pub fn numbers(&self, random: &mut Random) -> Prediction {
        let (numbers, expected) = &self.numbers[random.below(self.numbers.len())];
        let noisy: Vec<f32> = numbers
            .iter()
            .map(|number| number + (random.unit() as f32 - 0.5) / 512.0)
            .collect();
        Prediction::of_numbers("surface", &noisy, expected.clone())
    }

    /// Returns a sample as a picture in which some pixels are a bit off.
    pub fn picture(&self, random: &mut Random) -> Prediction {
        let (picture, expected) = &self.pictures[random.below(self.pictures.len())];
        let mut noisy = picture.clone();
        let (width, height) = noisy.dimensions();
        for _ in 0..8 {
            let across = random.below(width as usize) as u32;
            let down = random.below(height as usize) as u32;
            let value = &mut noisy.get_pixel_mut(across, down).0[random.below(3)];
            *value = value.saturating_add_signed(random.pick(&[-1, 1]));
        }
        Prediction::of_picture(&noisy, expected.clone())
    }

    /// Returns an ordinary request for a model.
    pub fn ordinary(&self, model: &'static str, random: &mut Random) -> Prediction {
        match model {
            "surface" => self.numbers(random),
            // Takes so many milliseconds, less one.
            "slow" => quarters(model, Some(random.millis(5, 60).as_millis() as f64), random),
            _ => quarters(model, None, random),
        }
    }
}

/// Returns a picture of which one quarter is the brightest, with a marker or without one.
pub fn quarters(model: &'static str, marker: Option<f64>, random: &mut Random) -> Prediction {
    const SIDE: usize = 32;
    let brightest = random.below(4);
    // In thousandths, so that what is sent is what is reckoned with.
    let mut thousandths: Vec<u32> = (0..3 * SIDE * SIDE)
        .map(|index| {
            let (down, across) = (index / SIDE % SIDE, index % SIDE);
            let quarter = down / (SIDE / 2) * 2 + across / (SIDE / 2);
            let base = if quarter == brightest { 450 } else { 250 };
            base + random.below(300) as u32
        })
        .collect();
    if let Some(marker) = marker.filter(|marker| *marker > MARKER) {
        thousandths[0] = (marker * 1000.0) as u32;
    }
    let mut sums = [0.0; 4];
    for (index, value) in thousandths.iter().enumerate() {
        let (down, across) = (index / SIDE % SIDE, index % SIDE);
        let quarter = down / (SIDE / 2) * 2 + across / (SIDE / 2);
        sums[quarter] += f64::from(*value.min(&1000)) / 1000.0;
    }
    let numbers: Vec<f32> = thousandths.iter().map(|n| *n as f32 / 1000.0).collect();
    Prediction::of_numbers(model, &numbers, brightest_of(sums))
}

/// The rule that all killer models share, see tests/models/README.md.
fn brightest_of(sums: [f64; 4]) -> Expected {
    const OF_A_QUARTER: f64 = 3.0 * 16.0 * 16.0;
    let weights = sums.map(|sum| (16.0 * sum / OF_A_QUARTER).exp());
    let classes = ["top_left", "top_right", "bottom_left", "bottom_right"];
    let (class, weight) = classes
        .into_iter()
        .zip(weights)
        .max_by(|one, other| one.1.total_cmp(&other.1))
        .expect("there are four");
    Expected {
        class: class.to_owned(),
        confidence: weight / weights.iter().sum::<f64>(),
        tolerance: 0.001,
    }
}

// === impl Prediction ===

impl Prediction {
    fn of_numbers(model: &'static str, numbers: &[f32], expected: Expected) -> Self {
        let mut body = format!("{{\"model\":\"{model}\",\"data\":[");
        for (index, number) in numbers.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(body, "{comma}{number:.5}").expect("a string takes everything");
        }
        body.push_str("]}");
        Self {
            kind: "numbers",
            model,
            content_type: "application/json",
            body: body.into_bytes(),
            expected,
        }
    }

    fn of_picture(picture: &RgbImage, expected: Expected) -> Self {
        let mut body = Cursor::new(Vec::new());
        picture.write_to(&mut body, ImageFormat::Png).unwrap();
        Self {
            kind: "picture",
            model: "surface",
            content_type: "image/png",
            body: body.into_inner(),
            expected,
        }
    }

    pub fn part(&self) -> Part {
        Part::Model(self.model)
    }

    pub fn path(&self) -> String {
        format!("/predict?model={}", self.model)
    }

    pub fn send(&self, agent: &ureq::Agent, site: &Site) -> Result<Reply, String> {
        let request = agent
            .post(site.server.url(&self.path()))
            .header("content-type", self.content_type);
        Reply::read(request.send(&self.body))
    }

    pub fn outcome(&self, reply: &Result<Reply, String>) -> Outcome {
        judge(reply, |reply| self.expected.is_met_by(&reply.json()))
    }

    /// Returns what the server says, which must be of the expected class.
    fn answered_by(&self, site: &Site) -> Expected {
        let reply = self.send(&agent(super::PATIENCE), site);
        assert_eq!(self.outcome(&reply), Outcome::Right);
        let confidence = reply.unwrap().json()["confidence"].as_f64().unwrap();
        Expected {
            confidence,
            tolerance: TOLERANCE,
            ..self.expected.clone()
        }
    }
}

// === impl Expected ===

impl Expected {
    fn is_met_by(&self, answer: &Value) -> Result<(), String> {
        let confidence = answer["confidence"].as_f64();
        let is_near = confidence.is_some_and(|it| (it - self.confidence).abs() <= self.tolerance);
        if answer["class"] == self.class.as_str() && is_near {
            return Ok(());
        }
        Err(format!("{self:?} expected: {answer}"))
    }
}

// === tests ===

#[test]
fn no_two_requests_have_the_same_content() {
    let mut random = Random::new(3);
    let contents: std::collections::BTreeSet<Vec<u8>> = (0..100)
        .map(|_| quarters("fail", None, &mut random).body)
        .collect();
    assert_eq!(contents.len(), 100);
}

#[test]
fn another_class_or_another_confidence_is_a_wrong_answer() {
    let expected = brightest_of([400.0, 300.0, 300.0, 300.0]);
    let answer = |class: &str, confidence: f64| {
        expected.is_met_by(&serde_json::json!({"class": class, "confidence": confidence}))
    };
    assert_eq!(answer("top_left", expected.confidence), Ok(()));
    assert!(answer("top_right", expected.confidence).is_err());
    assert!(answer("top_left", expected.confidence - 0.01).is_err());
    assert!(
        expected
            .is_met_by(&serde_json::json!({"class": "top_left"}))
            .is_err()
    );
}
