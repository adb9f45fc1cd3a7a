//! The prediction log as its users see it: a real system of actors, a real SQLite file, and
//! somebody who gets in the way.

#[path = "predlog_writer/damage.rs"]
mod damage;
#[path = "predlog_writer/recorded.rs"]
mod recorded;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use impetus_actors::db_writer::{self, DB_WRITER};
use impetus_actors::predlog::{
    Ack, DatabaseState, LogBatch, LogError, LogSnapshot, PredictionLog, PredictionLogConfig, Query,
};
use impetus_supervision::{
    ActorState, ActorStatus, Fault, Running, SupervisorSpec, System, SystemClock,
};
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tempfile::TempDir;

/// No test is meant to take this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A system with nothing in it but the writer.
struct Fixture {
    folder: TempDir,
    config: PredictionLogConfig,
    system: Running,
    log: PredictionLog,
}

impl Fixture {
    /// Starts in an empty folder, with waits that suit a test.
    fn start(change: impl FnOnce(&mut PredictionLogConfig)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = PredictionLogConfig::in_folder(folder.path().join("data"));
        config.retry_after = Duration::from_millis(5);
        // A check that waits for a lock stands in the way of what most tests are about.
        config.check_every = 2 * PATIENCE;
        change(&mut config);
        Self::start_in(folder, config)
    }

    fn start_in(folder: TempDir, config: PredictionLogConfig) -> Self {
        let clock = Arc::new(SystemClock::new());
        let (child, log) = db_writer::child(config.clone(), clock.clone());
        let root = SupervisorSpec::new("root").child(child);
        let system = System::builder().clock(clock).start(root).expect("starts");
        Self {
            folder,
            config,
            system,
            log,
        }
    }

    async fn connected(change: impl FnOnce(&mut PredictionLogConfig)) -> Self {
        let fixture = Self::start(change);
        fixture.until("connected", |status| status.connected).await;
        fixture
    }

    /// Waits until the published figures are as expected.
    async fn until(&self, what: &str, expected: impl Fn(&LogSnapshot) -> bool) {
        let status = self.log.status();
        eventually(what, || expected(&status.snapshot())).await;
    }

    async fn until_unavailable(&self, because: &str) {
        let says_so = |status: &LogSnapshot| match &*status.database {
            DatabaseState::Unavailable { reason, .. } => reason.contains(because),
            _ => false,
        };
        self.until(because, says_so).await;
    }

    /// Waits until so many batches wait for the writer.
    async fn until_queued(&self, batches: usize) {
        let queued = || self.actor().mailbox.map_or(0, |mailbox| mailbox.depth);
        eventually("they queue", || queued() >= batches).await;
    }

    /// Waits until the writer has a batch in hand.
    async fn until_committing(&self) {
        let item = || self.actor().progress.map(|progress| progress.item);
        let is_commit = |item: String| item.starts_with("commit");
        eventually("it begins to commit", || item().is_some_and(is_commit)).await;
    }

    fn actor(&self) -> ActorStatus {
        self.system
            .board()
            .get(&DB_WRITER.into())
            .expect("the writer is on the board")
    }

    async fn log(&self, image: &str) -> Result<Ack, LogError> {
        self.log.log(batch(&[image]), PATIENCE).await
    }

    /// Logs one batch per image from as many tasks.
    fn log_apart(&self, images: &[String]) -> Vec<tokio::task::JoinHandle<Result<Ack, LogError>>> {
        let task = |image: &String| {
            let (log, batch) = (self.log.clone(), batch(&[image]));
            tokio::spawn(async move { log.log(batch, PATIENCE).await })
        };
        images.iter().map(task).collect()
    }

    /// Returns the images that can be read, in the order of their names.
    async fn images(&self) -> Vec<String> {
        let query = Query {
            limit: Some(1000),
            ..Query::default()
        };
        let page = self.log.predictions(&query).await.expect("a page");
        let image = |found: &serde_json::Map<_, _>| found["image_id"].as_str().map(str::to_owned);
        let mut images: Vec<_> = page.predictions.iter().filter_map(image).collect();
        images.sort();
        images
    }

    /// A connection of somebody else to the same database.
    async fn stranger(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.config.file());
        options
            .busy_timeout(PATIENCE)
            .connect()
            .await
            .expect("the database is there")
    }
}

