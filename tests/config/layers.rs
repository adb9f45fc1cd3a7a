//! Which layer wins, and how the environment is read.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use impetus::config::{
    Bytes, Catalogue, Config, ConfigError, Isolation, Kind, LoadArgs, Loaded, Role, Source, Warning,
};

const LAYERS: &str = "tests/fixtures/config/layers.toml";

fn load(file: Option<&str>, env: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    Config::load(LoadArgs {
        file: file.map(PathBuf::from),
        env: env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    })
}

fn with(env: &[(&str, &str)]) -> Loaded {
    load(None, env).expect("a sound environment")
}

fn refused(env: &[(&str, &str)]) -> String {
    load(None, env)
        .expect_err("a wrong environment")
        .to_string()
}

fn variable(name: &str) -> Source {
    Source::Variable(name.to_owned())
}

#[test]
fn without_file_and_environment_the_defaults_hold() {
    let loaded = with(&[]);
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.sources.iter().count(), 0);
}

#[test]
fn the_environment_overrules_the_file_and_the_file_the_defaults_key_by_key() {
    let env = [("IMPETUS_PORT", "8280"), ("IMPETUS_HTTP__WORKERS", "5")];
    let loaded = load(Some(LAYERS), &env).unwrap();
    let Loaded {
        config, sources, ..
    } = &loaded;

    assert_eq!(config.port, 8280, "environment over file");
    assert_eq!(
        config.http.workers, 5,
        "environment over file, in a section"
    );
    assert_eq!(config.environment, "from-file", "file over default");
    assert_eq!(*config.http.keep_alive, Duration::from_secs(90));
    assert_eq!(
        config.http.backlog, 1024,
        "default beside what the file sets"
    );

    assert_eq!(sources.of("port"), Some(&variable("IMPETUS_PORT")));
    assert_eq!(sources.of("http.backlog"), None);
    let line = Source::File {
        path: PathBuf::from(LAYERS),
        line: 6,
    };
    assert_eq!(sources.of("http.keep_alive"), Some(&line));
}

#[test]
fn a_table_or_list_is_replaced_as_a_whole() {
    let loaded = load(Some(LAYERS), &[("IMPETUS_MODELS__REQUIRED", "a")]).unwrap();
    let aliases = &loaded.config.health.check_aliases;
    let expected = BTreeMap::from([("gpu_available".to_owned(), "runtime_available".to_owned())]);
    assert_eq!(aliases, &expected, "the default alias is gone");
    assert_eq!(loaded.config.models.required, ["a"]);
}

#[test]
fn the_documents_own_variables_are_understood() {
    let config = with(&[
        ("IMPETUS_ENVIRONMENT", "production"),
        ("IMPETUS_HOST", "0.0.0.0"),
        ("IMPETUS_PORT", "8080"),
        ("IMPETUS_LOG_LEVEL", "info"),
        ("IMPETUS_DATA__DIR", "/data"),
        ("IMPETUS_MODELS__DIR", "/models"),
        ("IMPETUS_GRPC__PORT", "0"),
        ("IMPETUS_HEALTH__PORT", "0"),
    ])
    .config;
    assert_eq!(config.environment, "production");
    assert_eq!(config.host, "0.0.0.0");
    assert_eq!(config.data.dir, PathBuf::from("/data"));
    assert_eq!(config.models.dir, PathBuf::from("/models"));
    assert_eq!((config.grpc.port, config.health.port), (0, 0));
}

#[test]
fn every_key_can_be_set_by_the_variable_that_the_catalogue_names() {
    for key in Catalogue::get().keys() {
        // Another value than the default wherever there is one that is certainly sound.
        let (text, changes) = match (&key.kind, key.path.as_str()) {
            (Kind::Flag, _) => (format!("{}", key.default.as_bool() == Some(false)), true),
            (Kind::Choice(words), _) => (words[1].clone(), true),
            (_, "data.dir" | "models.dir" | "models.required" | "runtime.library") => {
                ("elsewhere".to_owned(), true)
            }
            (_, "models.remote") => ("other=https://host/model.onnx".to_owned(), true),
            (Kind::Map, _) => ("other=models_loaded".to_owned(), true),
            (Kind::Text, _) => (key.default.as_str().unwrap_or_default().to_owned(), false),
            _ => (key.default.to_string().trim_matches('"').to_owned(), false),
        };
        let name = key.variable();
        // A sink that is another server has to be somewhere.
        let sink = [("IMPETUS_SINK__URL", "postgres://host/database")];
        let with_it = if key.path == "sink.kind" {
            &sink[..]
        } else {
            &[]
        };
        let loaded = with(&[with_it, &[(name.as_str(), text.as_str())]].concat());
        assert_eq!(loaded.warnings, [], "{name}");
        assert_eq!(loaded.config != Config::default(), changes, "{name}={text}");
        if !text.is_empty() {
            assert_eq!(loaded.sources.of(&key.path), Some(&variable(&name)));
        }
    }
}

#[test]
fn names_are_read_in_any_case_and_values_without_the_white_space_around_them() {
    let config = with(&[
        ("impetus_http__max_body", " 1MiB\n"),
        ("IMPETUS_Models__Isolation", "thread"),
        ("impetus_role", "logging"),
    ])
    .config;
    assert_eq!(config.http.max_body, Bytes::mib(1));
    assert_eq!(config.models.isolation, Isolation::Thread);
    assert_eq!(config.role, Role::Logging);
}

