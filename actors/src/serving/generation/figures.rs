//! What is counted of generated text: the figures that people who run language models look at.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use impetus_engine::generate::{Finish, Step};

use crate::histogram::{Histogram, HistogramSnapshot};

/// Why a sequence has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// A stop token, or its grammar was complete.
    Stop,
    /// It had as many tokens as it may.
    Length,
    /// Its caller wanted no more: gone, or served by a stop string.
    Cancelled,
    /// It could not be finished.
    Failed,
}

/// Counts and times of one model.
#[derive(Debug, Default)]
pub(in crate::serving) struct Figures {
    prompt_tokens: AtomicU64,
    reused_tokens: AtomicU64,
    generated_tokens: AtomicU64,
    resumed: AtomicU64,
    finished: [AtomicU64; FinishReason::ALL.len()],
    first_token: Histogram,
    between_tokens: Histogram,
    queued: Histogram,
    whole: Histogram,
    steps: AtomicU64,
    run_micros: AtomicU64,
    own_micros: AtomicU64,
    cached: AtomicUsize,
}

/// The figures as they were when somebody looked.
#[derive(Debug, Clone, Copy, Default)]
pub struct GenerationSnapshot {
    /// Tokens of prompts that were taken in, those reused included.
    pub prompt_tokens: u64,
    /// Tokens of prompts whose keys and values were there already.
    pub reused_tokens: u64,
    /// Tokens that were generated.
    pub generated_tokens: u64,
    /// Sequences that were given to another worker because theirs was lost.
    pub resumed: u64,
    /// Sequences that have ended, in the order of [`FinishReason::ALL`].
    pub finished: [u64; FinishReason::ALL.len()],
    /// From coming in to the first token.
    pub first_token: HistogramSnapshot,
    /// From each token to the next one.
    pub between_tokens: HistogramSnapshot,
    /// From coming in to being sent to a worker.
    pub queued: HistogramSnapshot,
    /// From coming in to the end.
    pub whole: HistogramSnapshot,
    /// Steps that workers have made.
    pub steps: u64,
    /// Time that the runtime took for them, in microseconds.
    pub run_micros: u64,
    /// Time that workers took for everything else in them, in microseconds.
    pub own_micros: u64,
    /// Sequences that wait for a slot.
    pub waiting: usize,
    /// Sequences that have one.
    pub running: usize,
    /// Tokens for which slots have room.
    pub cache_tokens: usize,
    /// Tokens that running sequences have in them.
    pub cached_tokens: usize,
}

// === impl GenerationSnapshot ===

impl GenerationSnapshot {
    /// Returns the figures of two versions of one name: what is counted under the name is the same in
    /// both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.waiting += other.waiting;
        self.running += other.running;
        self.cache_tokens += other.cache_tokens;
        self.cached_tokens = self.cached_tokens.max(other.cached_tokens);
        self
    }
}

// === impl FinishReason ===

impl FinishReason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Stop, Self::Length, Self::Cancelled, Self::Failed];

    /// Returns the reason as one word, fit for a metric's label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

impl From<Finish> for FinishReason {
    fn from(finish: Finish) -> Self {
        match finish {
            Finish::Stop => Self::Stop,
            Finish::Length => Self::Length,
        }
    }
}

// === impl Figures ===

impl Figures {
    pub(super) fn sent(&self, waited: Duration) {
        self.queued.record(waited);
    }

    pub(super) fn begun(&self, prompt: usize, reused: usize) {
        self.prompt_tokens
            .fetch_add(prompt as u64, Ordering::Relaxed);
        self.reused_tokens
            .fetch_add(reused as u64, Ordering::Relaxed);
    }

    pub(super) fn first_token(&self, after: Duration) {
        self.generated_tokens.fetch_add(1, Ordering::Relaxed);
        self.first_token.record(after);
    }

    pub(super) fn token(&self, after: Duration) {
        self.generated_tokens.fetch_add(1, Ordering::Relaxed);
        self.between_tokens.record(after);
    }

    pub(super) fn ended(&self, reason: FinishReason, after: Duration) {
        self.finished[reason as usize].fetch_add(1, Ordering::Relaxed);
        self.whole.record(after);
    }

    pub(super) fn resumed(&self, sequences: usize) {
        self.resumed.fetch_add(sequences as u64, Ordering::Relaxed);
    }

    pub(super) fn stepped(&self, step: &Step) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.run_micros
            .fetch_add(step.run_micros, Ordering::Relaxed);
        self.own_micros
            .fetch_add(step.own_micros, Ordering::Relaxed);
        self.cached.store(step.cached, Ordering::Relaxed);
    }

    /// Returns the figures, but for those that only the streams know.
    pub(super) fn snapshot(&self) -> GenerationSnapshot {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        GenerationSnapshot {
            prompt_tokens: read(&self.prompt_tokens),
            reused_tokens: read(&self.reused_tokens),
            generated_tokens: read(&self.generated_tokens),
            resumed: read(&self.resumed),
            finished: std::array::from_fn(|reason| read(&self.finished[reason])),
            first_token: self.first_token.snapshot(),
            between_tokens: self.between_tokens.snapshot(),
            queued: self.queued.snapshot(),
            whole: self.whole.snapshot(),
            steps: read(&self.steps),
            run_micros: read(&self.run_micros),
            own_micros: read(&self.own_micros),
            cached_tokens: self.cached.load(Ordering::Relaxed),
            ..GenerationSnapshot::default()
        }
    }
}