/// Waits until a condition holds; the test fails when it never does.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let outcome = tokio::time::timeout(PATIENCE, holds).await;
    assert!(outcome.is_ok(), "never happened: {what}");
}

fn batch(images: &[&str]) -> LogBatch {
    let prediction = |image: &&str| {
        json!({"image_id": image, "timestamp": "2025-01-01T12:00:00Z", "model_version": "1",
               "model_name": "surface", "inference_time_ms": 4.25, "detections": [],
               "defect_detected": image.contains("bad")})
    };
    let predictions: Vec<_> = images.iter().map(prediction).collect();
    let batch = json!({"predictions": predictions, "edge_device_id": "edge"});
    LogBatch::parse(batch.to_string().as_bytes()).expect("a good batch")
}

fn names(count: usize) -> Vec<String> {
    (0..count)
        .map(|index| format!("image {index:03}"))
        .collect()
}

/// What was acknowledged is there for the next process, and the figures say what happened.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_there_after_a_restart() {
    let first = Fixture::connected(|_| {}).await;
    let ack = first
        .log
        .log(batch(&["good", "bad"]), PATIENCE)
        .await
        .expect("logged");
    assert_eq!(ack, Ack { logged: 2 });
    let snapshot = first.log.status().snapshot();
    assert_eq!(
        (snapshot.predictions_logged, snapshot.defects_detected),
        (2, 1)
    );
    assert!(snapshot.db_initialized && snapshot.last_prediction.is_some());
    let Fixture {
        folder,
        config,
        system,
        ..
    } = first;
    drop(system);

    let second = Fixture::start_in(folder, config);
    second.until("connected", |status| status.connected).await;
    assert_eq!(second.images().await, ["bad", "good"]);
    let replay = second
        .log
        .log(batch(&["good", "bad"]), PATIENCE)
        .await
        .expect("logged");
    assert_eq!(replay, ack, "a replay gets the same answer");
    assert_eq!(
        second.log.stats().await.expect("stats").total,
        2,
        "and makes no second row"
    );
    let snapshot = second.log.status().snapshot();
    assert_eq!(
        (snapshot.predictions_logged, snapshot.predictions_replayed),
        (0, 2)
    );
}

/// While one transaction is on its way, the batches that arrive become the next one.
#[tokio::test(flavor = "multi_thread")]
async fn batches_that_wait_share_one_commit() {
    let fixture = Fixture::connected(|config| config.lock_wait = Duration::from_secs(4)).await;
    let mut stranger = fixture.stranger().await;
    let lock = stranger.begin_with("BEGIN IMMEDIATE").await.expect("locks");
    let images = names(21);
    let mut waiting = fixture.log_apart(&images[..1]);
    fixture.until_committing().await;
    waiting.extend(fixture.log_apart(&images[1..]));
    fixture.until_queued(20).await;
    lock.rollback().await.expect("unlocks");
    for answer in waiting {
        assert_eq!(answer.await.expect("no panic"), Ok(Ack { logged: 1 }));
    }
    assert_eq!(fixture.log.status().snapshot().commits, 2);
    assert_eq!(fixture.images().await, images);
}

/// Another process that holds the lock makes the log unavailable, with a reason, until it lets go.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_database_is_a_state_that_passes() {
    let fixture = Fixture::connected(|config| config.lock_wait = Duration::from_millis(10)).await;
    let mut stranger = fixture.stranger().await;
    let lock = stranger.begin_with("BEGIN IMMEDIATE").await.expect("locks");
    let error = fixture.log("a").await.expect_err("it is locked");
    let LogError::Unavailable {
        reason,
        retry_after,
    } = &error
    else {
        panic!("{error}")
    };
    assert!(reason.contains("database is locked"), "{reason}");
    assert!(error.is_retryable() && *retry_after > Duration::ZERO);
    fixture
        .until_unavailable("checking: database is locked")
        .await;
    assert!(
        fixture.log("b").await.is_err(),
        "refused without an attempt"
    );
    assert_eq!(
        fixture.actor().note.as_deref(),
        Some("checking: database is locked")
    );
    lock.rollback().await.expect("unlocks");
    fixture.until("connected", |status| status.connected).await;
    fixture.log("c").await.expect("logged");
    assert_eq!(fixture.images().await, ["c"]);
    let snapshot = fixture.log.status().snapshot();
    assert_eq!(snapshot.errors, 2);
    let outcomes = fixture.log.status().outcomes();
    assert_eq!(
        (outcomes.successes, outcomes.failures),
        (1, 1),
        "a refusal is no attempt"
    );
    assert_eq!(fixture.actor().restarts, 0, "it is a state, not an exit");
}

