//! The wall clock of a serving server jumps by hours, forwards and back, as it does when a virtual
//! machine wakes up or somebody corrects it. What is shown to people follows; nothing that is
//! decided does.
//!
//! libfaketime stands between the server and its libc and shows it another wall clock; the
//! monotonic one stays as it is. A file says by how much.

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::database::batch;
use crate::edge::raw::Raw;
use crate::ending::last_run;
use crate::harness::killers::Picture;
use crate::harness::watch::LivenessWatch;
use crate::harness::{Server, Setup, repo, signal_process};

const MODEL: &str = "endless";

const HOUR: i64 = 3600;

/// Each from the true time: what follows on another may be a leap of more than a day.
const JUMPS: [i64; 4] = [5 * HOUR, -26 * HOUR, 24 * 400 * HOUR, 0];

#[test]
fn a_wall_clock_that_jumps_by_hours_changes_what_is_shown_and_nothing_else() {
    let setup = Setup::without_models()
        .with_killer(MODEL, "")
        .set("models.workers", "1")
        .set("models.run_timeout", "\"3s\"")
        .set("http.request_timeout", "\"55s\"")
        .set("models.recovery_floor", "\"1m\"")
        .set("http.client_header_timeout", "\"1m\"")
        .set("health.evaluate_every", "\"200ms\"")
        .set("forensics.max_files", "2")
        .set("lifecycle.lame_duck", "\"2s\"");
    let wall = Wall::of(&setup);
    let mut server = wall.shown_to(setup).start_ready();
    server.wait_for("the database", || server.get("/ready").status == 200);
    let killer = Picture::new(1).with_marker(2.0);
    assert_eq!(killer.send(&server, MODEL).status, 422);
    // It cost two workers, and is answered before the third has begun.
    server.wait_for("the worker after the killed ones", || {
        server.expect_actor("worker:endless/0")["generation"] == 3
    });
    let watch = LivenessWatch::start(&server);
    let crowd = Crowd::default();
    std::thread::scope(|scope| {
        let _over = Over(&crowd);
        for client in 0..4 {
            let (crowd, server) = (&crowd, &server);
            scope.spawn(move || crowd.send(server, client));
        }
        for (number, jump) in JUMPS.into_iter().enumerate() {
            let before = Before::of(&server);
            let mut slow = Raw::connect(server.port);
            slow.send(b"GET /api/health/live HTTP/1.1\r\nhost: local");
            wall.jump(jump);
            server.wait_for("the other time to be shown", || {
                (shown(&server) - now() - jump).abs() < 600
            });
            slow.send(b"host\r\n\r\n");
            assert_eq!(slow.answer().status, 200);
            before.assert_unaffected(&server);
            assert_eq!(killer.send(&server, MODEL).status, 422);
            assert_logs_once(&server, number);
            assert_heals(&server);
            crowd.wait_for_more(&server);
        }
    });
    watch.assert_always_alive();
    let complaints = crowd.complaints.into_inner().unwrap();
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert_ends_in_order(&mut server, &wall);
}

/// The wall clock that a server is shown.
struct Wall {
    file: PathBuf,
}

// === impl Wall ===

impl Wall {
    fn of(setup: &Setup) -> Self {
        let file = setup.path().join("wall-clock");
        let wall = Self { file };
        wall.jump(0);
        wall
    }

    fn shown_to(&self, setup: Setup) -> Setup {
        let library = library();
        setup
            .env("LD_PRELOAD", library.to_str().unwrap())
            .env("FAKETIME_TIMESTAMP_FILE", self.file.to_str().unwrap())
            .env("FAKETIME_NO_CACHE", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
    }

    /// Puts the clock so many seconds off the true time. The file is never seen half written.
    fn jump(&self, seconds: i64) {
        let draft = self.file.with_extension("new");
        fs::write(&draft, format!("{seconds:+}\n")).unwrap();
        fs::rename(draft, &self.file).unwrap();
    }
}

fn library() -> PathBuf {
    let folder = repo().join(".test/debian/faketime/usr/lib");
    let found = fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut found = found.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    found
        .find(|library| library.exists())
        .unwrap_or_else(|| panic!("no libfaketime: run scripts/install-faketime.sh"))
}

/// What a jump must leave alone.
struct Before {
    uptime: f64,
    beats: u64,
    restarts: Vec<(String, Value)>,
    hangs: Value,
}

// === impl Before ===

impl Before {
    fn of(server: &Server) -> Self {
        let status = server.status();
        Self {
            uptime: status["uptime_seconds"].as_f64().unwrap(),
            beats: beats(server),
            restarts: restarts(&status["actors"]),
            hangs: status["models"][0]["losses"]["hang"].clone(),
        }
    }

