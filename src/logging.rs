//! The log: human in a terminal, JSON otherwise, always on stderr.
//!
//! Stdout belongs to answers (`impetus status`, the start-up banner); the log
//! never mixes with them.
//!
//! **Whose line it is.** Supervision runs every incarnation inside a span
//! `actor{id, generation}`. Both forms repeat the fields of all spans around
//! an event on its line. The JSON form lays them flat beside the event's own
//! fields, so that `actor` and `generation` are columns; a span's field called
//! `id` becomes the span's own name (`actor`), and where two spans have the
//! same field the inner one counts.
//!
//! **A reader that hangs.** A pipe that nobody empties blocks its writer, and a
//! log line is written on every thread there is, that of the health answers
//! included. So the server queues its lines for one thread of their own; past
//! the bound they are dropped and counted. A worker process writes directly:
//! its last line before a crash is worth more than its progress, and should it
//! hang there it is replaced like any other hung worker.
//!
//! Panics are log lines too, written inside the spans of the thread that
//! panics, so that they carry actor and generation and keep to one line.

mod json;
#[cfg(test)]
pub(crate) mod tests;

use std::io::{self, IsTerminal};
use std::panic;

use tracing::{Subscriber, error};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{Config, LogFormat};

/// What to log, how, and through what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// A level, or directives such as `info,impetus_actors=debug`.
    pub directives: String,
    /// The form of a line.
    pub format: LogFormat,
    /// The way to stderr.
    pub way: LogWay,
}

/// The way that a line takes to stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogWay {
    /// Through a queue of so many lines to a thread that writes; never blocks.
    Queued(usize),
    /// By the thread that logs, before it goes on.
    Direct,
}

/// Keeps the log's thread alive; on drop, waits about a second at most for what is queued.
#[must_use = "without its guard the log loses what is queued at the end"]
#[derive(Debug)]
pub struct LogGuard {
    dropped: Option<ErrorCounter>,
    _writer: Option<WorkerGuard>,
}

/// Why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The directives cannot be read.
    #[error("log_level \"{directives}\" cannot be read: {reason}")]
    Directives {
        /// What was to be read.
        directives: String,
        /// What the filter says.
        reason: ParseError,
    },
    /// The process has a log already.
    #[error("the log is set up already: {0}")]
    AlreadySet(#[from] TryInitError),
}

/// Sets up the log of this process, and the hook that logs panics.
///
/// # Errors
///
/// When the directives cannot be read, or a log is set up already.
pub fn init(settings: &LogSettings) -> Result<LogGuard, LogError> {
    let guard = match settings.way {
        LogWay::Direct => {
            subscriber(settings, io::stderr)?.try_init()?;
            LogGuard {
                dropped: None,
                _writer: None,
            }
        }
        LogWay::Queued(lines) => {
            let (writer, thread) = NonBlockingBuilder::default()
                .buffered_lines_limit(lines)
                .lossy(true)
                .thread_name("log")
                .finish(io::stderr());
            let dropped = writer.error_counter();
            subscriber(settings, writer)?.try_init()?;
            LogGuard {
                dropped: Some(dropped),
                _writer: Some(thread),
            }
        }
    };
    panic::set_hook(Box::new(log_panic));
    Ok(guard)
}

/// Returns a subscriber that writes the log of these settings to any writer.
///
/// # Errors
///
/// When the directives cannot be read.
pub fn subscriber<W>(
    settings: &LogSettings,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder()
        .parse(quiet(&settings.directives))
        .map_err(|reason| LogError::Directives {
            directives: settings.directives.clone(),
            reason,
        })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer);
    Ok(match resolve(settings.format) {
        LogFormat::Human => Box::new(builder.with_ansi(is_colour_wanted()).finish()),
        LogFormat::Json | LogFormat::Auto => {
            let builder = builder.fmt_fields(JsonFields::new());
            Box::new(builder.event_format(json::FlatJson).finish())
        }
    })
}

/// Returns the form that `auto` stands for in this process; other forms as they are.
pub fn resolve(format: LogFormat) -> LogFormat {
    match format {
        LogFormat::Auto if io::stderr().is_terminal() => LogFormat::Human,
        LogFormat::Auto => LogFormat::Json,
        fixed => fixed,
    }
}

// === impl LogSettings ===

impl LogSettings {
    /// Returns the settings of a server with this configuration.
    pub fn of_server(config: &Config) -> Self {
        Self {
            directives: config.log_level.clone(),
            format: config.log.format,
            way: LogWay::Queued(config.log.queue),
        }
    }

    /// Returns the settings of a worker process.
    pub fn of_worker(directives: &str, format: LogFormat) -> Self {
        Self {
            directives: directives.to_owned(),
            format,
            way: LogWay::Direct,
        }
    }
}

// === impl LogGuard ===

impl LogGuard {
    /// Returns how many lines were dropped because stderr did not take them.
    pub fn dropped_lines(&self) -> usize {
        self.dropped.as_ref().map_or(0, ErrorCounter::dropped_lines)
    }
}

/// Adds to a bare `info` what keeps the HTTP library from announcing its threads.
fn quiet(directives: &str) -> String {
    match directives.trim() {
        info if info.eq_ignore_ascii_case("info") => format!("{info},actix_server=warn"),
        other => other.to_owned(),
    }
}

fn log_panic(info: &panic::PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("a value that is no text");
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or_default();
    let backtrace = std::backtrace::Backtrace::capture();
    match backtrace.status() {
        std::backtrace::BacktraceStatus::Captured => {
            error!(panic = message, location, thread, %backtrace, "thread panicked");
        }
        _ => error!(panic = message, location, thread, "thread panicked"),
    }
}

/// Returns whether stderr is a terminal whose user wants colour (`NO_COLOR` says no).
fn is_colour_wanted() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}
