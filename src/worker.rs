//! `impetus worker`: the process around one model. Only the server starts it, and `impetus doctor`, which
//! has it try an execution provider out.

use std::io::Write;
use std::path::Path;

use impetus_engine::runtime::onnx;
use impetus_engine::worker as engine;
use impetus_engine::{Provider, ProviderOptions, exit_now};

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
    if let (Some(provider), Some(library)) = (&args.probe, &args.runtime) {
        return probe(library, provider, args.probe_options.as_deref());
    }
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

/// Makes a session with a provider, says what came of it on standard output, and ends the process
/// without the destructors of native libraries.
fn probe(library: &Path, provider: &str, options: Option<&str>) -> Exit {
    let Ok(provider) = provider.parse::<Provider>() else {
        return Exit::Usage;
    };
    let options = options.map(serde_json::from_str::<ProviderOptions>);
    let Ok(options) = options.transpose() else {
        return Exit::Usage;
    };
    let probed = onnx::probe(library, provider, &options.unwrap_or_default());
    let mut out = std::io::stdout().lock();
    let told = serde_json::to_string(&probed)
        .map_err(std::io::Error::from)
        .and_then(|text| writeln!(out, "\n{text}"))
        .and_then(|()| out.flush());
    exit_now(match told {
        Ok(()) => Exit::Clean.code().into(),
        Err(_) => Exit::Internal.code().into(),
    })
}
