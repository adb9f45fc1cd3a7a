use super::*;
use crate::predlog::error::ReadError;
use crate::predlog::query::{Page, Query};
use crate::predlog::reader::Reader;
use crate::predlog::row::Row;
use crate::predlog::testing;

/// Predictions of many days, devices and models, several of them at one instant.
fn various() -> Vec<(&'static str, Vec<Value>)> {
    let batch = |device: &str, salt: usize| -> Vec<Value> {
        let times = [
            "0001-01-01T00:00:00Z",
            "2023-12-31T23:59:59.999Z",
            "2024-06-01T00:00:00Z",
            "2025-01-12T12:00:00.5Z",
            "2025-01-13T00:00:00Z",
            "2025-01-14T12:00:00.5Z",
            "2025-01-14T12:00:00.5Z",
            "2025-01-15T00:00:00.001Z",
            "2025-01-16T12:00:00Z",
            "9999-12-31T23:59:59.999Z",
        ];
        let one = |(index, time): (usize, &&str)| {
            let mut one = prediction(
                &format!("{device} {index}"),
                time,
                (index + salt).is_multiple_of(3),
            );
            one["model_name"] = json!(["first", "second"][(index + salt) % 2]);
            one["inference_time_ms"] = json!((index + 1) * (salt + 1));
            one
        };
        times.iter().enumerate().map(one).collect()
    };
    vec![
        ("a", batch("a", 0)),
        ("b", batch("b", 1)),
        ("' OR 1 = 1 --", batch("c", 2)),
    ]
}

/// Everything that may be asked.
fn queries() -> Vec<Query> {
    let time = |text| Some(PredictionTime::parse(text).expect("a time"));
    let mut queries = Vec::new();
    for device in [None, Some("a"), Some("' OR 1 = 1 --"), Some("nobody")] {
        for model in [None, Some("first"), Some("nothing")] {
            for defect_only in [false, true] {
                for (from, to) in [
                    (None, None),
                    (time("2025-01-14T12:00:00.5Z"), None),
                    (None, time("2025-01-14T12:00:00.5Z")),
                    (time("2024-01-01T00:00:00Z"), time("2025-01-15T00:00:00Z")),
                    (time("2025-01-15T00:00:00Z"), time("2024-01-01T00:00:00Z")),
                ] {
                    queries.push(Query {
                        limit: None,
                        cursor: None,
                        edge_device_id: device.map(str::to_owned),
                        defect_only,
                        model: model.map(str::to_owned),
                        from,
                        to,
                    });
                }
            }
        }
    }
    queries
}

#[tokio::test]
async fn pages_and_counts_are_those_of_the_file() {
    let fixture = Fixture::new();
    let (_folder, config) = testing::config();
    let mut store = testing::open(&config).await.expect("opens");
    let mut sink = fixture.sink();
    for (device, predictions) in various() {
        let rows: Arc<[Row]> = testing::rows(device, &predictions);
        store.insert(&[rows], NOW).await.expect("commits");
        deliver(&mut sink, &landed(device, &predictions)).await;
    }
    let file = Reader::new(&config);
    file.reopen(&config);
    let reader = fixture.reader();
    let mut shown = 0;
    for query in queries() {
        for limit in [1, 4, 1_000] {
            let mut asked = [query.clone(), query.clone()];
            loop {
                for query in &mut asked {
                    query.limit = Some(limit);
                }
                let expected = file.predictions(&asked[0]).await.expect("a page");
                let found = reader.predictions(&asked[1]).await.expect("a page");
                assert_eq!(
                    json!(found.predictions),
                    json!(expected.predictions),
                    "{asked:?}"
                );
                assert_eq!(found.next_cursor.is_some(), expected.next_cursor.is_some());
                shown += found.predictions.len();
                if found.next_cursor.is_none() {
                    break;
                }
                asked[0].cursor = expected.next_cursor;
                asked[1].cursor = found.next_cursor;
            }
        }
    }
    assert!(shown > 500, "{shown}");
    assert_eq!(
        reader.stats().await.expect("stats"),
        file.stats().await.expect("stats")
    );
}

