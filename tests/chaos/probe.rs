//! Probes that never stop asking whether the server is alive, and how long it takes to say so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::agent;
use crate::ledger::{Port, Probe, Span};
use crate::site::Site;

/// The pause between two questions.
const EVERY: Duration = Duration::from_millis(10);
/// An answer that takes longer is none: no orchestrator waits longer.
const WITHIN: Duration = Duration::from_secs(5);

/// Asks one port until `over`; returns every answer.
pub fn watch(site: &Site, port: Port, began: Instant, over: &AtomicBool) -> Vec<Probe> {
    let path = "/api/health/live";
    let url = match port {
        Port::Main => site.server.url(path),
        Port::Health => site.server.health_url(path),
    };
    let agent = agent(WITHIN);
    let mut probes = Vec::new();
    while !over.load(Ordering::SeqCst) {
        let from = began.elapsed();
        let complaint = ask(&agent, &url);
        let to = began.elapsed();
        probes.push(Probe {
            port,
            span: Span { from, to },
            complaint,
        });
        std::thread::park_timeout(EVERY);
    }
    probes
}

fn ask(agent: &ureq::Agent, url: &str) -> Option<String> {
    match agent.get(url).call() {
        Ok(mut answer) => {
            // Read in any case, so that the connection can be used again.
            let body = answer.body_mut().read_to_string();
            let status = answer.status().as_u16();
            match body {
                Ok(_) if status == 200 => None,
                Ok(body) => Some(format!("{status} {body}")),
                Err(error) => Some(format!("{status} {error}")),
            }
        }
        Err(error) => Some(error.to_string()),
    }
}
