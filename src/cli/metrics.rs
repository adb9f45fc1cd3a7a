//! `impetus metrics`: which metrics there are.
//!
//! Needs no server and no configuration: it is what the program itself can expose.

use std::io::Write;

use crate::cli::{MetricsArgs, answered};
use crate::exit::Exit;
use crate::exposition;

/// Runs the command and returns how to end.
pub fn run(args: &MetricsArgs, out: &mut dyn Write) -> Exit {
    let text = if args.names {
        exposition::names()
            .iter()
            .map(|name| format!("{name}\n"))
            .collect()
    } else {
        exposition::reference()
    };
    answered(out.write_all(text.as_bytes()), Exit::Clean)
}
