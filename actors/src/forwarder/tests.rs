//! Against a sink that does what a test tells it, behind a real writer and a real file.

mod fake_sink;

use impetus_supervision::{ActorStatus, Fault, Running, SupervisorSpec, System, SystemClock};
use serde_json::json;
use tempfile::TempDir;

use self::fake_sink::FakeSink;
use super::*;
use crate::db_writer::{self, DB_WRITER};
use crate::predlog::{ImpetusSettings, LogBatch, PredictionLog, PredictionLogConfig, SinkTarget};

/// No test is meant to take this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A file and a sink tell nobody when they change, so they are looked at again and again until
/// [`PATIENCE`] is over; nothing is ever waited for by time alone.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

struct Fixture {
    folder: TempDir,
    system: Running,
    log: PredictionLog,
    sink: FakeSink,
}

impl Fixture {
    fn start(change: impl FnOnce(&mut SinkSettings)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::start_in(folder, FakeSink::default(), change)
    }

    fn start_in(folder: TempDir, sink: FakeSink, change: impl FnOnce(&mut SinkSettings)) -> Self {
        Self::start_with(folder, sink, change, |_| {})
    }

    fn start_with(
        folder: TempDir,
        sink: FakeSink,
        change: impl FnOnce(&mut SinkSettings),
        configure: impl FnOnce(&mut PredictionLogConfig),
    ) -> Self {
        let mut settings = SinkSettings {
            target: SinkTarget::Impetus(ImpetusSettings {
                url: "http://127.0.0.1:1".into(),
                ca_file: None,
                batch: 4,
                batch_timeout: Duration::from_millis(1),
            }),
            within: PATIENCE,
            retries: 2,
            retry_after: Duration::from_millis(1),
            cool_down: Duration::from_millis(10),
            max_backlog: 1 << 30,
            max_age: None,
        };
        change(&mut settings);
        let mut config = PredictionLogConfig::in_folder(folder.path());
        config.retry_after = Duration::from_millis(5);
        config.check_every = Duration::from_millis(200);
        config.sink = Some(settings.clone());
        configure(&mut config);
        let clock = Arc::new(SystemClock::new());
        let (writer, log) = db_writer::child(config.clone(), clock.clone());
        let shared = log.to_forward(&config, settings);
        let made = sink.clone();
        let forwarder = child(shared, move || made.clone());
        let root = SupervisorSpec::new("root").child(writer).child(forwarder);
        let system = System::builder().clock(clock).start(root).expect("starts");
        Self {
            folder,
            system,
            log,
            sink,
        }
    }