/// More days than one look takes, and pages of any size.
#[tokio::test]
async fn pages_over_many_days_neither_repeat_nor_leave_out() {
    let fixture = Fixture::new();
    let days: Vec<_> = (0..120)
        .map(|day| {
            let time = PredictionTime::from_unix_millis(NOW - day * 3 * 86_400_000 - 7_200_000);
            let time = time.expect("a time").to_string();
            prediction(&format!("image {day}"), &time, day % 10 == 0)
        })
        .collect();
    deliver(&mut fixture.sink(), &landed("edge", &days)).await;
    let reader = fixture.reader();
    for limit in [1, 7, 119, 120] {
        let mut query = Query {
            limit: Some(limit),
            ..Query::default()
        };
        let mut seen = Vec::new();
        loop {
            let Page {
                predictions,
                next_cursor,
            } = reader.predictions(&query).await.expect("a page");
            seen.extend(predictions.iter().map(|it| it["image_id"].clone()));
            assert!(seen.len() <= 120, "pages of {limit} repeat something");
            query.cursor = next_cursor;
            if query.cursor.is_none() {
                break;
            }
        }
        let all: Vec<_> = (0..120).map(|day| json!(format!("image {day}"))).collect();
        assert_eq!(seen, all, "pages of {limit}");
    }
}

#[tokio::test]
async fn a_page_ends_where_it_is_long_enough() {
    let mut fixture = Fixture::new();
    fixture.config.page_bytes = 2_500;
    let long: Vec<_> = (0..5)
        .map(|day| {
            let time = format!("2025-01-{:02}T10:00:00Z", 10 + day);
            let mut long = prediction(&format!("image {day}"), &time, false);
            long["processing_notes"] = json!("x".repeat(1_000));
            long
        })
        .collect();
    deliver(&mut fixture.sink(), &landed("edge", &long)).await;
    let page = fixture.reader().predictions(&Query::default()).await;
    let page = page.expect("a page");
    assert_eq!(page.predictions.len(), 3);
    assert!(page.next_cursor.is_some());
}

#[tokio::test]
async fn questions_that_cannot_be_answered_are_told_apart() {
    let fixture = Fixture::new();
    let reader = fixture.reader();
    let nothing_yet = reader.stats().await.expect_err("no tables").to_string();
    assert!(
        nothing_yet.ends_with("nothing has been written to PostgreSQL yet"),
        "{nothing_yet}"
    );
    let limit = Query {
        limit: Some(0),
        ..Query::default()
    };
    let error = reader.predictions(&limit).await.expect_err("no limit");
    assert_eq!(error, ReadError::InvalidLimit { max: 1000 });
    let cursor = Query {
        cursor: Some("next".into()),
        ..Query::default()
    };
    let error = reader.predictions(&cursor).await.expect_err("no cursor");
    assert_eq!(error, ReadError::InvalidCursor);
    fixture.sink().check().await.expect("makes the tables");
    assert_eq!(reader.stats().await.expect("stats"), Default::default());
    let page = reader.predictions(&Query::default()).await.expect("a page");
    assert!(page.predictions.is_empty() && page.next_cursor.is_none());
}

/// The runtime in which a connection was made ends; the next one makes its own.
#[test]
fn a_reader_outlives_the_runtimes_that_read() {
    let fixture = Fixture::new();
    let reader = fixture.reader();
    for round in 0..3 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            if round == 0 {
                let batch = [prediction("a", "2025-01-15T10:00:00Z", true)];
                deliver(&mut fixture.sink(), &landed("edge", &batch)).await;
            }
            for _ in 0..3 {
                assert_eq!(reader.stats().await.expect("stats").total, 1);
            }
        });
    }
    let connections = "SELECT count(*) <= 2 FROM pg_stat_activity \
                       WHERE application_name = 'impetus'";
    assert_eq!(fixture.server.psql(connections), "t");
}

/// No filter walks over what it does not show: each has an index that is in the order of the page.
#[tokio::test]
async fn every_part_of_a_page_comes_from_an_index_without_sorting() {
    let fixture = Fixture::new();
    let day: Vec<_> = (0..50)
        .map(|index| {
            prediction(
                &format!("image {index}"),
                "2025-01-15T10:00:00Z",
                index == 0,
            )
        })
        .collect();
    deliver(&mut fixture.sink(), &landed("a", &day)).await;
    for query in queries().into_iter().filter(|query| query.to.is_none()) {
        let device = query
            .edge_device_id
            .as_ref()
            .map(|_| "edge_device_id = 'a'");
        let model = query.model.as_ref().map(|_| "model_name = 'surface'");
        let defects = query.defect_only.then_some("defect_detected");
        let filters: Vec<_> = [Some("taken_at >= '2025-01-14'"), device, model, defects]
            .into_iter()
            .flatten()
            .collect();
        let plan = fixture.server.psql(&format!(
            "SET enable_seqscan = off; SET enable_bitmapscan = off; EXPLAIN SELECT body \
             FROM predictions WHERE {} ORDER BY taken_at DESC, seq DESC LIMIT 10",
            filters.join(" AND ")
        ));
        assert!(!plan.contains("Sort  ("), "{plan}");
        assert!(!plan.contains("Filter: "), "{plan}");
        assert!(plan.contains("Index Scan"), "{plan}");
    }
}
