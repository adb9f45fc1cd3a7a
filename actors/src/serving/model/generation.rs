//! How a model generates text: the glue between its sequences and everything else that it is.

use std::sync::Arc;
use std::time::Duration;

use impetus_engine::generate::GenerationFailed;
use impetus_engine::{DType, Tensor};
use impetus_text::TextModel;

use super::super::forensics::BatchNote;
use super::super::generation::{GenerateRequest, GenerationSnapshot, Streams, TokenStream};
use super::super::generation::{NotTaken, Sequence, Verdict, unloaded};
use super::super::ledger::{LinkId, Running};
use super::super::loss::{Blame, Loss};
use super::super::quarantine::{Fingerprint, Suspect};
use super::super::rejection::Rejection;
use super::super::{Fault, ServeError};
use super::answers::Recovered;
use super::{ModelKind, ServedModel};

/// When it is worth asking again whether there is room.
const ASK_AGAIN: Duration = Duration::from_secs(1);

// === impl ServedModel ===

impl ServedModel {
    /// Returns what it is for.
    #[must_use]
    pub fn kind(&self) -> ModelKind {
        self.spec.kind
    }

    /// Returns what its folder says about text, once that has been read.
    #[must_use]
    pub fn text(&self) -> Option<Arc<TextModel>> {
        self.text.load_full()
    }

    pub(in crate::serving) fn set_text(&self, text: Arc<TextModel>) {
        self.text.store(Some(text));
    }

    /// Returns how many tokens a prompt and its answer may have together, once it has been loaded.
    #[must_use]
    pub fn room(&self) -> Option<usize> {
        self.generation_info
            .load()
            .as_ref()
            .map(|info| info.max_len)
    }

    /// Returns the figures of generated text, of a model that generates any.
    #[must_use]
    pub fn generation(&self) -> Option<GenerationSnapshot> {
        let streams = self.streams.as_ref()?;
        let info = self.generation_info.load();
        let cache = info.as_ref().map_or(0, |info| info.slots * info.max_len);
        Some(streams.snapshot(cache * self.limits.workers))
    }

    /// Takes a sequence in.
    ///
    /// # Errors
    /// See [`ServeError`]; with the request itself where another version may take it.
    pub(in crate::serving) fn generate(
        self: &Arc<Self>,
        request: GenerateRequest,
    ) -> Result<TokenStream, Box<(ServeError, Option<GenerateRequest>)>> {
        let for_good = |error| Box::new((error, None));
        let Some(streams) = &self.streams else {
            return Err(for_good(ServeError::OtherKind {
                model: self.spec.name.clone(),
                kind: self.spec.kind,
            }));
        };
        if !self.is_offered() {
            return Err(Box::new((unloaded(&self.spec), Some(request))));
        }
        self.usable_signature().map_err(for_good)?;
        let room = self.room().unwrap_or_default();
        if request.prompt.is_empty() || request.prompt.len() >= room {
            return Err(for_good(ServeError::PromptTooLong {
                model: self.spec.name.clone(),
                tokens: request.prompt.len(),
                room,
            }));
        }
        if let Some(known) = self.known(&request) {
            return Err(for_good(known));
        }
        let deadline = request.deadline;
        let id = streams.name();
        let pass = self.occupancy.enter();
        let (sequence, events) = Sequence::new(id, request, room, pass);
        match streams.push(sequence) {
            Ok(()) => Ok(TokenStream::new(Arc::clone(self), id, events, deadline)),
            Err(NotTaken::Full) => {
                self.figures.rejections.count(Rejection::QueueFull);
                Err(for_good(ServeError::QueueFull {
                    model: self.spec.name.clone(),
                    waiting: streams.capacity(),
                    retry_after: ASK_AGAIN,
                }))
            }
            Err(NotTaken::Closed) => Err(for_good(self.unloaded())),
        }
    }

    /// Returns the refusal of a request that is quarantined.
    fn known(&self, request: &GenerateRequest) -> Option<ServeError> {
        if self.commons.quarantine.is_empty() {
            return None;
        }
        let inputs = evidence(request);
        let entry = self
            .commons
            .quarantine
            .refuses(&self.stream_suspect(&inputs, request))?;
        self.figures.rejections.count(Rejection::Quarantined);
        Some(entry.into())
    }

