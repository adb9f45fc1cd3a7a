//! `impetus check-config`: what would hold if the server started now.
//!
//! The answer goes to stdout and is a configuration file (or JSON); warnings
//! go to stderr, so that the answer can be redirected into a file as it is.

use std::io::Write;

use crate::cli::{CheckConfigArgs, ConfigOutput, answered, refuse_config};
use crate::config::{self, Config, LoadArgs};
use crate::exit::Exit;

/// Runs the command and returns how to end.
pub fn run(
    args: &CheckConfigArgs,
    env: impl IntoIterator<Item = (String, String)>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Exit {
    if args.reference {
        return answered(out.write_all(config::reference().as_bytes()), Exit::Clean);
    }
    let file = args.config.clone();
    let loaded = match Config::load(LoadArgs { file, env }) {
        Ok(loaded) => loaded,
        Err(error) => return refuse_config(&error, err),
    };
    let written = match args.output {
        ConfigOutput::Json => writeln!(out, "{:#}", config::as_json(&loaded)),
        ConfigOutput::Toml => loaded
            .warnings
            .iter()
            .try_for_each(|warning| writeln!(err, "impetus: {warning}"))
            .and_then(|()| out.write_all(config::as_toml(&loaded).as_bytes())),
    };
    answered(written, Exit::Clean)
}