    async fn log(&self, images: std::ops::Range<usize>) {
        let batch = batch(images);
        // The writer may be starting, or be replaced.
        let logged = async {
            while let Err(error) = self.log.log(batch.clone(), PATIENCE).await {
                assert!(error.is_retryable(), "{error}");
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        timeout(PATIENCE, logged).await.expect("it can be logged");
    }

    /// Waits until the sink has so many predictions, and the file none.
    async fn until_forwarded(&self, predictions: usize) {
        eventually("all is forwarded", || self.sink.has() == predictions).await;
        self.until_in_file(0).await;
    }

    async fn until_in_file(&self, rows: usize) {
        let left = async {
            while self.rows_in_file().await != rows {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        timeout(PATIENCE, left).await.expect("the others leave it");
    }

    async fn rows_in_file(&self) -> usize {
        let reader = Arc::clone(&self.shared().reader);
        reader
            .landed(0, 100_000)
            .await
            .map_or(usize::MAX, |rows| rows.len())
    }

    fn shared(&self) -> Shared {
        let config = PredictionLogConfig::in_folder(self.folder.path());
        let settings = SinkSettings {
            target: SinkTarget::Impetus(ImpetusSettings {
                url: "http://127.0.0.1:1".into(),
                ca_file: None,
                batch: 1,
                batch_timeout: PATIENCE,
            }),
            within: PATIENCE,
            retries: 0,
            retry_after: PATIENCE,
            cool_down: PATIENCE,
            max_backlog: 0,
            max_age: None,
        };
        self.log.to_forward(&config, settings)
    }

    fn state(&self) -> Arc<SinkState> {
        self.log.status().sink().expect("there is a sink").state()
    }

    fn actor(&self, name: &str) -> ActorStatus {
        self.system
            .board()
            .get(&name.into())
            .expect("it is on the board")
    }
}

/// Returns a batch with one prediction for each image.
fn batch(images: std::ops::Range<usize>) -> LogBatch {
    let prediction = |image: usize| {
        json!({"image_id": format!("image {image}"), "timestamp": "2025-01-01T12:00:00Z",
            "model_version": "1", "model_name": "surface", "inference_time_ms": 4.25,
            "detections": [], "defect_detected": false})
    };
    let batch = json!({"predictions": images.map(prediction).collect::<Vec<_>>()});
    LogBatch::parse(batch.to_string().as_bytes()).expect("a good batch")
}

/// Returns what is left of a system that has ended in order with ten rows in its file, and the sink
/// that was away and is back.
async fn ended_with_rows_waiting() -> (TempDir, FakeSink) {
    let fixture = Fixture::start(|_| {});
    fixture.sink.books(|books| books.failing = Some("away"));
    fixture.log(0..10).await;
    let Fixture {
        folder,
        system,
        sink,
        ..
    } = fixture;
    let report = system.stop(PATIENCE).await;
    assert!(report.clean, "{report:?}");
    sink.books(|books| books.failing = None);
    (folder, sink)
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    assert!(
        timeout(PATIENCE, holds).await.is_ok(),
        "never happened: {what}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_logged_is_taken_to_the_sink_once_and_leaves_the_file() {
    let fixture = Fixture::start(|_| {});
    for part in 0..10 {
        fixture.log(part * 10..(part + 1) * 10).await;
    }
    fixture.until_forwarded(100).await;
    let most = fixture
        .sink
        .books(|books| *books.batches.iter().max().expect("there were some"));
    assert!(most <= 4, "{most} in one batch");
    let snapshot = fixture.log.status().snapshot();
    assert_eq!((snapshot.forwarded, snapshot.refused_by_sink), (100, 0));
    assert_eq!(*fixture.state(), SinkState::Connected);
    assert_eq!(fixture.log.status().snapshot().errors, 0);
}

/// Small batches wait for others, and no longer than they may.
#[tokio::test(flavor = "multi_thread")]
async fn fewer_than_a_batch_wait_for_company_and_then_go_alone() {
    let wait = |settings: &mut SinkSettings, batch_timeout| {
        settings.target = SinkTarget::Impetus(ImpetusSettings {
            url: "http://127.0.0.1:1".into(),
            ca_file: None,
            batch: 4,
            batch_timeout,
        });
    };
    let patient = Fixture::start(|settings| wait(settings, 2 * PATIENCE));
    patient.log(0..3).await;
    patient.log(3..5).await;
    eventually("a batch is full", || patient.sink.has() == 4).await;
    assert_eq!(patient.sink.books(|books| books.batches.clone()), [4]);
    // What the sink has does not wait with the one that is left.
    patient.until_in_file(1).await;

    let brief = Fixture::start(|settings| wait(settings, Duration::from_millis(50)));
    brief.log(0..3).await;
    brief.until_forwarded(3).await;
    assert_eq!(brief.sink.books(|books| books.batches.clone()), [3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_fails_is_a_state_and_everything_waits_for_it() {
    let fixture = Fixture::start(|_| {});
    fixture
        .sink
        .books(|books| books.failing = Some("connection refused"));
    fixture.log(0..10).await;
    let unreachable = || matches!(&*fixture.state(), SinkState::Unreachable { reason, .. } if &**reason == "connection refused");
    eventually("the sink counts as unreachable", unreachable).await;
    assert_eq!(fixture.rows_in_file().await, 10);
    let forwarder = fixture.actor(FORWARDER);
    assert_eq!(
        (forwarder.restarts, forwarder.note.as_deref()),
        (0, Some("connection refused"))
    );
    fixture.sink.books(|books| books.failing = None);
    fixture.until_forwarded(10).await;
    assert_eq!(*fixture.state(), SinkState::Connected);
}

/// An idle sink is asked as well: nobody has to log something to learn that it is away, or back.
#[tokio::test(flavor = "multi_thread")]
async fn a_sink_is_asked_for_while_there_is_nothing_to_take_to_it() {
    let fixture = Fixture::start(|_| {});
    eventually("it is there", || *fixture.state() == SinkState::Connected).await;
    fixture.sink.books(|books| books.failing = Some("gone"));
    eventually("it is away", || fixture.state().reason().is_some()).await;
    fixture.sink.books(|books| books.failing = None);
    eventually("it is back", || *fixture.state() == SinkState::Connected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_hangs_is_given_up_and_tried_again() {
    let fixture = Fixture::start(|settings| settings.within = Duration::from_millis(50));
    fixture.sink.books(|books| books.hanging = true);
    fixture.log(0..10).await;
    eventually("it is given up", || {
        matches!(&*fixture.state(), SinkState::Unreachable { reason, .. } if reason.contains("no answer in time"))
    })
    .await;
    fixture.sink.books(|books| books.hanging = false);
    fixture.until_forwarded(10).await;
    assert_eq!(fixture.actor(FORWARDER).restarts, 0);
}

/// What was taken and not acknowledged is handed over again, which the keys tell.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_loses_no_row() {
    let fixture = Fixture::start(|_| {});
    fixture.sink.books(|books| books.forgetful = true);
    fixture.log(0..10).await;
    fixture.until_forwarded(10).await;
    let again = fixture
        .sink
        .books(|books| books.rows.values().filter(|times| **times > 1).count());
    assert!(again > 0, "the batch was handed over once more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_refused_stands_in_nobody_s_way() {
    let fixture = Fixture::start(|_| {});
    fixture
        .sink
        .books(|books| books.refuses = Some("image 5\""));
    fixture.log(0..10).await;
    fixture.until_forwarded(9).await;
    let snapshot = fixture.log.status().snapshot();
    assert_eq!((snapshot.forwarded, snapshot.refused_by_sink), (9, 1));
}

/// Both actors are killed over and over, and every row is there in the end.
#[tokio::test(flavor = "multi_thread")]
async fn actors_that_panic_lose_nothing() {
    let fixture = Fixture::start(|_| {});
    for round in 0..8 {
        fixture.log(round * 25..(round + 1) * 25).await;
        let victim = if round % 2 == 0 { FORWARDER } else { DB_WRITER };
        fixture.system.faults().arm(&victim.into(), Fault::Panic, 1);
    }
    fixture.log(200..210).await;
    fixture.until_forwarded(210).await;
    let restarts = || fixture.actor(FORWARDER).restarts + fixture.actor(DB_WRITER).restarts;
    eventually("they were replaced", || restarts() > 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_forwarded_before_the_end_is_forwarded_after_the_start() {
    let (folder, sink) = ended_with_rows_waiting().await;
    let fixture = Fixture::start_in(folder, sink, |_| {});
    fixture.until_forwarded(10).await;
}

/// A sink that hangs does not hold up the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_sink_is_left_at_once_when_the_server_ends() {
    let fixture = Fixture::start(|_| {});
    fixture.sink.books(|books| books.hanging = true);
    fixture.log(0..10).await;
    let busy = || {
        fixture
            .actor(FORWARDER)
            .progress
            .is_some_and(|progress| progress.item.starts_with("forward "))
    };
    eventually("it is with the sink", busy).await;
    let report = fixture.system.stop(PATIENCE).await;
    assert!(report.clean, "{report:?}");
}

/// Rows of a new file have the numbers of those that were taken out of the old one.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_new_file_are_not_taken_for_those_of_the_old_one() {
    let fixture = Fixture::start(|_| {});
    fixture.log(0..10).await;
    fixture.until_forwarded(10).await;
    fixture.sink.books(|books| books.failing = Some("away"));
    fixture.log(10..20).await;
    for suffix in ["", "-wal", "-shm"] {
        let file = fixture
            .folder
            .path()
            .join(format!("predictions.db{suffix}"));
        std::fs::rename(&file, file.with_extension(format!("old{suffix}"))).expect("moved");
    }
    let generation = || fixture.log.status().file_generation();
    eventually("the file is begun anew", || generation() > 0).await;
    fixture.log(20..30).await;
    fixture.sink.books(|books| books.failing = None);
    fixture.until_forwarded(20).await;
}

/// Nobody has to log something for it.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_file_that_is_put_in_place_are_forwarded() {
    let other = Fixture::start(|_| {});
    other.sink.books(|books| books.failing = Some("away"));
    other.log(10..20).await;
    let report = other.system.stop(PATIENCE).await;
    assert!(report.clean, "{report:?}");

    let fixture = Fixture::start(|_| {});
    fixture.log(0..10).await;
    fixture.until_forwarded(10).await;
    let path = |of: &Fixture, name: &str| of.folder.path().join(name);
    for suffix in ["", "-wal", "-shm"] {
        let file = path(&fixture, &format!("predictions.db{suffix}"));
        std::fs::rename(&file, file.with_extension(format!("old{suffix}"))).expect("moved");
    }
    let file = path(&other, "predictions.db");
    std::fs::rename(file, path(&fixture, "predictions.db")).expect("moved");
    fixture.until_forwarded(20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_has_a_bound_and_what_is_beyond_it_is_refused() {
    let fixture = Fixture::start(|settings| settings.max_backlog = 256 << 10);
    fixture.sink.books(|books| books.failing = Some("away"));
    let filled = async {
        for part in 0.. {
            let images = part * 1_000..(part + 1) * 1_000;
            let batch = batch(images);
            match fixture.log.log(batch.clone(), PATIENCE).await {
                Err(error) if error.to_string().contains("sink.max_backlog") => {
                    let recorded = fixture.log.record(batch);
                    assert!(recorded.is_err(), "nor what nobody waits for");
                    return;
                }
                _ => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    };
    timeout(PATIENCE, filled).await.expect("it has a bound");
    assert_eq!(fixture.log.status().snapshot().dropped, 1_000);
    fixture.sink.books(|books| books.failing = None);
    eventually("there is room again", || {
        !fixture.log.status().backlog_is_full()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_waited_too_long_is_given_up_and_counted() {
    let fixture = Fixture::start(|settings| settings.max_age = Some(Duration::from_millis(300)));
    fixture.sink.books(|books| books.failing = Some("away"));
    fixture.log(0..10).await;
    eventually("they are given up", || {
        fixture.log.status().snapshot().expired == 10
    })
    .await;
    assert_eq!(fixture.rows_in_file().await, 0);
    assert_eq!(fixture.sink.has(), 0);
}

/// Where the disk is full nothing is better than taking rows away.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_does_not_keep_rows_from_their_sink() {
    let (folder, sink) = ended_with_rows_waiting().await;
    let fixture = Fixture::start_with(
        folder,
        sink,
        |_| {},
        |config| {
            // No disk has that much.
            config.disk_reserve = u64::MAX;
        },
    );
    fixture.until_forwarded(10).await;
    let database = fixture.log.status().snapshot().database;
    let says_full = matches!(
        &*database,
        crate::predlog::DatabaseState::Unavailable { reason, .. } if reason.contains("disk is full")
    );
    assert!(says_full, "{database:?}");
}