    fn stream_suspect<'a>(
        &'a self,
        inputs: &'a [Tensor],
        request: &'a GenerateRequest,
    ) -> Suspect<'a> {
        self.suspect(inputs, request.id.as_deref())
    }

    /// The caller of a sequence wants no more of it.
    pub(in crate::serving) fn cancel_stream(&self, id: u64) {
        if let Some(streams) = &self.streams {
            streams.cancel(id);
        }
    }

    /// Returns the error of a stream that ended without an end.
    pub(in crate::serving) fn stream_lost(&self) -> ServeError {
        unloaded(&self.spec)
    }

    /// Returns the error of a stream that took longer than anybody waits.
    pub(in crate::serving) fn stream_overdue(&self, within: Duration) -> ServeError {
        self.count_failures(1);
        ServeError::DeadlineExceeded {
            model: self.spec.name.clone(),
            within,
        }
    }

    /// Counts sequences that have ended as they should.
    pub(in crate::serving) fn streams_finished(&self, count: usize) {
        if count > 0 {
            self.answered_well(count as u64);
        }
    }

    /// Answers a sequence that its worker has refused.
    pub(in crate::serving) fn stream_failed(&self, link: LinkId, failed: GenerationFailed) {
        let Some(streams) = &self.streams else {
            return;
        };
        if let Some(sequence) = streams.settle(link, failed.id) {
            let error = ServeError::Engine(failed.error);
            if error.fault() == Fault::Execution {
                self.count_failures(1);
            }
            streams.fail(sequence, error);
        }
    }

    /// Gives the sequences that were out over the links of `worker` up to `generation` to another one,
    /// or ends them.
    pub(super) fn recover_streams(
        &self,
        streams: &Streams,
        link: LinkId,
        loss: &Loss,
        blame: Blame,
    ) -> Recovered {
        let mut recovered = Recovered::default();
        let mut again = Vec::new();
        for mut sequence in streams.collect(link) {
            recovered.requests += 1;
            recovered.under_suspicion |= sequence.is_alone();
            if !sequence.is_worth_resuming() {
                streams.forget(sequence);
                continue;
            }
            let verdict = match blame {
                Blame::Nobody => Verdict::Resume,
                Blame::Running | Blame::Only(_) => {
                    sequence.lost(loss, self.limits.accident_retries)
                }
            };
            match verdict {
                Verdict::Resume => again.push(sequence),
                Verdict::Guilty => {
                    recovered
                        .quarantined
                        .push(self.quarantine_stream(streams, sequence, loss));
                }
                Verdict::GiveUp => {
                    self.count_failures(1);
                    let error = ServeError::WorkerLost {
                        model: self.spec.name.clone(),
                        attempts: sequence.attempts(),
                    };
                    streams.fail(sequence, error);
                }
            }
        }
        if let Err(refused) = streams.resume(again) {
            for sequence in refused {
                streams.fail(sequence, self.unloaded());
            }
        }
        recovered
    }

    fn quarantine_stream(&self, streams: &Streams, sequence: Sequence, loss: &Loss) -> Fingerprint {
        let inputs = evidence(sequence.request());
        let suspect = self.stream_suspect(&inputs, sequence.request());
        let fingerprint = self.commons.quarantine.enter(&suspect, loss);
        self.count_failures(1);
        let error = ServeError::Quarantined {
            model: self.spec.name.clone(),
            fingerprint,
            cause: loss.to_string(),
            expires_in: self.commons.quarantine.expires_after(),
        };
        streams.fail(sequence, error);
        fingerprint
    }

    /// Returns what the worker behind `link` runs, if it has been given anything.
    pub(in crate::serving) fn running_on(&self, link: LinkId) -> Option<Running> {
        match &self.streams {
            Some(streams) => streams.running(link),
            None => self.ledger.running(link),
        }
    }

    /// Returns how many batches, or sequences, the worker behind `link` has.
    pub(in crate::serving) fn out_on(&self, link: LinkId) -> usize {
        match &self.streams {
            Some(streams) => streams.on_link(link),
            None => self.ledger.batches_on(link),
        }
    }

    /// Describes what the worker behind `link` has, oldest first.
    pub(in crate::serving) fn describe_on(&self, link: LinkId) -> Vec<BatchNote> {
        match &self.streams {
            Some(streams) => streams.describe(link),
            None => self.ledger.describe(link),
        }
    }
}

/// Returns what a request for text is known by in the quarantine: its prompt, how its tokens are
/// chosen, and what they must conform to. A seed that was drawn for it says nothing about it.
fn evidence(request: &GenerateRequest) -> Vec<Tensor> {
    let mut sampling = request.sampling.clone();
    if !request.seeded {
        sampling.seed = 0;
    }
    let prompt = request.prompt.iter().flat_map(|token| token.to_le_bytes());
    let how = format!("{sampling:?} {:?}", request.grammar).into_bytes();
    let tensor =
        |name: &str, dtype, len, bytes| Tensor::try_new(name.to_owned(), dtype, vec![len], bytes);
    let tensors = [
        tensor("prompt", DType::U32, request.prompt.len(), prompt.collect()),
        tensor("sampling", DType::U8, how.len(), how),
    ];
    tensors.into_iter().flatten().collect()
}
