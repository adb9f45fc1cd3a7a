//! `impetus worker`: the process around one model. Only the server starts it.

use std::io::Write;

use impetus_engine::worker as engine;

use crate::cli::WorkerArgs;
use crate::exit::Exit;
use crate::logging::{self, LogSettings};

/// Serves the socket that came as standard input until it is closed.
pub fn work(args: &WorkerArgs) -> Exit {
    let settings = LogSettings::of_worker(&args.log_level, args.log_format);
    let _log = match logging::init(&settings) {
        Ok(guard) => guard,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "impetus worker: {error}");
            return Exit::Usage;
        }
    };
    let code = engine::main_from_stdin(engine::WorkerArgs {
        parent: args.parent,
        runtime: args.runtime.clone(),
    });
    if code == 0 {
        Exit::Clean
    } else {
        Exit::Internal
    }
}
