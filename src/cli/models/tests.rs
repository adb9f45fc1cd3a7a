use serde_json::json;

use super::listing::render;
use super::render::Standing;
use super::*;
use crate::cli::Cli;
use crate::cli::Command;

struct Told {
    exit: Exit,
    out: String,
    err: String,
}

/// Runs a command line without a terminal and without a server.
fn run_line(words: &[&str]) -> Told {
    let words = ["impetus", "models"].iter().chain(words);
    let Command::Models(args) = Cli::read(words).unwrap().command else {
        panic!("another command");
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut terminal = Terminal {
        out: &mut out,
        err: &mut err,
        width: None,
        is_terminal: false,
    };
    let exit = run_on(&args, Vec::new(), &mut terminal);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Told {
        exit,
        out: text(out),
        err: text(err),
    }
}

fn models() -> Vec<Value> {
    vec![
        json!({
            "name": "surface", "version": "3", "state": "ready", "standing": "serving",
            "bytes_done": 454_794, "bytes_total": 454_794, "workers": [{}, {}],
            "memory_bytes": 83_886_080, "predictions": 12, "reason": "",
        }),
        json!({
            "name": "surface", "version": "4", "state": "downloading", "standing": "incoming",
            "bytes_done": 52_428_800, "bytes_total": 209_715_200, "workers": [],
            "memory_bytes": 0, "predictions": 12, "reason": "its files are fetched from\nmodels:/surface@champion",
        }),
    ]
}

#[test]
fn the_table_says_how_much_of_a_model_is_here() {
    let text = anstream::adapter::strip_str(&render(&models(), None, None)).to_string();
    insta::assert_snapshot!(text);
}

#[test]
fn an_empty_list_and_a_folder_that_cannot_be_read_are_said() {
    let text = render(&[], Some("model folder /models cannot be read"), None);
    let text = anstream::adapter::strip_str(&text).to_string();
    assert_eq!(text, "model folder /models cannot be read\nno models\n");
}

#[test]
fn the_bar_fits_its_terminal_and_knows_what_it_does_not_know() {
    let half = Standing {
        bytes_done: 512 * 1024,
        bytes_total: 1024 * 1024,
        speed: 128.0 * 1024.0,
        note: String::new(),
    };
    let line = half.line("surface", None);
    assert!(line.contains("50%") && line.contains("left"), "{line}");
    assert_eq!(line.matches('█').count(), line.matches('░').count());
    assert_eq!(half.line("surface", Some(20)).chars().count(), 19);
    let unknown = Standing {
        bytes_done: 1024,
        ..Standing::default()
    };
    let line = unknown.line("surface", None);
    assert!(!line.contains('%') && line.contains("1.0 KiB"), "{line}");
}

#[test]
fn what_cannot_be_fetched_is_a_mistake_in_the_command() {
    for (words, says) in [
        (&["download"][..], "nothing to fetch"),
        (&["download", "surface"], "no scheme"),
        (&["download", "models:/surface@champion"], "registry.url"),
        (
            &[
                "download",
                "https://h/a.onnx",
                "https://h/b.onnx",
                "--name",
                "x",
            ],
            "one source",
        ),
        (&["download", "https://h/a b.onnx"], "blanks"),
        (&["download", "https://h/%41.onnx"], "--name"),
        (
            &["download", "--url", "http://127.0.0.1:1"],
            "the one source",
        ),
    ] {
        let told = run_line(words);
        assert_eq!(told.exit, Exit::Usage, "{words:?}: {}", told.err);
        assert!(
            told.err.contains(says) && told.out.is_empty(),
            "{words:?}: {}",
            told.err
        );
    }
}

#[test]
fn a_server_that_does_not_answer_is_told_from_one_that_refuses() {
    for words in [
        &["list", "--url", "http://127.0.0.1:1"][..],
        &["load", "surface", "--url", "http://127.0.0.1:1"],
        &["unload", "surface", "--url", "http://127.0.0.1:1"],
        &[
            "download",
            "https://h/a.onnx",
            "--url",
            "http://127.0.0.1:1",
        ],
    ] {
        let told = run_line(words);
        assert_eq!(told.exit, Exit::Unreachable, "{words:?}: {}", told.err);
        assert!(
            told.err.contains("no answer from"),
            "{words:?}: {}",
            told.err
        );
    }
}

#[test]
fn what_an_order_came_to_is_one_line() {
    let loaded = |versions: &[&str]| {
        let one = |version: &&str| json!({"name": "m", "version": version, "state": "ready"});
        json!({"loaded": versions.iter().map(one).collect::<Vec<_>>()})
    };
    assert_eq!(said("m", &loaded(&["3"])), "m version 3 is loaded");
    assert_eq!(
        said("m", &loaded(&["3", "4"])),
        "m versions 3, 4 are loaded"
    );
    assert_eq!(said("m", &json!({"unloaded": "m"})), "m is unloaded");
}
