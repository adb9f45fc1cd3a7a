//! Servers that are killed under load: whatever was acknowledged is there, once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{Scope, ScopedJoinHandle};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::database::batch;
use crate::harness::{Answer, Server, Setup, free_ports, new_agent};

/// Times a server is killed.
const KILLS: usize = 100;
/// Predictions of one request.
const BATCH: usize = 4;

/// Clients that log without a pause, to whoever listens on a port, and send what was not
/// acknowledged again until it is.
pub struct Senders<'scope> {
    shared: Arc<Shared>,
    threads: Vec<ScopedJoinHandle<'scope, ()>>,
}

#[derive(Default)]
struct Shared {
    acknowledged: Mutex<BTreeSet<String>>,
    count: AtomicUsize,
    is_over: AtomicBool,
}

// === impl Senders ===

impl<'scope> Senders<'scope> {
    pub fn start(scope: &'scope Scope<'scope, '_>, port: u16, clients: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let client = |client| {
            let shared = Arc::clone(&shared);
            scope.spawn(move || shared.send(port, client))
        };
        let threads = (0..clients).map(client).collect();
        Self { shared, threads }
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
    pub fn finish(self) -> BTreeSet<String> {
        self.shared.is_over.store(true, Ordering::Release);
        for thread in self.threads {
            thread.join().unwrap();
        }
        std::mem::take(&mut *self.shared.acknowledged.lock().unwrap())
    }
}

impl Shared {
    fn send(&self, port: u16, client: usize) {
        let agent = new_agent();
        let url = format!("http://127.0.0.1:{port}/log");
        for number in 0.. {
            let images: Vec<String> = (0..BATCH)
                .map(|index| format!("{client}-{number}-{index}"))
                .collect();
            let names: Vec<&str> = images.iter().map(String::as_str).collect();
            let body = batch(&format!("line-{client}"), &names).to_string();
            let logged = || {
                let request = agent.post(&url).header("content-type", "application/json");
                let answer = request.send(body.as_bytes()).map(Answer::from).ok()?;
                (answer.status == 200).then_some(())
            };
            // A server that is gone refuses at once: nothing but the next attempt is to be done.
            while logged().is_none() {
                std::thread::yield_now();
            }
            self.acknowledged.lock().unwrap().extend(images);
            self.count.fetch_add(BATCH, Ordering::AcqRel);
            if self.is_over.load(Ordering::Acquire) {
                return;
            }
        }
    }
}

/// Insists that a server has exactly these predictions, each once, and counts them so.
pub fn assert_holds_exactly(server: &Server, acknowledged: &BTreeSet<String>) {
    let (mut there, mut rows, mut cursor) = (BTreeSet::new(), 0, String::new());
    loop {
        let answer = server.get(&format!("/predictions?limit=1000{cursor}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let page = answer.json();
        let predictions = page["predictions"].as_array().unwrap();
        rows += predictions.len();
        let image = |prediction: &Value| prediction["image_id"].as_str().unwrap().to_owned();
        there.extend(predictions.iter().map(image));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let lost: Vec<_> = acknowledged.difference(&there).take(10).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let unknown: Vec<_> = there.difference(acknowledged).take(10).collect();
    assert!(unknown.is_empty(), "never acknowledged: {unknown:?}");
    assert_eq!(rows, there.len(), "some are there twice");
    let stats = server.get("/stats").json();
    assert_eq!(stats["total"], json!(rows), "{stats:#}");
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
    assert_holds_exactly(&server, &acknowledged);
}

fn start(setup: Setup, ports: [u16; 3]) -> Server {
    setup.set("role", "\"logging\"").on_ports(ports).start()
}
