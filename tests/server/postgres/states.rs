//! What is said while PostgreSQL is not there, or says no.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    Postgres, assert_keeps_exactly, database, forwarding, forwarding_to, wait_until_away,
    wait_until_forwarded,
};
use crate::database::batch;
use crate::harness::scrape::{Scrape, wait_for_value};
use crate::harness::watch::LivenessWatch;
use crate::harness::{Server, Setup};

const FULL: &str = "impetus_prediction_sink_backlog_full";

/// Waits until the file takes predictions, whatever its sink does.
fn wait_for_file(server: &Server) {
    server.wait_for("the file", || {
        server.get("/ready").json()["db_initialized"] == true
    });
}

fn log(server: &Server, images: &[&str]) {
    let logged = server.post_json("/log", &batch("line-1", images));
    assert_eq!(logged.status, 200, "{}", logged.text());
}

#[test]
fn a_wrong_password_is_said_and_not_shown_and_the_right_one_is_used_as_soon_as_it_is_there() {
    let postgres = Postgres::start();
    let setup = Setup::without_models();
    let file = setup.path().join("password");
    fs::write(&file, "wr0ng-secret\n").unwrap();
    let url = postgres.url_with(Postgres::USER, Postgres::DATABASE);
    let server = forwarding_to(setup, &url)
        .set(
            "sink.password_file",
            &format!("{:?}", file.to_str().unwrap()),
        )
        .start();
    wait_for_file(&server);
    log(&server, &["one", "bad"]);
    let reason = wait_until_away(&server);
    assert!(
        reason.contains("refuses the password of user impetus"),
        "{reason}"
    );
    assert!(reason.contains("sink.password_file"), "{reason}");
    assert_shows_nowhere(&server, "wr0ng-secret");
    fs::write(&file, Postgres::PASSWORD).unwrap();
    let both = ["bad", "one"].map(str::to_owned).into();
    assert_keeps_exactly(&server, &postgres, &both);
    assert_shows_nowhere(&server, Postgres::PASSWORD);
}

#[test]
fn a_password_in_the_address_is_shown_nowhere() {
    let mut postgres = Postgres::start();
    let url = postgres.url();
    let server = forwarding(Setup::without_models(), &postgres).start();
    server.wait_for("the sink", || server.get("/ready").status == 200);
    postgres.kill();
    wait_for_file(&server);
    log(&server, &["one"]);
    wait_until_away(&server);
    let user = url.split_once('@').unwrap().0;
    let encoded = user.rsplit_once(':').unwrap().1;
    assert_shows_nowhere(&server, encoded);
    assert_shows_nowhere(&server, Postgres::PASSWORD);
}

