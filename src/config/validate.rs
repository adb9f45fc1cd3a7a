//! The rules that a configuration must keep.
//!
//! Bounds of single keys come from the catalogue, that is, from the attributes
//! beside the fields; they are checked again here because a configuration can
//! also be made in code. What stands here in full are the rules between keys
//! and those that a bound cannot express. They are plain comparisons, so that
//! the message can give both numbers.

use std::net::IpAddr;

use impetus_sources::Location;
use toml::{Table, Value};
use tracing_subscriber::EnvFilter;

use super::catalogue::{Catalogue, Section};
use super::health::READINESS_CHECKS;
use super::{Config, ModelMode, RegistryConfig, SinkKind};

/// A rule that a configuration breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", keys.join(", "))]
pub struct Violation {
    /// The keys that break it, the one to change first.
    pub keys: Vec<String>,
    /// What is wrong and what would be right.
    pub message: String,
}

#[derive(Default)]
struct Findings(Vec<Violation>);

pub(super) fn validate(config: &Config) -> Result<(), Vec<Violation>> {
    let mut findings = Findings::default();
    findings.check_bounds(config);
    findings.check_names(config);
    findings.check_ports(config);
    findings.check_health(config);
    findings.check_edge(config);
    for problem in config.runtime.provider_problems() {
        findings.add(&["runtime.providers"], problem);
    }
    findings.check_budgets(config);
    match findings.0 {
        none if none.is_empty() => Ok(()),
        violations => Err(violations),
    }
}

// === impl Findings ===

impl Findings {
    fn add(&mut self, keys: &[&str], message: impl Into<String>) {
        self.0.push(Violation {
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            message: message.into(),
        });
    }

    /// Demands that the first of two keys be smaller than the second.
    fn ordered<T: PartialOrd + std::fmt::Display>(&mut self, low: (&str, T), high: (&str, T)) {
        if low.1 >= high.1 {
            let message = format!("{} must be less than {} ({})", low.1, high.0, high.1);
            self.add(&[low.0, high.0], message);
        }
    }

    /// Demands that the first of two keys be no greater than the second.
    fn within<T: PartialOrd + std::fmt::Display>(&mut self, low: (&str, T), high: (&str, T)) {
        if low.1 > high.1 {
            let message = format!("{} must not be more than {} ({})", low.1, high.0, high.1);
            self.add(&[low.0, high.0], message);
        }
    }

    fn check_bounds(&mut self, config: &Config) {
        let values = match Table::try_from(config) {
            Ok(values) => values,
            Err(error) => return self.add(&[], format!("a value cannot be written: {error}")),
        };
        for section in Catalogue::get().sections() {
            self.check_section(section, &values);
        }
    }

    fn check_section(&mut self, section: &Section, values: &Table) {
        let values = match values.get(&section.name) {
            Some(Value::Table(values)) => values,
            _ => values,
        };
        for key in &section.keys {
            match values.get(&key.name) {
                Some(value) if !key.admits(value) => {
                    let message = format!("{value} is not {}", key.expectation());
                    self.add(&[&key.path], message);
                }
                _ => {}
            }
        }
    }

    fn check_names(&mut self, config: &Config) {
        if config.environment.trim().is_empty() {
            self.add(&["environment"], "must not be empty");
        }
        if !is_host(&config.host) {
            self.add(&["host"], not_a_host(&config.host));
        }
        if !config.health.host.is_empty() && !is_host(&config.health.host) {
            self.add(&["health.host"], not_a_host(&config.health.host));
        }
        if let Err(message) = check_log_level(&config.log_level) {
            self.add(&["log_level"], message);
        }
        for (key, dir) in [
            ("models.dir", &config.models.dir),
            ("data.dir", &config.data.dir),
        ] {
            if dir.as_os_str().is_empty() {
                self.add(&[key], "must name a folder");
            }
        }
        let required = &config.models.required;
        if required.iter().any(|name| name.trim().is_empty()) {
            self.add(&["models.required"], "a model's name must not be empty");
        }
        let load = &config.models.load;
        if load.iter().any(|name| name.trim().is_empty()) {
            self.add(&["models.load"], "a model's name must not be empty");
        }
        if !load.is_empty() && config.models.mode != ModelMode::Explicit {
            let message =
                "is for models.mode = \"explicit\"; otherwise the folder says what is loaded";
            self.add(&["models.load"], message);
        }
        for (position, name) in required.iter().enumerate() {
            if required[..position].contains(name) {
                self.add(&["models.required"], format!("names \"{name}\" twice"));
            }
        }
    }

