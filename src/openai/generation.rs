//! All answers to a request, in the order in which they come.
//!
//! A generation holds the sequences of its answers: dropping it cancels them all, and a sequence whose answer has
//! ended at a stop string is dropped at once. Tokens that are ready together are told together.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::stream::unfold;
use impetus_actors::serving::{StreamEvent, TokenStream};

use super::Refusal;
use super::choice::{Choice, Delta};

/// Most events of one answer that are told together, so that one does not hold up the others.
const MOST_TOGETHER: usize = 64;

/// Where the events of a sequence come from.
pub type Events = Pin<Box<dyn Stream<Item = StreamEvent>>>;

/// Answers that are being generated.
pub struct Generation {
    runs: Vec<Run>,
    prompt_tokens: usize,
}

/// An answer and its sequence, which is gone when the answer has ended.
struct Run {
    choice: Choice,
    events: Option<Events>,
}

/// How many tokens there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// In the prompts.
    pub prompt: usize,
    /// Of those, how many did not have to be computed.
    pub cached: usize,
    /// In the answers.
    pub completion: usize,
}

/// Returns the events of a sequence as a stream. Dropping it cancels the sequence.
#[must_use]
pub fn events(sequence: TokenStream) -> Events {
    Box::pin(unfold(sequence, |mut sequence| async move {
        let event = sequence.next().await?;
        Some((event, sequence))
    }))
}

// === impl Generation ===

impl Generation {
    /// Begins with an answer for each sequence.
    pub fn new(answers: impl IntoIterator<Item = (Choice, Events)>, prompt_tokens: usize) -> Self {
        let runs = answers.into_iter().map(|(choice, events)| Run {
            choice,
            events: Some(events),
        });
        Self {
            runs: runs.collect(),
            prompt_tokens,
        }
    }

    /// Returns how many tokens there were so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let choices = || self.runs.iter().map(|run| &run.choice);
        Counts {
            prompt: self.prompt_tokens,
            cached: choices().map(Choice::reused).sum(),
            completion: choices().map(Choice::tokens).sum(),
        }
    }

    /// Returns how many answers there are.
    #[must_use]
    pub fn answers(&self) -> usize {
        self.runs.len()
    }

    /// Waits until something has happened, and returns what can be shown of it, which may be nothing; `None` when
    /// all answers have ended. Dropping the future loses nothing.
    ///
    /// # Errors
    /// An answer cannot be finished; the others are given up with it.
    pub async fn next(&mut self) -> Option<Result<Vec<Delta>, Refusal>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Vec<Delta>, Refusal>>> {
        let mut deltas = Vec::new();
        let (mut happened, mut is_over) = (false, true);
        for run in &mut self.runs {
            let mut delta = Delta {
                index: run.choice.index(),
                ..Delta::default()
            };
            match run.poll(cx, &mut delta) {
                Ok(something) => happened |= something,
                Err(refusal) => {
                    for run in &mut self.runs {
                        run.events = None;
                    }
                    return Poll::Ready(Some(Err(refusal)));
                }
            }
            is_over &= run.events.is_none();
            if !delta.is_empty() {
                deltas.push(delta);
            }
        }
        match (happened, is_over) {
            (true, _) => Poll::Ready(Some(Ok(deltas))),
            (false, true) => Poll::Ready(None),
            (false, false) => Poll::Pending,
        }
    }
}

// === impl Run ===

impl Run {
    /// Takes what is ready, and tells whether anything was.
    fn poll(&mut self, cx: &mut Context<'_>, delta: &mut Delta) -> Result<bool, Refusal> {
        for taken in 0..MOST_TOGETHER {
            let Some(events) = &mut self.events else {
                return Ok(taken > 0);
            };
            let event = match events.as_mut().poll_next(cx) {
                Poll::Pending => return Ok(taken > 0),
                Poll::Ready(None) => return Err(Choice::broken_off()),
                Poll::Ready(Some(event)) => event,
            };
            self.choice.take(event, delta)?;
            if self.choice.finish().is_some() {
                self.events = None;
            }
        }
        // There may be more: ask again as soon as the others have had their turn.
        cx.waker().wake_by_ref();
        Ok(true)
    }
}
