//! A wrong key or value is named, with its origin and what would be right.

use std::path::PathBuf;

use impetus::config::{Catalogue, Config, ConfigError, LoadArgs};

fn load(file: Option<PathBuf>, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let env = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(LoadArgs { file, env }).map(|loaded| loaded.config)
}

fn fixture(name: &str) -> ConfigError {
    let file = PathBuf::from("tests/fixtures/config").join(name);
    load(Some(file), &[]).expect_err("a wrong file")
}

fn of_text(text: &str) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("impetus.toml");
    std::fs::write(&file, text).expect("a file in it");
    load(Some(file), &[])
}

#[test]
fn a_wrong_key_in_any_section_of_a_file_is_named_with_its_line() {
    for section in Catalogue::get().sections() {
        let (text, key, line) = match section.name.as_str() {
            "" => ("zebra = 1\n".to_owned(), "zebra".to_owned(), 1),
            name => (
                format!("\n[{name}]\nzebra = 1\n"),
                format!("{name}.zebra"),
                3,
            ),
        };
        let error = of_text(&text).expect_err(&section.name);
        let [problem] = error.problems() else {
            panic!("one problem, not {error}");
        };
        assert_eq!(problem.key, key);
        let origin = problem.origins[0].to_string();
        assert!(
            origin.ends_with(&format!("impetus.toml:{line}")),
            "{origin}"
        );
        let first = section.keys.first().map(|key| key.name.as_str());
        let alternatives = if section.name.is_empty() {
            Some("models")
        } else {
            first
        };
        assert!(problem.message.contains(alternatives.unwrap()), "{error}");
    }
}

#[test]
fn a_wrong_key_in_any_section_of_the_environment_is_named_with_its_variable() {
    for section in Catalogue::get().sections() {
        let name = format!("IMPETUS_{}__ZEBRA", section.name.to_uppercase());
        let error = load(None, &[(&name, "1")]).expect_err(&name);
        assert!(error.to_string().contains(&name), "{error}");
    }
}

#[test]
fn a_wrong_key_in_any_section_is_refused_by_the_types_themselves() {
    for section in Catalogue::get().sections() {
        let text = match section.name.as_str() {
            "" => "zebra = 1".to_owned(),
            name => format!("[{name}]\nzebra = 1"),
        };
        assert!(
            toml::from_str::<Config>(&text).is_err(),
            "[{}]",
            section.name
        );
    }
}

#[test]
fn all_that_is_wrong_with_a_file_is_said_at_once() {
    insta::assert_snapshot!(fixture("everything-wrong.toml"));
}

#[test]
fn all_rules_between_keys_that_a_file_breaks_are_said_at_once() {
    insta::assert_snapshot!(fixture("rules-broken.toml"));
}

#[test]
fn a_file_that_is_not_toml_is_named_with_line_and_column() {
    insta::assert_snapshot!(
        fixture("not-toml.toml"),
        @"configuration file tests/fixtures/config/not-toml.toml:2:6: not TOML: unclosed table, expected `]`"
    );
}

#[test]
fn a_key_that_stands_twice_is_refused() {
    let error = of_text("port = 1\nport = 2\n").expect_err("twice");
    assert!(
        error.to_string().contains(":2:1: not TOML: duplicate key"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = fixture("nowhere.toml").to_string();
    assert!(error.starts_with("configuration file tests/fixtures/config/nowhere.toml: "));
}

#[test]
fn a_wrong_value_is_found_also_where_a_later_layer_covers_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("impetus.toml");
    std::fs::write(&file, "port = \"eighty\"").unwrap();
    let error = load(Some(file), &[("IMPETUS_PORT", "8080")]).expect_err("wrong");
    assert_eq!(error.problems()[0].key, "port");
}

#[test]
fn a_slip_of_the_pen_is_answered_with_the_key_that_was_meant() {
    for (wrong, right) in [
        ("IMPETUS_HTTP__WORKER", "IMPETUS_HTTP__WORKERS"),
        ("IMPETUS_HTPP__BACKLOG", "IMPETUS_HTTP__BACKLOG"),
        ("IMPETUS_HTPP__WORKERS", "IMPETUS_HTTP__WORKERS"),
        ("IMPETUS_HTTP__MAXBODY", "IMPETUS_HTTP__MAX_BODY"),
        ("IMPETUS_HTTP__PORT", "IMPETUS_PORT"),
        ("IMPETUS__HOST", "IMPETUS_HOST"),
        (
            "IMPETUS_DB__MAX_BATCH_ROWS",
            "IMPETUS_PREDLOG__MAX_BATCH_ROWS",
        ),
    ] {
        let message = load(None, &[(wrong, "1")]).expect_err(wrong).to_string();
        assert!(message.contains("did you mean"), "{message}");
        assert!(message.contains(right), "{message}");
    }
}

#[test]
fn a_wrong_value_says_what_would_be_right() {
    let cases = [
        ("IMPETUS_PORT", "http", "a whole number from 0 to 65535"),
        ("IMPETUS_PORT", "-1", "a whole number from 0 to 65535"),
        ("IMPETUS_PORT", "80.5", "a whole number from 0 to 65535"),
        ("IMPETUS_FAULTS__ENABLED", "yes", "true or false"),
        ("IMPETUS_HTTP__KEEP_ALIVE", "75", "time unit needed"),
        ("IMPETUS_HTTP__KEEP_ALIVE", "-1s", "a duration such as"),
        (
            "IMPETUS_HTTP__KEEP_ALIVE",
            "1000years",
            "longer than 366 days",
        ),
        ("IMPETUS_HTTP__MAX_BODY", "64MX", "a size such as"),
        ("IMPETUS_HTTP__MAX_BODY", "64TiB", "from 1KiB to 4GiB"),
        ("IMPETUS_SUPERVISION__JITTER", "NaN", "a number from 0 to 1"),
        (
            "IMPETUS_SUPERVISION__JITTER",
            "much",
            "a number from 0 to 1",
        ),
        ("IMPETUS_ROLE", "infrence", "did you mean \"inference\"?"),
        (
            "IMPETUS_LOG_LEVEL",
            "warning",
            "error, warn, info, debug, trace, off",
        ),
        (
            "IMPETUS_LOG_LEVEL",
            "info,impetus=loud",
            "\"loud\" is not a level",
        ),
    ];
    for (name, value, right) in cases {
        let message = load(None, &[(name, value)]).expect_err(value).to_string();
        assert!(message.contains(right), "{name}={value}: {message}");
        assert!(message.ends_with(&format!("({name})")), "{message}");
    }
}