    fn check_ports(&mut self, config: &Config) {
        let ports = [
            ("port", config.port),
            ("health.port", config.health.port),
            ("grpc.port", config.grpc.port),
        ];
        for (position, (key, port)) in ports.iter().enumerate() {
            let taken = ports[..position].iter().find(|(_, other)| other == port);
            if let Some((other, _)) = taken.filter(|_| *port != 0) {
                self.add(&[key, other], format!("{port} is also {other}"));
            }
        }
    }

    fn check_health(&mut self, config: &Config) {
        let health = &config.health;
        self.ordered(
            ("health.memory_ready_percent", health.memory_ready_percent),
            (
                "health.memory_unready_percent",
                health.memory_unready_percent,
            ),
        );
        self.ordered(
            ("health.unhealthy_below", health.unhealthy_below),
            ("health.degraded_below", health.degraded_below),
        );
        self.ordered(
            ("health.error_ready_ratio", health.error_ready_ratio),
            ("health.error_unready_ratio", health.error_unready_ratio),
        );
        let beat = ("health.heartbeat_interval", health.heartbeat_interval);
        self.ordered(
            beat,
            ("health.heartbeat_stale_after", health.heartbeat_stale_after),
        );
        self.ordered(beat, ("health.status_ttl", health.status_ttl));
        for (alias, check) in &health.check_aliases {
            if READINESS_CHECKS.contains(&alias.as_str()) {
                let message = format!("\"{alias}\" is a check of its own, not a name to give away");
                self.add(&["health.check_aliases"], message);
            }
            if !READINESS_CHECKS.contains(&check.as_str()) {
                let known = READINESS_CHECKS.join(", ");
                let message = format!("\"{alias}\" names \"{check}\"; the checks are {known}");
                self.add(&["health.check_aliases"], message);
            }
        }
    }

    fn check_edge(&mut self, config: &Config) {
        let http = &config.http;
        self.within(
            ("http.client_idle_timeout", http.client_idle_timeout),
            ("http.client_body_timeout", http.client_body_timeout),
        );
        // Otherwise a client that is slow would be taken for one that is gone.
        self.within(
            ("http.write_timeout", http.write_timeout),
            ("http.half_open_timeout", http.half_open_timeout),
        );
    }

    fn check_sink(&mut self, config: &Config) {
        let url = config.sink.url.expose();
        let schemes: &[&str] = match config.sink.kind {
            SinkKind::Sqlite if url.is_empty() => return,
            SinkKind::Sqlite => {
                let message = "must be empty when predictions stay in the file (sqlite)";
                return self.add(&["sink.url", "sink.kind"], message);
            }
            SinkKind::Postgres => &["postgres://", "postgresql://"],
            SinkKind::Impetus => &["http://", "https://"],
        };
        let host = schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
        if host.is_none_or(|host| host.is_empty() || host.starts_with('/')) {
            let message = format!(
                "must be an address that begins with {}; it is \"{}\"",
                schemes.join(" or "),
                config.sink.url
            );
            self.add(&["sink.url", "sink.kind"], message);
        }
    }

    fn check_sources(&mut self, config: &Config) {
        let Config {
            models,
            registry,
            downloads,
            ..
        } = config;
        for (name, source) in &models.remote {
            if !is_model_name(name) {
                let message = format!(
                    "\"{name}\" is not a name for a model: letters, digits, \"-\", \"_\" and \".\", not in front"
                );
                self.add(&["models.remote"], message);
            }
            match source.parse::<Location>() {
                Err(error) => self.add(&["models.remote"], format!("\"{name}\": {error}")),
                Ok(Location::Registry(_)) if registry.url.is_empty() => {
                    let message = format!(
                        "\"{name}\" comes from a registry ({source}), and there is none: set registry.url"
                    );
                    self.add(&["models.remote", "registry.url"], message);
                }
                Ok(_) => {}
            }
        }
        for name in config.stores.options.keys().filter(|name| is_secret(name)) {
            let message = format!(
                "\"{name}\" is a secret, and the configuration is shown to whoever asks for it: set {} in the environment instead",
                name.to_uppercase()
            );
            self.add(&["stores.options"], message);
        }
        self.check_registry(registry);
        self.within(
            ("downloads.backoff_min", downloads.backoff_min),
            ("downloads.backoff_max", downloads.backoff_max),
        );
    }

