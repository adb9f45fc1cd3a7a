//! The servers that the commands of a page meet.
//!
//! A page names ports as a user has them: 8080, 8081 and 9000 of a server in both roles, 8000 of the
//! inference service, 8001, 8082 and 9001 of the logging service. Each is started when a command
//! names one of its ports.

use std::cell::OnceCell;
use std::fs;

use crate::cluster::POD;
use crate::harness::killers::Picture;
use crate::harness::{Server, Setup};

/// How the servers of a block are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    Healthy,
    CorruptModel,
    NotAlive,
    NoDatabase,
    /// Predictions wait for a sink that is away.
    NoSink,
    /// A request has killed its workers and is refused.
    Quarantined,
    /// There is a model to talk with.
    ChatModel,
}

/// The three servers of a page or a block.
pub struct Site {
    condition: Condition,
    both: OnceCell<Server>,
    inference: OnceCell<Server>,
    logging: OnceCell<Server>,
}

/// The marker on which the killer model goes round for ever; see tests/models.
const ENDLESS: f32 = 2.0;

// === impl Condition ===

impl Condition {
    /// Reads the name that a page gives it.
    pub fn read(name: &str) -> Option<Self> {
        match name {
            "own" => Some(Self::Healthy),
            "corrupt model" => Some(Self::CorruptModel),
            "not alive" => Some(Self::NotAlive),
            "no database" => Some(Self::NoDatabase),
            "no sink" => Some(Self::NoSink),
            "quarantined request" => Some(Self::Quarantined),
            "chat model" => Some(Self::ChatModel),
            _ => None,
        }
    }

    fn setup(self) -> Setup {
        let setup = match self {
            Self::NoDatabase => Setup::without_models(),
            Self::ChatModel => Setup::without_models().with_chat_model(),
            _ => Setup::new(),
        };
        let setup = setup.set("environment", "\"production\"");
        match self {
            Self::Healthy | Self::ChatModel => setup,
            Self::CorruptModel => {
                let model = setup.path().join("models/surface/model.onnx");
                fs::write(model, b"this is no model").unwrap();
                setup
            }
            Self::NotAlive => setup
                .set("supervision.restarts", "1")
                .set("supervision.within", "\"1h\"")
                .set("supervision.backoff_max", "\"100ms\""),
            Self::NoDatabase => {
                let data = setup.path().join("data");
                fs::write(data, b"a file where a folder should be").unwrap();
                setup.set("health.require_model", "false")
            }
            // Nobody listens there: the port is one that the system hands out to nobody.
            Self::NoSink => setup
                .set("sink.kind", "\"impetus\"")
                .set("sink.url", "\"http://127.0.0.1:1\"")
                .set("sink.retries", "0"),
            Self::Quarantined => setup
                .with_killer("endless", "")
                .set("models.run_timeout", "\"1s\""),
        }
    }

    /// Waits until the server is as its page says.
    fn settle(self, server: &Server) {
        match self {
            Self::Healthy => {
                server.wait_ready();
                server.wait_for("the services", || server.get("/ready").status == 200);
                server.wait_for("a full score", || server.status()["score"] == 100);
                refuse_once(server);
            }
            Self::CorruptModel => server.wait_for("the failure", || {
                let ready = server.get("/api/health/ready");
                let body = ready.json();
                body["checks"]["runtime_available"] == true && ready.text().contains("is failed")
            }),
            Self::NotAlive => {
                server.wait_ready();
                server.fault("heartbeat", "panic", 1000, None);
                server.wait_for("the verdict", || {
                    server.get_health("/api/health/live").status == 503
                });
            }
            Self::ChatModel => server.wait_ready(),
            Self::NoDatabase => server.wait_for("the database to be tried", || {
                !server.get("/ready").text().contains("not been opened")
            }),
            Self::NoSink => server.wait_for("the sink to be tried", || {
                server.get("/ready").text().contains("Connection refused")
            }),
            Self::Quarantined => {
                server.wait_for("both models", || {
                    let models = server.status()["models"].clone();
                    let is_ready = |index: usize| models[index]["state"] == "ready";
                    is_ready(0) && is_ready(1)
                });
                let killer = Picture::new(0).with_marker(ENDLESS);
                assert_eq!(killer.send(server, "endless").status, 422);
            }
        }
    }
}

