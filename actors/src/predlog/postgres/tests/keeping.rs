use super::*;

const DAY: i64 = 86_400_000;

fn keep_for(days: u64) -> Retention {
    Retention {
        keep_for: Some(Duration::from_secs(days * 86_400)),
        keep_bytes: None,
    }
}

fn partitions(fixture: &Fixture) -> Vec<String> {
    let names = fixture.server.psql(
        "SELECT inhrelid::regclass::text FROM pg_inherits \
         WHERE inhparent = 'predictions'::regclass ORDER BY 1",
    );
    names.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn days_that_ended_too_long_ago_go_with_their_counts() {
    let mut fixture = Fixture::new();
    let days = ["12", "13", "14", "15"].map(|day| {
        let time = format!("2025-01-{day}T10:00:00Z");
        named(&format!("p-{day}"), &time, day == "13")
    });
    let mut batch = Vec::new();
    for (day, sent) in (12..).zip(&days) {
        batch.extend(landed_at(
            NOW + (day - 15) * DAY,
            "edge",
            std::slice::from_ref(sent),
        ));
    }
    deliver(&mut fixture.sink(), &batch).await;
    fixture.config.retention = keep_for(2);
    let mut sink = fixture.sink();
    // The 13th ends on the 14th, and from the 16th on that is two days ago.
    assert_eq!(sink.prune(NOW).await.expect("removes"), 1);
    assert_eq!(fixture.count("predictions"), 3);
    assert_eq!(sink.prune(NOW + DAY).await.expect("removes"), 1);
    let left = [
        "predictions_20250114",
        "predictions_20250115",
        "predictions_20250116",
        "predictions_20250117",
        "predictions_20250118",
        "predictions_other",
    ];
    assert_eq!(partitions(&fixture), left);
    assert_eq!(fixture.count("prediction_names"), 2);
    fixture.assert_counted();
    assert_eq!(sink.prune(NOW + DAY).await.expect("has nothing to do"), 0);
}

/// A clock that is wrong decides nothing: these go when they have been there for long enough.
#[tokio::test]
async fn predictions_of_no_day_go_by_when_they_were_logged() {
    let mut fixture = Fixture::new();
    fixture.config.retention = keep_for(2);
    let times = [
        "0001-01-01T00:00:00Z",
        "2020-01-01T00:00:00Z",
        "9999-01-01T00:00:00Z",
    ];
    let batch = |created_at: i64, kind: &str| {
        let named = times.map(|time| named(&format!("{kind} {time}"), time, true));
        landed_at(created_at, "edge", &named)
    };
    let mut sink = fixture.sink();
    deliver(&mut sink, &batch(NOW - 4 * DAY, "old")).await;
    deliver(&mut sink, &batch(NOW, "new")).await;
    assert_eq!(sink.prune(NOW).await.expect("removes"), 3);
    assert_eq!(fixture.count("predictions_other"), 3);
    assert_eq!(fixture.count("prediction_names"), 3);
    fixture.assert_counted();
    deliver(&mut sink, &batch(NOW, "new")).await;
    assert_eq!(
        fixture.count("predictions_other"),
        3,
        "they are still known"
    );
    assert_eq!(sink.prune(NOW + 4 * DAY).await.expect("removes"), 3);
    assert_eq!(fixture.count("prediction_names"), 0);
    fixture.assert_counted();
}

#[tokio::test]
async fn the_oldest_days_go_while_all_are_too_large_but_never_todays() {
    let mut fixture = Fixture::new();
    let mut sink = fixture.sink();
    for day in 10..=15 {
        let of_day: Vec<_> = (0..200)
            .map(|index| {
                let time = format!("2025-01-{day}T10:00:00Z");
                prediction(&format!("image {index}"), &time, index == 0)
            })
            .collect();
        deliver(&mut sink, &landed("edge", &of_day)).await;
    }
    let size = "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits \
                WHERE inhparent = 'predictions'::regclass";
    let size: u64 = fixture.server.psql(size).parse().expect("a number");
    fixture.config.retention.keep_bytes = Some(size * 3 / 5);
    let removed = fixture.sink().prune(NOW).await.expect("removes");
    assert!(
        (400..=800).contains(&removed) && removed % 200 == 0,
        "{removed}"
    );
    assert_eq!(fixture.count("predictions"), 1_200 - removed);
    fixture.assert_counted();
    fixture.config.retention.keep_bytes = Some(1);
    fixture.sink().prune(NOW).await.expect("removes");
    assert_eq!(fixture.count("predictions"), 200);
    assert_eq!(fixture.count("predictions_20250115"), 200);
    fixture.assert_counted();
}

/// A day that has been removed is not begun anew by a row that comes late.
#[tokio::test]
async fn a_row_of_a_removed_day_gets_no_partition_and_goes_by_when_it_was_logged() {
    let mut fixture = Fixture::new();
    let mut sink = fixture.sink();
    let day: Vec<_> = (0..200)
        .map(|index| named(&format!("p-{index}"), "2025-01-10T10:00:00Z", false))
        .collect();
    deliver(&mut sink, &landed_at(NOW - 5 * DAY, "edge", &day)).await;
    fixture.config.retention.keep_bytes = Some(1);
    assert_eq!(fixture.sink().prune(NOW).await.expect("removes"), 200);
    let late = [named("late", "2025-01-10T10:00:00Z", true)];
    deliver(&mut sink, &landed("edge", &late)).await;
    deliver(&mut sink, &landed_at(NOW - 6 * DAY, "edge", &day[..3])).await;
    assert_eq!(fixture.count("predictions_other"), 4);
    assert_eq!(fixture.sink().prune(NOW).await.expect("removes"), 3);
    assert_eq!(fixture.count("predictions"), 1);
    assert_eq!(fixture.count("prediction_names"), 1);
    deliver(&mut sink, &landed("edge", &late)).await;
    assert_eq!(fixture.count("predictions"), 1);
    fixture.assert_counted();
}

/// Somebody who reads for long is waited for, and is no failure of the sink.
#[tokio::test]
async fn what_cannot_be_removed_now_is_removed_later() {
    let mut fixture = Fixture::new();
    let old = prediction("a", "2025-01-05T10:00:00Z", true);
    deliver(&mut fixture.sink(), &landed("edge", &[old])).await;
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
    fixture.config.retention = keep_for(2);
    let mut sink = fixture.sink();
    assert_eq!(sink.prune(NOW).await.expect("waits"), 0);
    assert_eq!(fixture.count("predictions"), 1);
    sqlx::raw_sql("COMMIT")
        .execute(&mut stranger)
        .await
        .expect("ends");
    assert_eq!(sink.prune(NOW).await.expect("removes"), 1);
    fixture.assert_counted();
}

/// One call does not take for ever, whatever there is to do.
#[tokio::test]
async fn one_call_removes_a_bounded_part() {
    let mut fixture = Fixture::new();
    let days: Vec<_> = (1..=15)
        .map(|day| prediction("a", &format!("2025-01-{day:02}T10:00:00Z"), false))
        .collect();
    deliver(&mut fixture.sink(), &landed("edge", &days)).await;
    fixture.config.retention = keep_for(1);
    let mut sink = fixture.sink();
    assert_eq!(sink.prune(NOW).await.expect("removes"), 8);
    assert_eq!(sink.prune(NOW).await.expect("removes"), 5);
    assert_eq!(sink.prune(NOW).await.expect("removes"), 0);
    fixture.assert_counted();
}

/// Programs remove and deliver at the same time, and none waits for another in a circle.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn removing_while_others_deliver_keeps_the_counts() {
    let mut fixture = Fixture::new();
    let mut writers = Vec::new();
    for program in 0..2 {
        let mut sink = fixture.sink();
        writers.push(tokio::spawn(async move {
            for round in 0..30 {
                let batch: Vec<_> = (5..=15)
                    .map(|day| {
                        let time = format!("2025-01-{day:02}T10:00:00Z");
                        named(&format!("{program} {round} {day}"), &time, true)
                    })
                    .collect();
                deliver(&mut sink, &landed("edge", &batch)).await;
            }
        }));
    }
    fixture.config.retention = keep_for(4);
    let mut removers = Vec::new();
    for _ in 0..2 {
        let mut sink = fixture.sink();
        removers.push(tokio::spawn(async move {
            for _ in 0..15 {
                sink.prune(NOW).await.expect("removes");
            }
        }));
    }
    for program in writers.into_iter().chain(removers) {
        tokio::time::timeout(2 * PATIENCE, program)
            .await
            .expect("they do not wait for each other")
            .expect("does its work");
    }
    fixture.assert_counted();
    let oldest = fixture
        .server
        .psql("SELECT min(taken_at) >= '2025-01-05' FROM predictions");
    assert_eq!(oldest, "t");
}
