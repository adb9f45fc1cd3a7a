//! Orphans: processes that fall to the server when their parent ends, and that nobody else reaps.
//!
//! As process 1 of a container the server inherits every process that loses its parent: those of a
//! shell that somebody opened in the container, those of a probe that runs a command. One that has
//! ended stays in the process table until its parent asks how, and a table that is full stops the
//! node from starting anything.
//!
//! **Invariant.** A worker is reaped by its owner and by nobody else, through its pidfd, for how it
//! ended is why it is restarted. So nothing here ever waits for "any child": it looks whether there
//! is anything to reap without reaping it, and then asks for processes by number, leaving out those
//! that are known [`Children`]. A child is known before it can be seen to end: it is started behind
//! the same gate that the reaper passes.
//!
//! **How it fails.** Where the process table cannot be read, orphans stay; the server itself needs
//! none of this.

use std::collections::HashMap;
use std::io;
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

mod platform;

/// The children that have an owner who reaps them.
#[derive(Debug, Clone, Default)]
pub struct Children(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Held while a child is started, and while orphans are reaped.
    gate: Mutex<()>,
    /// How many owners each number has: a number is given away again as soon as its process has
    /// been reaped, which may be before its owner lets go.
    owned: Mutex<HashMap<u32, usize>>,
}

/// Says that a child has an owner, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Owned {
    pid: u32,
    children: Children,
}

/// Has orphans reaped if any can fall to this process: because it is process 1, or because it asks
/// for them as a `subreaper`. Returns whether that is so.
///
/// # Errors
/// The operating system has no thread left, or does not know subreapers.
pub fn reap(children: Children, subreaper: bool) -> io::Result<bool> {
    platform::reap(children, subreaper)
}

// === impl Children ===

impl Children {
    /// Starts a child that is known to have an owner before anybody can see it end.
    pub(crate) fn start(
        &self,
        spawn: impl FnOnce() -> io::Result<Child>,
    ) -> io::Result<(Child, Owned)> {
        let _gate = lock(&self.0.gate);
        let child = spawn()?;
        let pid = child.id();
        *lock(&self.0.owned).entry(pid).or_default() += 1;
        let children = self.clone();
        Ok((child, Owned { pid, children }))
    }
}

// === impl Owned ===

impl Drop for Owned {
    fn drop(&mut self) {
        let mut owned = lock(&self.children.0.owned);
        if let Some(owners) = owned.get_mut(&self.pid) {
            *owners -= 1;
            if *owners == 0 {
                owned.remove(&self.pid);
            }
        }
    }
}

/// Neither lock guards anything that a panic could leave half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
