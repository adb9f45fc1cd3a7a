//! The queue of sequences, and the ledger of those that are out.
//!
//! Both lie under one lock, held for a few moves and never across a wait: a sequence changes from the
//! one to the other in one piece. Writers of links wait here for something to do.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use impetus_engine::generate::{Begun, Chosen, Generate, Step};
use tokio::sync::Notify;

use super::super::ServeError;
use super::super::forensics::BatchNote;
use super::super::ledger::{LinkId, Running};
use super::figures::{Figures, FinishReason, GenerationSnapshot};
use super::sequence::{Heard, Sequence};

/// The sequences of one model.
#[derive(Debug)]
pub(in crate::serving) struct Streams {
    inner: Mutex<Inner>,
    /// Told when there may be something for a writer to do.
    changed: Notify,
    /// How many may wait.
    capacity: usize,
    /// How many a worker may have.
    slots: usize,
    figures: Arc<Figures>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    closed: bool,
    waiting: VecDeque<Sequence>,
    out: BTreeMap<u64, Out>,
    /// Sequences that nobody wants any more and whose workers do not know.
    unwanted: Vec<(LinkId, u64)>,
    /// Steps that have been heard of, by the worker's place.
    steps: BTreeMap<usize, u64>,
}

/// A sequence that a worker has.
#[derive(Debug)]
struct Out {
    link: LinkId,
    sent: Instant,
    sequence: Sequence,
}

/// What a writer is to do next.
#[derive(Debug)]
pub(super) enum Errand {
    /// Have these sequences dropped.
    Cancel(Vec<u64>),
    /// Have this one generated.
    Generate(Generate),
}

/// A sequence that was not taken in.
#[derive(Debug)]
pub(in crate::serving) enum NotTaken {
    /// As many wait as may.
    Full,
    /// The model takes nothing any more.
    Closed,
}

// === impl Streams ===

impl Streams {
    pub(in crate::serving) fn new(capacity: usize, slots: usize, figures: Arc<Figures>) -> Self {
        Self {
            inner: Mutex::default(),
            changed: Notify::new(),
            capacity,
            slots,
            figures,
        }
    }

    /// Returns a name that no sequence has had.
    pub(in crate::serving) fn name(&self) -> u64 {
        let mut inner = self.lock();
        inner.next += 1;
        inner.next
    }

    /// Puts a sequence at the end of the queue.
    pub(in crate::serving) fn push(&self, sequence: Sequence) -> Result<(), NotTaken> {
        {
            let mut inner = self.lock();
            if inner.closed {
                return Err(NotTaken::Closed);
            }
            let now = Instant::now();
            if inner.waiting.len() >= self.capacity {
                self.forget_unwanted(&mut inner, now);
            }
            if inner.waiting.len() >= self.capacity {
                return Err(NotTaken::Full);
            }
            inner.waiting.push_back(sequence);
        }
        self.changed.notify_waiters();
        Ok(())
    }

    fn push_front(&self, sequences: Vec<Sequence>) -> Result<(), Vec<Sequence>> {
        {
            let mut inner = self.lock();
            if inner.closed {
                return Err(sequences);
            }
            for sequence in sequences.into_iter().rev() {
                inner.waiting.push_front(sequence);
            }
        }
        self.changed.notify_waiters();
        Ok(())
    }

    /// Puts sequences back that go on with another worker, in front and in their order.
    ///
    /// # Errors
    /// Returns them if the model takes nothing any more.
    pub(in crate::serving) fn resume(&self, sequences: Vec<Sequence>) -> Result<(), Vec<Sequence>> {
        let sent = sequences.iter().filter(|one| one.was_sent()).count();
        self.push_front(sequences)?;
        self.figures.resumed(sent);
        Ok(())
    }

    /// Ends a sequence that is neither in the queue nor out with a failure.
    pub(in crate::serving) fn fail(&self, sequence: Sequence, error: ServeError) {
        self.figures
            .ended(FinishReason::Failed, sequence.age(Instant::now()));
        sequence.fail(error);
    }

    /// Ends a sequence that is neither in the queue nor out and that nobody listens to.
    pub(in crate::serving) fn forget(&self, sequence: Sequence) {
        self.figures
            .ended(FinishReason::Cancelled, sequence.age(Instant::now()));
    }

