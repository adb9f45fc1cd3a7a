//! The commands around the configuration and the status, on the real binary.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::thread;

const UNHEALTHY: &str = include_str!("../../src/cli/status/fixtures/failing.json");
const HEALTHY: &str = include_str!("../../src/cli/status/fixtures/healthy.json");

/// The binary with these arguments and nothing in its environment.
fn impetus(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_impetus"));
    command.args(args).env_clear();
    command
}

fn run(command: &mut Command) -> Output {
    command.output().expect("the binary starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

/// Serves one answer to whoever asks, and returns its address.
fn server_that_says(code: u16, body: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound address").to_string();
    let length = body.len();
    let answer =
        format!("HTTP/1.1 {code} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.expect("a client");
            let mut head = [0; 4096];
            let read = connection.read(&mut head).expect("a request");
            assert!(head[..read].starts_with(b"GET /api/health/status HTTP/1.1\r\n"));
            connection
                .write_all(answer.as_bytes())
                .expect("a client that waits");
        }
    });
    address
}

#[test]
fn wrong_configuration_ends_every_command_that_reads_it_with_64_and_one_line_for_each_key() {
    for command in ["check-config", "serve"] {
        let output = run(impetus(&[command])
            .env("IMPETUS_HTTP__WORKER", "2")
            .env("IMPETUS_PORT", "http"));
        assert_eq!(code(&output), Some(64), "{command}");
        assert_eq!(stdout(&output), "", "{command}");
        let lines = stderr(&output);
        assert_eq!(lines.lines().count(), 2, "{command}: {lines}");
        assert!(lines.contains("http.worker: no such key, did you mean IMPETUS_HTTP__WORKERS?"));
        assert!(
            lines.contains("port: \"http\" is not a whole number"),
            "{lines}"
        );
    }
}

