//! Grammars are compiled beside the steps, by a thread of their own.
//!
//! A grammar comes from a client, and what it takes to compile is bounded in work, not in time: a large
//! schema takes seconds. Inside a step that would hold every other sequence up, and look like a hang.
//! So a sequence joins the others when its grammar is there. One whose grammar is not there in time is
//! refused; the thread comes to an end with it all the same, since its work is bounded.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::EngineError;
use crate::generate::{Conforming, Generate, GenerationFailed, Grammars};

/// How long a sequence waits for its grammar.
const WITHIN: Duration = Duration::from_secs(10);
/// Grammars that may wait: more than a server sends.
const MOST_WAITING: usize = 1024;

/// The thread, and what it has been given.
pub(super) struct Compiling {
    orders: SyncSender<Generate>,
    results: Receiver<(Generate, Result<Conforming, EngineError>)>,
    /// Sequences whose grammars are not there yet, the oldest first.
    pending: VecDeque<(u64, Instant)>,
}

/// A sequence with its grammar, or without hope of one.
pub(super) type Compiled = Result<(Generate, Conforming), GenerationFailed>;

// === impl Compiling ===

impl Compiling {
    pub(super) fn start(grammars: Arc<Grammars>) -> io::Result<Self> {
        let (orders, ordered) = sync_channel::<Generate>(MOST_WAITING);
        let (tell, results) = sync_channel(MOST_WAITING);
        thread::Builder::new()
            .name("grammars".into())
            .spawn(move || {
                // Ends when the model it belongs to is gone.
                for request in ordered {
                    let conforming = grammars.conforming(&request);
                    if tell.send((request, conforming)).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self {
            orders,
            results,
            pending: VecDeque::new(),
        })
    }

    /// Has the grammar of a sequence compiled.
    pub(super) fn begin(&mut self, request: Generate) -> Result<(), GenerationFailed> {
        let id = request.id;
        match self.orders.try_send(request) {
            Ok(()) => {
                self.pending.push_back((id, Instant::now()));
                Ok(())
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(GenerationFailed {
                id,
                error: EngineError::grammar("no more grammars can be compiled at present"),
            }),
        }
    }

    /// Tells whether grammars are awaited.
    pub(super) fn is_busy(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Waits no more for these sequences.
    pub(super) fn cancel(&mut self, ids: &[u64]) {
        self.pending.retain(|(id, _)| !ids.contains(id));
    }

    /// Returns the sequences whose grammars are awaited.
    pub(super) fn ids(&self) -> impl Iterator<Item = u64> {
        self.pending.iter().map(|(id, _)| *id)
    }

    /// Returns a sequence whose grammar is there, or is not to come; waits that long for one.
    pub(super) fn next(&mut self, wait: Duration) -> Option<Compiled> {
        loop {
            let (request, conforming) = match self.results.recv_timeout(wait) {
                Ok(result) => result,
                Err(RecvTimeoutError::Timeout) => return self.overdue(Instant::now()),
                Err(RecvTimeoutError::Disconnected) => return self.lost(),
            };
            let id = request.id;
            let Some(at) = self.pending.iter().position(|(pending, _)| *pending == id) else {
                // Cancelled, or refused meanwhile.
                continue;
            };
            self.pending.remove(at);
            return Some(match conforming {
                Ok(conforming) => Ok((request, conforming)),
                Err(error) => Err(GenerationFailed { id, error }),
            });
        }
    }

    fn overdue(&mut self, now: Instant) -> Option<Compiled> {
        let (id, since) = *self.pending.front()?;
        if now.saturating_duration_since(since) < WITHIN {
            return None;
        }
        self.pending.pop_front();
        Some(Err(GenerationFailed {
            id,
            error: EngineError::grammar(format!(
                "it was not compiled within {} s; make it smaller",
                WITHIN.as_secs()
            )),
        }))
    }

    /// The thread is gone, by a panic of the library: nobody gets a grammar any more.
    fn lost(&mut self) -> Option<Compiled> {
        let (id, _) = self.pending.pop_front()?;
        Some(Err(GenerationFailed {
            id,
            error: EngineError::grammar("what compiles grammars has failed"),
        }))
    }
}
