//! `impetus openapi`: what a server answers over HTTP, without a server.
//!
//! What there is follows from the configuration, so that is read as `serve` reads it; the document is the very one that
//! such a server has at `/openapi.json`. It goes to stdout and everything else to stderr, so that it can be redirected
//! into a file and a client be made from that.

use std::io::Write;

use crate::cli::{OpenapiArgs, answered, refuse_config};
use crate::config::{Config, LoadArgs};
use crate::exit::Exit;
use crate::http::openapi::Contents;

/// Runs the command and returns how to end.
pub fn run(
    args: &OpenapiArgs,
    env: impl IntoIterator<Item = (String, String)>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Exit {
    let file = args.config.clone();
    let loaded = match Config::load(LoadArgs { file, env }) {
        Ok(loaded) => loaded,
        Err(error) => return refuse_config(&error, err),
    };
    let text = Contents::of(&loaded.config).text();
    let written = loaded
        .warnings
        .iter()
        .try_for_each(|warning| writeln!(err, "impetus: {warning}"))
        .and_then(|()| out.write_all(text.as_bytes()));
    answered(written, Exit::Clean)
}
