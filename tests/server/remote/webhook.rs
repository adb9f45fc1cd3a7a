//! Webhooks: those of MLflow itself are heard, and nothing else is.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::mlflow_server::Mlflow;
use super::{impatient, wait_for_version};
use crate::harness::{Answer, Server, new_agent, repo};

/// What the server and the registry both know.
pub const SECRET: &str = "correct horse battery staple";
const PATH: &str = "/webhook/mlflow";

/// A delivery as somebody might send it.
struct Delivery {
    id: &'static str,
    sent: u64,
    body: String,
}

/// Checks that a server which asks by itself far too seldom follows what the registry tells it.
pub fn it_is_heard_and_nobody_else(mlflow: &mut Mlflow, server: &Server) {
    let events = ["model_version_alias.created"];
    mlflow.webhook(&server.url(PATH), SECRET, &events);
    mlflow.alias("surface", "champion", Some(1));
    wait_for_version(server, "surface", "1");
    mlflow.alias("surface", "champion", Some(2));
    wait_for_version(server, "surface", "2");
    what_is_not_from_the_registry_is_refused(server);
}

fn what_is_not_from_the_registry_is_refused(server: &Server) {
    #[expect(clippy::disallowed_methods, reason = "the server has the same clock")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let good = Delivery::new("a", now.as_secs());
    let answer = good.send(server, &good.signed(SECRET));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let heard = json!({"entity": "model_version_alias", "action": "created"});
    assert_eq!(answer.json(), heard);
    let again = good.send(server, &good.signed(SECRET));
    assert_refused(&again, 409, "replayed");

    let other = Delivery::new("b", now.as_secs());
    let unsigned = other.send(server, &other.signed("another secret"));
    assert_refused(&unsigned, 401, "not_signed");
    let of_another = other.send(server, &good.signed(SECRET));
    assert_refused(&of_another, 401, "not_signed");
    let old = Delivery::new("c", now.as_secs() - 301);
    let stale = old.send(server, &old.signed(SECRET));
    assert_refused(&stale, 401, "not_signed");
    assert!(stale.text().contains("it was sent"), "{}", stale.text());
    let bare = server.post_json(PATH, &json!({}));
    assert_refused(&bare, 401, "not_signed");
}

#[test]
fn no_webhook_is_believed_where_no_secret_is_configured() {
    let server = impatient().start();
    let delivery = Delivery::new("a", 0);
    assert_refused(&delivery.send(&server, "v1,AAAA"), 404, "no_webhook");
}

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, code: &str) {
    let said = (answer.status, answer.json()["code"].clone());
    assert_eq!(said, (status, Value::from(code)), "{}", answer.text());
}

// === impl Delivery ===

impl Delivery {
    fn new(id: &'static str, sent: u64) -> Self {
        let body = json!({
            "entity": "model_version_alias", "action": "created",
            "data": {"name": "surface", "alias": "champion", "version": "2"},
        });
        Self {
            id,
            sent,
            body: body.to_string(),
        }
    }

    /// Returns its signature, made by what MLflow makes them with.
    fn signed(&self, secret: &str) -> String {
        let sign = "import base64, hashlib, hmac, sys\n\
            _, secret, text = sys.argv\n\
            digest = hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()\n\
            print('v1,' + base64.b64encode(digest).decode(), end='')";
        let text = format!("{}.{}.{}", self.id, self.sent, self.body);
        let signed = Command::new(repo().join(".test/mlflow3/bin/python"))
            .args(["-c", sign, secret, &text])
            .output()
            .expect("run scripts/install-mlflow.sh");
        assert!(signed.status.success(), "{signed:?}");
        String::from_utf8(signed.stdout).unwrap()
    }

    fn send(&self, server: &Server, signature: &str) -> Answer {
        let request = new_agent().post(server.url(PATH));
        let request = request
            .header("content-type", "application/json")
            .header("x-mlflow-delivery-id", self.id)
            .header("x-mlflow-timestamp", self.sent.to_string())
            .header("x-mlflow-signature", signature);
        request
            .send(self.body.as_bytes())
            .map(Answer::from)
            .unwrap()
    }
}
