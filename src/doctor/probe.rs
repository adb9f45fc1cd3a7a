//! A library and an execution provider, tried out in a process of their own.
//!
//! That process is started as `impetus worker`, like every one that loads a model runtime, with the
//! order to make one session and to say what came of it. What it says is the last line of its
//! standard output that can be read, because libraries write there too; how it ends is said where it
//! says nothing.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use impetus_engine::runtime::onnx::Probed;
use impetus_engine::{Provider, ProviderOptions};

use crate::cli::WorkerArgs;
use crate::config::LogFormat;

/// The longest that a provider may take: the first use of a GPU takes seconds.
const WITHIN: Duration = Duration::from_secs(60);
/// The most that a process may have to say.
const MOST_BYTES: u64 = 1 << 20;

/// Tries providers out.
pub trait Prober {
    /// Makes a session with a provider.
    ///
    /// # Errors
    /// How the process that tried ended, where it could say nothing.
    fn probe(
        &self,
        library: &Path,
        provider: Provider,
        options: &ProviderOptions,
    ) -> Result<Probed, String>;
}

/// Tries each in a worker process.
#[derive(Debug, Clone, Copy, Default)]
pub struct WorkerProber;

// === impl WorkerProber ===

impl Prober for WorkerProber {
    fn probe(
        &self,
        library: &Path,
        provider: Provider,
        options: &ProviderOptions,
    ) -> Result<Probed, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let options = serde_json::to_string(options).map_err(|error| error.to_string())?;
        let args = WorkerArgs {
            parent: std::process::id(),
            log_level: "off".to_owned(),
            log_format: LogFormat::Json,
            runtime: Some(library.to_owned()),
            probe: Some(provider.to_string()),
            probe_options: Some(options),
        };
        let mut child = Command::new(program)
            .args(args.command_line())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("no process could be started: {error}"))?;
        let said = hear(&mut child)?;
        let status = child.wait().map_err(|error| error.to_string())?;
        let answer = said
            .lines()
            .rev()
            .find_map(|line| serde_json::from_str(line).ok());
        answer.ok_or_else(|| format!("the process that tried it ended with {status}"))
    }
}

/// Returns all that the process writes, and ends it when it takes too long.
fn hear(child: &mut Child) -> Result<String, String> {
    let output = child.stdout.take().ok_or("it has no output")?;
    let (tell, told) = mpsc::sync_channel(1);
    let reader = move || {
        let mut bytes = Vec::new();
        let read = output.take(MOST_BYTES).read_to_end(&mut bytes);
        // Nobody asks any more when it took too long.
        let _ = tell.send(read.map(|_| bytes));
    };
    let started = thread::Builder::new().name("probe".into()).spawn(reader);
    started.map_err(|error| error.to_string())?;
    match told.recv_timeout(WITHIN) {
        Ok(Ok(bytes)) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => {
            // One that has ended in this moment cannot be ended, and is reaped all the same.
            let _ = child.kill();
            let _ = child.wait();
            Err(format!("it took longer than {} s", WITHIN.as_secs()))
        }
    }
}
