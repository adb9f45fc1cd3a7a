//! The files that come with the server, and the page that describes all keys.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use impetus::config::{self, Config, LoadArgs, Loaded, Role};

fn bundled(name: &str) -> Loaded {
    let file = Some(Path::new("config").join(name));
    let env = Vec::new();
    Config::load(LoadArgs { file, env }).expect(name)
}

#[test]
fn every_bundled_file_is_sound() {
    let files = std::fs::read_dir("config").unwrap();
    let names: BTreeSet<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    let expected = ["inference", "local", "logging"].map(|name| format!("config/{name}.toml"));
    assert_eq!(names, expected.iter().map(PathBuf::from).collect());
    for name in ["local.toml", "inference.toml", "logging.toml"] {
        bundled(name);
    }
}

#[test]
fn the_local_file_serves_both_roles_on_the_loopback() {
    let config = bundled("local.toml").config;
    assert_eq!(config.role, Role::Both);
    assert_eq!((config.host.as_str(), config.port), ("127.0.0.1", 8080));
    assert_eq!(config.environment, "development");
}

#[test]
fn the_two_services_have_the_documents_ports_and_can_run_side_by_side() {
    let inference = bundled("inference.toml").config;
    let logging = bundled("logging.toml").config;
    assert_eq!((inference.role, inference.port), (Role::Inference, 8000));
    assert_eq!((logging.role, logging.port), (Role::Logging, 8001));

    let ports = [&inference, &logging].map(|c| [c.port, c.health.port, c.grpc.port]);
    let distinct: BTreeSet<u16> = ports.into_iter().flatten().collect();
    assert_eq!(distinct.len(), 6, "{distinct:?}");
    assert_ne!(
        inference.data.dir, logging.data.dir,
        "what is written is never shared"
    );
}

#[test]
fn the_reference_page_is_the_one_that_the_types_make() {
    let page = std::fs::read_to_string("docs/configuration.md").unwrap();
    assert!(
        page == config::reference(),
        "docs/configuration.md is behind the code: \
         impetus check-config --reference > docs/configuration.md"
    );
}

#[test]
fn the_page_of_metrics_is_the_one_that_their_descriptions_make() {
    let page = std::fs::read_to_string("docs/metrics.md").unwrap();
    assert!(
        page == impetus::exposition::reference(),
        "docs/metrics.md is behind the code: impetus metrics --reference > docs/metrics.md"
    );
}

#[test]
fn what_is_printed_as_effective_is_a_file_that_gives_the_same_configuration() {
    for name in ["local.toml", "inference.toml", "logging.toml"] {
        let loaded = bundled(name);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("effective.toml");
        std::fs::write(&file, config::as_toml(&loaded)).unwrap();
        let args = LoadArgs {
            file: Some(file),
            env: Vec::new(),
        };
        assert_eq!(Config::load(args).unwrap().config, loaded.config, "{name}");
    }
}

#[test]
fn the_effective_configuration_says_who_set_what() {
    let env = [
        ("IMPETUS_ENVIRONMENT", "production"),
        ("IMPETUS_HTTP__MAX_BODY", "1MiB"),
        ("IMPETUS_MODELS__REQUIRED", "surface"),
    ];
    let loaded = Config::load(LoadArgs {
        file: Some(PathBuf::from("tests/fixtures/config/layers.toml")),
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())),
    });
    insta::assert_snapshot!(config::as_toml(&loaded.unwrap()));
}
