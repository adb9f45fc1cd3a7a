//! Every bound holds at its edge, and every rule between keys in both directions.

use impetus::config::{Bound, Catalogue, Config, Key, Kind, LoadArgs};

fn accepts(name: &str, value: &str) -> Result<(), String> {
    let env = [(name.to_owned(), value.to_owned())];
    match Config::load(LoadArgs { file: None, env }) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Returns the nearest values on both sides of a bound, as they would be written.
fn neighbours(key: &Key, bound: &Bound) -> (String, String) {
    let around = |step: f64, write: &dyn Fn(f64) -> String| {
        (write(bound.magnitude - step), write(bound.magnitude + step))
    };
    match key.kind {
        Kind::Integer => around(1.0, &|value| format!("{value:.0}")),
        Kind::Number => around(0.001, &|value| format!("{value}")),
        Kind::Size => around(1.0, &|value| format!("{value:.0}B")),
        Kind::Period => around(1e-6, &|value| format!("{:.0}ns", value * 1e9)),
        _ => panic!("{} has a bound but no magnitude", key.path),
    }
}

#[test]
fn what_lies_beyond_a_bound_is_refused_and_the_bound_itself_is_not_the_reason() {
    let mut bounds = 0;
    for key in Catalogue::get().keys() {
        let name = key.variable();
        let least = key
            .least
            .as_ref()
            .map(|bound| (bound, neighbours(key, bound).0));
        let most = key
            .most
            .as_ref()
            .map(|bound| (bound, neighbours(key, bound).1));
        for (bound, beyond) in least.into_iter().chain(most) {
            bounds += 1;
            let message = accepts(&name, &beyond).expect_err(&name);
            assert!(message.contains(&bound.text), "{name}={beyond}: {message}");
            // The bound itself may break a rule between keys, but no bound.
            if let Err(message) = accepts(&name, &bound.text) {
                assert!(!message.contains(&key.expectation()), "{message}");
            }
        }
    }
    assert!(bounds > 90, "only {bounds} bounds were tried");
}

#[test]
fn every_number_duration_and_size_has_a_bound_or_is_free_on_purpose() {
    let free: Vec<&str> = Catalogue::get()
        .keys()
        .filter(|key| {
            matches!(
                key.kind,
                Kind::Integer | Kind::Number | Kind::Period | Kind::Size
            )
        })
        .filter(|key| key.least.is_none())
        .map(|key| key.path.as_str())
        .collect();
    // These may be zero: as it is over HTTP (twice), no shortest time of being unready, a wait for a worker of any length, none for a batch to fill, a budget that is learned, none of recovering, a
    // limit and headroom that are found, nothing set aside, predictions kept for ever (three), no pause before draining, no end by itself.
    let on_purpose = [
        "grpc.max_message",
        "grpc.request_timeout",
        "health.error_hold",
        "models.queue_timeout",
        "models.batch_delay",
        "models.run_timeout",
        "models.recovery_floor",
        "downloads.max_size",
        "memory.limit",
        "memory.server_reserve",
        "memory.headroom",
        "memory.headroom_min",
        "runtime.device_memory",
        "predlog.keep_for",
        "predlog.keep_size",
        "sink.max_age",
        "lifecycle.lame_duck",
        "lifecycle.exit_after_verdict",
    ];
    assert_eq!(free, on_purpose);
}

#[test]
fn every_default_lies_within_its_bounds_and_keeps_every_rule() {
    for key in Catalogue::get().keys() {
        assert!(key.admits(&key.default), "{}", key.path);
    }
    assert_eq!(Config::default().validate(), Ok(()));
}

#[test]
fn a_configuration_made_in_code_is_held_to_the_same_bounds() {
    let mut config = Config::default();
    config.supervision.jitter = f64::NAN;
    config.models.threads = 257;
    let violations = config.validate().expect_err("two bounds are broken");
    let keys: Vec<&str> = violations
        .iter()
        .flat_map(|v| &v.keys)
        .map(String::as_str)
        .collect();
    assert_eq!(keys, ["models.threads", "supervision.jitter"]);
}

#[test]
fn a_pair_of_limits_must_leave_room_between_them() {
    for (name, wrong, right, other) in [
        (
            "HEALTH__MEMORY_READY_PERCENT",
            "95",
            "94",
            "health.memory_unready_percent (95)",
        ),
        (
            "HEALTH__MEMORY_UNREADY_PERCENT",
            "90",
            "91",
            "health.memory_unready_percent (90)",
        ),
        (
            "HEALTH__UNHEALTHY_BELOW",
            "80",
            "79",
            "health.degraded_below (80)",
        ),
        (
            "HEALTH__ERROR_READY_RATIO",
            "0.5",
            "0.49",
            "health.error_unready_ratio (0.5)",
        ),
        (
            "HEALTH__HEARTBEAT_STALE_AFTER",
            "1s",
            "1001ms",
            "health.heartbeat_stale_after (1s)",
        ),
        ("HEALTH__STATUS_TTL", "1s", "2s", "health.status_ttl (1s)"),
        (
            "HTTP__CLIENT_IDLE_TIMEOUT",
            "31s",
            "30s",
            "http.client_body_timeout (30s)",
        ),
        (
            "HTTP__HALF_OPEN_TIMEOUT",
            "29s",
            "30s",
            "http.half_open_timeout (29s)",
        ),
        (
            "MODELS__BACKOFF_MIN",
            "31s",
            "30s",
            "models.backoff_max (30s)",
        ),
        (
            "SUPERVISION__BACKOFF_MAX",
            "99ms",
            "100ms",
            "supervision.backoff_max (99ms)",
        ),
        (
            "MODELS__SLOT_BYTES",
            "257MiB",
            "256MiB",
            "models.output_cap (256MiB)",
        ),
        (
            "MODELS__SHUTDOWN_TIMEOUT",
            "11s",
            "10s",
            "lifecycle.stop_timeout (10s)",
        ),
        (
            "PREDLOG__CHECK_TIMEOUT",
            "3s",
            "2s",
            "predlog.check_every (2s)",
        ),
    ] {
        let name = format!("IMPETUS_{name}");
        let message = accepts(&name, wrong).expect_err(&name);
        assert!(message.contains(other), "{name}={wrong}: {message}");
        assert_eq!(accepts(&name, right), Ok(()), "{name}={right}");
    }
}

#[test]
fn two_servers_of_one_process_cannot_have_one_port() {
    let message = accepts("IMPETUS_HEALTH__PORT", "8080").expect_err("taken");
    assert_eq!(
        message,
        "health.port: 8080 is also port (IMPETUS_HEALTH__PORT)"
    );
    assert!(accepts("IMPETUS_GRPC__PORT", "8081").is_err());
    let env = ["IMPETUS_HEALTH__PORT", "IMPETUS_GRPC__PORT", "IMPETUS_PORT"]
        .map(|name| (name.to_owned(), "0".to_owned()));
    assert!(
        Config::load(LoadArgs { file: None, env }).is_ok(),
        "none is not a port"
    );
}

#[test]
fn addresses_are_hosts_without_a_port() {
    for host in ["0.0.0.0", "::", "::1", "localhost", "impetus-0.pods.mlops"] {
        assert_eq!(accepts("IMPETUS_HOST", host), Ok(()), "{host}");
    }
    for host in [
        "127.0.0.1:8080",
        "256.0.0.1",
        "http://localhost",
        "a b",
        "..",
    ] {
        let message = accepts("IMPETUS_HOST", host).expect_err(host);
        assert!(message.starts_with("host: "), "{message}");
    }
}

#[test]
fn the_time_to_stop_is_the_sum_of_its_steps() {
    let config = Config::default();
    assert_eq!(config.lifecycle.longest_stop().as_secs(), 60);
}

#[test]
fn zero_workers_follow_the_quota() {
    let mut config = Config::default();
    let http = [1, 2, 8].map(|cores| config.http.workers_for(cores));
    let models = [1, 2, 8].map(|cores| config.models.workers_for(cores));
    assert_eq!(http, [2, 2, 8]);
    assert_eq!(models, [1, 2, 4]);
    (config.http.workers, config.models.workers) = (3, 6);
    assert_eq!(config.http.workers_for(1), 3);
    assert_eq!(config.models.workers_for(1), 6);
}

#[test]
fn the_health_thread_listens_where_the_server_does_unless_told_otherwise() {
    let mut config = Config::default();
    assert_eq!(config.health_host(), "127.0.0.1");
    config.health.host = "::1".to_owned();
    assert_eq!(config.health_host(), "::1");
}