#[test]
fn a_configuration_file_that_is_not_there_ends_with_64() {
    let output = run(&mut impetus(&["serve", "--config", "nowhere.toml"]));
    assert_eq!(code(&output), Some(64));
    assert!(
        stderr(&output).contains("nowhere.toml"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn check_config_prints_a_file_on_stdout_and_warnings_on_stderr() {
    let output = run(impetus(&["check-config", "--config", "config/local.toml"])
        .env("IMPETUS_PORT", "9999")
        .env("IMPETUS_LLM_SERVICE_PORT", "tcp://10.0.0.1:8080"));
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    let printed = stdout(&output);
    let table: toml::Table = printed.parse().expect("a configuration file");
    assert_eq!(table["port"].as_integer(), Some(9999));
    assert!(printed.contains("# IMPETUS_PORT"), "{printed}");
    assert!(stderr(&output).contains("IMPETUS_LLM_SERVICE_PORT"));
}

#[test]
fn check_config_as_json_has_values_origins_and_warnings() {
    let output = run(impetus(&["check-config", "--output", "json"])
        .env("IMPETUS_PORT", "9999")
        .env("IMPETUS_COLOUR", "red"));
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed["config"]["port"], 9999);
    assert_eq!(printed["sources"]["port"]["variable"], "IMPETUS_PORT");
    assert_eq!(printed["warnings"].as_array().unwrap().len(), 1);
    assert_eq!(stderr(&output), "");
}

#[test]
fn the_reference_is_printed_as_it_stands_in_the_documentation() {
    let output = run(&mut impetus(&["check-config", "--reference"]));
    assert_eq!(stdout(&output), impetus::config::reference());
}

#[test]
fn metrics_are_printed_as_a_page_and_as_the_names_that_an_expression_can_use() {
    let page = run(&mut impetus(&["metrics", "--reference"]));
    assert_eq!(stdout(&page), impetus::exposition::reference());
    let output = run(&mut impetus(&["metrics", "--names"]));
    let printed = stdout(&output);
    let names: Vec<&str> = printed.lines().collect();
    assert_eq!(names, impetus::exposition::names());
    for name in [
        "impetus_health_status",
        "impetus_request_duration_seconds_bucket",
        "impetus_worker_restarts_total",
        "process_start_time_seconds",
    ] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    assert!(!names.contains(&"impetus_request_duration_seconds"));
}

#[test]
fn a_reader_that_has_had_enough_is_no_failure() {
    let mut child = impetus(&["check-config", "--reference"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
}

#[test]
fn misuse_ends_with_64_and_help_with_0() {
    assert_eq!(code(&run(&mut impetus(&[]))), Some(64));
    assert_eq!(code(&run(&mut impetus(&["sevre"]))), Some(64));
    let help = run(&mut impetus(&["--help"]));
    assert_eq!(code(&help), Some(0));
    assert!(!stdout(&help).contains("worker"), "{}", stdout(&help));
}

#[test]
fn status_of_a_healthy_server_is_0_and_of_an_unhealthy_one_1_and_both_are_shown() {
    for (http, body, exit, line) in [
        (200, HEALTHY, 0, "● healthy"),
        (503, UNHEALTHY, 1, "✖ unhealthy"),
    ] {
        let url = server_that_says(http, body);
        let output = run(&mut impetus(&["status", "--url", &url]));
        assert_eq!(code(&output), Some(exit), "{}", stderr(&output));
        let picture = stdout(&output);
        assert!(picture.contains("├─ heartbeat"), "{picture}");
        assert!(
            picture.lines().last().unwrap().starts_with(line),
            "{picture}"
        );
    }
}

#[test]
fn status_as_json_is_what_the_server_said() {
    let url = format!("http://{}/", server_that_says(503, UNHEALTHY));
    let output = run(&mut impetus(&["status", "--output", "json", "--url", &url]));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected: serde_json::Value = serde_json::from_str(UNHEALTHY).unwrap();
    assert_eq!(said, expected);
    assert_eq!(code(&output), Some(1));
}

#[test]
fn status_is_coloured_only_where_it_is_wanted() {
    let url = server_that_says(200, HEALTHY);
    let status = ["status", "--url", &url];
    let piped = run(&mut impetus(&status));
    assert!(!stdout(&piped).contains('\u{1b}'), "no terminal, no colour");
    let forced = run(impetus(&status).env("CLICOLOR_FORCE", "1"));
    assert!(
        stdout(&forced).contains("\u{1b}[32m"),
        "{}",
        stdout(&forced)
    );
    let refused = run(impetus(&status).env("NO_COLOR", "1"));
    assert!(!stdout(&refused).contains('\u{1b}'));
}

#[test]
fn status_of_nobody_is_2_and_says_what_to_do() {
    // Bound and dropped, so that nothing listens there.
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let output = run(&mut impetus(&["status", "--url", &free.to_string()]));
    assert_eq!(code(&output), Some(2));
    assert!(stderr(&output).contains("--url"), "{}", stderr(&output));
    assert_eq!(stdout(&output), "");
}

#[test]
fn status_of_a_server_that_hangs_is_2_once_its_time_is_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = listener.local_addr().unwrap().to_string();
    let output = run(&mut impetus(&[
        "status",
        "--timeout",
        "100ms",
        "--url",
        &url,
    ]));
    assert_eq!(code(&output), Some(2), "{}", stdout(&output));
    assert!(stderr(&output).contains("timeout"), "{}", stderr(&output));
    drop(listener);
}

#[test]
fn status_of_a_stranger_is_2() {
    for (http, body) in [(404, "not found"), (200, "{}"), (200, "<html>")] {
        let url = server_that_says(http, body);
        let output = run(&mut impetus(&["status", "--url", &url]));
        assert_eq!(code(&output), Some(2));
        let message = stderr(&output);
        assert!(message.contains(&format!("answered {http}")), "{message}");
    }
    let output = run(&mut impetus(&["status", "--url", "https://127.0.0.1"]));
    assert_eq!(code(&output), Some(2));
    assert!(stderr(&output).contains("TLS"), "{}", stderr(&output));
}

#[test]
fn status_asks_the_server_itself_and_no_proxy() {
    let url = format!("http://{}", server_that_says(200, HEALTHY));
    let output = run(impetus(&["status", "--url", &url])
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .env("http_proxy", "http://127.0.0.1:1"));
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
}

#[test]
fn a_provider_that_is_none_is_refused_with_the_one_that_was_meant() {
    let output = run(impetus(&["check-config"]).env("IMPETUS_RUNTIME__PROVIDERS", "cdua,cpu"));
    assert_eq!(code(&output), Some(64));
    let lines = stderr(&output);
    let meant = "runtime.providers: \"cdua\" is no execution provider, did you mean \"cuda\"?";
    assert!(lines.contains(meant), "{lines}");
}

/// Runs `impetus doctor` on a configuration of its own; returns how it ended and what it found.
fn doctor(providers: &str) -> (Option<i32>, serde_json::Value, String) {
    let dir = tempfile::tempdir().expect("a folder");
    let root = env!("CARGO_MANIFEST_DIR");
    let file = dir.path().join("impetus.toml");
    let text = format!(
        "port = 0\n[health]\nport = 0\n[grpc]\nport = 0\n[models]\ndir = \"{root}/models\"\n\
         [data]\ndir = {:?}\n[runtime]\nlibrary = \"{root}/.onnxruntime/{}\"\nproviders = {providers}\n",
        dir.path().join("data"),
        if cfg!(target_os = "macos") {
            "libonnxruntime.dylib"
        } else {
            "libonnxruntime.so"
        },
    );
    std::fs::write(&file, text).expect("a writable folder");
    let file = file.to_str().expect("a readable path");
    let json = run(&mut impetus(&[
        "doctor", "--config", file, "--output", "json",
    ]));
    let human = run(&mut impetus(&["doctor", "--config", file]));
    assert_eq!(code(&json), code(&human));
    let answer = serde_json::from_slice(&json.stdout).expect("JSON");
    assert!(!dir.path().join("data").exists(), "looking changes nothing");
    (code(&json), answer, stdout(&human))
}

#[cfg(target_os = "linux")]
#[test]
fn the_doctor_tries_what_the_configuration_wants_and_says_what_is_usable() {
    let (ended, answer, human) = doctor("[\"cuda\", \"cpu\"]");
    let findings = answer["findings"].as_array().expect("a list");
    let states: Vec<String> = findings
        .iter()
        .filter(|one| one["check"] != "disk")
        .map(|one| format!("{}: {}", one["check"], one["state"]).replace('"', ""))
        .collect();
    insta::assert_snapshot!(states.join("\n"), @r"
    configuration: ok
    cores: ok
    memory: ok
    models folder: ok
    data folder: ok
    ONNX Runtime: ok
    provider cpu: ok
    provider cuda: warning
    provider tensorrt: absent
    provider rocm: absent
    provider migraphx: absent
    provider openvino: absent
    provider directml: absent
    provider coreml: absent
    Core ML models: absent
    ");
    assert_eq!((ended, &answer["fit"]), (Some(0), &true.into()), "{human}");
    for part in [
        "onnxruntime-gpu",
        "models run on cpu instead",
        "can run here",
    ] {
        assert!(human.contains(part), "{human}");
    }
}

#[test]
fn the_doctor_ends_with_1_where_nothing_that_is_wanted_is_usable() {
    let (ended, answer, human) = doctor("[\"tensorrt\"]");
    assert_eq!((ended, &answer["fit"]), (Some(1), &false.into()), "{human}");
    assert!(human.contains("no model can be loaded"), "{human}");
    assert!(human.contains("✖ failed"), "{human}");
}