/// Insists that a secret is in no answer and no line of the log.
pub fn assert_shows_nowhere(server: &Server, secret: &str) {
    let both = [
        "/ready",
        "/health",
        "/stats",
        "/predictions",
        "/export",
        "/metrics",
    ];
    let health = [
        "/api/health/status",
        "/api/health/ready",
        "/api/health/metrics",
        "/api/health/events",
        "/api/health",
    ];
    let told = both.iter().map(|path| server.get(path));
    let told = told.chain(health.iter().map(|path| server.get_health(path)));
    let told = told.map(|answer| format!("{:?} {}", answer.headers, answer.text()));
    for text in told.chain([server.log()]) {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn a_postgresql_that_is_away_makes_the_service_unready_or_degraded_as_it_is_told() {
    let mut postgres = Postgres::start();
    let required = forwarding(Setup::without_models(), &postgres).start();
    let degraded = forwarding(Setup::without_models(), &postgres)
        .set("predlog.readiness", "\"degraded\"")
        .start();
    for server in [&required, &degraded] {
        server.wait_for("the sink", || {
            let ready = server.get("/ready");
            ready.status == 200 && ready.json()["degraded"].is_null()
        });
    }
    postgres.kill();
    wait_until_away(&required);
    wait_until_away(&degraded);
    let unready = required.get("/ready");
    assert_eq!(unready.status, 503, "{}", unready.text());
    let reason = unready.json()["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("PostgreSQL"), "{reason}");
    let ready = degraded.get("/ready");
    assert_eq!(ready.status, 200, "{}", ready.text());
    assert!(ready.json()["degraded"].is_string(), "{}", ready.text());
    for server in [&required, &degraded] {
        log(server, &["meanwhile"]);
        for path in ["/stats", "/predictions"] {
            let answer = server.get(path);
            assert_eq!(answer.status, 503, "{path}: {}", answer.text());
            assert!(answer.headers.contains_key("retry-after"), "{path}");
        }
        assert_eq!(server.get_health("/api/health/live").status, 200);
        assert_eq!(server.get_health("/api/health/status").status, 200);
    }
    postgres.start_again();
    for server in [&required, &degraded] {
        wait_until_forwarded(server);
        let ready = server.get("/ready");
        assert_eq!(ready.status, 200, "{}", ready.text());
        assert!(ready.json()["degraded"].is_null(), "{}", ready.text());
    }
    // Both have sent the same prediction.
    assert_eq!(postgres.psql("SELECT count(*) FROM predictions"), "1");
}

#[test]
fn when_as_much_waits_as_may_predictions_are_refused_until_there_is_room() {
    let mut postgres = Postgres::start();
    let server = forwarding(Setup::without_models(), &postgres)
        .set("sink.max_backlog", "\"1MiB\"")
        .start();
    server.wait_for("the sink", || server.get("/ready").status == 200);
    let watch = LivenessWatch::start(&server);
    postgres.kill();
    let mut acknowledged = std::collections::BTreeSet::new();
    let mut refused = None;
    let mut number = 0;
    server.wait_for("a refusal", || {
        let image = format!("image-{number}");
        number += 1;
        let mut large = batch("line-1", &[&image]);
        large["predictions"][0]["processing_notes"] = Value::from("x".repeat(30_000));
        let answer = server.post_json("/log", &large);
        if answer.status == 200 {
            acknowledged.insert(image);
        } else {
            refused = Some(answer);
        }
        refused.is_some()
    });
    let refused = refused.unwrap();
    assert_eq!(refused.status, 503, "{}", refused.text());
    let seconds: u64 = refused.headers["retry-after"].parse().unwrap();
    assert!(seconds > 0);
    assert!(
        refused.json()["error"]
            .as_str()
            .unwrap()
            .contains("max_backlog"),
        "{}",
        refused.text()
    );
    assert_eq!(Scrape::of(&server).value(FULL), 1.0);
    assert_eq!(database(&server)["sink"]["backlog_full"], json!(true));
    postgres.start_again();
    wait_for_value(&server, FULL, 0.0);
    log(&server, &["afterwards"]);
    acknowledged.insert("afterwards".to_owned());
    assert_keeps_exactly(&server, &postgres, &acknowledged);
    watch.assert_always_alive();
}

#[test]
fn what_is_kept_no_longer_leaves_postgresql_with_its_day() {
    let postgres = Postgres::start();
    let time = |days: u32| {
        postgres.psql(&format!(
            "SELECT to_char(now() AT TIME ZONE 'utc' - interval '{days} days', \
             'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
        ))
    };
    let mut both = batch("line-1", &["bad-old", "new"]);
    let (old, new) = (time(5), time(0));
    both["predictions"][0]["timestamp"] = json!(old);
    both["predictions"][1]["timestamp"] = json!(new);
    let partition = format!("predictions_{}", old[..10].replace('-', ""));
    let partitions = || {
        postgres.psql(&format!(
            "SELECT count(*) FROM pg_class WHERE relname = '{partition}'"
        ))
    };
    let mut server = forwarding(Setup::without_models(), &postgres).start();
    wait_for_file(&server);
    let logged = server.post_json("/log", &both);
    assert_eq!(logged.status, 200, "{}", logged.text());
    wait_until_forwarded(&server);
    assert_eq!(partitions(), "1");
    assert_eq!(server.get("/stats").json()["total"], 2);
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit_code(), Some(0), "{}", server.log());

    let setup = Setup::in_dir(std::sync::Arc::clone(&server.dir));
    let server = forwarding(setup, &postgres)
        .set("predlog.keep_for", "\"48h\"")
        .start();
    server.wait_for("the old day to go", || partitions() == "0");
    wait_for_value(&server, "impetus_prediction_log_pruned_total", 1.0);
    assert_keeps_exactly(&server, &postgres, &["new".to_owned()].into());
    let stats = server.get("/stats").json();
    assert_eq!(
        (&stats["total"], &stats["defects"]),
        (&json!(1), &json!(0)),
        "{stats:#}"
    );
}
