use std::collections::BTreeSet;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::predlog::store::Store;
use crate::predlog::testing::{config, open, prediction, rows};

/// A store with a reader beside it.
struct Fixture {
    _folder: TempDir,
    config: PredictionLogConfig,
    store: Store,
    reader: Reader,
}

impl Fixture {
    async fn with(change: impl FnOnce(&mut PredictionLogConfig)) -> Self {
        let (folder, mut config) = config();
        change(&mut config);
        let store = open(&config).await.expect("opens");
        let reader = Reader::new(&config);
        reader.reopen(&config);
        Self {
            _folder: folder,
            config,
            store,
            reader,
        }
    }

    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn log(&mut self, device: &str, predictions: &[Value]) {
        self.store
            .insert(&[rows(device, predictions)], 1_000)
            .await
            .expect("commits");
    }

    async fn images(&self, query: &Query) -> (Vec<String>, Option<String>) {
        let page = self.reader.predictions(query).await.expect("a page");
        let image = |found: &Map<String, Value>| found["image_id"].as_str().map(str::to_owned);
        (
            page.predictions.iter().filter_map(image).collect(),
            page.next_cursor,
        )
    }
}

fn at(millis: u32) -> String {
    format!("2025-01-01T12:00:00.{millis:03}Z")
}

#[tokio::test]
async fn a_page_shows_every_field_of_the_contract() {
    let mut fixture = Fixture::new().await;
    let sent = json!({
        "image_id": 17, "timestamp": "2025-01-01T14:00:00.25+02:00", "model_version": 3,
        "model_name": "surface", "inference_time_ms": 4, "defect_detected": true,
        "detections": [{"class": "dent", "confidence": 0.5, "track": 9}], "site": "hall 3",
    });
    fixture.log("edge", &[sent]).await;
    let page = fixture
        .reader
        .predictions(&Query::default())
        .await
        .expect("a page");
    let expected = json!({
        "image_id": "17", "timestamp": "2025-01-01T12:00:00.25Z", "model_version": "3",
        "model_name": "surface", "inference_time_ms": 4, "defect_detected": true,
        "detections": [{"class": "dent", "confidence": 0.5, "bbox": null, "uncertain": false,
                        "track": 9}],
        "confidence_scores": null, "processing_notes": null, "site": "hall 3",
        "edge_device_id": "edge", "logged_at": "1970-01-01T00:00:01Z",
    });
    assert_eq!(
        json!(page),
        json!({"predictions": [expected], "next_cursor": null})
    );
}

/// Nine predictions share an instant, others lie around it, and pages of any size show each once,
/// the newest first, whatever is logged meanwhile.
#[tokio::test]
async fn pages_over_ties_neither_repeat_nor_leave_out() {
    let mut fixture = Fixture::new().await;
    let batch: Vec<_> = (0..13)
        .map(|index| {
            let time = if (2..11).contains(&index) {
                500
            } else {
                index * 10 + 450
            };
            prediction(&format!("image {index}"), &at(time), false)
        })
        .collect();
    fixture.log("edge", &batch).await;
    let (all, end) = fixture.images(&Query::default()).await;
    assert_eq!((all.len(), end), (13, None));
    assert_eq!(all[0], "image 12");
    for limit in [1, 2, 3, 5, 9, 12, 13] {
        let mut query = Query {
            limit: Some(limit),
            ..Query::default()
        };
        let mut seen = Vec::new();
        loop {
            let (images, next) = fixture.images(&query).await;
            assert!(images.len() <= limit as usize && !images.is_empty());
            seen.extend(images);
            if seen.len() == limit as usize {
                let newer = prediction(&format!("newer {limit}"), &at(999), false);
                fixture.log("other", &[newer]).await;
            }
            query.cursor = next;
            if query.cursor.is_none() {
                break;
            }
        }
        seen.retain(|image| !image.starts_with("newer"));
        assert_eq!(seen, all, "pages of {limit}");
    }
}

#[tokio::test]
async fn filters_narrow_alone_and_together() {
    let mut fixture = Fixture::new().await;
    let mut other_model = prediction("other model", &at(3), true);
    other_model["model_name"] = json!("' OR 1 = 1 --");
    fixture
        .log(
            "a",
            &[
                prediction("good", &at(1), false),
                prediction("bad", &at(2), true),
            ],
        )
        .await;
    fixture
        .log("b", &[prediction("far", &at(4), true), other_model])
        .await;
    let all = Query::default();
    let device = |name: &str| Query {
        edge_device_id: Some(name.into()),
        ..Query::default()
    };
    let model = |name: &str| Query {
        model: Some(name.into()),
        ..Query::default()
    };
    let defects = Query {
        defect_only: true,
        ..Query::default()
    };
    let cases = [
        (all, vec!["far", "other model", "bad", "good"]),
        (device("a"), vec!["bad", "good"]),
        (device("' OR 1 = 1 --"), vec![]),
        (defects.clone(), vec!["far", "other model", "bad"]),
        (model("' OR 1 = 1 --"), vec!["other model"]),
        (
            Query {
                defect_only: true,
                model: Some("surface".into()),
                ..device("b")
            },
            vec!["far"],
        ),
    ];
    for (query, expected) in cases {
        assert_eq!(fixture.images(&query).await.0, expected, "{query:?}");
    }
}