    fn check_registry(&mut self, registry: &RegistryConfig) {
        let url = &registry.url;
        let host = ["http://", "https://"]
            .iter()
            .find_map(|scheme| url.strip_prefix(scheme));
        if !url.is_empty() && host.is_none_or(|host| host.is_empty() || host.starts_with('/')) {
            let message = "must be an address that begins with http:// or https://";
            self.add(&["registry.url"], message);
        }
        if host.is_some_and(|host| {
            host.split('/')
                .next()
                .is_some_and(|host| host.contains('@'))
        }) {
            let message = "must not have a password in it; name the user in registry.username and a file in registry.password_file";
            self.add(&["registry.url"], message);
        }
        let has_token = !registry.token_file.as_os_str().is_empty();
        let has_password = !registry.password_file.as_os_str().is_empty();
        if has_token && (has_password || !registry.username.is_empty()) {
            let message = "is there beside a user: give one of the two";
            self.add(&["registry.token_file", "registry.username"], message);
        }
        if has_password && registry.username.is_empty() {
            self.add(
                &["registry.username"],
                "must name the user of registry.password_file",
            );
        }
        self.within(
            ("registry.check_every", registry.check_every),
            ("registry.poll_every", registry.poll_every),
        );
        self.within(
            ("registry.check_timeout", registry.check_timeout),
            ("registry.check_every", registry.check_every),
        );
    }

    fn check_budgets(&mut self, config: &Config) {
        let Config {
            models,
            predlog,
            supervision,
            lifecycle,
            ..
        } = config;
        self.within(
            ("models.backoff_min", models.backoff_min),
            ("models.backoff_max", models.backoff_max),
        );
        self.within(
            ("supervision.backoff_min", supervision.backoff_min),
            ("supervision.backoff_max", supervision.backoff_max),
        );
        self.within(
            ("models.run_timeout_floor", models.run_timeout_floor),
            ("models.run_timeout_ceiling", models.run_timeout_ceiling),
        );
        self.within(
            ("models.slot_bytes", models.slot_bytes),
            ("models.output_cap", models.output_cap),
        );
        self.within(
            ("models.shutdown_timeout", models.shutdown_timeout),
            ("lifecycle.stop_timeout", lifecycle.stop_timeout),
        );
        self.check_sink(config);
        self.check_sources(config);
        self.within(
            ("predlog.check_timeout", predlog.check_timeout),
            ("predlog.check_every", predlog.check_every),
        );
    }
}

/// Returns whether an option of a store is none that should be shown.
fn is_secret(option: &str) -> bool {
    let option = option.to_lowercase();
    let is_file = option.ends_with("_file") || option.ends_with("_path");
    let secret = [
        "secret",
        "password",
        "token",
        "credential",
        "sas_key",
        "account_key",
    ];
    !is_file && secret.iter().any(|word| option.contains(word))
}

/// Returns whether a text can be the name of a model that comes from elsewhere, as that of a folder can.
#[must_use]
pub fn is_model_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.len() <= 128 && !name.starts_with('.') && name.chars().all(fits)
}

/// Returns whether a text is an IP address or has the form of a host name.
fn is_host(host: &str) -> bool {
    let is_name = host.split('.').all(|label| {
        !label.is_empty()
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    });
    let is_number = host.chars().all(|c| c.is_ascii_digit() || c == '.');
    host.parse::<IpAddr>().is_ok() || (is_name && !is_number)
}

fn not_a_host(host: &str) -> String {
    format!("\"{host}\" is not an IP address or host name (the port has a key of its own)")
}

/// Refuses what the log's own parser would accept in silence: to it a misspelt
/// level is the name of a module, and everything else falls quiet.
fn check_log_level(directives: &str) -> Result<(), String> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    for directive in directives.split(',').map(str::trim) {
        let level = match directive.rsplit_once('=') {
            Some((_, level)) => level,
            None if directive.ends_with(']') => continue,
            None => directive,
        };
        if !LEVELS.contains(&level.to_lowercase().as_str()) {
            let levels = LEVELS.join(", ");
            return Err(format!(
                "\"{level}\" is not a level; the levels are {levels}"
            ));
        }
    }
    match EnvFilter::builder().parse(directives) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("\"{directives}\" cannot be read: {error}")),
    }
}