    /// Takes nothing in any more; returns what waited.
    pub(in crate::serving) fn close(&self) -> Vec<Sequence> {
        let mut inner = self.lock();
        inner.closed = true;
        inner.waiting.drain(..).collect()
    }

    /// The caller of a sequence wants no more of it.
    pub(in crate::serving) fn cancel(&self, id: u64) {
        {
            let mut inner = self.lock();
            let now = Instant::now();
            let gone = if let Some(out) = inner.out.remove(&id) {
                inner.unwanted.push((out.link, id));
                Some(out.sequence)
            } else {
                let at = inner.waiting.iter().position(|waiting| waiting.id == id);
                at.and_then(|at| inner.waiting.remove(at))
            };
            if let Some(gone) = gone {
                self.figures.ended(FinishReason::Cancelled, gone.age(now));
            }
        }
        self.changed.notify_waiters();
    }

    /// Waits until there may be something to do.
    pub(super) async fn errand(&self, link: LinkId) -> Errand {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that no change falls between the two.
            changed.as_mut().enable();
            if let Some(errand) = self.next_errand(link, Instant::now()) {
                return errand;
            }
            changed.await;
        }
    }

    fn next_errand(&self, link: LinkId, now: Instant) -> Option<Errand> {
        let mut inner = self.lock();
        let (mine, others): (Vec<_>, Vec<_>) =
            inner.unwanted.drain(..).partition(|(on, _)| *on == link);
        // What an older link had ended with it.
        inner.unwanted = others
            .into_iter()
            .filter(|(on, _)| on.worker != link.worker || on.generation > link.generation)
            .collect();
        if !mine.is_empty() {
            return Some(Errand::Cancel(mine.into_iter().map(|(_, id)| id).collect()));
        }
        self.forget_unwanted(&mut inner, now);
        let first = inner.waiting.front()?;
        let mut on_link = inner.out.values().filter(|out| out.link == link).peekable();
        if first.record.alone && on_link.peek().is_some() {
            return None;
        }
        let (mut count, mut taken) = (0, false);
        for out in on_link {
            count += 1;
            taken |= out.sequence.record.alone;
        }
        if taken || count >= self.slots {
            return None;
        }
        let mut sequence = inner.waiting.pop_front()?;
        if let Some(waited) = sequence.sending(now) {
            self.figures.sent(waited);
        }
        let generate = sequence.to_generate();
        let out = Out {
            link,
            sent: now,
            sequence,
        };
        inner.out.insert(generate.id, out);
        Some(Errand::Generate(generate))
    }

    /// Drops what waits and nobody wants any more.
    fn forget_unwanted(&self, inner: &mut Inner, now: Instant) {
        inner.waiting.retain(|sequence| {
            let wanted = sequence.is_wanted(now);
            if !wanted {
                self.figures
                    .ended(FinishReason::Cancelled, sequence.age(now));
            }
            wanted
        });
    }

    /// Notes a step of the worker behind `link`, and passes its tokens on. Returns how many sequences
    /// have ended with it.
    ///
    /// # Errors
    /// The worker says what it cannot have been asked for.
    pub(super) fn stepped(&self, link: LinkId, step: Step) -> Result<usize, String> {
        self.figures.stepped(&step);
        let now = Instant::now();
        let mut ended = 0;
        let mut changed = false;
        {
            let mut inner = self.lock();
            *inner.steps.entry(link.worker).or_default() += 1;
            for begun in step.begun {
                changed |= self.begin(&mut inner, link, begun, now);
            }
            for chosen in step.tokens {
                let last = chosen.finish.is_some();
                changed |= self.take(&mut inner, link, chosen, now)?;
                ended += usize::from(last);
            }
        }
        if changed {
            self.changed.notify_waiters();
        }
        Ok(ended)
    }

    /// Tells whether a writer may have something to do for it.
    fn begin(&self, inner: &mut Inner, link: LinkId, begun: Begun, now: Instant) -> bool {
        let id = begun.id;
        let Some(sequence) = inner.on(link, id) else {
            return false;
        };
        match sequence.begin(begun, &self.figures) {
            Heard::Yes => false,
            Heard::Nobody => self.drop_out(inner, id, now),
        }
    }

    /// Tells whether a writer may have something to do for it.
    fn take(
        &self,
        inner: &mut Inner,
        link: LinkId,
        chosen: Chosen,
        now: Instant,
    ) -> Result<bool, String> {
        let (id, finish) = (chosen.id, chosen.finish);
        let Some(sequence) = inner.on(link, id) else {
            // Cancelled meanwhile.
            return Ok(false);
        };
        let alone = sequence.record.alone;
        let heard = sequence.take(chosen, now, &self.figures)?;
        let cleared = alone && !sequence.record.alone;
        match (finish, heard) {
            (Some(finish), _) => {
                if let Some(out) = inner.out.remove(&id) {
                    self.figures.ended(finish.into(), out.sequence.age(now));
                }
                Ok(true)
            }
            (None, Heard::Nobody) => Ok(self.drop_out(inner, id, now)),
            (None, Heard::Yes) => Ok(cleared),
        }
    }

    /// Gives up a sequence that a worker has and nobody listens to.
    fn drop_out(&self, inner: &mut Inner, id: u64, now: Instant) -> bool {
        let Some(out) = inner.out.remove(&id) else {
            return false;
        };
        inner.unwanted.push((out.link, id));
        self.figures
            .ended(FinishReason::Cancelled, out.sequence.age(now));
        true
    }

    /// Takes a sequence out that a worker has refused.
    pub(in crate::serving) fn settle(&self, link: LinkId, id: u64) -> Option<Sequence> {
        let mut inner = self.lock();
        inner.on(link, id)?;
        let out = inner.out.remove(&id)?;
        drop(inner);
        self.changed.notify_waiters();
        Some(out.sequence)
    }

    /// Takes out everything that was given to links of `worker` up to `generation`, oldest first.
    pub(in crate::serving) fn collect(&self, link: LinkId) -> Vec<Sequence> {
        let mut inner = self.lock();
        let lost =
            |out: &Out| out.link.worker == link.worker && out.link.generation <= link.generation;
        let ids: Vec<u64> = inner
            .out
            .iter()
            .filter(|(_, out)| lost(out))
            .map(|(id, _)| *id)
            .collect();
        let collected = ids.iter().filter_map(|id| inner.out.remove(id));
        collected.map(|out| out.sequence).collect()
    }

    /// Returns what the worker behind `link` is busy with, if it has anything: the step after those
    /// that have been heard of, since the first of its sequences was sent.
    pub(in crate::serving) fn running(&self, link: LinkId) -> Option<Running> {
        let inner = self.lock();
        let sent = inner.out.values().filter(|out| out.link == link);
        let sent = sent.map(|out| out.sent).min()?;
        let id = inner.steps.get(&link.worker).copied().unwrap_or_default();
        Some(Running { id, sent })
    }

    /// Returns how many sequences the worker behind `link` has.
    pub(in crate::serving) fn on_link(&self, link: LinkId) -> usize {
        let inner = self.lock();
        inner.out.values().filter(|out| out.link == link).count()
    }

    /// Describes what the worker behind `link` has, oldest first.
    pub(in crate::serving) fn describe(&self, link: LinkId) -> Vec<BatchNote> {
        let inner = self.lock();
        let mine = inner.out.values().filter(|out| out.link == link);
        mine.map(|out| BatchNote {
            running: true,
            alone: out.sequence.record.alone,
            age_ms: out.sent.elapsed().as_secs_f64() * 1e3,
            rows: 1,
            request_ids: out
                .sequence
                .request
                .id
                .iter()
                .map(|id| id.to_string())
                .collect(),
        })
        .collect()
    }

    /// Returns how many sequences wait.
    pub(in crate::serving) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Returns how many are out.
    pub(in crate::serving) fn out(&self) -> usize {
        self.lock().out.len()
    }

    /// Returns how many may wait.
    pub(in crate::serving) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns the figures as they are now.
    pub(in crate::serving) fn snapshot(&self, cache_tokens: usize) -> GenerationSnapshot {
        let mut snapshot = self.figures.snapshot();
        let inner = self.lock();
        snapshot.waiting = inner.waiting.len();
        snapshot.running = inner.out.len();
        snapshot.cache_tokens = cache_tokens;
        if inner.out.is_empty() {
            // What is left in the slots is of use to whoever comes next, and in nobody's way.
            snapshot.cached_tokens = 0;
        }
        snapshot
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Inner ===

impl Inner {
    /// Returns a sequence that was given to `link`: a fenced link says nothing.
    fn on(&mut self, link: LinkId, id: u64) -> Option<&mut Sequence> {
        let out = self.out.get_mut(&id)?;
        (out.link == link).then_some(&mut out.sequence)
    }
}
