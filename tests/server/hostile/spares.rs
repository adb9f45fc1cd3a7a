//! Workers that stand by, loaded and warm.

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::killers::Picture;
use crate::harness::{Server, signal_process};

use super::{model, setup};

fn workers(server: &Server, standby: bool) -> Vec<Value> {
    let workers = model(server)["workers"].as_array().unwrap().clone();
    workers
        .into_iter()
        .filter(|worker| worker["state"] == "ready" && worker["standby"] == standby)
        .collect()
}

#[test]
fn a_spare_takes_over_from_a_worker_that_was_killed_and_that_one_stands_by_afterwards() {
    let server = setup("plain", "spares = 1\n").start_ready();
    server.wait_for("a spare", || workers(&server, true).len() == 1);
    let (active, spare) = (workers(&server, false), workers(&server, true));
    assert_eq!(active.len(), 1);
    signal_process(
        u32::try_from(active[0]["pid"].as_u64().unwrap()).unwrap(),
        Signal::KILL,
    );
    server.wait_for("the spare to serve", || {
        let serving = workers(&server, false);
        serving.len() == 1 && serving[0]["pid"] == spare[0]["pid"]
    });
    Picture::new(0).assert_answered(&server, "plain");
    server.wait_for("the other one to stand by", || {
        let waiting = workers(&server, true);
        waiting.len() == 1 && waiting[0]["actor"] == active[0]["actor"]
    });
    assert_eq!(model(&server)["state"], "ready");
}

#[test]
fn a_model_whose_spare_is_lost_is_not_degraded() {
    let server = setup("plain", "spares = 1\n").start_ready();
    server.wait_for("a spare", || workers(&server, true).len() == 1);
    let pid = workers(&server, true)[0]["pid"].as_u64().unwrap();
    let actor = workers(&server, true)[0]["actor"]
        .as_str()
        .unwrap()
        .to_owned();
    signal_process(u32::try_from(pid).unwrap(), Signal::STOP);
    // It serves nothing, so nothing is missed: it is found by its silence and replaced.
    assert_eq!(model(&server)["state"], "ready");
    signal_process(u32::try_from(pid).unwrap(), Signal::KILL);
    server.wait_for_actor(&actor, "back", |actor| {
        actor["generation"] == 2 && actor["state"] == "running"
    });
    server.wait_for("a spare again", || workers(&server, true).len() == 1);
}
