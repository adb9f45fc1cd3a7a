//! The writing side of a link to a worker that generates, and what is said on the other side of it.
//!
//! The tasks are those of every link ([`dispatch`](super::super::dispatch)); what differs is what is
//! written and what an answer is. Nothing is held here: a sequence is in the ledger of its model before
//! the first byte of it leaves.

use impetus_engine::generate::{GenerationFailed, Step};
use impetus_engine::link::{LinkError, Sender};
use impetus_engine::protocol::ToWorker;

use super::super::dispatch::Link;
use super::streams::{Errand, Streams};

// === impl Link ===

impl Link {
    /// Gives the worker sequences as it has slots for them, until the link ends or is to take no more.
    pub(in crate::serving) async fn write_sequences(
        &self,
        streams: &Streams,
        sender: &Sender,
    ) -> Result<(), LinkError> {
        loop {
            let errand = tokio::select! {
                // A link that has ended must not take what it has just given back.
                biased;
                () = self.stopped() => return Ok(()),
                errand = streams.errand(self.id) => errand,
            };
            if !self.fence.is_current() {
                return Err(LinkError::Lost {
                    reason: "the incarnation was given up".to_owned(),
                });
            }
            match errand {
                Errand::Cancel(ids) => sender.send(&ToWorker::Cancel(ids)).await?,
                Errand::Generate(generate) => {
                    let id = generate.id;
                    match sender.send(&ToWorker::Generate(generate)).await {
                        Err(LinkError::Refused(error)) => {
                            self.model
                                .stream_failed(self.id, GenerationFailed { id, error });
                        }
                        sent => sent?,
                    }
                }
            }
        }
    }

    /// Takes in what a step has brought.
    ///
    /// # Errors
    /// The worker says what it cannot have been asked for.
    pub(in crate::serving) fn take_step(
        &self,
        streams: &Streams,
        step: Step,
    ) -> Result<(), String> {
        let ended = streams.stepped(self.id, step)?;
        self.model.streams_finished(ended);
        Ok(())
    }
}
