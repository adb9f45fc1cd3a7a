//! What the operating system says about the server and its workers.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{PATIENCE, signal_process};

/// One line of the process table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub parent: u32,
    /// `Z` when it has ended and nobody has reaped it.
    pub state: char,
}

/// Returns the children of a process that are there, those that have ended unreaped included.
pub fn children(parent: u32) -> Vec<Process> {
    let mut children = table();
    children.retain(|process| process.parent == parent);
    children
}

/// Tells whether a process has ended, reaped or not: whom an orphan falls to need not reap it.
pub fn has_ended(pid: u32) -> bool {
    table()
        .iter()
        .all(|process| process.pid != pid || process.state == 'Z')
}

/// Stops a process and returns when each of its threads stands still.
pub fn freeze(pid: u32) {
    signal_process(pid, Signal::STOP);
    wait_until("it stands still", || {
        thread_states(pid).iter().all(|state| *state == 'T')
    });
}

/// Waits for something that no server can be asked about.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

#[cfg(target_os = "linux")]
pub fn thread_states(pid: u32) -> Vec<char> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .flatten();
    threads
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok())
        .filter_map(|stat| stat.rsplit_once(')')?.1.trim().chars().next())
        .collect()
}

#[cfg(not(target_os = "linux"))]
pub fn thread_states(pid: u32) -> Vec<char> {
    let process = table().into_iter().find(|process| process.pid == pid);
    process.map(|process| process.state).into_iter().collect()
}

#[cfg(target_os = "linux")]
fn table() -> Vec<Process> {
    let numbers = std::fs::read_dir("/proc").unwrap().flatten();
    numbers
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name stands in parentheses and may hold anything.
            let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
            let state = fields.next()?.chars().next()?;
            Some(Process {
                pid,
                parent: fields.next()?.parse().ok()?,
                state,
            })
        })
        .collect()
}

#[cfg(not(target_os = "linux"))]
fn table() -> Vec<Process> {
    let listing = std::process::Command::new("ps")
        .args(["-axo", "pid=,ppid=,stat="])
        .output();
    let listing = String::from_utf8(listing.unwrap().stdout).unwrap();
    listing
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let (pid, parent) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            Some(Process {
                pid,
                parent,
                state: fields.next()?.chars().next()?,
            })
        })
        .collect()
}

/// Returns the names of a process's threads.
#[cfg(target_os = "linux")]
pub fn threads(pid: u32) -> Vec<String> {
    std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .collect()
}

/// Tells whether a file of that name is mapped into a process.
#[cfg(target_os = "linux")]
pub fn has_mapped(pid: u32, name: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/maps"))
        .unwrap()
        .contains(name)
}

/// Returns the bytes of a process that are in memory.
#[cfg(target_os = "linux")]
pub fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim()
        .strip_suffix("kB")
        .unwrap()
        .trim()
        .parse::<u64>()
        .unwrap()
        * 1024
}

/// Returns how many descriptors a process has open.
#[cfg(target_os = "linux")]
pub fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count()
}

/// Tells whether a process has a handler of its own for a signal.
#[cfg(target_os = "linux")]
pub fn handles(pid: u32, signal: Signal) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else {
        return false;
    };
    let caught = status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.unwrap_or(0) & (1 << (signal.as_raw() - 1)) != 0
}
