//! A database that fails for ever is a state: said, and nobody else's problem.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::database::Lock;
use crate::harness::disks::{Cover, Mount, ReadOnly};
use crate::harness::scrape::Scrape;
use crate::harness::watch::LivenessWatch;
use crate::harness::{Server, Setup};
use crate::survival::{Senders, all_rows};

#[test]
fn a_locked_database_stops_nothing_but_the_log_until_it_is_unlocked() {
    let server = Setup::new().start_ready();
    wait_until_logging(&server);
    let watch = LivenessWatch::start(&server);
    let lock = Lock::take(&server.dir.path().join("data/predictions.db"));
    assert_serves_on_without(&server, "locked");
    lock.release();
    wait_until_logging(&server);
    watch.assert_always_alive();
}

#[test]
fn a_locked_database_does_not_hold_up_the_end() {
    // What the server predicts would be waiting in memory, and be lost: another matter.
    let mut server = Setup::new().set("predlog.mode", "\"off\"").start_ready();
    wait_until_logging(&server);
    let lock = Lock::take(&server.dir.path().join("data/predictions.db"));
    assert_serves_on_without(&server, "locked");
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.wait_exit_code(), Some(0));
    lock.release();
}

#[test]
fn a_folder_that_cannot_be_written_stops_nothing_but_the_log_until_it_is_mended() {
    let disk = ReadOnly::new();
    let server = Setup::new()
        .set("data.dir", &format!("{:?}", disk.folder()))
        .start_ready();
    let watch = LivenessWatch::start(&server);
    assert_serves_on_without(&server, "opening");
    assert_eq!(server.get("/ready").json()["db_initialized"], false);
    for path in ["/stats", "/predictions"] {
        let answer = server.get(path);
        assert_eq!(answer.status, 503, "{path}: {}", answer.text());
        assert!(
            answer.headers.contains_key("retry-after"),
            "{path}: {:?}",
            answer.headers
        );
    }
    disk.mend();
    wait_until_logging(&server);
    watch.assert_always_alive();
}

#[test]
fn a_folder_that_can_never_be_stops_nothing_but_the_log() {
    let setup = Setup::new();
    let file = setup.path().join("file");
    fs::write(&file, b"no folder").unwrap();
    let server = setup
        .set("data.dir", &format!("{:?}", file.join("data")))
        .start_ready();
    let watch = LivenessWatch::start(&server);
    assert_serves_on_without(&server, "opening");
    watch.assert_always_alive();
}

#[test]
fn a_file_that_is_no_database_is_set_aside_and_kept_and_a_new_one_is_begun() {
    let setup = Setup::new();
    fs::create_dir(setup.path().join("data")).unwrap();
    fs::write(setup.path().join("data/predictions.db"), [b'x'; 8192]).unwrap();
    let server = setup.start_ready();
    let watch = LivenessWatch::start(&server);
    wait_until_logging(&server);
    let kept_as = assert_set_aside(&server);
    assert_eq!(fs::read(kept_as).unwrap(), [b'x'; 8192]);
    assert_eq!(
        server.get("/stats").json()["by_device"]["database"]["total"],
        1
    );
    watch.assert_always_alive();
}

#[test]
fn a_database_that_is_damaged_under_load_is_set_aside_and_a_new_one_is_begun() {
    let setup = Setup::without_models().set("role", "\"logging\"");
    let server = setup.start();
    wait_until_logging(&server);
    let watch = LivenessWatch::start(&server);
    std::thread::scope(|scope| {
        let senders = Senders::start(scope, server.port, 4);
        senders.wait_for_more(&server, 2000);
        let file = server.dir.path().join("data/predictions.db");
        damage(&file);
        // What is in memory is sound: whoever opens the file anew meets the damage.
        server.fault("db_writer", "panic", 1, None);
        server.wait_for("the damage to be found", || files_set_aside(&server) > 0.0);
        // What was acknowledged before lies in the damaged file. The new one takes the rest.
        senders.wait_for_more(&server, 200);
        senders.finish();
    });
    server.wait_for("/ready", || server.get("/ready").status == 200);
    let kept_as = assert_set_aside(&server);
    assert!(fs::metadata(kept_as).unwrap().len() > 8192);
    let stats = server.get("/stats").json();
    assert!(stats["total"].as_u64().unwrap() >= 200, "{stats:#}");
    assert_eq!(stats["total"], json!(all_rows(&server).len()), "{stats:#}");
    watch.assert_always_alive();
}

/// Overwrites what a database has in its file, as a disk does that fails: all pages, the write-ahead
/// log included, from which they would otherwise come back.
fn damage(file: &Path) {
    let wal = file.with_extension("db-wal");
    for path in [file, &wal] {
        let Ok(file) = fs::OpenOptions::new().write(true).open(path) else {
            // It has just been given another name.
            continue;
        };
        let length = file.metadata().unwrap().len();
        for page in 0..length / 4096 {
            file.write_all_at(&[0x5a; 4096], page * 4096).unwrap();
        }
    }
}

fn files_set_aside(server: &Server) -> f64 {
    Scrape::of(server).value("impetus_prediction_log_files_set_aside_total")
}

/// Insists that status and metrics tell of a damaged file that was set aside, and returns where it
/// is.
fn assert_set_aside(server: &Server) -> PathBuf {
    assert_eq!(files_set_aside(server), 1.0);
    let database = server.status()["components"]["database"].clone();
    assert_eq!(database["score"], 70, "{database:#}");
    let kept_as = database["detail"]["set_aside"].as_str().unwrap();
    assert!(kept_as.contains("predictions.db.damaged-"), "{kept_as}");
    let reason = database["detail"]["reason"].as_str().unwrap();
    assert!(reason.contains(kept_as), "{reason}");
    assert!(server.log().contains("set aside"), "{}", server.log());
    PathBuf::from(kept_as)
}