/// No filter walks over what it does not show: each has an index that is in the order of the page.
#[tokio::test]
async fn every_page_comes_from_an_index_without_sorting() {
    let fixture = Fixture::new().await;
    let mut reading = fixture.reader.connection().await.expect("a connection");
    let cursor = Some(Cursor {
        taken_at: 1,
        seq: 1,
    });
    let device = Query {
        edge_device_id: Some("a".into()),
        ..Query::default()
    };
    let model = Query {
        model: Some("m".into()),
        ..Query::default()
    };
    let defects = Query {
        defect_only: true,
        ..Query::default()
    };
    for query in [Query::default(), device, model, defects] {
        for cursor in [None, cursor] {
            let sql = select_page(&query, cursor, 10).into_string();
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
            let plan = sqlx::query_as::<_, (i64, i64, i64, String)>(explain)
                .fetch_all(&mut *reading.connection)
                .await
                .expect("a plan");
            let plan: Vec<_> = plan.into_iter().map(|step| step.3).collect();
            assert!(
                plan.iter().all(|step| !step.contains("TEMP B-TREE")),
                "{query:?}: {plan:?}"
            );
            assert!(
                plan.iter().any(|step| step.contains("USING INDEX")),
                "{query:?}: {plan:?}"
            );
        }
    }
}

#[tokio::test]
async fn questions_that_cannot_be_answered_are_told_apart() {
    let fixture = Fixture::new().await;
    for cursor in [
        "",
        "next",
        "zz",
        "0123456789abcdef0123456789abcdeg",
        "é".repeat(16).as_str(),
    ] {
        let query = Query {
            cursor: Some(cursor.into()),
            ..Query::default()
        };
        let error = fixture
            .reader
            .predictions(&query)
            .await
            .expect_err("no cursor");
        assert_eq!(error, ReadError::InvalidCursor);
        assert!(error.is_client_fault());
    }
    for limit in [0, 1001] {
        let query = Query {
            limit: Some(limit),
            ..Query::default()
        };
        let error = fixture
            .reader
            .predictions(&query)
            .await
            .expect_err("out of range");
        assert_eq!(error, ReadError::InvalidLimit { max: 1000 });
    }
    let unopened = Reader::new(&fixture.config);
    let error = unopened.stats().await.expect_err("it was never opened");
    assert!(error.is_retryable());
}

/// A page of huge predictions ends early instead of filling the memory.
#[tokio::test]
async fn a_page_is_bounded_in_bytes() {
    let mut fixture = Fixture::with(|config| config.page_bytes = 10_000).await;
    let huge: Vec<_> = (0..6)
        .map(|index| {
            let mut huge = prediction(&format!("image {index}"), &at(index), false);
            huge["processing_notes"] = json!("x".repeat(4_000));
            huge
        })
        .collect();
    fixture.log("edge", &huge).await;
    let (first, next) = fixture.images(&Query::default()).await;
    assert_eq!(first, ["image 5", "image 4", "image 3"]);
    let (second, end) = fixture
        .images(&Query {
            cursor: next,
            ..Query::default()
        })
        .await;
    assert_eq!(second, ["image 2", "image 1", "image 0"]);
    assert_eq!(end, None);
}

#[tokio::test]
async fn stats_count_what_is_there() {
    let mut fixture = Fixture::new().await;
    assert_eq!(
        fixture.reader.stats().await.expect("stats"),
        Stats::default()
    );
    let mut second = prediction("c", &at(30), true);
    second["model_name"] = json!("second");
    fixture
        .log(
            "a",
            &[
                prediction("a", &at(20), true),
                prediction("b", &at(10), false),
            ],
        )
        .await;
    fixture
        .log("b", &[second, prediction("d", &at(25), false)])
        .await;
    let stats = fixture.reader.stats().await.expect("stats");
    let expected = json!({
        "total": 4, "defects": 2, "defect_rate": 0.5, "models": 2, "devices": 2,
        "by_model": {"surface": {"total": 3, "defects": 1}, "second": {"total": 1, "defects": 1}},
        "by_device": {"a": {"total": 2, "defects": 1}, "b": {"total": 2, "defects": 1}},
        "first_timestamp": "2025-01-01T12:00:00.01Z", "last_timestamp": "2025-01-01T12:00:00.03Z",
    });
    assert_eq!(json!(stats), expected);
}

#[test]
fn stats_list_the_largest_groups() {
    let group = |total| GroupStats { total, defects: 0 };
    let groups = (0..1_500u64)
        .map(|index| (format!("device {index}"), group(index)))
        .collect();
    let (count, listed) = largest(groups);
    assert_eq!((count, listed.len()), (1_500, 1_000));
    let names: BTreeSet<_> = listed.keys().map(String::as_str).collect();
    assert!(names.contains("device 500") && !names.contains("device 499"));
}

/// A question that takes too long is given up, and the connection is free for the next one.
#[tokio::test]
async fn a_reading_that_nobody_waits_for_stops() {
    let fixture = Fixture::with(|config| config.readers = 1).await;
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                   SELECT count(*) FROM n";
    let reading = async {
        let mut reading = fixture.reader.connection().await.expect("a connection");
        sqlx::query_scalar::<_, i64>(endless)
            .fetch_one(&mut *reading.connection)
            .await
    };
    let outcome = timeout(Duration::from_millis(50), reading).await;
    assert!(outcome.is_err(), "it never ends by itself");
    fixture
        .reader
        .stats()
        .await
        .expect("the only connection has come back");
}

/// The writer's lock does not keep readers out.
#[tokio::test]
async fn readers_read_while_the_database_is_locked_for_writing() {
    let mut fixture = Fixture::new().await;
    fixture.log("edge", &[prediction("a", &at(1), false)]).await;
    let options = SqliteConnectOptions::new().filename(fixture.config.file());
    let mut stranger = options.connect().await.expect("the database is there");
    let _lock = sqlx::Connection::begin_with(&mut stranger, "BEGIN EXCLUSIVE")
        .await
        .expect("locks");
    assert_eq!(fixture.images(&Query::default()).await.0, ["a"]);
}
