//! The library and its environment, once per process.
//!
//! Official builds report what they run to their maker, and keep an identifier and a database for
//! that in the user's cache folder. The interface to switch that off needs an environment, and
//! making one already does both; only a variable that is set before prevents it. So it is set
//! here, before the library is loaded, unless somebody has decided otherwise.
#![allow(unsafe_code)]

use std::env;

use std::ffi::CStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ort::LoadDynamicError;
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::sys::OrtApiBase;

use super::super::RuntimeInfo;
use crate::error::{EngineError, shortened};

/// A library that has been loaded and started.
pub(super) struct Library {
    pub(super) path: PathBuf,
    pub(super) environment: Environment,
    pub(super) info: RuntimeInfo,
}

/// Loads and starts the library, unless that has been done.
///
/// Fails if another one has been started in this process: there can be only one.
pub(super) fn start(path: &Path) -> Result<&'static Library, EngineError> {
    static STARTED: OnceLock<Library> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());

    let path = found(path)?;
    let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    let library = match STARTED.get() {
        Some(library) => library,
        None => {
            let library = load(path.clone())?;
            STARTED.get_or_init(|| library)
        }
    };
    if library.path == path {
        return Ok(library);
    }
    let started = library.path.display();
    Err(unusable(
        path,
        format!("this process has started {started}"),
    ))
}

/// Returns the library's real path, which also keeps the loader from searching for it elsewhere.
fn found(path: &Path) -> Result<PathBuf, EngineError> {
    let missing = |error: io::Error| EngineError::RuntimeMissing {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let real = path.canonicalize().map_err(missing)?;
    if real.is_file() {
        Ok(real)
    } else {
        Err(unusable(real, "it is no file"))
    }
}

fn load(path: PathBuf) -> Result<Library, EngineError> {
    opt_out_of_telemetry();
    let builder = match ort::init_from(&path) {
        Ok(builder) => builder,
        Err(LoadDynamicError::Dlopen { error, .. }) => return Err(unusable(path, error)),
        Err(error) => return Err(unusable(path, error)),
    };
    let environment = builder
        .with_name("impetus")
        .with_telemetry(false)
        .with_logger(Arc::new(log))
        .build()
        .map_err(|error| unusable(path.clone(), error))?;
    environment.set_log_level(LogLevel::Warning);
    let info = RuntimeInfo {
        name: "onnxruntime".into(),
        version: version(&path).map_err(|error| unusable(path.clone(), error))?,
    };
    Ok(Library {
        path,
        environment,
        info,
    })
}

/// Returns the version the library states, which `ort` reads but does not pass on.
fn version(path: &Path) -> Result<String, libloading::Error> {
    // SAFETY: the library is loaded already, so this runs no initialiser of its own. It exports
    // this symbol with this type, or loading it would have failed; both the base and the version
    // string are constants of the library, which `ort` never unloads.
    unsafe {
        let library = libloading::Library::new(path)?;
        let base = library.get::<unsafe extern "C" fn() -> *const OrtApiBase>(b"OrtGetApiBase")?();
        let version = CStr::from_ptr(((*base).GetVersionString)());
        Ok(version.to_string_lossy().into_owned())
    }
}

fn opt_out_of_telemetry() {
    const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";
    #[expect(
        clippy::disallowed_methods,
        reason = "a variable of the library's, not one of ours"
    )]
    let decided = env::var_os(VARIABLE).is_some();
    if !decided {
        // SAFETY: a worker process runs nothing else that reads the environment: its other thread
        // waits for the socket. In a server with a worker thread, Rust code is kept apart by the
        // standard library's lock, and C code that reads at this moment holds the block the
        // process was started with, which is copied, not freed, by the first change to it; this
        // is the only one, made once under the lock of the caller.
        unsafe { env::set_var(VARIABLE, "1") };
    }
}

fn log(level: LogLevel, category: &str, _id: &str, at: &str, message: &str) {
    match level {
        LogLevel::Verbose | LogLevel::Info => tracing::debug!(category, at, "{message}"),
        LogLevel::Warning => tracing::warn!(category, at, "{message}"),
        LogLevel::Error | LogLevel::Fatal => tracing::error!(category, at, "{message}"),
    }
}

fn unusable(path: PathBuf, reason: impl ToString) -> EngineError {
    EngineError::RuntimeUnusable {
        path,
        reason: shortened(reason.to_string()),
    }
}
