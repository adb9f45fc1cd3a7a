//! Predictions that nobody waits for, and how long any are kept.

use std::time::Duration;

use impetus_actors::db_writer::DB_WRITER;
use impetus_actors::predlog::{LogError, Query};
use impetus_supervision::Fault;
use sqlx::Connection;

use crate::{Fixture, PATIENCE, batch, eventually, names};

/// What nobody waits for is on the disk before long, many at once.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_is_committed_together_within_the_interval() {
    let fixture =
        Fixture::connected(|config| config.flush_interval = Duration::from_millis(20)).await;
    let images = names(100);
    for image in &images {
        fixture.log.record(batch(&[image])).expect("there is room");
    }
    fixture.log.flush(PATIENCE).await.expect("all is committed");
    assert_eq!(fixture.images().await, images);
    let commits = fixture.log.status().snapshot().commits;
    assert!(commits < 50, "{commits} commits for 100 predictions");
    // By itself as well, without anybody who asks for it.
    fixture
        .log
        .record(batch(&["later"]))
        .expect("there is room");
    fixture
        .until("it is committed", |status| status.predictions_logged == 101)
        .await;
}

/// A batch that is waited for takes along what is not.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_goes_with_the_next_batch() {
    let fixture = Fixture::connected(|config| config.flush_interval = 2 * PATIENCE).await;
    fixture
        .log
        .record(batch(&["recorded"]))
        .expect("there is room");
    fixture.log("logged").await.expect("logged");
    assert_eq!(fixture.images().await, ["logged", "recorded"]);
    assert_eq!(fixture.log.recorded().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_survives_the_writers_panics() {
    let fixture =
        Fixture::connected(|config| config.flush_interval = Duration::from_millis(1)).await;
    let images = names(300);
    for (index, image) in images.iter().enumerate() {
        fixture.log.record(batch(&[image])).expect("there is room");
        if index % 100 == 50 {
            fixture
                .system
                .faults()
                .arm(&DB_WRITER.into(), Fault::Panic, 1);
            eventually("it is replaced", || {
                fixture.actor().restarts > index as u64 / 100
            })
            .await;
        }
    }
    fixture.log.flush(PATIENCE).await.expect("all is committed");
    assert_eq!(fixture.images().await, images);
}

/// While the database is locked what is recorded waits, up to a bound, and none of it is lost.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_waits_for_the_database_and_has_a_bound() {
    let fixture = Fixture::connected(|config| {
        config.lock_wait = Duration::from_millis(10);
        config.flush_interval = Duration::from_millis(1);
        config.check_every = Duration::from_millis(50);
        config.buffer_rows = 10;
    })
    .await;
    let mut stranger = fixture.stranger().await;
    let lock = stranger.begin_with("BEGIN IMMEDIATE").await.expect("locks");
    let images = names(10);
    for image in &images {
        fixture.log.record(batch(&[image])).expect("there is room");
    }
    fixture.until_unavailable("locked").await;
    let refused = fixture
        .log
        .record(batch(&["one too many"]))
        .expect_err("it is full");
    assert!(matches!(refused, LogError::Overloaded { .. }), "{refused}");
    assert_eq!(fixture.log.status().snapshot().dropped, 1);
    let errors = fixture.log.stats().await.expect("stats").errors;
    assert_eq!(errors.predictions_dropped, 1);
    assert!(
        errors.batches_refused > 0 || errors.batches_failed == 0,
        "{errors:?}"
    );
    let late = fixture
        .log
        .flush(Duration::from_millis(20))
        .await
        .expect_err("it is locked");
    assert_eq!(late.recorded, 10);
    lock.rollback().await.expect("unlocks");
    fixture.log.flush(PATIENCE).await.expect("all is committed");
    assert_eq!(fixture.images().await, images);
}

/// An orderly stop loses nothing of what nobody waits for.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_commits_what_was_recorded() {
    let fixture = Fixture::connected(|config| config.flush_interval = 2 * PATIENCE).await;
    let images = names(10);
    for image in &images {
        fixture.log.record(batch(&[image])).expect("there is room");
    }
    let Fixture {
        folder,
        config,
        system,
        ..
    } = fixture;
    let report = system.stop(PATIENCE).await;
    assert!(report.clean, "{report:?}");
    let again = Fixture::start_in(folder, config);
    again.until("connected", |status| status.connected).await;
    assert_eq!(again.images().await, images);
}

/// The log is as large and as old as it may be, and its statistics are those of what is left.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_no_longer_is_removed() {
    let old = Fixture::connected(|config| config.check_every = Duration::from_millis(20)).await;
    old.log
        .log(batch(&["good", "bad"]), PATIENCE)
        .await
        .expect("logged");
    let Fixture {
        folder,
        mut config,
        system,
        ..
    } = old;
    system.stop(PATIENCE).await;
    config.retention.keep_for = Some(Duration::from_millis(1));
    let young = Fixture::start_in(folder, config);
    young
        .until("they are removed", |status| status.pruned == 2)
        .await;
    assert_eq!(young.images().await, [""; 0]);
    assert_eq!(young.log.stats().await.expect("stats").total, 0);

    let small = Fixture::connected(|config| {
        config.check_every = Duration::from_millis(20);
        config.retention.keep_bytes = Some(512 << 10);
    })
    .await;
    let images = names(6_000);
    for part in images.chunks(500) {
        let part: Vec<&str> = part.iter().map(String::as_str).collect();
        small.log.log(batch(&part), PATIENCE).await.expect("logged");
    }
    small
        .until("some are removed", |status| status.pruned > 0)
        .await;
    let left = async {
        loop {
            let status = small.log.status().snapshot();
            let total = small.log.stats().await.expect("stats").total;
            if status.pruned + total == 6_000 && total == status.rows {
                return total;
            }
            // The figures are published without a signal; looked at until `PATIENCE` is over.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let left = tokio::time::timeout(PATIENCE, left)
        .await
        .expect("they agree");
    assert!(left < 6_000);
    let newest = small
        .log
        .predictions(&Query::default())
        .await
        .expect("a page");
    assert!(!newest.predictions.is_empty(), "the newest stay");
}
