//! Counts, removal, and what older files are brought up to.

use super::*;

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
