//! The inference thread's sequences: taking steps, telling of them, checking the model.
//!
//! While there are sequences the thread never waits: between two steps it takes what has arrived,
//! and after each one it tells the server what has come of it, a chunk of a prompt too, so that a
//! step that never ends is known by its silence.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::WorkerExit;
use super::compiling::Compiling;
use crate::arena::Mapping;
use crate::error::EngineError;
use crate::generate::{
    Decoder, Generate, GenerationFailed, GenerationInfo, GenerationSpec, Grammars, Scheduler, Step,
    Vocabulary,
};
use crate::platform;
use crate::protocol::{FromWorker, ProtocolError};
use crate::runtime::{Interrupt, LoadSpec};
use crate::tensor::TensorSpec;
use crate::wire::Outbox;

/// How long a grammar is waited for before the connection is looked at again.
const A_MOMENT: Duration = Duration::from_millis(2);
/// How often the server is told that grammars are compiled when there is nothing else to tell.
const SIGN_OF_LIFE: Duration = Duration::from_millis(100);

/// A model that generates text, with everything it is asked for.
pub(super) struct Generation {
    scheduler: Scheduler,
    /// Where grammars are compiled, if there can be any.
    compiling: Option<Compiling>,
    check: SelfCheck,
    self_check_every: Duration,
    /// When the model last did something.
    active: Instant,
    /// Until when all time has been told of.
    told: Instant,
}

/// A short answer that is repeated to see whether the model still works.
struct SelfCheck {
    /// What it was at first; `None` if there was none, or it is another one each time.
    expected: Option<Vec<u32>>,
    /// Whether a repetition has matched.
    trusted: bool,
    passed: u64,
}

// === impl Generation ===

impl Generation {
    /// Returns a model without sequences, not yet warm.
    ///
    /// # Errors
    ///
    /// [`EngineError::ModelUnsupported`] if the vocabulary that came before it cannot be used.
    pub(super) fn new(
        decoder: Box<dyn Decoder>,
        spec: &LoadSpec,
        generation: &GenerationSpec,
        vocabulary: Option<Vocabulary>,
    ) -> Result<Self, EngineError> {
        let grammars = vocabulary
            .map(|vocabulary| Grammars::new(&vocabulary))
            .transpose()
            .map_err(|reason| unsupported(&spec.path, reason))?
            .map(Arc::new);
        let compiling = grammars.clone().map(Compiling::start).transpose();
        let compiling = compiling.map_err(|error| {
            EngineError::run_failed(format!("no thread to compile grammars: {error}"))
        })?;
        let now = Instant::now();
        Ok(Self {
            scheduler: Scheduler::new(decoder, generation.prefill_chunk, grammars),
            compiling,
            check: SelfCheck {
                expected: None,
                trusted: false,
                passed: 0,
            },
            self_check_every: spec.self_check_every,
            active: now,
            told: now,
        })
    }

    /// Takes the largest steps there are and a short answer; returns how long the longest step took,
    /// in microseconds.
    pub(super) fn warm_up(&mut self) -> Result<u64, EngineError> {
        let probe = self.scheduler.warm_up()?;
        self.check.expected = Some(probe.tokens);
        self.active = Instant::now();
        Ok(probe.longest_micros)
    }

    pub(super) fn inputs(&self) -> &[TensorSpec] {
        self.scheduler.decoder().inputs()
    }

    pub(super) fn outputs(&self) -> &[TensorSpec] {
        self.scheduler.decoder().outputs()
    }

    pub(super) fn interrupt(&self) -> Option<Interrupt> {
        self.scheduler.decoder().interrupt()
    }

    /// Returns what to tell the server about it.
    pub(super) fn info(&self) -> GenerationInfo {
        let shape = self.scheduler.decoder().shape();
        GenerationInfo {
            slots: shape.slots,
            max_len: shape.max_len,
            vocabulary: shape.vocabulary,
            layers: shape.layers,
            cache_bytes: shape.cache_bytes,
        }
    }

    /// Takes a sequence to be generated.
    pub(super) fn accept(&mut self, request: Generate) -> Result<(), GenerationFailed> {
        if self.is_idle() {
            self.told = Instant::now();
        }
        match &mut self.compiling {
            Some(compiling) if request.grammar.is_some() => compiling.begin(request),
            _ => self.scheduler.accept(request),
        }
    }

    /// Generates no more of these sequences.
    pub(super) fn cancel(&mut self, ids: &[u64]) {
        if let Some(compiling) = &mut self.compiling {
            compiling.cancel(ids);
        }
        self.scheduler.cancel(ids);
    }

    /// Gives up every sequence; returns which there were.
    pub(super) fn clear(&mut self) -> Vec<u64> {
        let mut ids = self.scheduler.clear();
        if let Some(compiling) = &mut self.compiling {
            let pending: Vec<u64> = compiling.ids().collect();
            compiling.cancel(&pending);
            ids.extend(pending);
        }
        ids
    }

    pub(super) fn is_idle(&self) -> bool {
        self.scheduler.is_idle() && !self.is_compiling()
    }

    fn is_compiling(&self) -> bool {
        self.compiling.as_ref().is_some_and(Compiling::is_busy)
    }