#[test]
fn lists_and_tables_are_written_with_commas_or_as_toml() {
    for (list, expected) in [
        ("a", vec!["a"]),
        ("a, b,", vec!["a", "b"]),
        (r#"["a", "b,c"]"#, vec!["a", "b,c"]),
    ] {
        let config = with(&[("IMPETUS_MODELS__REQUIRED", list)]).config;
        assert_eq!(config.models.required, expected, "{list}");
    }
    for (table, expected) in [
        ("a=models_loaded, b = memory_available", 2),
        (r#"{a = "models_loaded"}"#, 1),
        ("{}", 0),
    ] {
        let config = with(&[("IMPETUS_HEALTH__CHECK_ALIASES", table)]).config;
        assert_eq!(config.health.check_aliases.len(), expected, "{table}");
    }
    for (name, value) in [
        ("IMPETUS_MODELS__REQUIRED", "[1, 2]"),
        ("IMPETUS_MODELS__REQUIRED", r#"["a""#),
        ("IMPETUS_HEALTH__CHECK_ALIASES", "models_loaded"),
        ("IMPETUS_HEALTH__CHECK_ALIASES", "{a = 1}"),
    ] {
        let message = refused(&[(name, value)]);
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn an_empty_variable_counts_as_not_set_but_its_name_must_be_right() {
    let loaded = load(
        Some(LAYERS),
        &[("IMPETUS_PORT", ""), ("IMPETUS_HTTP__WORKERS", " ")],
    );
    let loaded = loaded.unwrap();
    assert_eq!((loaded.config.port, loaded.config.http.workers), (8180, 3));
    let message = refused(&[("IMPETUS_HTTP__WORKRES", "")]);
    assert!(message.contains("IMPETUS_HTTP__WORKERS"), "{message}");
}

#[test]
fn what_kubernetes_injects_for_services_does_not_stop_the_start() {
    let links = [
        ("IMPETUS_LLM_SERVICE_PORT", "tcp://10.0.0.1:8080"),
        ("IMPETUS_LLM_SERVICE_SERVICE_HOST", "10.0.0.1"),
        ("IMPETUS_LLM_SERVICE_SERVICE_PORT", "8080"),
        ("IMPETUS_LLM_SERVICE_SERVICE_PORT_HTTP", "8080"),
        ("IMPETUS_LLM_SERVICE_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("IMPETUS_LLM_SERVICE_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("IMPETUS_LLM_SERVICE_PORT_8080_TCP_PORT", "8080"),
        ("IMPETUS_LLM_SERVICE_PORT_8080_TCP_PROTO", "tcp"),
        // Those of a service that is simply called `impetus`.
        ("IMPETUS_PORT", "tcp://10.0.0.2:8080"),
        ("IMPETUS_SERVICE_HOST", "10.0.0.2"),
    ];
    let loaded = with(&links);
    assert_eq!(loaded.config, Config::default());
    match loaded.warnings.as_slice() {
        [warning @ Warning::ServiceLinks { names }] => {
            assert_eq!(names.len(), links.len());
            assert!(warning.to_string().contains("enableServiceLinks"));
        }
        other => panic!("one warning for all of them, not {other:?}"),
    }
}

#[test]
fn a_name_without_a_double_underscore_that_is_not_listed_is_ignored_with_a_warning() {
    let loaded = with(&[
        ("IMPETUS_LOGLEVEL", "debug"),
        ("IMPETUS_DATA_DIR", "/data"),
        ("IMPETUS_FAVOURITE_COLOUR", "red"),
        ("PATH", "/bin"),
    ]);
    assert_eq!(loaded.config, Config::default());
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(warnings.join("\n"), @r"
    ignored variable IMPETUS_DATA_DIR, which stands for no key; did you mean IMPETUS_DATA__DIR?
    ignored variable IMPETUS_FAVOURITE_COLOUR, which stands for no key
    ignored variable IMPETUS_LOGLEVEL, which stands for no key; did you mean IMPETUS_LOG_LEVEL?
    ");
}

#[test]
fn of_two_names_for_one_key_the_first_of_the_documents_wins() {
    let both = [("IMPETUS_ENV", "b"), ("IMPETUS_ENVIRONMENT", "a")];
    let loaded = with(&both);
    assert_eq!(loaded.config.environment, "a");
    assert_eq!(
        loaded.sources.of("environment"),
        Some(&variable("IMPETUS_ENVIRONMENT"))
    );
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["ignored variable IMPETUS_ENV, because IMPETUS_ENVIRONMENT says something else"]
    );
    assert_eq!(with(&[("IMPETUS_ENV", "b")]).config.environment, "b");
}

#[test]
fn two_variables_that_differ_only_in_case_must_agree() {
    let agree = [
        ("IMPETUS_HTTP__WORKERS", "2"),
        ("impetus_http__workers", "2"),
    ];
    assert_eq!(with(&agree).config.http.workers, 2);
    let message = refused(&[
        ("IMPETUS_HTTP__WORKERS", "2"),
        ("impetus_http__workers", "3"),
    ]);
    assert_eq!(
        message,
        "http.workers: set by two variables to different values \
         (IMPETUS_HTTP__WORKERS, impetus_http__workers)"
    );
}

#[test]
fn a_value_that_is_not_utf8_is_refused_by_name() {
    let value = String::from_utf8_lossy(b"/models/\xff").into_owned();
    let message = refused(&[("IMPETUS_MODELS__DIR", &value)]);
    assert_eq!(
        message,
        "models.dir: the value is not UTF-8 (IMPETUS_MODELS__DIR)"
    );
}
