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

/// What the tables of counts say, and what counting the rows gives.
async fn counted(store: &mut Store) -> [Vec<(String, i64, i64)>; 2] {
    let kept = "SELECT 'm ' || model_name, total, defects FROM rollup_models \
         UNION ALL SELECT 'd ' || edge_device_id, total, defects FROM rollup_devices \
         UNION ALL SELECT 'h ' || hour, total, defects FROM rollup_hours \
         UNION ALL SELECT 'l ' || model_name || latency, total, 0 FROM rollup_latencies ORDER BY 1";
    let anew = "SELECT 'm ' || model_name, count(*), sum(defect_detected) FROM predictions GROUP BY 1 \
         UNION ALL SELECT 'd ' || edge_device_id, count(*), sum(defect_detected) FROM predictions GROUP BY 1 \
         UNION ALL SELECT 'h ' || CAST(floor_hour AS TEXT), count(*), sum(defect_detected) FROM \
             (SELECT CASE WHEN taken_at < 0 AND taken_at % 3600000 <> 0 THEN taken_at / 3600000 - 1 \
              ELSE taken_at / 3600000 END AS floor_hour, defect_detected FROM predictions) GROUP BY 1 \
         UNION ALL SELECT 'l ' || model_name || latency, count(*), 0 FROM predictions GROUP BY 1 ORDER BY 1";
    let mut both = [Vec::new(), Vec::new()];
    for (sql, rows) in [kept, anew].into_iter().zip(&mut both) {
        *rows = sqlx::query_as(sql)
            .fetch_all(&mut store.connection)
            .await
            .expect("counts");
    }
    both
}

/// Whatever is logged, replayed, removed or handed over, the counts are those of the rows that are there.
#[tokio::test]
async fn the_counts_are_always_those_of_the_rows() {
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    #[derive(Clone, Debug)]
    enum Step {
        Log(Vec<(u8, u8, i64, u16, bool)>),
        Remove(u32),
        HandOver(i64),
    }
    let made = (0..3u8, 0..3u8, -4..4i64, 1..400u16, any::<bool>());
    let step = prop_oneof![
        4 => prop::collection::vec(made, 1..12).prop_map(Step::Log),
        1 => (1..20u32).prop_map(Step::Remove),
        1 => (1..10i64).prop_map(Step::HandOver),
    ];
    let mut runner = TestRunner::deterministic();
    let courses = prop::collection::vec(step, 1..14);
    for _ in 0..24 {
        let course = courses.new_tree(&mut runner).expect("a course").current();
        let (_folder, config) = config();
        let mut store = open(&config).await.expect("opens");
        for step in &course {
            match step {
                Step::Log(all) => {
                    for (device, model, hour, millis, defect) in all {
                        let time =
                            PredictionTime::from_unix_millis(hour * 3_600_000 + i64::from(*millis))
                                .expect("a time");
                        let mut made = prediction("image", &time.to_string(), *defect);
                        made["model_name"] = json!(format!("model {model}"));
                        made["inference_time_ms"] = json!(millis);
                        let batch = rows(&format!("device {device}"), &[made]);
                        store.insert(&[batch], 1).await.expect("commits");
                    }
                }
                Step::Remove(limit) => {
                    let removal = Removal {
                        created_before: None,
                        limit: *limit,
                    };
                    store.remove(removal).await.expect("removes");
                }
                Step::HandOver(rows) => {
                    let first: Option<i64> = sqlx::query_scalar("SELECT min(seq) FROM predictions")
                        .fetch_one(&mut store.connection)
                        .await
                        .expect("a number");
                    let through = first.unwrap_or(0) + rows;
                    let refused = [(through, "no".to_owned())];
                    store
                        .hand_over(through, &refused, 5)
                        .await
                        .expect("hands over");
                }
            }
            let [kept, anew] = counted(&mut store).await;
            assert_eq!(kept, anew, "{course:?}");
        }
    }
}

#[tokio::test]
async fn the_oldest_rows_are_removed_first_and_no_more_than_asked_for() {
    let (_folder, config) = config();
    let mut store = open(&config).await.expect("opens");
    for (index, created_at) in [(0, 100), (1, 200), (2, 300)] {
        let batch: Vec<_> = (0..3)
            .map(|n| prediction(&format!("image {index} {n}"), NOON, false))
            .collect();
        store
            .insert(&[rows("edge", &batch)], created_at)
            .await
            .expect("commits");
    }
    let older = |created_before, limit| Removal {
        created_before,
        limit,
    };
    assert_eq!(
        store
            .remove(older(Some(100), 9))
            .await
            .expect("removes")
            .rows,
        0
    );
    assert_eq!(
        store
            .remove(older(Some(250), 4))
            .await
            .expect("removes")
            .rows,
        4
    );
    assert_eq!(
        store
            .remove(older(Some(250), 4))
            .await
            .expect("removes")
            .rows,
        2
    );
    let extent = store.extent().await.expect("measured");
    assert_eq!((extent.rows, extent.oldest), (3, Some(300)));
    assert_eq!(store.remove(older(None, 2)).await.expect("removes").rows, 2);
    assert_eq!(count(&config).await, 1);
}

