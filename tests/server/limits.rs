//! What the machine lets a server have, and what the server makes of it: with real control groups,
//! limited above the server's own, as the kubelet limits a pod above its containers.

use serde_json::Value;

use crate::harness::groups::Pod;
use crate::harness::{Server, Setup};

#[test]
fn threads_and_workers_follow_the_quota_of_the_group_above_also_below_one_core() {
    for (name, quota_us, cores) in [("half", 50_000, 0.5), ("more", 150_000, 1.5)] {
        let Some(pod) = Pod::try_new(name) else {
            return;
        };
        pod.limit_cpu(quota_us);
        let server = Setup::new()
            .set("models.threads", "0")
            .after(&pod.enter())
            .start_ready();
        let found = found(&server);
        assert_eq!(found["cpu_cores"], cores, "{found:#}");
        assert_eq!(found["cpu_source"], "cgroup v1");
        assert_eq!(found["workers_per_model"], 1);
        assert_eq!(found["threads_per_worker"], 1);
        server.wait_all_workers();
        let status = server.status();
        let workers = status["models"][0]["workers"].as_array().unwrap();
        assert_eq!(workers.len(), 1, "{status:#}");
        assert_eq!(status["components"]["edge"]["detail"]["workers"], 2);
        server.assert_predicts();
        drop(server);
    }
}

#[test]
fn the_memory_limit_of_the_group_above_is_the_servers() {
    const LIMIT: u64 = 2 << 30;
    let Some(pod) = Pod::try_new("memory") else {
        return;
    };
    pod.limit_memory(LIMIT);
    let server = Setup::new().after(&pod.enter()).start_ready();
    let found = found(&server);
    assert_eq!(found["memory_bytes"], LIMIT, "{found:#}");
    assert_eq!(found["memory_source"], "cgroup v1");
    let memory = server.status()["components"]["memory"]["detail"].clone();
    assert_eq!(memory["limit_bytes"], LIMIT, "{memory:#}");
    assert_eq!(memory["guard"]["limit_bytes"], LIMIT, "{memory:#}");
    drop(server);
}

#[test]
fn more_threads_than_cores_are_warned_about() {
    let server = Setup::new().set("models.threads", "200").start();
    server.wait_for_log("more threads than there are cores for");
    assert_eq!(found(&server)["threads_per_worker"], 200);
}

/// Returns the line of the log that says what was found.
fn found(server: &Server) -> Value {
    server.wait_for_log("limits found");
    let log = server.log();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    lines
        .into_iter()
        .find(|line: &Value| line["message"] == "limits found")
        .unwrap()
}
