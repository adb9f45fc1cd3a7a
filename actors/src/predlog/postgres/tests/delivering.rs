use super::*;
use crate::predlog::key::PredictionKey;
use crate::predlog::query::Query;

#[tokio::test]
async fn a_replay_makes_no_second_row() {
    let fixture = Fixture::new();
    let mut sink = fixture.sink();
    let mut batch = landed(
        "edge",
        &[
            prediction("a", "2025-01-15T10:00:00Z", true),
            prediction("b", "2025-01-14T10:00:00Z", false),
            named("p-1", "2025-01-15T10:00:00Z", false),
        ],
    );
    deliver(&mut sink, &batch).await;
    deliver(&mut sink, &batch).await;
    batch.reverse();
    deliver(&mut fixture.sink(), &batch).await;
    assert_eq!(fixture.count("predictions"), 3);
    fixture.assert_counted();
}

/// The partitions alone would not notice: the two have another day and another hour.
#[tokio::test]
async fn an_id_that_comes_again_with_another_time_is_the_same_prediction() {
    let fixture = Fixture::new();
    let mut sink = fixture.sink();
    let first = landed("edge", &[named("p-1", "2025-01-15T10:00:00Z", true)]);
    deliver(&mut sink, &first).await;
    let again = [
        named("p-1", "2025-01-14T10:00:00Z", false),
        named("p-1", "9999-01-01T00:00:00Z", false),
        named("p-2", "2025-01-14T10:00:00Z", false),
    ];
    deliver(&mut sink, &landed("edge", &again)).await;
    deliver(&mut sink, &landed("other", &again)).await;
    let found = "SELECT edge_device_id, taken_at FROM predictions ORDER BY 1, 2";
    let found = fixture
        .server
        .psql(&format!("SET timezone = 'UTC'; {found}"));
    let expected = "edge|2025-01-14 10:00:00+00\nedge|2025-01-15 10:00:00+00\n\
                    other|2025-01-14 10:00:00+00\nother|2025-01-14 10:00:00+00";
    assert_eq!(found, expected);
    fixture.assert_counted();
}

/// Two programs deliver the same and different rows, each in another order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn programs_that_deliver_at_once_neither_double_nor_stand_still() {
    let fixture = Fixture::new();
    let common: Vec<Value> = (0..400)
        .map(|index| {
            let time = format!("2025-01-{:02}T10:00:{:02}Z", 10 + index % 5, index % 60);
            if index % 2 == 0 {
                named(&format!("p-{index}"), &time, index % 3 == 0)
            } else {
                prediction(&format!("image {index}"), &time, index % 3 == 0)
            }
        })
        .collect();
    let programs: Vec<_> = (0..4)
        .map(|program: usize| {
            let mut sink = fixture.sink();
            let mut rows = landed("edge", &common);
            rows.rotate_left(program * 97);
            if program % 2 == 1 {
                rows.reverse();
            }
            let own = [prediction("own", "2025-01-12T00:00:00Z", true)];
            rows.extend(landed(&format!("device {program}"), &own));
            tokio::spawn(async move {
                for part in rows.chunks(37) {
                    deliver(&mut sink, part).await;
                }
            })
        })
        .collect();
    for program in programs {
        tokio::time::timeout(2 * PATIENCE, program)
            .await
            .expect("they do not wait for each other")
            .expect("delivers");
    }
    assert_eq!(fixture.count("predictions"), 404);
    fixture.assert_counted();
}

