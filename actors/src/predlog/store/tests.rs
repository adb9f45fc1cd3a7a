mod counts;

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;

use super::*;
use crate::predlog::PredictionTime;
use crate::predlog::testing::{config, open, prediction, rows};

const NOON: &str = "2025-01-01T12:00:00Z";

/// A connection of somebody else to the same database.
async fn stranger(config: &PredictionLogConfig) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(config.file());
    options
        .busy_timeout(config.lock_wait)
        .connect()
        .await
        .expect("the database is there")
}

async fn count(config: &PredictionLogConfig) -> i64 {
    let mut connection = stranger(config).await;
    let count = sqlx::query_scalar("SELECT count(*) FROM predictions");
    count
        .fetch_one(&mut connection)
        .await
        .expect("the table is there")
}

/// Rows are there after the store has gone without a farewell, and the schema is found as it is.
#[tokio::test]
async fn committed_rows_are_there_when_the_database_is_opened_again() {
    let (_folder, config) = config();
    let mut store = open(&config).await.expect("opens");
    let batch = rows(
        "edge",
        &[prediction("a", NOON, true), prediction("b", NOON, false)],
    );
    let inserted = store.insert(&[batch], 7).await.expect("commits");
    assert_eq!(
        inserted,
        Inserted {
            rows: 2,
            defects: 1
        }
    );
    drop(store);
    let store = open(&config).await.expect("opens again");
    assert_eq!(count(&config).await, 2);
    store.close().await.expect("closes");
    assert_eq!(count(&config).await, 2, "the checkpoint loses nothing");
}

#[tokio::test]
async fn acknowledged_means_synced() {
    let (_folder, config) = config();
    let mut store = open(&config).await.expect("opens");
    let pragma = |name: &'static str| sqlx::query_scalar::<_, String>(name);
    let mode = pragma("SELECT journal_mode FROM pragma_journal_mode");
    assert_eq!(
        mode.fetch_one(&mut store.connection).await.expect("told"),
        "wal"
    );
    let level = sqlx::query_scalar::<_, i64>("SELECT synchronous FROM pragma_synchronous");
    const FULL: i64 = 2;
    assert_eq!(
        level.fetch_one(&mut store.connection).await.expect("told"),
        FULL
    );
}

/// A read-only root has no folder for temporary files, and none is promised in `/data`.
#[tokio::test]
async fn writing_needs_no_temporary_files() {
    let (_folder, config) = config();
    let mut store = open(&config).await.expect("opens");
    let place = sqlx::query_scalar::<_, i64>("SELECT temp_store FROM pragma_temp_store");
    const MEMORY: i64 = 2;
    assert_eq!(
        place.fetch_one(&mut store.connection).await.expect("told"),
        MEMORY
    );
}

/// The same batch again, and a mixture of old and new, make no second row.
#[tokio::test]
async fn a_replay_makes_no_second_row() {
    let (_folder, config) = config();
    let mut store = open(&config).await.expect("opens");
    let batch = rows(
        "edge",
        &[prediction("a", NOON, true), prediction("b", NOON, true)],
    );
    store
        .insert(&[Arc::clone(&batch)], 1)
        .await
        .expect("commits");
    let replayed = store
        .insert(&[Arc::clone(&batch)], 2)
        .await
        .expect("commits");
    assert_eq!(replayed, Inserted::default());
    let twice_with_news = [
        Arc::clone(&batch),
        batch,
        rows("edge", &[prediction("c", NOON, false)]),
    ];
    let mixed = store.insert(&twice_with_news, 3).await.expect("commits");
    assert_eq!(
        mixed,
        Inserted {
            rows: 1,
            defects: 0
        }
    );
    assert_eq!(count(&config).await, 3);
}