    fn assert_unaffected(&self, server: &Server) {
        server.wait_for("the heart to beat on", || beats(server) >= self.beats + 3);
        server.wait_for("a healthy evaluation", || {
            server.status()["consecutive_failures"] == 0
        });
        let status = server.status();
        let uptime = status["uptime_seconds"].as_f64().unwrap();
        // The shortest jump is an hour.
        let passed = uptime - self.uptime;
        assert!((0.0..HOUR as f64 / 2.0).contains(&passed), "{passed}");
        assert!(status["heartbeat_age_seconds"].as_f64().unwrap() < 15.0);
        assert_eq!(status["phase"], "serving");
        assert_eq!(restarts(&status["actors"]), self.restarts, "{status:#}");
        assert_eq!(status["models"][0]["losses"]["hang"], self.hangs);
        for path in ["/api/health/ready", "/ready"] {
            for answer in server.get_both(path) {
                assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            }
        }
    }
}

fn beats(server: &Server) -> u64 {
    let beats = server.expect_actor("heartbeat")["details"]["beats"].clone();
    beats.as_str().unwrap().parse().unwrap()
}

/// Returns how often each actor was restarted.
fn restarts(actors: &Value) -> Vec<(String, Value)> {
    let actors = actors.as_array().unwrap().iter();
    actors
        .flat_map(|actor| {
            let name = actor["name"].as_str().unwrap().to_owned();
            let own = (name, actor["generation"].clone());
            [vec![own], restarts(&actor["children"])].concat()
        })
        .collect()
}

/// Returns the time that the server shows, in seconds.
fn shown(server: &Server) -> i64 {
    let live = server.get_health("/api/health/live").json();
    let shown = OffsetDateTime::parse(live["timestamp"].as_str().unwrap(), &Rfc3339);
    shown.unwrap().unix_timestamp()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the true time is what the shown one is compared with"
)]
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

/// Logs a prediction twice, which makes one row with the time that its sender has given.
fn assert_logs_once(server: &Server, number: usize) {
    let image = format!("good-{number}");
    for _ in 0..2 {
        let logged = server.post_json("/log", &batch("line-1", &[&image]));
        assert_eq!(logged.status, 200, "{}", logged.text());
    }
    let page = server
        .get("/predictions?limit=1000&edge_device_id=line-1")
        .json();
    let rows = page["predictions"].as_array().unwrap();
    let of_image: Vec<&Value> = rows
        .iter()
        .filter(|row| row["image_id"] == image.as_str())
        .collect();
    assert_eq!(of_image.len(), 1, "{page:#}");
    assert_eq!(of_image[0]["timestamp"], "2025-01-01T12:00:00Z");
    let stats = server.get("/stats").json();
    assert_eq!(stats["by_device"]["line-1"]["total"], number + 1);
}

/// Has the worker crash: another one takes over, and what is known of the crash is kept, however
/// much older or younger the files before it seem to be.
fn assert_heals(server: &Server) {
    let worker = server.workers()[0];
    signal_process(worker, Signal::SEGV);
    server.wait_for("another worker", || {
        server.workers().first().is_some_and(|next| *next != worker)
    });
    let of_worker = format!("\"pid\": {worker}");
    let dense = of_worker.replace(' ', "");
    server.wait_for("the record of the crash", || {
        let files = fs::read_dir(server.dir.path().join("data/forensics")).unwrap();
        let mut texts = files
            .flatten()
            .filter_map(|file| fs::read_to_string(file.path()).ok());
        texts.any(|text| text.contains(&of_worker) || text.contains(&dense))
    });
}

/// The lame-duck time is as long as it is meant to be, although the clock leaps beyond its end.
fn assert_ends_in_order(server: &mut Server, wall: &Wall) {
    server.signal(Signal::TERM);
    server.wait_for("the lame-duck time", || {
        server.status()["phase"] == "lame_duck"
    });
    wall.jump(7 * HOUR);
    assert_eq!(server.wait_exit_code(), Some(0));
    let steps = last_run(server)["steps"].clone();
    assert_eq!(steps[0]["outcome"], "done", "{steps:#}");
    let seconds = steps[0]["seconds"].as_f64().unwrap();
    assert!((2.0..HOUR as f64).contains(&seconds), "{steps:#}");
}

/// Sends the clients home, also when the test has failed.
struct Over<'a>(&'a Crowd);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
    }
}

/// Clients that go on all the time.
#[derive(Default)]
struct Crowd {
    over: AtomicBool,
    answered: AtomicUsize,
    complaints: Mutex<Vec<String>>,
}

// === impl Crowd ===

impl Crowd {
    fn send(&self, server: &Server, client: usize) {
        let mut number = client;
        while !self.over.load(Ordering::SeqCst) {
            let picture = Picture::new(number);
            let complaint = match picture.try_send(server, MODEL, None) {
                Ok(answer) if answer.status == 200 && answer.json()["class"] == picture.class => {
                    None
                }
                Ok(answer) => Some(format!("{}: {}", answer.status, answer.text())),
                Err(error) => Some(error.to_string()),
            };
            self.complaints.lock().unwrap().extend(complaint);
            self.answered.fetch_add(1, Ordering::SeqCst);
            number += 1;
        }
    }

    fn wait_for_more(&self, server: &Server) {
        let so_far = self.answered.load(Ordering::SeqCst);
        server.wait_for("more answers", || {
            self.answered.load(Ordering::SeqCst) > so_far + 20
        });
    }
}