/// A database that does not answer holds nobody beyond the deadline, and its connection is given
/// up. A lock that SQLite waits for in silence stands in for the disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_hangs_is_a_state_that_passes() {
    let fixture = Fixture::connected(|config| {
        config.lock_wait = PATIENCE;
        config.commit_within = Duration::from_millis(100);
        config.open_within = Duration::from_millis(500);
        config.check_within = Duration::from_millis(100);
    })
    .await;
    let mut stranger = fixture.stranger().await;
    let lock = stranger.begin_with("BEGIN IMMEDIATE").await.expect("locks");
    let error = fixture.log("a").await.expect_err("it hangs");
    assert!(
        error.to_string().contains("did not answer within"),
        "{error}"
    );
    fixture
        .until_unavailable("opening: the database did not answer within")
        .await;
    lock.rollback().await.expect("unlocks");
    fixture.until("connected", |status| status.connected).await;
    fixture.log("a").await.expect("logged");
    assert_eq!(
        fixture.images().await,
        ["a"],
        "whatever the first attempt still did"
    );
    assert_eq!(fixture.actor().restarts, 0);
}

/// However long it hangs, the threads that wait for it are bounded.
#[tokio::test(flavor = "multi_thread")]
async fn threads_that_hang_in_the_database_are_bounded() {
    let fixture = Fixture::connected(|config| {
        config.lock_wait = PATIENCE;
        config.commit_within = Duration::from_millis(20);
        config.open_within = Duration::from_millis(200);
        config.stuck_threads = 3;
    })
    .await;
    let mut stranger = fixture.stranger().await;
    let lock = stranger.begin_with("BEGIN IMMEDIATE").await.expect("locks");
    assert!(fixture.log("a").await.is_err());
    fixture
        .until_unavailable("threads wait for a disk that hangs")
        .await;
    lock.rollback().await.expect("unlocks");
    fixture.until("connected", |status| status.connected).await;
}

/// The actor dies with batches in hand and behind it; its successor logs all of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_the_writer_loses_no_batch() {
    let fixture = Fixture::connected(|_| {}).await;
    let images = names(200);
    let mut answers = fixture.log_apart(&images[..100]);
    fixture
        .system
        .faults()
        .arm(&DB_WRITER.into(), Fault::Panic, 1);
    answers.extend(fixture.log_apart(&images[100..]));
    for answer in answers {
        assert_eq!(answer.await.expect("no panic"), Ok(Ack { logged: 1 }));
    }
    eventually("it is replaced", || fixture.actor().restarts > 0).await;
    assert_eq!(fixture.images().await, images);
}

/// A writer that blocks is abandoned with its connection, and its successors do not run out of
/// anything.
#[tokio::test(flavor = "multi_thread")]
async fn writers_that_block_are_replaced_and_go_on_logging() {
    let fixture = Fixture::connected(|config| {
        config.commit_within = Duration::from_millis(100);
        config.check_within = Duration::from_millis(100);
        config.open_within = Duration::from_secs(1);
        config.stuck_threads = 3;
    })
    .await;
    for blocked in 1..=4 {
        fixture
            .system
            .faults()
            .arm(&DB_WRITER.into(), Fault::Block(2 * PATIENCE), 1);
        eventually("it is replaced", || fixture.actor().restarts >= blocked).await;
        fixture
            .log(&format!("image {blocked}"))
            .await
            .expect("logged by its successor");
    }
    assert_eq!(fixture.images().await.len(), 4);
    assert_eq!(fixture.system.leaked(), 4);
}

/// A place that cannot hold the database is named, and used as soon as it can.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_used_is_a_state_that_passes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let in_the_way = folder.path().join("data");
    fs::write(&in_the_way, "a file").expect("written");
    let mut config = PredictionLogConfig::in_folder(&in_the_way);
    config.check_every = Duration::from_millis(50);
    let fixture = Fixture::start_in(folder, config);
    fixture.until_unavailable("File exists").await;
    let snapshot = fixture.log.status().snapshot();
    assert!(!snapshot.db_initialized && !snapshot.connected);
    let error = fixture.log("a").await.expect_err("there is no database");
    assert!(error.to_string().contains("File exists"), "{error}");
    assert!(fixture.log.stats().await.is_err(), "nor anything to read");
    fs::remove_file(&in_the_way).expect("removed");
    fixture.until("connected", |status| status.connected).await;
    fixture.log("a").await.expect("logged");
}

