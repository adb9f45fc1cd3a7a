//! Requests to the killer models of `tests/models`, and what the right answer to each is.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;

use super::{Answer, Server, Setup, new_agent};

/// The classes of every killer model, in the order of its scores.
const CLASSES: [&str; 4] = ["top_left", "top_right", "bottom_left", "bottom_right"];

/// A server with one worker for one killer model, whose recovery gets as long as it takes.
pub fn setup_of(name: &str, description: &str) -> Setup {
    Setup::without_models()
        .with_killer(name, description)
        .set("models.workers", "1")
        .set("models.recovery_floor", "\"1m\"")
        .set("http.request_timeout", "\"55s\"")
}

/// A picture with one bright quarter, of which no two are alike.
pub struct Picture {
    pub class: &'static str,
    data: Vec<f32>,
}

// === impl Picture ===

impl Picture {
    pub fn new(number: usize) -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let quarter = number % CLASSES.len();
        let mut data = vec![0.1; 3 * 32 * 32];
        for (index, pixel) in data.iter_mut().enumerate() {
            let (row, column) = (index / 32 % 32, index % 32);
            if (row / 16) * 2 + column / 16 == quarter {
                *pixel = 0.9;
            }
        }
        // Far too little to change the answer.
        data[3071] += SERIAL.fetch_add(1, Ordering::Relaxed) as f32 * 1e-6;
        Self {
            class: CLASSES[quarter],
            data,
        }
    }

    /// Sets the number that triggers a model's danger.
    pub fn with_marker(mut self, marker: f32) -> Self {
        self.data[0] = marker;
        self
    }

    /// Sends the picture, and waits for the answer.
    pub fn send(&self, server: &Server, model: &str) -> Answer {
        self.try_send(server, model, None)
            .unwrap_or_else(|error| panic!("no answer: {error}\n{}", server.log()))
    }

    /// Sends the picture under an id.
    pub fn try_send(
        &self,
        server: &Server,
        model: &str,
        id: Option<&str>,
    ) -> Result<Answer, ureq::Error> {
        let mut request = new_agent()
            .post(server.url(&format!("/predict?model={model}")))
            .header("content-type", "application/json");
        if let Some(id) = id {
            request = request.header("x-request-id", id);
        }
        let body = json!({ "data": self.data }).to_string();
        request.send(body).map(Answer::from)
    }

    /// Returns the request as it goes over the wire, for clients that misbehave.
    pub fn as_http(&self, model: &str) -> Vec<u8> {
        let body = json!({ "data": self.data }).to_string();
        format!(
            "POST /predict?model={model} HTTP/1.1\r\nhost: localhost\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    /// Sends the picture and insists on the right answer.
    #[track_caller]
    pub fn assert_answered(&self, server: &Server, model: &str) {
        self.assert_right(&self.send(server, model));
    }

    #[track_caller]
    pub fn assert_right(&self, answer: &Answer) {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["class"], self.class, "{}", answer.text());
    }
}
