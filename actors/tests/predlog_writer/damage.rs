//! Files that are damaged: set aside, kept, and replaced by new ones.

use std::fs;
use std::time::Duration;

use impetus_actors::predlog::PredictionLogConfig;
use sqlx::Connection;

use crate::{Fixture, PATIENCE, names};

/// A file that makes no sense is kept under another name, a new one is begun, and both are said.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_set_aside_and_a_new_one_begun() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = PredictionLogConfig::in_folder(folder.path());
    let garbage = "no database at all, ".repeat(500);
    fs::write(config.file(), &garbage).expect("written");
    let fixture = Fixture::start_in(folder, config);
    fixture.until("connected", |status| status.connected).await;
    fixture.log("a").await.expect("logged");
    assert_eq!(fixture.images().await, ["a"]);
    let snapshot = fixture.log.status().snapshot();
    let aside = snapshot.set_aside.expect("it is said");
    assert_eq!(
        fs::read_to_string(&aside.path).expect("it is kept"),
        garbage
    );
    assert!(
        aside.reason.contains("file is not a database"),
        "{}",
        aside.reason
    );
    assert_eq!(snapshot.files_set_aside, 1);
    assert_eq!(fixture.actor().restarts, 0);
}

/// Damage that shows while the log is in use: what can be read of it is kept, its write-ahead log
/// included, and the file that is begun is not the one that the old connections close.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_damaged_while_it_is_used_is_set_aside() {
    let fixture = Fixture::connected(|config| config.check_every = Duration::from_millis(50)).await;
    let images = names(200);
    for answer in fixture.log_apart(&images) {
        answer.await.expect("no panic").expect("logged");
    }
    {
        let mut stranger = fixture.stranger().await;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
            .execute(&mut stranger)
            .await
            .expect("all is in the file");
        stranger.close().await.expect("closes");
    }
    // Every page but the first, where the schema is.
    let file = fs::OpenOptions::new()
        .write(true)
        .open(fixture.config.file())
        .expect("is there");
    let length = file.metadata().expect("has a length").len();
    let scribble = vec![0xAA; usize::try_from(length).expect("it is short") - 4096];
    std::os::unix::fs::FileExt::write_all_at(&file, &scribble, 4096).expect("scribbled over");
    let logging = async {
        let mut index = 0;
        while fixture.log.status().snapshot().files_set_aside == 0 {
            // Acknowledged or not: what counts is that somebody writes.
            let _either = fixture.log(&format!("during {index}")).await;
            index += 1;
        }
    };
    tokio::time::timeout(PATIENCE, logging)
        .await
        .expect("it is noticed");
    fixture.until("connected", |status| status.connected).await;
    let logged = async { while fixture.log("after").await.is_err() {} };
    tokio::time::timeout(PATIENCE, logged)
        .await
        .expect("it is logged");
    assert!(fixture.images().await.contains(&"after".to_owned()));
    let Fixture {
        folder,
        config,
        system,
        ..
    } = fixture;
    drop(system);
    let again = Fixture::start_in(folder, config);
    again.until("connected", |status| status.connected).await;
    assert!(
        again.images().await.contains(&"after".to_owned()),
        "it is on the disk"
    );
    assert_eq!(again.log.status().snapshot().files_set_aside, 0);
}

/// A disk that damages every file is not filled with them.
#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_a_few_damaged_files_are_kept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = PredictionLogConfig::in_folder(folder.path());
    config.check_every = Duration::from_millis(50);
    for index in 0..8 {
        let kept = folder
            .path()
            .join(format!("predictions.db.damaged-{index}"));
        fs::write(kept, "damaged").expect("written");
    }
    fs::write(config.file(), "no database at all, ".repeat(500)).expect("written");
    let fixture = Fixture::start_in(folder, config);
    fixture.until_unavailable("file is not a database").await;
    assert!(fixture.log("a").await.is_err());
    assert!(fixture.config.file().exists());
    for index in 0..8 {
        let kept = fixture
            .folder
            .path()
            .join(format!("predictions.db.damaged-{index}"));
        fs::remove_file(kept).expect("removed");
    }
    fixture.until("connected", |status| status.connected).await;
}
