//! How a process that is full of native code ends, on every Unix.
#![allow(unsafe_code)]

/// Has a crash end the process by its signal, without a detour through a handler.
///
/// The standard library handles these two in order to report overflowing stacks, and gives up its
/// handler when it meets anything else: the first signal that was sent, rather than caused by an
/// access, would pass without a trace.
pub(crate) fn crash_by_signal() {
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: restores the default action, which runs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Ends the process at once, waiting for nobody.
///
/// The destructors that `exit` would run may belong to a native library which another thread is
/// executing; running them under it turns an orderly end into a crash. They may also wait for a
/// lock that a blocked thread holds, and `exit` itself waits for any other thread that is in it.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` takes any value and touches no memory of ours.
    unsafe { libc::_exit(code) }
}

/// Gives memory that has been freed back to the system, where the allocator keeps it otherwise: that of
/// glibc does, in an arena for each thread.
///
/// It takes each arena's lock in turn, so it is for moments at which nobody is in a hurry.
pub fn give_back_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: walks the allocator's own lists under its own locks, and touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
