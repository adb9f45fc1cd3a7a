//! Every command of the pages, run as a reader would, against live servers.
//!
//! A page that shows a command promises that it works, and a page that shows an answer promises
//! that this is what comes back. Both go wrong in silence: a path is renamed, a field is added, and
//! nobody reads the page again but the person who needs it at night. So the pages are the test:
//! every block of `bash` or `sh`, and every `curl` or `kubectl` in a sentence or a table.
//!
//! - A command has to end with 0, and HTTP with less than 400, unless a comment behind it says
//!   otherwise: `# 503` (the status), `# exits 1`, `# until Ctrl-C` (it is ended once it has said
//!   something).
//! - `json` or `text` right below a block is what its last command answers ([`fits`]).
//! - `<!-- server: … -->` above a block says against which servers it is run ([`site`]): without it
//!   against healthy ones that all such blocks of a page share, with `own` against fresh ones.
//! - `localhost:8080` and the other ports of the pages stand for the ports of the test's servers,
//!   `<pod-name>` for a pod. Files are a copy of the checkout's, because some commands write.
//!
//! What a test cannot have is stood in for ([`stand-ins/`](stand-ins)): there is no cluster, so the
//! real `kubectl` reads every command and talks to an API server that is a mock ([`cluster`]), and
//! what `kubectl exec` starts in a pod is started here. `make` is asked what it would do. What is
//! not run at all is listed in [`exceptions`].
//!
//! Linux only, as what the pages are about.

#![cfg(target_os = "linux")]
// Nothing here is anybody else's interface.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stderr
)]

mod block;
mod cluster;
mod commands;
mod exceptions;
mod fits;
mod links;
mod pages;
#[path = "../server"]
mod server {
    // Each of the binaries uses its part of it.
    #[allow(dead_code, unused_imports)]
    pub mod harness;
}
mod shell;
mod site;

use crate::pages::Page;
use crate::server::harness;
use crate::shell::Shell;

/// The pages that the documents ask for, and what is in pictures only.
const HEALTH: [&str; 3] = [
    "docs/ARCHITECTURE_DIAGRAMS.md",
    "docs/HEALTH_ENDPOINTS.md",
    "docs/HEALTH_QUICK_REFERENCE.md",
];

const RUNBOOKS: &str = "docs/runbooks/";

#[test]
fn every_command_of_the_health_pages_does_what_the_page_says() {
    let pages = pages_where(is_about_health);
    assert_eq!(pages.len(), HEALTH.len());
    run(&pages);
}

#[test]
fn every_command_of_the_runbooks_does_what_the_page_says() {
    run(&pages_where(|path| path.starts_with(RUNBOOKS)));
}

#[test]
fn every_command_of_the_other_pages_does_what_the_page_says() {
    run(&pages_where(|path| {
        !is_about_health(path) && !path.starts_with(RUNBOOKS)
    }));
}

#[test]
fn each_exception_is_still_on_a_page() {
    let pages = pages::all();
    let commands: Vec<String> = pages
        .iter()
        .flat_map(|page| page.blocks())
        .flat_map(|block| block.commands)
        .map(|command| command.text)
        .collect();
    for exception in exceptions::NOT_RUN {
        assert!(
            commands.iter().any(|command| exception.covers(command)),
            "no page has {:?} any more, which is not run because it {}",
            exception.begins,
            exception.why
        );
    }
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_exist() {
    let broken: Vec<String> = pages::all().iter().flat_map(links::broken).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_configuration_key_that_a_page_names_exists() {
    let unknown: Vec<String> = pages::all().iter().flat_map(links::unknown_keys).collect();
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}

#[test]
fn every_metric_that_a_page_names_exists() {
    let unknown: Vec<String> = pages::all()
        .iter()
        .flat_map(links::unknown_metrics)
        .collect();
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}

#[test]
fn every_page_is_on_the_map() {
    let missing = links::not_on_the_map(&pages::all());
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

fn is_about_health(path: &str) -> bool {
    HEALTH.contains(&path)
}

fn pages_where(wanted: impl Fn(&str) -> bool) -> Vec<Page> {
    let mut pages = pages::all();
    pages.retain(|page| wanted(&page.path));
    pages
}

/// Runs every block of the pages, and says at the end all that was wrong.
fn run(pages: &[Page]) {
    let mut wrong = Vec::new();
    for page in pages {
        let mut shell = Shell::new();
        for block in page.blocks() {
            wrong.extend(shell.run(&block));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