#[test]
fn a_full_disk_stops_nothing_but_the_log_until_there_is_room() {
    let Some(disk) = Mount::try_new("size=3m") else {
        return a_file_that_may_not_grow_stops_nothing_but_the_log();
    };
    let server = Setup::new()
        .set("data.dir", &format!("{:?}", disk.path()))
        .start_ready();
    wait_until_logging(&server);
    let watch = LivenessWatch::start(&server);
    let filler = disk.fill();
    assert_serves_on_without(&server, "full");
    fs::remove_file(filler).unwrap();
    wait_until_logging(&server);
    watch.assert_always_alive();
}

/// What a full disk is where nobody may mount one: files that cannot grow any more.
#[cfg(target_os = "linux")]
fn a_file_that_may_not_grow_stops_nothing_but_the_log() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};

    // Without this the first write too many would be the end of the process, as its default is.
    let server = Setup::new().after("trap '' XFSZ").start_ready();
    wait_until_logging(&server);
    let watch = LivenessWatch::start(&server);
    let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap());
    let limit = |bytes| {
        prlimit(
            pid,
            Resource::Fsize,
            Rlimit {
                current: bytes,
                maximum: None,
            },
        )
        .unwrap()
    };
    limit(Some(512));
    // The idle database is written to only now and then.
    assert_refused(&server);
    assert_serves_on_without(&server, "writing");
    limit(None);
    wait_until_logging(&server);
    watch.assert_always_alive();
}

#[cfg(not(target_os = "linux"))]
fn a_file_that_may_not_grow_stops_nothing_but_the_log() {
    a_folder_that_can_never_be_stops_nothing_but_the_log();
}

#[test]
fn where_the_database_is_no_condition_it_is_said_to_be_missing_and_readiness_holds() {
    let disk = ReadOnly::new();
    let server = Setup::new()
        .set("data.dir", &format!("{:?}", disk.folder()))
        .set("predlog.readiness", "\"degraded\"")
        .start_ready();
    server.wait_for("/ready to say what is missing", || {
        let ready = server.get("/ready");
        ready.status == 200 && ready.json()["degraded"].is_string()
    });
    assert_eq!(server.get("/ready").json()["db_initialized"], false);
    assert_refused(&server);
}

#[test]
fn a_log_that_was_read_while_it_was_read_only_is_written_again_afterwards() {
    let server = Setup::new().start_ready();
    wait_until_logging(&server);
    let Some(cover) = Cover::try_read_only(&server.dir.path().join("data")) else {
        // Nothing makes a folder read-only for root but a mount.
        return;
    };
    // Its successor has to open the file anew, and so has whoever reads.
    server.fault("db_writer", "panic", 1, None);
    server.wait_for_actor("db_writer", "at a loss", |actor| {
        actor["generation"] == 2 && actor["score"] == 0
    });
    let _ = server.get("/stats");
    drop(cover);
    wait_until_logging(&server);
    assert_eq!(server.get("/stats").status, 200);
}

/// Insists that everything but the log works, and that `/ready` says `because`.
fn assert_serves_on_without(server: &Server, because: &str) {
    server.wait_for(&format!("/ready to say {because:?}"), || {
        let ready = server.get("/ready");
        let reason = ready.json()["reason"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        ready.status == 503 && reason.contains("database") && reason.contains(because)
    });
    assert_eq!(server.get("/ready").json()["status"], "not_ready");
    assert_refused(server);
    server.assert_predicts();
    for answer in server.get_both("/api/health/ready") {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    // A database that fails is not what a server is restarted or alerted for as dead.
    let status = server.get_health("/api/health/status");
    assert_eq!(
        (
            status.status,
            &status.json()["components"]["database"]["score"]
        ),
        (200, &json!(60))
    );
    let writer = server.expect_actor("db_writer");
    assert_eq!(
        (&writer["state"], &writer["restarts"]),
        (&json!("running"), &json!(0)),
        "{writer:#}"
    );
}

fn assert_refused(server: &Server) {
    let refused = server.post_json("/log", &batch("database", &["refused"]));
    assert_eq!(refused.status, 503, "{}", refused.text());
    let seconds = refused.headers["retry-after"].parse::<u64>();
    assert!(
        seconds.is_ok_and(|seconds| seconds > 0),
        "{:?}",
        refused.headers
    );
    assert!(refused.json()["error"].is_string(), "{}", refused.text());
}

/// Waits until the database is there, and logs something.
fn wait_until_logging(server: &Server) {
    server.wait_for("/ready", || server.get("/ready").status == 200);
    let logged = server.post_json("/log", &batch("database", &["logged"]));
    assert_eq!(logged.status, 200, "{}", logged.text());
}

/// Returns a batch with one prediction for each image.
pub fn batch(device: &str, images: &[&str]) -> Value {
    let predictions: Vec<Value> = images.iter().map(|image| prediction(image)).collect();
    json!({
        "batch_size": predictions.len(),
        "predictions": predictions,
        "timestamp": "2025-01-01T12:00:00Z",
        "edge_device_id": device,
    })
}

fn prediction(image: &str) -> Value {
    let is_defect = image.contains("bad");
    json!({
        "image_id": image,
        "timestamp": "2025-01-01T12:00:00Z",
        "model_version": "1",
        "model_name": "surface",
        "inference_time_ms": 4.25,
        "detections": [{"class": "scratch", "confidence": 0.9, "bbox": [0, 0, 8, 8], "uncertain": false}],
        "defect_detected": is_defect,
        "confidence_scores": {"scratch": 0.9},
        "processing_notes": "",
    })
}