/// What a sink will never take leaves the queue without being lost.
#[tokio::test]
async fn what_a_sink_refuses_is_kept_aside_with_the_reason() {
    let (_folder, config) = config();
    let mut store = open(&config).await.expect("opens");
    let batch = [prediction("a", NOON, false), prediction("b", NOON, true)];
    store
        .insert(&[rows("edge", &batch)], 1)
        .await
        .expect("commits");
    let removed = store
        .hand_over(2, &[(2, "it is too long".to_owned())], 77)
        .await
        .expect("hands over");
    assert_eq!((removed.rows, count(&config).await), (2, 0));
    let kept: (String, i64, String, String) =
        sqlx::query_as("SELECT reason, refused_at, edge_device_id, body FROM refused")
            .fetch_one(&mut store.connection)
            .await
            .expect("it is there");
    assert_eq!(
        (kept.0.as_str(), kept.1, kept.2.as_str()),
        ("it is too long", 77, "edge")
    );
    let body: serde_json::Value = serde_json::from_str(&kept.3).expect("JSON");
    assert_eq!(body, batch[1]);
}

/// A file of the first version: its rows are found again, counted, and none of them twice when the
/// work is interrupted.
#[tokio::test]
async fn an_older_database_is_brought_up_to_date() {
    let (_folder, config) = config();
    fs::create_dir_all(&config.folder).expect("made");
    let options = SqliteConnectOptions::new()
        .filename(config.file())
        .create_if_missing(true);
    let mut old = options.connect().await.expect("made");
    migrations::run_first(&mut old)
        .await
        .expect("the first version");
    let mut transaction = old.begin().await.expect("begins");
    for index in 0..5_000 {
        let made = prediction(&format!("image {index}"), NOON, index % 5 == 0);
        sqlx::query(
            "INSERT INTO predictions (key, edge_device_id, model_name, model_version, taken_at, \
             created_at, defect_detected, body) VALUES (?, 'edge', 'surface', '1', ?, 9, ?, ?)",
        )
        .bind(format!("{index:016}").into_bytes())
        .bind(1_735_732_800_000_i64)
        .bind(index % 5 == 0)
        .bind(made.to_string())
        .execute(&mut *transaction)
        .await
        .expect("logged");
    }
    transaction.commit().await.expect("commits");
    old.close().await.expect("closes");
    let mut store = open(&config).await.expect("opens");
    assert!(store.is_old());
    // Given up at some point on the way, as by a deadline.
    let _interrupted = tokio::time::timeout(Duration::from_millis(30), store.migrate()).await;
    drop(store);
    let mut store = open(&config).await.expect("opens again");
    if store.is_old() {
        store.migrate().await.expect("brought up to date");
    }
    assert_eq!(count(&config).await, 5_000);
    let [kept, anew] = counted(&mut store).await;
    assert_eq!(kept, anew);
    let all: (i64, i64) = sqlx::query_as("SELECT total, defects FROM rollup_models")
        .fetch_one(&mut store.connection)
        .await
        .expect("counted");
    assert_eq!(all, (5_000, 1_000));
    drop(store);
    assert!(!open(&config).await.expect("opens").is_old());
}

/// What was refused is there to be looked at, and is no second log.
#[tokio::test]
async fn no_more_refused_rows_are_kept_than_a_person_looks_at() {
    let (_folder, config) = config();
    let mut store = open(&config).await.expect("opens");
    for part in 0..2 {
        let batch: Vec<_> = (0..700)
            .map(|index| prediction(&format!("image {part} {index}"), NOON, false))
            .collect();
        store
            .insert(&[rows("edge", &batch)], 1)
            .await
            .expect("commits");
        let through = (part + 1) * 700;
        let refused: Vec<_> = (through - 699..=through)
            .map(|seq| (seq, "no".to_owned()))
            .collect();
        store
            .hand_over(through, &refused, 5)
            .await
            .expect("hands over");
    }
    let kept: (i64, i64, i64) = sqlx::query_as("SELECT count(*), min(seq), max(seq) FROM refused")
        .fetch_one(&mut store.connection)
        .await
        .expect("counted");
    assert_eq!(kept, (1_000, 401, 1_400));
    store
        .insert(&[rows("edge", &[prediction("a", NOON, false)])], 1)
        .await
        .expect("commits");
    let by_size = Removal {
        created_before: None,
        limit: 1,
    };
    store.remove(by_size).await.expect("removes");
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM refused")
        .fetch_one(&mut store.connection)
        .await
        .expect("counted");
    assert_eq!(kept, 0, "they take room, which is what is wanted back");
}
