//! Servers that are killed under load: whatever was acknowledged is there, once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::database::batch;
use crate::harness::{Answer, Server, Setup, free_ports, new_agent};

/// Times a server is killed.
const KILLS: usize = 100;
/// Predictions of one request.
const BATCH: usize = 4;

/// How long each client of a load that goes on for minutes waits between two batches.
pub const PACE: Duration = Duration::from_millis(20);

/// Clients that log to whoever listens on a port, and send what was not acknowledged again until it
/// is.
pub struct Senders<'scope> {
    shared: Arc<Shared>,
    threads: Vec<ScopedJoinHandle<'scope, ()>>,
}

#[derive(Default)]
struct Shared {
    acknowledged: Mutex<BTreeSet<String>>,
    count: AtomicUsize,
    /// Attempts that did not end in an acknowledgement.
    refusals: AtomicUsize,
    is_over: AtomicBool,
    is_given_up: AtomicBool,
}

// === impl Senders ===

impl<'scope> Senders<'scope> {
    /// Starts clients that wait for their answers and for nothing else.
    pub fn start(scope: &'scope Scope<'scope, '_>, port: u16, clients: usize) -> Self {
        Self::paced(scope, port, clients, Duration::ZERO)
    }

    /// Starts clients that wait between two batches.
    pub fn paced(
        scope: &'scope Scope<'scope, '_>,
        port: u16,
        clients: usize,
        pace: Duration,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let client = |client| {
            let shared = Arc::clone(&shared);
            scope.spawn(move || shared.send(port, client, pace))
        };
        let threads = (0..clients).map(client).collect();
        Self { shared, threads }
    }

    /// Returns how many attempts did not end in an acknowledgement.
    pub fn refusals(&self) -> usize {
        self.shared.refusals.load(Ordering::Acquire)
    }

    /// Returns how many predictions have been acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.shared.count.load(Ordering::Acquire)
    }

    /// Waits until so many more have been.
    pub fn wait_for_more(&self, server: &Server, more: usize) {
        let enough = self.acknowledged() + more;
        server.wait_for("acknowledgements", || self.acknowledged() >= enough);
    }

    /// Ends the clients as soon as each has its last batch acknowledged, and returns the images of
    /// all predictions that were.
    pub fn finish(mut self) -> BTreeSet<String> {
        self.shared.is_over.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        std::mem::take(&mut *self.shared.acknowledged.lock().unwrap())
    }
}

impl Shared {
    fn send(&self, port: u16, client: usize, pace: Duration) {
        let agent = new_agent();
        let url = format!("http://127.0.0.1:{port}/log");
        for number in 0.. {
            let images = images(client, number);
            let names: Vec<&str> = images.iter().map(String::as_str).collect();
            let body = batch(&format!("line-{client}"), &names).to_string();
            let logged = || {
                let request = agent.post(&url).header("content-type", "application/json");
                let answer = request.send(body.as_bytes()).map(Answer::from).ok()?;
                (answer.status == 200).then_some(())
            };
            while logged().is_none() {
                self.refusals.fetch_add(1, Ordering::AcqRel);
                if self.is_given_up.load(Ordering::Acquire) {
                    return;
                }
                // Whoever starts the next server needs the processor more.
                std::thread::park_timeout(Duration::from_millis(2));
            }
            self.acknowledged.lock().unwrap().extend(images);
            self.count.fetch_add(BATCH, Ordering::AcqRel);
            if self.is_over.load(Ordering::Acquire) {
                return;
            }
            if !pace.is_zero() {
                std::thread::park_timeout(pace);
            }
        }
    }
}

impl Drop for Senders<'_> {
    /// A test that fails has no server any more that would acknowledge what is left.
    fn drop(&mut self) {
        self.shared.is_given_up.store(true, Ordering::Release);
        self.shared.is_over.store(true, Ordering::Release);
    }
}

/// Returns the images of one batch, the first of which shows a defect.
fn images(client: usize, number: usize) -> Vec<String> {
    let name = |index| match index {
        0 => format!("{client}-{number}-bad"),
        index => format!("{client}-{number}-{index}"),
    };
    (0..BATCH).map(name).collect()
}

/// Insists that a server has exactly these predictions, each once, and counts them as a recount
/// does.
pub fn assert_holds_exactly(server: &Server, acknowledged: &BTreeSet<String>) {
    let rows = all_rows(server);
    let image = |row: &Value| row["image_id"].as_str().unwrap().to_owned();
    assert_same(rows.iter().map(image).collect(), acknowledged);
    let stats = server.get("/stats").json();
    let defects = |row: &&Value| row["defect_detected"] == true;
    assert_eq!(stats["total"], json!(rows.len()), "{stats:#}");
    assert_eq!(
        stats["defects"],
        json!(rows.iter().filter(defects).count()),
        "{stats:#}"
    );
    let mut devices = BTreeMap::<&str, u64>::new();
    for row in &rows {
        *devices
            .entry(row["edge_device_id"].as_str().unwrap())
            .or_default() += 1;
    }
    for (device, rows) in &devices {
        assert_eq!(stats["by_device"][device]["total"], *rows, "{stats:#}");
    }
    assert_eq!(stats["devices"], json!(devices.len()), "{stats:#}");
}

/// Insists that these are the images that were acknowledged, each once.
pub fn assert_same(mut images: Vec<String>, acknowledged: &BTreeSet<String>) {
    let rows = images.len();
    images.sort();
    images.dedup();
    let there: BTreeSet<String> = images.into_iter().collect();
    let lost: Vec<_> = acknowledged.difference(&there).take(10).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let unknown: Vec<_> = there.difference(acknowledged).take(10).collect();
    assert!(unknown.is_empty(), "never acknowledged: {unknown:?}");
    assert_eq!(rows, there.len(), "some are there twice");
}

/// Reads every page.
pub fn all_rows(server: &Server) -> Vec<Value> {
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = server.get(&format!("/predictions?limit=1000{cursor}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut page = answer.json();
        rows.append(page["predictions"].as_array_mut().unwrap());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return rows,
        }
    }
}

/// The clients send what was not acknowledged again, so in the end all is there, and nothing twice.
#[test]
fn a_server_that_is_killed_a_hundred_times_under_load_loses_nothing() {
    let setup = Setup::without_models();
    let ports = free_ports();
    let mut server = start(setup, ports);
    let acknowledged = std::thread::scope(|scope| {
        let senders = Senders::start(scope, ports[0], 6);
        // Where in the course of requests and commits each kill falls is anybody's guess.
        let mut chance: u32 = 0x2545_f491;
        for _ in 0..KILLS {
            chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            senders.wait_for_more(&server, 1 + (chance >> 26) as usize);
            server.signal(Signal::KILL);
            server.wait_exit();
            server = start(Setup::in_dir(Arc::clone(&server.dir)), ports);
        }
        senders.finish()
    });
    assert!(acknowledged.len() > KILLS, "{}", acknowledged.len());
    server.wait_for("the database", || server.get("/ready").status == 200);
    assert_holds_exactly(&server, &acknowledged);
}

fn start(setup: Setup, ports: [u16; 3]) -> Server {
    setup.set("role", "\"logging\"").on_ports(ports).start()
}