#[tokio::test]
async fn a_prediction_lies_in_the_partition_of_its_own_day_or_with_those_of_no_day() {
    let fixture = Fixture::new();
    let mut sink = fixture.sink();
    let times = [
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "1969-12-31T23:59:59.999Z",
        "2023-12-11T23:59:59Z",
        "2023-12-12T00:00:00Z",
        "2025-01-15T23:59:59.999Z",
        "2025-01-16T00:00:00Z",
        "2025-01-17T10:00:00Z",
        "2025-01-18T00:00:00Z",
        "9999-12-31T23:59:59.999Z",
    ];
    let batch: Vec<_> = times.map(|time| prediction(time, time, false)).into();
    deliver(&mut sink, &landed("edge", &batch)).await;
    let found = fixture
        .server
        .psql("SELECT tableoid::regclass::text, count(*) FROM predictions GROUP BY 1 ORDER BY 1");
    let expected = "predictions_20231212|1\npredictions_20250115|1\npredictions_20250116|1\n\
                    predictions_20250117|1\npredictions_other|6";
    assert_eq!(found, expected);
    let page = fixture.reader().predictions(&Query::default()).await;
    let page = page.expect("a page").predictions;
    let read: Vec<_> = page.iter().rev().map(|found| &found["timestamp"]).collect();
    assert_eq!(read, times, "each is read with the time it was sent with");
    fixture.assert_counted();
}

#[tokio::test]
async fn a_day_that_comes_near_gets_its_rows_from_those_of_no_day() {
    let fixture = Fixture::new();
    let mut early = fixture.sink();
    let ahead = [
        prediction("a", "2025-01-20T10:00:00Z", true),
        prediction("b", "2025-01-21T00:00:00Z", false),
    ];
    deliver(&mut early, &landed("edge", &ahead)).await;
    assert_eq!(fixture.count("predictions_other"), 2);
    let mut later = fixture.sink_at(NOW + 4 * 86_400_000);
    let that_day = [
        ahead[0].clone(),
        prediction("c", "2025-01-20T11:00:00Z", false),
    ];
    deliver(&mut later, &landed("edge", &that_day)).await;
    assert_eq!(fixture.count("predictions_20250120"), 2);
    assert_eq!(fixture.count("predictions_other"), 1);
    deliver(&mut early, &landed("edge", &ahead)).await;
    assert_eq!(fixture.count("predictions"), 3);
    fixture.assert_counted();
}

/// Somebody who reads for long keeps a partition from being made, and no row from being kept.
#[tokio::test]
async fn a_partition_that_cannot_be_made_now_is_made_later() {
    let fixture = Fixture::new();
    let mut sink = fixture.sink();
    sink.check().await.expect("the tables are there");
    let mut stranger = fixture
        .sink()
        .server
        .connect(Purpose::Read)
        .await
        .expect("connects");
    sqlx::raw_sql("BEGIN; SELECT count(*) FROM predictions")
        .execute(&mut stranger)
        .await
        .expect("reads");
    let batch = landed("edge", &[prediction("a", "2025-01-15T10:00:00Z", true)]);
    deliver(&mut sink, &batch).await;
    assert_eq!(fixture.count("predictions_other"), 1);
    sqlx::raw_sql("COMMIT")
        .execute(&mut stranger)
        .await
        .expect("ends");
    assert_eq!(sink.prune(NOW).await.expect("nothing to do"), 0);
    assert_eq!(fixture.count("predictions_20250115"), 1);
    deliver(&mut sink, &batch).await;
    assert_eq!(fixture.count("predictions"), 1);
    fixture.assert_counted();
}

