//! What a person sees who has started the server in a terminal.

use std::io::{self, Write};

use crate::config::Config;

/// Prints where the server listens and what to try. It goes to standard output, the log does not.
pub(super) fn print(config: &Config) {
    let text = banner(config);
    // A closed standard output is no reason not to serve.
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

fn banner(config: &Config) -> String {
    let base = format!("http://{}:{}", reachable(&config.host), config.port);
    let mut text = format!(
        "\n  Impetus {} serves on {base}\n",
        env!("CARGO_PKG_VERSION"),
    );
    if config.health.port != 0 {
        let host = reachable(config.health_host());
        text.push_str(&format!(
            "  Health also on http://{host}:{}\n",
            config.health.port
        ));
    }
    text.push_str("\n  Try:\n");
    let mut example =
        |what: &str, line: String| text.push_str(&format!("    {line:<72} # {what}\n"));
    if config.role.infers() {
        let sample = config.models.dir.join("surface/samples/scratch-1.png");
        if sample.is_file() {
            example(
                "classify a picture",
                format!("curl -F image=@{} {base}/predict", sample.display()),
            );
        }
        example("the models", format!("curl {base}/api/models/list"));
    }
    if config.role.logs() {
        example("logged predictions", format!("curl {base}/stats"));
    }
    example("is it ready?", format!("curl -i {base}/api/health/ready"));
    example(
        "every actor, in colour",
        format!("impetus status --url {base}"),
    );
    text.push('\n');
    text
}

/// An address that a browser on this machine can open.
fn reachable(host: &str) -> &str {
    match host {
        "0.0.0.0" | "::" => "127.0.0.1",
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_names_addresses_that_can_be_opened() {
        let config = Config {
            host: "0.0.0.0".to_owned(),
            ..Config::default()
        };
        let text = banner(&config);
        assert!(
            text.contains("http://127.0.0.1:8080") && text.contains(":8081"),
            "{text}"
        );
        assert!(!text.contains("0.0.0.0"));
    }
}