/// Every size of statement is used, alone and together with others.
#[tokio::test]
async fn batches_of_any_size_are_inserted_whole() {
    let (_folder, config) = config();
    let mut store = open(&config).await.expect("opens");
    let mut expected = 0;
    for size in [1u64, 3, 4, 5, 16, 21, 64, 85, 150] {
        let name = |index| format!("image {size} {index}");
        let batch: Vec<_> = (0..size)
            .map(|index| prediction(&name(index), NOON, index % 2 == 0))
            .collect();
        let inserted = store
            .insert(&[rows("edge", &batch)], 1)
            .await
            .expect("commits");
        assert_eq!((inserted.rows, inserted.defects), (size, size.div_ceil(2)));
        expected += size;
    }
    assert_eq!(count(&config).await, expected as i64);
}

/// Whatever stands in a string is data.
#[tokio::test]
async fn sql_in_every_string_is_only_text() {
    const EVIL: &str = "'); DROP TABLE predictions; --\"?1 %s \u{1} \u{1F980}";
    const NUL: &str = "what PostgreSQL cannot store as text: \u{0}";
    let (_folder, config) = config();
    let mut store = open(&config).await.expect("opens");
    let evil = json!({
        "id": EVIL, "image_id": EVIL, "timestamp": NOON, "model_version": EVIL,
        "model_name": EVIL, "inference_time_ms": 1, "defect_detected": true,
        "detections": [{"class": EVIL, "confidence": 1}],
        "confidence_scores": {EVIL: EVIL}, "processing_notes": NUL, EVIL: EVIL,
    });
    store
        .insert(&[rows(EVIL, std::slice::from_ref(&evil))], 1)
        .await
        .expect("commits");
    let (device, model, version, body): (String, String, String, String) =
        sqlx::query_as("SELECT edge_device_id, model_name, model_version, body FROM predictions")
            .fetch_one(&mut store.connection)
            .await
            .expect("the table is still there");
    assert_eq!([device, model, version], [EVIL; 3]);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&body).expect("JSON"),
        evil
    );
}

#[tokio::test]
async fn a_lock_of_somebody_else_is_an_error_that_passes() {
    let (_folder, mut config) = config();
    config.lock_wait = Duration::from_millis(50);
    let mut store = open(&config).await.expect("opens");
    let mut stranger = stranger(&config).await;
    let lock = stranger.begin_with("BEGIN IMMEDIATE").await.expect("locks");
    let batch = [rows("edge", &[prediction("a", NOON, false)])];
    let error = store.insert(&batch, 1).await.expect_err("it is locked");
    assert!(error.connection_is_sound, "{error}");
    assert_eq!(error.to_string(), "committing: database is locked");
    assert_eq!(
        store.check().await.expect_err("it is locked").to_string(),
        "checking: database is locked"
    );
    lock.rollback().await.expect("unlocks");
    store.check().await.expect("the same connection works");
    store.insert(&batch, 1).await.expect("commits");
    assert_eq!(count(&config).await, 1, "the first attempt left nothing");
}

/// An owner that was replaced wakes late: its transaction is rolled back by SQLite itself.
#[tokio::test]
async fn nothing_is_committed_without_the_guard_s_consent() {
    let (_folder, config) = config();
    let may_commit = Arc::new(AtomicBool::new(true));
    let guard = Arc::clone(&may_commit);
    let threads = ThreadBudget::new(config.stuck_threads);
    let guard = Box::new(move || guard.load(Ordering::SeqCst));
    let mut store = Store::open(&config, &threads, guard).await.expect("opens");
    may_commit.store(false, Ordering::SeqCst);
    let batch = [rows("edge", &[prediction("a", NOON, false)])];
    store.insert(&batch, 1).await.expect_err("it is fenced off");
    assert_eq!(count(&config).await, 0);
}

