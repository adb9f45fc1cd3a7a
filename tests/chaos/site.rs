//! The server under test, its models, and the small disk it writes to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row};

use crate::agent;
use crate::harness::disks::Mount;
use crate::harness::processes::has_ended;
use crate::harness::{PATIENCE, Server, Setup, copy_folder, repo};
use crate::schedule::{MODELS, WORKERS, Worker};

/// What differs from the defaults, so that a short run meets many faults.
const SETTINGS: [(&str, &str); 4] = [
    // A line for each prediction would be most of what the test keeps in memory.
    ("log_level", "\"info,impetus::http=warn\""),
    // A hang is found in a second; a request still outlives several of them.
    ("http.request_timeout", "\"10s\""),
    // Every actor falls several times a minute here, for as long as the run lasts. What becomes of
    // one that falls more often than it may is the business of other tests.
    ("supervision.restarts", "10"),
    ("supervision.stable_after", "\"5s\""),
];

/// Holds the database of the longest run, and is soon full.
const DISK: &str = "size=96m";

pub struct Site {
    pub server: Server,
    /// Where the data are, if this process may mount; a plain folder otherwise.
    pub disk: Option<Mount>,
    agent: ureq::Agent,
}

// === impl Site ===

impl Site {
    /// Starts the server and waits until every model has all its workers.
    pub fn open() -> Self {
        let disk = Mount::try_new(DISK);
        // Symbols for the traces of injected panics would be most of what the server holds.
        let mut setup = Setup::new()
            .env("RUST_BACKTRACE", "0")
            .set("models.workers", &WORKERS.to_string());
        for (key, value) in SETTINGS {
            setup = setup.set(key, value);
        }
        if let Some(disk) = &disk {
            setup = setup.set("data.dir", &format!("{:?}", disk.path()));
        }
        for model in MODELS.iter().filter(|model| **model != "surface") {
            let target = setup.path().join("models").join(model);
            copy_folder(&repo().join("tests/models").join(model), &target);
        }
        let site = Self {
            server: setup.start_ready(),
            disk,
            agent: agent(PATIENCE),
        };
        site.server.wait_for("every worker of every model", || {
            site.status().is_some_and(|status| all_ready(&status))
        });
        site.server
            .wait_for("the database", || site.server.get("/ready").status == 200);
        site
    }

    /// Returns the folder that the server writes to.
    pub fn data(&self) -> PathBuf {
        match &self.disk {
            Some(disk) => disk.path().to_owned(),
            None => self.server.dir.path().join("data"),
        }
    }

    /// Returns the status, if the server gives it.
    pub fn status(&self) -> Option<Value> {
        let url = self.server.health_url("/api/health/status");
        let mut answer = self.agent.get(url).call().ok()?;
        answer.body_mut().read_json().ok()
    }

    /// Tells whether the server is gone, which it is never to be before it is told to end.
    pub fn is_gone(&self) -> bool {
        has_ended(self.server.pid())
    }

    /// Ends the server in order and returns its code, if it ended by itself.
    pub fn end(&mut self) -> Option<i32> {
        self.server.signal(Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        while !self.is_gone() {
            if Instant::now() > deadline {
                return None;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        self.server.wait_exit_code()
    }

    /// Counts the rows of each image in the table of a server that has ended, of those that were
    /// sent to it: those of the server's own predictions are nobody's promise.
    pub fn rows(&self) -> BTreeMap<String, usize> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let options = SqliteConnectOptions::new().filename(self.data().join("predictions.db"));
        let statement = "SELECT json_extract(body, '$.image_id'), count(*) FROM predictions \
                         WHERE json_extract(body, '$.protocol') IS NULL GROUP BY 1";
        let rows = runtime.block_on(async {
            let mut connection = options.connect().await.unwrap();
            sqlx::query(statement)
                .fetch_all(&mut connection)
                .await
                .unwrap()
        });
        rows.iter()
            .map(|row| (row.get(0), usize::try_from(row.get::<i64, _>(1)).unwrap()))
            .collect()
    }
}

/// Tells whether every model has all its workers.
pub fn all_ready(status: &Value) -> bool {
    MODELS
        .iter()
        .all(|name| model(status, name).is_some_and(|model| model["state"] == "ready"))
}

pub fn model<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    let models = status["models"].as_array()?;
    models.iter().find(|model| model["name"] == name)
}

/// Returns generation and process id of a worker that serves.
pub fn serving(status: &Value, worker: Worker) -> Option<(u64, u32)> {
    let workers = model(status, worker.model)?["workers"].as_array()?;
    let found = workers
        .iter()
        .find(|one| one["actor"] == worker.actor() && one["state"] == "ready")?;
    let pid = u32::try_from(found["pid"].as_u64()?).ok()?;
    Some((found["generation"].as_u64()?, pid))
}
