//! One sequence on the server's side: what was asked for, and all that has been said of it.

use std::time::{Duration, Instant};

use impetus_engine::generate::{Begun, Chosen, Generate};
use tokio::sync::mpsc;

use super::super::occupancy::Pass;
use super::super::{ModelSpec, ServeError};
use super::figures::Figures;
use super::request::{GenerateRequest, StreamEvent};

/// Events of a sequence beside its tokens: that it has begun, and that it has failed.
const EVENTS_BESIDE_TOKENS: usize = 2;

/// A sequence inside the serving path.
#[derive(Debug)]
pub(in crate::serving) struct Sequence {
    pub(super) id: u64,
    pub(super) request: GenerateRequest,
    /// Most tokens to generate.
    max_tokens: usize,
    /// What has been generated so far.
    said: Vec<u32>,
    events: mpsc::Sender<StreamEvent>,
    enqueued: Instant,
    /// When it was first sent to a worker.
    first_sent: Option<Instant>,
    /// The caller knows that it has begun.
    begun: bool,
    /// When the last token came.
    last_token: Option<Instant>,
    /// What has been held against it.
    pub(super) record: Record,
    /// Keeps the model it is in from ending.
    _pass: Pass,
}

/// The workers that a sequence has lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Workers lost by their own doing since the sequence was last beyond where that happened.
    pub(super) losses: u32,
    /// The same since it came in.
    pub(super) losses_in_all: u32,
    /// Workers lost otherwise since it last got a token.
    pub(super) accidents: u32,
    /// How many tokens it had when a worker was last lost by its own doing.
    pub(super) died_at: Option<usize>,
    /// It has its worker to itself until it is beyond that.
    pub(super) alone: bool,
}

/// Whether a caller is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Yes,
    /// Its caller has gone.
    Nobody,
}

// === impl Sequence ===

impl Sequence {
    /// Makes a sequence and the channel of its events, which has room for all there can be.
    pub(in crate::serving) fn new(
        id: u64,
        request: GenerateRequest,
        room: usize,
        pass: Pass,
    ) -> (Self, mpsc::Receiver<StreamEvent>) {
        let left = room.saturating_sub(request.prompt.len());
        let max_tokens = request.max_tokens.map_or(left, |asked| asked.min(left));
        let (events, receiver) = mpsc::channel(max_tokens.max(1) + EVENTS_BESIDE_TOKENS);
        let sequence = Self {
            id,
            request,
            max_tokens,
            said: Vec::new(),
            events,
            enqueued: Instant::now(),
            first_sent: None,
            begun: false,
            last_token: None,
            record: Record::default(),
            _pass: pass,
        };
        (sequence, receiver)
    }

    /// Returns what a worker is to be told, with everything that has been said so far.
    pub(super) fn to_generate(&self) -> Generate {
        let request = &self.request;
        let mut tokens = Vec::with_capacity(request.prompt.len() + self.said.len());
        tokens.extend_from_slice(&request.prompt);
        tokens.extend_from_slice(&self.said);
        Generate {
            id: self.id,
            tokens,
            prompt_len: request.prompt.len(),
            max_tokens: self.max_tokens,
            stop_tokens: request.stop_tokens.clone(),
            sampling: request.sampling.clone(),
            grammar: request.grammar.clone(),
            logprobs: request.logprobs,
            // They have been told when the sequence began.
            prompt_logprobs: request.prompt_logprobs && !self.begun,
        }
    }

    /// Notes that it is being sent; returns how long it waited, the first time.
    pub(super) fn sending(&mut self, now: Instant) -> Option<Duration> {
        if self.first_sent.is_some() {
            return None;
        }
        self.first_sent = Some(now);
        Some(now.saturating_duration_since(self.enqueued))
    }

    /// Tells the caller that the prompt has been taken in, the first time.
    pub(super) fn begin(&mut self, begun: Begun, figures: &Figures) -> Heard {
        if self.begun {
            return Heard::Yes;
        }
        self.begun = true;
        figures.begun(self.request.prompt.len(), begun.reused);
        let queued = self.first_sent.map(|sent| sent - self.enqueued);
        self.tell(StreamEvent::Begun {
            reused: begun.reused,
            prompt_logprobs: begun.prompt_logprobs,
            queued: queued.unwrap_or_default(),
        })
    }

    /// Takes a token in and passes it on. Tokens it has already are the ones that it was resumed with.
    ///
    /// # Errors
    /// The token is not the next one.
    pub(super) fn take(
        &mut self,
        chosen: Chosen,
        now: Instant,
        figures: &Figures,
    ) -> Result<Heard, String> {
        let there = self.said.len();
        if chosen.position < there {
            return Ok(Heard::Yes);
        }
        if chosen.position > there || there >= self.max_tokens.max(1) {
            return Err(format!(
                "token {} of sequence {} came where token {there} of {} was due",
                chosen.position, self.id, self.max_tokens
            ));
        }
        self.said.push(chosen.token);
        self.record.went_on(self.said.len());
        match self.last_token.replace(now) {
            Some(before) => figures.token(now.saturating_duration_since(before)),
            None => figures.first_token(now.saturating_duration_since(self.enqueued)),
        }
        Ok(self.tell(StreamEvent::Token(chosen)))
    }

    /// Ends it with a failure.
    pub(super) fn fail(self, error: ServeError) {
        self.tell(StreamEvent::Failed(error));
    }

    /// Tells whether anybody still waits for it.
    pub(super) fn is_wanted(&self, now: Instant) -> bool {
        !self.events.is_closed() && now < self.request.deadline
    }

    /// Tells whether a worker has been given it before.
    pub(super) fn was_sent(&self) -> bool {
        self.first_sent.is_some()
    }

    /// Returns how many tokens have been generated.
    pub(super) fn said(&self) -> usize {
        self.said.len()
    }

    /// Tells whether it has its worker to itself.
    pub(in crate::serving) fn is_alone(&self) -> bool {
        self.record.alone
    }

    /// Returns how many workers it has lost: by their own doing in all, otherwise without getting on.
    pub(in crate::serving) fn attempts(&self) -> u32 {
        self.record.losses_in_all + self.record.accidents
    }

    /// Returns what was asked for.
    pub(in crate::serving) fn request(&self) -> &GenerateRequest {
        &self.request
    }

    /// Returns for how long it has been here.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.enqueued)
    }

    fn tell(&self, event: StreamEvent) -> Heard {
        // There is room for all of them, so what fails is that nobody listens.
        match self.events.try_send(event) {
            Ok(()) => Heard::Yes,
            Err(_) => Heard::Nobody,
        }
    }
}

// === impl Record ===

impl Record {
    /// The sequence has so many tokens now: whatever killed a worker before is behind it.
    pub(super) fn went_on(&mut self, said: usize) {
        self.accidents = 0;
        if self.died_at.is_some_and(|died_at| said > died_at) {
            self.died_at = None;
            self.alone = false;
            self.losses = 0;
        }
    }
}

/// Returns the error of a stream whose model has gone.
pub(in crate::serving) fn unloaded(spec: &ModelSpec) -> ServeError {
    ServeError::Unloaded {
        model: spec.name.clone(),
    }
}
