//! A plain thread that looks twice a second.
//!
//! It looks by the clock and not by SIGCHLD: an orphan that has ended costs a line of the process
//! table and nothing else, so half a second is soon enough; signals of children that end together
//! come as one, so that one would have to look as well; and a look is one system call that finds
//! nothing.

use std::fs;
use std::io;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions, getpid, set_child_subreaper, waitid};
use tracing::{debug, info};

use super::super::{Children, lock};

const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(in crate::orphans) fn reap(children: Children, subreaper: bool) -> io::Result<bool> {
    if subreaper {
        set_child_subreaper(Some(getpid()))?;
    }
    if !subreaper && !getpid().is_init() {
        return Ok(false);
    }
    thread::Builder::new()
        .name("reaper".to_owned())
        .spawn(move || {
            loop {
                thread::park_timeout(LOOK_EVERY);
                children.reap_orphans();
            }
        })?;
    info!(pid = getpid().as_raw_pid(), "orphans are reaped");
    Ok(true)
}

impl Children {
    /// Reaps every child that has ended and has no owner.
    fn reap_orphans(&self) {
        let _gate = lock(&self.0.gate);
        if !has_anything_to_reap() {
            return;
        }
        // The look above shows one child that has ended, and the same again as long as its owner has
        // not reaped it: it may hide any number of orphans. The process table shows them all.
        for pid in ended_children(getpid()) {
            if !self.is_owned(pid) {
                let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
                let reaped = waitid(WaitId::Pid(pid), options);
                debug!(pid = pid.as_raw_pid(), ?reaped, "orphan reaped");
            }
        }
    }

    fn is_owned(&self, pid: Pid) -> bool {
        let pid = pid.as_raw_nonzero().get().unsigned_abs();
        lock(&self.0.owned).contains_key(&pid)
    }
}

/// Tells whether any child has ended and waits to be reaped, and leaves it waiting.
fn has_anything_to_reap() -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::All, options), Ok(Some(_)))
}

/// Returns the children of `parent` that have ended and have not been reaped.
fn ended_children(parent: Pid) -> Vec<Pid> {
    let Ok(table) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    table
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name stands in parentheses and may hold anything.
            let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
            let has_ended = fields.next()? == "Z";
            let is_ours = fields.next()?.parse() == Ok(parent.as_raw_pid());
            (has_ended && is_ours).then(|| Pid::from_raw(pid)).flatten()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};
    use std::time::Instant;

    use super::super::super::Owned;
    use super::*;

    /// A child that ends when its input is closed.
    fn spawn() -> io::Result<Child> {
        Command::new("cat").stdin(Stdio::piped()).spawn()
    }

    /// Ends a child and returns once it can be reaped.
    fn end(child: &mut Child) {
        drop(child.stdin.take());
        let pid = Pid::from_child(child);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !ended_children(getpid()).contains(&pid) {
            assert!(Instant::now() < deadline, "it has not ended");
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    // One test, for the children of one process are all its tests' children.
    #[test]
    fn an_orphan_behind_a_worker_that_nobody_has_reaped_yet_is_reaped_and_the_worker_is_not() {
        let children = Children::default();
        let behind_the_gate = || {
            assert!(children.0.gate.try_lock().is_err(), "the gate is open");
            spawn()
        };
        let (mut worker, owned) = children.start(behind_the_gate).unwrap();
        end(&mut worker);
        let mut orphan = spawn().unwrap();
        let mut living = spawn().unwrap();
        end(&mut orphan);

        children.reap_orphans();
        assert!(!ended_children(getpid()).contains(&Pid::from_child(&orphan)));
        assert!(orphan.wait().is_err(), "it has been reaped already");
        assert_eq!(worker.wait().unwrap().code(), Some(0), "its owner reaps it");
        end(&mut living);
        assert_eq!(living.wait().unwrap().code(), Some(0));

        // A number that comes again has two owners for a moment.
        lock(&children.0.owned).insert(owned.pid, 2);
        let pid = Pid::from_child(&worker);
        drop(owned);
        assert!(children.is_owned(pid));
        let last = Owned {
            pid: pid.as_raw_nonzero().get().unsigned_abs(),
            children: children.clone(),
        };
        drop(last);
        assert!(!children.is_owned(pid), "it is forgotten with its handle");
    }
}
