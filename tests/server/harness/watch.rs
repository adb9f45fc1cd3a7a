//! A probe that never stops asking whether the server is alive, as the kubelet does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Server, new_agent};

/// Asks `/api/health/live` on both ports until it is told to end.
pub struct LivenessWatch {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Seen>>,
}

/// What the probe has seen.
#[derive(Debug, Default)]
struct Seen {
    /// Answers of each port that said yes.
    yes: [usize; 2],
    /// Everything else.
    complaints: Vec<String>,
}

// === impl LivenessWatch ===

impl LivenessWatch {
    pub fn start(server: &Server) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let urls = [
            server.url("/api/health/live"),
            server.health_url("/api/health/live"),
        ];
        let thread = std::thread::spawn(move || {
            let agent = new_agent();
            let mut seen = Seen::default();
            loop {
                for (port, url) in urls.iter().enumerate() {
                    match agent.get(url).call() {
                        Ok(answer) if answer.status() == 200 => seen.yes[port] += 1,
                        Ok(mut answer) => {
                            let body = answer.body_mut().read_to_string().unwrap_or_default();
                            seen.complaints
                                .push(format!("{url}: {} {body}", answer.status()));
                        }
                        Err(error) => seen.complaints.push(format!("{url}: {error}")),
                    }
                }
                // Asked after a round, so that there is at least one.
                if is_over.load(Ordering::SeqCst) {
                    return seen;
                }
                std::thread::park_timeout(Duration::from_millis(20));
            }
        });
        Self {
            over,
            thread: Some(thread),
        }
    }

    /// Ends the probe and insists that every answer said yes.
    pub fn assert_always_alive(mut self) {
        let seen = self.end().unwrap();
        assert!(
            seen.complaints.is_empty(),
            "liveness said no: {:#?}",
            seen.complaints
        );
        assert!(seen.yes.iter().all(|yes| *yes > 0), "{seen:?}");
    }

    fn end(&mut self) -> Option<Seen> {
        self.over.store(true, Ordering::SeqCst);
        self.thread.take().map(|thread| thread.join().unwrap())
    }
}

impl Drop for LivenessWatch {
    fn drop(&mut self) {
        self.end();
    }
}