/// Rows in a file that nobody will find again are no rows: the check sees that it has gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_moved_away_is_begun_anew() {
    let fixture = Fixture::connected(|config| config.check_every = Duration::from_millis(20)).await;
    fixture.log("before").await.expect("logged");
    for suffix in ["", "-wal", "-shm"] {
        let file = fixture
            .folder
            .path()
            .join(format!("data/predictions.db{suffix}"));
        fs::rename(&file, file.with_extension(format!("old{suffix}"))).expect("moved");
    }
    eventually("the check makes a new one", || {
        fixture.config.file().exists()
    })
    .await;
    fixture.until("connected", |status| status.connected).await;
    fixture.log("after").await.expect("logged");
    assert_eq!(
        fixture.images().await,
        ["after"],
        "the readers have moved too"
    );
}

/// What may wait is bounded by number and by size, and the refusal says when to come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_inbox_refuses_at_once() {
    let fixture = Fixture::connected(|config| {
        config.inbox = 3;
        config.inbox_bytes = 1 << 20;
        config.lock_wait = Duration::from_secs(4);
    })
    .await;
    let mut stranger = fixture.stranger().await;
    let lock = stranger.begin_with("BEGIN IMMEDIATE").await.expect("locks");
    let images = names(4);
    let mut waiting = fixture.log_apart(&images[..1]);
    fixture.until_committing().await;

    let huge = "x".repeat(2 << 20);
    let prediction = json!({"image_id": "huge", "timestamp": "2025-01-01T12:00:00Z",
        "model_version": "1", "model_name": "surface", "inference_time_ms": 1, "detections": [],
        "defect_detected": false, "processing_notes": huge});
    let huge = json!({"predictions": [prediction]}).to_string();
    let huge = LogBatch::parse(huge.as_bytes()).expect("a good batch");
    let refused = fixture
        .log
        .log(huge, PATIENCE)
        .await
        .expect_err("too large to wait");
    assert!(matches!(refused, LogError::Overloaded { .. }), "{refused}");

    waiting.extend(fixture.log_apart(&images[1..]));
    fixture.until_queued(3).await;
    let refused = fixture
        .log("one too many")
        .await
        .expect_err("the inbox is full");
    assert!(matches!(refused, LogError::Overloaded { .. }), "{refused}");
    lock.rollback().await.expect("unlocks");
    for answer in waiting {
        assert_eq!(answer.await.expect("no panic"), Ok(Ack { logged: 1 }));
    }
}

/// An orderly stop commits what waits, answers it, and leaves one tidy file.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_commits_what_waits_and_closes_the_file() {
    let fixture = Fixture::connected(|config| config.lock_wait = Duration::from_secs(4)).await;
    let mut stranger = fixture.stranger().await;
    let lock = stranger.begin_with("BEGIN IMMEDIATE").await.expect("locks");
    let images = names(10);
    let mut waiting = fixture.log_apart(&images[..1]);
    fixture.until_committing().await;
    waiting.extend(fixture.log_apart(&images[1..]));
    fixture.until_queued(9).await;
    let (report, ()) = tokio::join!(fixture.system.stop(PATIENCE), async {
        let is_stopping = || fixture.actor().state == ActorState::Stopping;
        eventually("the stop reaches it", is_stopping).await;
        lock.rollback().await.expect("unlocks");
    });
    assert!(report.clean, "{report:?}");
    for answer in waiting {
        assert_eq!(answer.await.expect("no panic"), Ok(Ack { logged: 1 }));
    }
    let mut connection = fixture.stranger().await;
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM predictions")
        .fetch_one(&mut connection)
        .await
        .expect("the table is there");
    assert_eq!(rows, 10);
    let left_over = fixture.folder.path().join("data/predictions.db-wal");
    assert_eq!(
        fs::metadata(left_over).map_or(0, |file| file.len()),
        0,
        "all is in the file"
    );
}
