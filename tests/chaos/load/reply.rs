//! What comes back, and what to make of it.

use std::time::Duration;

use serde_json::Value;

use crate::ledger::Outcome;

/// A whole answer.
pub struct Reply {
    pub status: u16,
    pub retry_after: Option<Duration>,
    pub body: Vec<u8>,
}

// === impl Reply ===

impl Reply {
    /// Reads an answer to its end; one that breaks off is none.
    pub fn read(
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Self, String> {
        let mut answer = answer.map_err(|error| error.to_string())?;
        let seconds = answer
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Self {
            status: answer.status().as_u16(),
            retry_after: seconds.map(Duration::from_secs),
            body: answer
                .body_mut()
                .read_to_vec()
                .map_err(|error| error.to_string())?,
        })
    }

    /// Reads an answer as it comes from a socket that the server closes after it.
    pub fn parse(raw: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(raw);
        let (head, body) = text.split_once("\r\n\r\n").ok_or("the answer breaks off")?;
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Ok(Self {
            status: status.ok_or_else(|| format!("no answer: {head}"))?,
            retry_after: None,
            body: body.as_bytes().to_vec(),
        })
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Judges the answer to a request in which nothing is wrong.
    fn outcome(&self, is_right: impl FnOnce(&Self) -> Result<(), String>) -> Outcome {
        if self.status == 200 {
            return match is_right(self) {
                Ok(()) => Outcome::Right,
                Err(what) => Outcome::Wrong(what),
            };
        }
        let code = self.json()["code"].as_str().unwrap_or_default().to_owned();
        let (status, is_quarantine) = (self.status, code == "quarantined");
        // To blame the client is not true, whatever else it is.
        if (400..500).contains(&status) && !matches!(status, 408 | 429) && !is_quarantine {
            let text = String::from_utf8_lossy(&self.body).into_owned();
            return Outcome::Wrong(format!("{status} {text}"));
        }
        Outcome::Refused { status, code }
    }
}

/// Judges what came back, if anything did.
pub fn judge(
    reply: &Result<Reply, String>,
    is_right: impl FnOnce(&Reply) -> Result<(), String>,
) -> Outcome {
    match reply {
        Ok(reply) => reply.outcome(is_right),
        Err(error) => Outcome::Unanswered(error.clone()),
    }
}

// === tests ===

#[test]
fn only_an_answer_that_blames_the_client_for_nothing_is_a_wrong_one() {
    let outcome = |status, code: &str| {
        let reply = Reply {
            status,
            retry_after: None,
            body: format!(r#"{{"code":"{code}"}}"#).into_bytes(),
        };
        judge(&Ok(reply), |_| Ok(()))
    };
    assert_eq!(outcome(200, ""), Outcome::Right);
    for (status, code) in [
        (503, "worker_lost"),
        (429, "queue_full"),
        (422, "quarantined"),
    ] {
        let code = code.to_owned();
        let expected = Outcome::Refused {
            status,
            code: code.clone(),
        };
        assert_eq!(outcome(status, &code), expected);
    }
    for (status, code) in [
        (400, "wrong_length"),
        (404, "unknown_model"),
        (422, "invalid_batch"),
    ] {
        let outcome = outcome(status, code);
        assert!(matches!(outcome, Outcome::Wrong(_)), "{outcome:?}");
    }
}
