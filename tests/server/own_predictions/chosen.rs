//! Which predictions are logged: all, those of a part of the requests, or none.

use super::{describe, expect_predicted, images, predict_by, rows_at_the_end};
use crate::harness::Setup;

/// How many requests are sent of which a part is chosen.
const REQUESTS: usize = 120;

#[test]
fn a_server_that_is_told_so_logs_nothing_of_its_own() {
    let server = Setup::new().set("predlog.mode", "\"off\"").start_ready();
    for number in 0..5 {
        expect_predicted(&server, &format!("request-{number}"));
    }
    assert_eq!(rows_at_the_end(server).len(), 0);
}

#[test]
fn a_models_own_word_goes_before_the_servers() {
    let setup = describe(Setup::new(), "[log]\nmode = \"off\"");
    let server = setup.with_killer("plain", "").start_ready();
    server.wait_for("both models", || {
        predict_by(&server, "plain", "warm-up").status == 200
            && predict_by(&server, "surface", "silent").status == 200
    });
    let rows = rows_at_the_end(server);
    assert!(!rows.is_empty());
    for row in &rows {
        assert_eq!(row["model_name"], "plain", "{row:#}");
    }
}

#[test]
fn a_part_of_the_requests_is_chosen_by_their_ids_and_the_same_each_time() {
    let chosen = |setup: Setup| {
        let server = setup.start_ready();
        for number in 0..REQUESTS {
            expect_predicted(&server, &format!("request-{number}"));
        }
        let rows = rows_at_the_end(server);
        images(&rows)
            .iter()
            .map(|&id| id.to_owned())
            .collect::<Vec<_>>()
    };
    let by_server = chosen(
        Setup::new()
            .set("predlog.mode", "\"sampled\"")
            .set("predlog.sample", "0.25"),
    );
    let by_model = chosen(describe(
        Setup::new(),
        "[log]\nmode = \"sampled\"\nsample = 0.25",
    ));
    assert_eq!(by_server, by_model);
    let share = by_server.len() as f64 / REQUESTS as f64;
    assert!((0.15..0.35).contains(&share), "{by_server:?}");
}