    /// Takes one step and appends what to tell the server about it.
    pub(super) fn step(&mut self, outbox: &mut Outbox) -> Result<(), ProtocolError> {
        self.take_compiled(outbox)?;
        let report = self.scheduler.step();
        for failed in report.failed {
            outbox.push(&FromWorker::GenerationFailed(failed), None)?;
        }
        self.active = Instant::now();
        if let Some(mut step) = report.step {
            let since = self.active.duration_since(self.told);
            let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
            step.own_micros = micros.saturating_sub(step.run_micros);
            outbox.push(&FromWorker::Step(step), None)?;
            self.told = self.active;
        } else if self.active.duration_since(self.told) >= SIGN_OF_LIFE {
            // Only grammars are awaited: that is no hang.
            outbox.push(&FromWorker::Step(Step::between()), None)?;
            self.told = self.active;
        }
        Ok(())
    }

    /// Takes the sequences whose grammars are there; waits a moment for one when nothing else is to be
    /// done.
    fn take_compiled(&mut self, outbox: &mut Outbox) -> Result<(), ProtocolError> {
        let Some(compiling) = self.compiling.as_mut().filter(|c| c.is_busy()) else {
            return Ok(());
        };
        let mut wait = match self.scheduler.is_idle() {
            true => A_MOMENT,
            false => Duration::ZERO,
        };
        while let Some(compiled) = compiling.next(wait) {
            wait = Duration::ZERO;
            let accepted = compiled.and_then(|(request, conforming)| {
                self.scheduler.accept_conforming(request, conforming)
            });
            if let Err(failed) = accepted {
                outbox.push(&FromWorker::GenerationFailed(failed), None)?;
            }
        }
        Ok(())
    }

    /// Returns when an idle model is due to check itself.
    pub(super) fn idle_until(&self) -> Option<Instant> {
        if self.self_check_every.is_zero() {
            return None;
        }
        self.active.checked_add(self.self_check_every)
    }

    /// Repeats the short answer; returns how often it has matched, or what differed.
    pub(super) fn check_itself(&mut self) -> Result<u64, String> {
        let scheduler = &mut self.scheduler;
        let mut answer = || match scheduler.probe() {
            Ok(probe) => Ok(probe.tokens),
            Err(error) => Err(error.to_string()),
        };
        self.check.repeat(&mut answer)?;
        self.active = Instant::now();
        Ok(self.check.passed)
    }
}

// === impl SelfCheck ===

impl SelfCheck {
    fn repeat(
        &mut self,
        answer: &mut dyn FnMut() -> Result<Vec<u32>, String>,
    ) -> Result<(), String> {
        let got = answer()?;
        if let Some(expected) = &self.expected {
            if got == *expected {
                self.trusted = true;
            } else if self.trusted || answer()? == got {
                return Err(format!(
                    "the answer to the self-check is {got:?} and was {expected:?}"
                ));
            } else {
                // Two repetitions differ among themselves.
                tracing::info!("model is not deterministic, its self-check only runs it");
                self.expected = None;
            }
        }
        self.passed += 1;
        Ok(())
    }
}

/// Takes a vocabulary out of the memory that came with it, or out of its frame.
pub(super) fn vocabulary(
    len: usize,
    payload: &[u8],
    descriptors: &mut VecDeque<OwnedFd>,
) -> Result<Vocabulary, WorkerExit> {
    if !platform::SHARED_MEMORY {
        return decoded(payload.get(..len));
    }
    let descriptor = descriptors
        .pop_front()
        .ok_or(ProtocolError::Descriptor("missing"))?;
    let memory = Mapping::readable(descriptor)
        .map_err(|error| WorkerExit::System(format!("vocabulary: {error}")))?;
    decoded(memory.bytes(0..len))
}

fn decoded(bytes: Option<&[u8]>) -> Result<Vocabulary, WorkerExit> {
    let malformed = |reason: String| ProtocolError::Malformed(format!("vocabulary: {reason}"));
    let bytes = bytes.ok_or_else(|| malformed("it is not all there".to_owned()))?;
    Ok(postcard::from_bytes(bytes).map_err(|error| malformed(error.to_string()))?)
}

fn unsupported(path: &Path, reason: String) -> EngineError {
    EngineError::ModelUnsupported {
        path: path.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: &[u32]) -> SelfCheck {
        SelfCheck {
            expected: Some(expected.to_vec()),
            trusted: false,
            passed: 0,
        }
    }

    #[test]
    fn an_answer_that_changes_once_it_was_repeated_is_a_fault() {
        let mut check = check(&[1, 2]);
        check.repeat(&mut || Ok(vec![1, 2])).unwrap();
        let mut answers = vec![vec![4], vec![3]];
        let error = check
            .repeat(&mut || Ok(answers.pop().unwrap()))
            .unwrap_err();
        assert!(error.contains("[3]") && error.contains("[1, 2]"), "{error}");
    }

    #[test]
    fn a_model_that_never_answers_the_same_is_only_run() {
        let mut check = check(&[1]);
        let mut next = 1;
        for _ in 0..3 {
            let mut answer = || {
                next += 1;
                Ok(vec![next])
            };
            check.repeat(&mut answer).unwrap();
        }
        assert_eq!(check.passed, 3);
    }
}