/// What stands in the way is named in the system's words, and nothing is put aside or overwritten.
#[tokio::test]
async fn a_place_that_cannot_hold_a_database_is_named() {
    let (folder, mut config) = config();
    let blocker = folder.path().join("file");
    fs::write(&blocker, "in the way").expect("written");
    config.folder = blocker.join("data");
    let reason = open(&config)
        .await
        .expect_err("the folder cannot be made")
        .to_string();
    assert!(reason.contains("Not a directory"), "{reason}");

    config.folder = folder.path().join("data");
    fs::create_dir_all(config.file()).expect("a folder where the file should be");
    let reason = open(&config)
        .await
        .expect_err("a folder is no database")
        .to_string();
    assert!(reason.contains("is not a file"), "{reason}");

    fs::remove_dir(config.file()).expect("removed");
    let garbage = "no database at all, ".repeat(500);
    fs::write(config.file(), &garbage).expect("written");
    let error = open(&config).await.expect_err("garbage is no database");
    assert!(
        error.to_string().contains("file is not a database"),
        "{error}"
    );
    assert!(!error.connection_is_sound);
    assert_eq!(
        fs::read_to_string(config.file()).expect("still there"),
        garbage
    );
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_left_alone() {
    let (_folder, config) = config();
    drop(open(&config).await.expect("opens"));
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99, 'from the future', true, x'00', 0)",
    )
    .execute(&mut stranger(&config).await)
    .await
    .expect("written");
    let reason = open(&config).await.expect_err("it is newer").to_string();
    assert!(reason.starts_with("migrating: "), "{reason}");
}

/// Rows written to a file that is no longer in its folder would be acknowledged and lost.
#[tokio::test]
async fn a_file_that_was_replaced_or_removed_is_noticed() {
    let (_folder, config) = config();
    let mut store = open(&config).await.expect("opens");
    store.check().await.expect("all is well");
    fs::rename(config.file(), config.folder.join("moved.db")).expect("moved");
    let error = store.check().await.expect_err("it is gone");
    assert!(error.to_string().contains("No such file"), "{error}");
    fs::write(config.file(), "").expect("written");
    let error = store.check().await.expect_err("it is another file");
    assert_eq!(
        error.to_string(),
        "the database was replaced by another file"
    );
}

#[tokio::test]
async fn a_disk_without_reserve_is_full() {
    let (_folder, mut config) = config();
    let store = open(&config).await.expect("opens");
    drop(store);
    config.disk_reserve = u64::MAX;
    let error = open(&config).await.expect_err("no disk has that much");
    assert!(
        error.to_string().starts_with("the disk is full: "),
        "{error}"
    );
}

/// The probe runs for years beside an idle log; a thousand of them must not show.
#[tokio::test]
async fn probing_does_not_make_the_file_grow() {
    let (_folder, config) = config();
    let store = open(&config).await.expect("opens");
    store.close().await.expect("closes");
    let size = fs::metadata(config.file()).expect("is there").len();
    let mut store = open(&config).await.expect("opens again");
    for _ in 0..50 {
        store.check().await.expect("all is well");
        store.probe_write().await.expect("writes");
    }
    store.close().await.expect("closes");
    assert_eq!(fs::metadata(config.file()).expect("is there").len(), size);
}

/// Threads that never come back are bounded, whoever asks for them.
#[tokio::test]
async fn no_more_threads_are_sent_after_those_that_hang() {
    let threads = ThreadBudget::new(1);
    let (release, hang) = std::sync::mpsc::sync_channel::<()>(1);
    let hanging = threads.run("hanging", move || {
        // Ends when the test drops its end.
        let _ended = hang.recv();
        Ok(())
    });
    let gave_up = tokio::time::timeout(Duration::from_millis(20), hanging).await;
    assert!(gave_up.is_err());
    let refused = threads
        .run("next", || Ok(()))
        .await
        .expect_err("the budget is used up");
    assert_eq!(refused.to_string(), "1 threads wait for a disk that hangs");
    drop(release);
    let back = async {
        while threads.run("next", || Ok(())).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), back)
        .await
        .expect("the place is given back");
}
