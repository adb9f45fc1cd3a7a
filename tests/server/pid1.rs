//! The duties of process 1: to reap what falls to it, and to hear the signals that nobody hears for
//! it.
//!
//! Where this machine allows it the server is process 1 of a namespace of its own. Where it does
//! not, the server asks for orphans instead, so that no test is left out.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::harness::processes::{children, handles, has_ended, wait_until};
use crate::harness::{Server, Setup, signal_process};

/// How many orphans there are.
const ORPHANS: usize = 5;

/// A shell that leaves behind a child with children of its own, none of which the server started.
const LEAVE_A_FAMILY: &str = "sh -c 'for n in 1 2 3 4 5; do sleep 1000 & done; wait' & :";

const NAMESPACE: [&str; 5] = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];

/// A server to which orphans fall.
struct Init {
    server: Server,
    /// Its number as this process sees it.
    pid: u32,
}

#[test]
fn process_1_reaps_the_orphans_that_fall_to_it() {
    let init = start(Setup::new().after(LEAVE_A_FAMILY));
    assert_orphans_are_reaped(&init);
}

#[test]
fn a_subreaper_reaps_the_orphans_that_fall_to_it() {
    let setup = Setup::new()
        .set("lifecycle.subreaper", "true")
        .after(LEAVE_A_FAMILY);
    let server = setup.start_ready();
    let pid = server.pid();
    assert_orphans_are_reaped(&Init { server, pid });
}

#[test]
fn workers_that_are_killed_together_with_orphans_are_reported_with_their_signal() {
    let init = start(
        Setup::new()
            .set("models.workers", "3")
            .set("models.backoff_max", "\"100ms\"")
            .set("supervision.restarts", "1000")
            .after(LEAVE_A_FAMILY),
    );
    let server = &init.server;
    for round in 1..=5 {
        server.wait_all_workers();
        let family = init.family();
        let workers: BTreeSet<u32> = init.children().difference(&family).copied().collect();
        assert_eq!(workers.len(), 3, "{workers:?}");
        // The last of the family in the first round, for there is no other round with orphans.
        for pid in workers.iter().chain(&family) {
            signal_process(*pid, Signal::KILL);
        }
        for index in 0..3 {
            let name = format!("worker:surface/{index}");
            let actor = server.wait_for_actor(&name, "lost and back", |actor| {
                actor["generation"] == round + 1 && actor["state"] == "running"
            });
            let message = actor["last_exit"]["message"].as_str().unwrap();
            assert!(message.contains("signal 9"), "{message}");
        }
        wait_until("nothing is left of them", || init.corpses().is_empty());
    }
}

#[test]
fn process_1_ends_in_order_when_it_is_told_to() {
    let mut init = start(Setup::new());
    signal_process(init.pid, Signal::TERM);
    assert_eq!(init.server.wait_exit_code(), Some(0));
    assert!(init.server.log().contains("all actors have stopped"));
}

/// A pipe in the place of the last run's record holds up the start until the test writes to it.
#[test]
fn a_signal_in_the_first_moments_of_process_1_is_honoured_once_the_start_is_over() {
    let mut init = start_held_up();
    signal_process(init.pid, Signal::TERM);
    go_on(&init);
    assert_eq!(init.server.wait_exit_code(), Some(0));
    let log = init.server.log();
    assert!(log.contains("told to end while starting"), "{log}");
    assert!(!log.contains("server runs"), "{log}");
}

#[test]
fn a_start_that_hangs_is_ended_by_a_second_signal() {
    let mut init = start_held_up();
    signal_process(init.pid, Signal::TERM);
    // Signals of one kind that come together are one.
    signal_process(init.pid, Signal::INT);
    assert_eq!(init.server.wait_exit_code(), Some(75));
}

// === impl Init ===

impl Init {
    fn children(&self) -> BTreeSet<u32> {
        children(self.pid).iter().map(|child| child.pid).collect()
    }

    /// Those that have ended and have not been reaped.
    fn corpses(&self) -> Vec<u32> {
        let children = children(self.pid).into_iter();
        children
            .filter(|child| child.state == 'Z')
            .map(|child| child.pid)
            .collect()
    }

    /// The children that the server has not started.
    fn family(&self) -> BTreeSet<u32> {
        let children = self.children().into_iter();
        children
            .filter(|pid| {
                let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                ["sh", "sleep"].contains(&name.trim())
            })
            .collect()
    }
}

fn assert_orphans_are_reaped(init: &Init) {
    let parent = init.family();
    assert_eq!(parent.len(), 1, "{parent:?}");
    let parent = *parent.first().unwrap();
    wait_until("the family is complete", || {
        children(parent).len() == ORPHANS
    });
    signal_process(parent, Signal::KILL);
    wait_until("the orphans have fallen to the server", || {
        init.family().len() == ORPHANS && !init.family().contains(&parent)
    });
    for orphan in init.family() {
        signal_process(orphan, Signal::KILL);
    }
    wait_until("the orphans have been reaped", || {
        init.family().is_empty() && init.corpses().is_empty()
    });
    init.server.assert_predicts();
}

/// Starts a server as process 1 if that is allowed here.
fn start(setup: Setup) -> Init {
    if !may_unshare() {
        let server = setup.set("lifecycle.subreaper", "true").start_ready();
        let pid = server.pid();
        return Init { server, pid };
    }
    let server = setup.under(&NAMESPACE).start_ready();
    let pid = only_child(server.pid());
    Init { server, pid }
}

/// Starts a server that has come no further than to the last run's record.
fn start_held_up() -> Init {
    let setup = Setup::new().set("data.last_run_timeout", "\"1m\"");
    let data = setup.path().join("data");
    fs::create_dir(&data).unwrap();
    let made = Command::new("mkfifo")
        .arg(data.join("last-run.json"))
        .status();
    assert!(made.unwrap().success());
    let (server, pid) = if may_unshare() {
        let server = setup.under(&NAMESPACE).spawn();
        wait_until("the namespace has a process", || {
            !children(server.pid()).is_empty()
        });
        let pid = only_child(server.pid());
        (server, pid)
    } else {
        let server = setup.spawn();
        let pid = server.pid();
        (server, pid)
    };
    wait_until("it hears signals", || {
        [Signal::TERM, Signal::INT]
            .iter()
            .all(|signal| handles(pid, *signal))
    });
    assert!(!has_ended(pid));
    Init { server, pid }
}

/// Ends the record of the last run before it has begun.
fn go_on(init: &Init) {
    let pipe = init.server.dir.path().join("data/last-run.json");
    // Opening waits for the reader.
    drop(fs::OpenOptions::new().write(true).open(pipe).unwrap());
}

fn only_child(pid: u32) -> u32 {
    let children = children(pid);
    assert_eq!(children.len(), 1, "{children:?}");
    children[0].pid
}

fn may_unshare() -> bool {
    let (program, arguments) = NAMESPACE.split_first().unwrap();
    Command::new(program)
        .args(arguments)
        .arg("true")
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
