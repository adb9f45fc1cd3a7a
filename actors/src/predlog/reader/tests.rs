mod plans;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::*;
use crate::predlog::PredictionTime;
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
    let latency = json!(stats.latency_ms);
    let median = latency["p50"].as_f64().expect("a median");
    assert!((median - 4.25).abs() < 4.25 * 0.02, "{median}");
    let expected = json!({
        "total": 4, "defects": 2, "defect_rate": 0.5, "models": 2, "devices": 2,
        "latency_ms": latency,
        "by_model": {
            "surface": {"total": 3, "defects": 1, "defect_rate": 1.0 / 3.0, "latency_ms": latency},
            "second": {"total": 1, "defects": 1, "defect_rate": 1.0, "latency_ms": latency},
        },
        "by_device": {
            "a": {"total": 2, "defects": 1, "defect_rate": 0.5},
            "b": {"total": 2, "defects": 1, "defect_rate": 0.5},
        },
        "by_hour": [{"hour": "2025-01-01T12:00:00Z", "total": 4, "defects": 2, "defect_rate": 0.5}],
        "first_timestamp": "2025-01-01T12:00:00.01Z", "last_timestamp": "2025-01-01T12:00:00.03Z",
        "errors": {"batches_failed": 0, "batches_refused": 0, "predictions_dropped": 0,
            "predictions_expired": 0, "predictions_refused_by_sink": 0},
        "drift": null,
    });
    assert_eq!(json!(stats), expected);
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

/// What is forwarded is what was logged, in the order in which it was.
#[tokio::test]
async fn rows_on_their_way_to_a_sink_are_those_that_were_logged() {
    let mut fixture = Fixture::new().await;
    let mut named = prediction("b", &at(1), true);
    named["id"] = json!("p-1");
    named["detections"] = json!([
        {"class": "dent", "confidence": 0.25}, {"class": "crack", "confidence": 0.75},
    ]);
    let logged = rows("edge", &[prediction("a", &at(2), false), named]);
    fixture
        .store
        .insert(&[Arc::clone(&logged)], 1_000)
        .await
        .expect("commits");
    let landed = fixture.reader.landed(0, 10).await.expect("rows");
    let found: Vec<_> = landed.iter().map(|landed| landed.row.clone()).collect();
    assert_eq!(found, *logged);
    assert_eq!(
        (
            found[1].named,
            found[1].class.as_deref(),
            found[1].confidence
        ),
        (true, Some("crack"), Some(15))
    );
    assert!(landed.iter().all(|landed| landed.created_at == 1_000));
    let rest = fixture
        .reader
        .landed(landed[0].seq, 10)
        .await
        .expect("rows");
    assert_eq!(rest, landed[1..]);
    assert_eq!(fixture.reader.landed(0, 1).await.expect("rows").len(), 1);
}

/// Every set of filters, against doing it by hand.
#[tokio::test]
async fn any_filters_together_find_what_fits_all_of_them() {
    let mut fixture = Fixture::new().await;
    let mut all = Vec::new();
    for index in 0..60u32 {
        let device = ["left", "right"][(index % 2) as usize];
        let mut made = prediction(&format!("{index:02}"), &at(index), index % 3 == 0);
        made["model_name"] = json!(["m1", "m2"][(index / 2 % 2) as usize]);
        fixture.log(device, std::slice::from_ref(&made)).await;
        all.push((device, index, made));
    }
    for choice in 0..32 {
        let has = |bit: u32| choice >> bit & 1 == 1;
        let time = |millis| PredictionTime::parse(&at(millis)).expect("a time");
        let query = Query {
            edge_device_id: has(0).then(|| "left".into()),
            model: has(1).then(|| "m2".into()),
            defect_only: has(2),
            from: has(3).then(|| time(10)),
            to: has(4).then(|| time(50)),
            ..Query::default()
        };
        let fits = |(device, index, made): &&(&str, u32, Value)| {
            (!has(0) || *device == "left")
                && (!has(1) || made["model_name"] == "m2")
                && (!has(2) || made["defect_detected"] == true)
                && (!has(3) || *index >= 10)
                && (!has(4) || *index < 50)
        };
        let mut expected: Vec<_> = all
            .iter()
            .filter(fits)
            .map(|(_, index, _)| format!("{index:02}"))
            .collect();
        expected.reverse();
        assert_eq!(fixture.images(&query).await.0, expected, "{query:?}");
    }
}

fn time(second: i64) -> PredictionTime {
    PredictionTime::from_unix_millis(second * 1_000).expect("a time")
}

/// Ten-minute slots of the commit decide what is compared, and rows of before are of no account.
#[tokio::test]
async fn drift_is_told_from_what_was_committed_in_the_window_and_before_it() {
    const MINUTE: i64 = 60_000;
    let settings = DriftSettings {
        window: Duration::from_secs(3_600),
        reference: Duration::from_secs(86_400),
        min_predictions: 10,
        every: Duration::from_secs(60),
    };
    let mut fixture = Fixture::with(|config| config.drift = Some(settings)).await;
    let now = PredictionTime::parse("2025-06-01T12:05:00Z").expect("a time");
    let mut number = 0;
    for (minutes_ago, class, confidence, count) in [
        (2, "dent", 0.95, 15),
        (30, "scratch", 0.5, 5),
        (90, "dent", 0.95, 10),
        (300, "scratch", 0.95, 10),
        (3 * 24 * 60, "scratch", 0.1, 500),
    ] {
        let one = |_| {
            number += 1;
            let mut found = prediction(&format!("image {number}"), &at(0), true);
            found["detections"] = json!([{"class": class, "confidence": confidence}]);
            found
        };
        let batch: Vec<_> = (0..count).map(one).collect();
        let committed = now.unix_millis() - minutes_ago * MINUTE;
        let inserted = fixture
            .store
            .insert(&[rows("edge", &batch)], committed)
            .await;
        inserted.expect("commits");
    }
    let found = fixture.reader.drift(&settings, now).await.expect("told");
    let drift = found["surface"];
    assert_eq!(
        (drift.window_predictions, drift.reference_predictions),
        (20, 20)
    );
    // 75 % against 50 %, and 25 % against 50 %.
    let expected = 0.25 * 1.5f64.ln() - 0.25 * 0.5f64.ln();
    assert!((drift.classes - expected).abs() < 1e-9, "{drift:?}");
    // 75 % against all, and 25 % against none.
    let expected = -0.25 * 0.75f64.ln() + (0.25 - 1e-4) * (0.25f64 / 1e-4).ln();
    assert!((drift.confidence - expected).abs() < 1e-9, "{drift:?}");

    let more = DriftSettings {
        min_predictions: 21,
        ..settings
    };
    let found = fixture.reader.drift(&more, now).await.expect("told");
    assert!(found.is_empty(), "{found:?}");
}
