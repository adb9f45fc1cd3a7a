//! What only some systems have, with a fallback for the others.

/// Names the calling thread, so that `top -H` and a debugger tell threads apart.
///
/// Only Linux can name a thread that somebody else has spawned; elsewhere an arbiter keeps actix's own name.
#[cfg(target_os = "linux")]
pub(crate) fn name_thread(name: &str) {
    // The kernel keeps 15 bytes.
    let short: String = name
        .chars()
        .filter(char::is_ascii_graphic)
        .take(15)
        .collect();
    if let Ok(short) = std::ffi::CString::new(short)
        && let Err(error) = rustix::thread::set_name(&short)
    {
        tracing::debug!(%error, "thread not named");
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn name_thread(_name: &str) {}