/// Text is text, whatever it looks like.
#[tokio::test]
async fn hostile_text_is_kept_as_it_was_sent() {
    let fixture = Fixture::new();
    let mut sink = fixture.sink();
    let texts = [
        "'); DROP TABLE predictions; --",
        "\"quoted\" \\ back\\slash {a,b,NULL} $1 :x",
        "NULL",
        "\u{1F600} \u{202E}gnirts \u{0301}\u{FFFF}",
        "line\nbreak\ttab\u{7f}\u{1}",
    ];
    let mut batch = Vec::new();
    for text in texts {
        let mut hostile = prediction(text, "2025-01-15T10:00:00Z", true);
        hostile["model_name"] = json!(text);
        hostile["model_version"] = json!(text);
        hostile["processing_notes"] = json!(format!("nul: \u{0} and {text}"));
        hostile["detections"] = json!([{"class": text, "confidence": 0.5}]);
        let rows = landed(text, &[hostile]);
        deliver(&mut sink, &rows).await;
        batch.extend(rows);
    }
    assert!(
        batch
            .iter()
            .all(|landed| landed.row.body.contains("\\u0000"))
    );
    let mut connection = sink.take_connection().await.expect("connects");
    let kept: Vec<(String, String, String, String, String)> = sqlx::query_as(
        "SELECT edge_device_id, model_name, model_version, class, body::text FROM predictions \
         ORDER BY seq",
    )
    .fetch_all(&mut connection)
    .await
    .expect("reads");
    let sent: Vec<_> = texts
        .into_iter()
        .zip(&batch)
        .map(|(text, landed)| {
            let text = text.to_owned();
            (
                text.clone(),
                text.clone(),
                text.clone(),
                text,
                landed.row.body.to_string(),
            )
        })
        .collect();
    assert_eq!(kept, sent);
    let reader = fixture.reader();
    for text in texts {
        let query = Query {
            edge_device_id: Some(text.into()),
            model: Some(text.into()),
            ..Query::default()
        };
        let page = reader.predictions(&query).await.expect("a page");
        assert_eq!(page.predictions.len(), 1, "{text}");
        assert_eq!(page.predictions[0]["image_id"], text);
    }
}

/// No label has such text, but a file may be damaged.
#[tokio::test]
async fn rows_that_postgresql_cannot_store_are_refused_alone() {
    let fixture = Fixture::new();
    let mut sink = fixture.sink();
    let batch: Vec<_> = (0..50)
        .map(|index| prediction(&format!("image {index}"), "2025-01-15T10:00:00Z", false))
        .collect();
    let mut batch = landed("edge", &batch);
    batch[17].row.device = "a\0b".into();
    batch[42].row.body = "{\"image_id\": ".into();
    let delivery = sink.deliver(&batch).await.expect("delivers the rest");
    let refused: Vec<_> = delivery.refused.iter().map(|row| row.index).collect();
    assert_eq!(refused, [17, 42]);
    let reasons = format!("{:?}", delivery.refused);
    assert!(
        reasons.contains("PostgreSQL cannot store it: invalid byte sequence"),
        "{reasons}"
    );
    assert!(
        reasons.contains("invalid input syntax for type json"),
        "{reasons}"
    );
    assert_eq!(fixture.count("predictions"), 48);
    fixture.assert_counted();
}

#[tokio::test]
async fn a_batch_is_parted_into_transactions_of_so_many_rows() {
    let mut fixture = Fixture::new();
    fixture.settings.rows = 3;
    let batch: Vec<_> = (0..8)
        .map(|index| prediction(&format!("image {index}"), "2025-01-15T10:00:00Z", false))
        .collect();
    deliver(&mut fixture.sink(), &landed("edge", &batch)).await;
    let transactions = "SELECT count(DISTINCT xmin::text), count(*) FROM predictions";
    assert_eq!(fixture.server.psql(transactions), "3|8");
}

/// The numbers of rows go on in the order of the file, whatever the order of the keys.
#[tokio::test]
async fn rows_of_one_instant_keep_their_order() {
    let fixture = Fixture::new();
    let batch: Vec<_> = (0..30)
        .map(|index| prediction(&format!("image {index}"), "2025-01-15T10:00:00Z", false))
        .collect();
    let batch = landed("edge", &batch);
    let is_sorted = |rows: &[Landed]| rows.is_sorted_by_key(|it| *it.row.key.as_bytes());
    assert!(!is_sorted(&batch), "the keys have another order");
    deliver(&mut fixture.sink(), &batch).await;
    let keys: Vec<PredictionKey> = batch.iter().map(|landed| landed.row.key).collect();
    let hex = |key: &PredictionKey| -> String {
        key.as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    };
    let expected: Vec<_> = keys.iter().map(hex).collect();
    let found = fixture
        .server
        .psql("SELECT encode(key, 'hex') FROM predictions ORDER BY seq");
    assert_eq!(found.lines().collect::<Vec<_>>(), expected);
}