/// Has readiness say no once, so that the log has a line about it as that of any pod has.
fn refuse_once(server: &Server) {
    let order = serde_json::json!({});
    server.post_health("/api/admin/drain", &order);
    assert_eq!(server.get("/api/health/ready").status, 503);
    server.delete_health("/api/admin/drain");
}

// === impl Site ===

impl Site {
    pub fn new(condition: Condition) -> Self {
        Self {
            condition,
            both: OnceCell::new(),
            inference: OnceCell::new(),
            logging: OnceCell::new(),
        }
    }

    /// Returns the server in both roles.
    pub fn both(&self) -> &Server {
        self.both.get_or_init(|| self.start("both"))
    }

    fn inference(&self) -> &Server {
        self.inference.get_or_init(|| self.start("inference"))
    }

    fn logging(&self) -> &Server {
        self.logging.get_or_init(|| self.start("logging"))
    }

    fn start(&self, role: &str) -> Server {
        let mut setup = self.condition.setup().set("role", &format!("{role:?}"));
        if role == "logging" {
            setup = setup.set("health.require_model", "false");
        }
        let server = setup.start();
        self.condition.settle(&server);
        server
    }

    /// Returns the port that stands behind one of the pages' ports.
    fn port(&self, named: &str) -> Option<u16> {
        Some(match named {
            "8080" => self.both().port,
            "8081" => self.both().health_port,
            "9000" => self.both().grpc_port,
            "8000" => self.inference().port,
            "8001" => self.logging().port,
            "8082" => self.logging().health_port,
            "9001" => self.logging().grpc_port,
            _ => return None,
        })
    }

    /// Puts the test's names in the place of the page's.
    pub fn localize(&self, command: &str) -> String {
        let mut text = String::new();
        let mut rest = command;
        while let Some((before, host)) = next_host(rest) {
            let after = &rest[before.len() + host.len()..];
            let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (named, after) = after.split_at(digits);
            text.push_str(before);
            match self.port(named) {
                Some(port) => text.push_str(&format!("127.0.0.1:{port}")),
                None => text.push_str(&format!("{host}{named}")),
            }
            rest = after;
        }
        text.push_str(rest);
        let text = text
            .replace("target/release/impetus ", "impetus ")
            .replace("<pod-name>", POD)
            .replace(" POD ", &format!(" {POD} "));
        let text = without_brackets(&text);
        self.with_fingerprint(self.in_the_pod(text))
    }

    /// Puts the test's folders in the place of the container's.
    fn in_the_pod(&self, text: String) -> String {
        if !text.contains("kubectl exec") {
            return text;
        }
        let folder = |name: &str| format!(" {}", self.both().dir.path().join(name).display());
        text.replace(" /models", &folder("models"))
            .replace(" /data", &folder("data"))
            .replace("/usr/local/share/impetus/models", "models")
    }

    fn with_fingerprint(&self, text: String) -> String {
        if self.condition != Condition::Quarantined || !text.contains("FINGERPRINT") {
            return text;
        }
        let list = self.both().get_health("/api/admin/quarantine").json();
        let fingerprint = list["quarantined"][0]["fingerprint"].as_str();
        text.replace("FINGERPRINT", fingerprint.unwrap_or("FINGERPRINT"))
    }
}

/// Takes the brackets off `<release>`, which stands for a word of the reader's own.
fn without_brackets(text: &str) -> String {
    let mut rest = text.split('<');
    let mut plain = rest.next().unwrap_or_default().to_owned();
    for part in rest {
        let is_letter = |c: char| c.is_ascii_lowercase() || c == '-';
        match part.split_once('>') {
            Some((word, after)) if !word.is_empty() && word.chars().all(is_letter) => {
                plain.push_str(word);
                plain.push_str(after);
            }
            _ => {
                plain.push('<');
                plain.push_str(part);
            }
        }
    }
    plain
}

/// Splits off what stands before the next `localhost:` or `127.0.0.1:`.
fn next_host(text: &str) -> Option<(&str, &str)> {
    let hosts = ["localhost:", "127.0.0.1:"];
    let found = hosts
        .iter()
        .filter_map(|host| text.find(host).map(|at| (at, host.len())));
    let (at, length) = found.min()?;
    Some((&text[..at], &text[at..at + length]))
}
