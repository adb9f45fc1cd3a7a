//! The inference thread's model: loading it, running it, checking it.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use super::WorkerExit;
use super::interrupts::Interrupts;
use super::outputs::{Placer, SharedMemory};
use super::sample::{Checked, Sample, inputs_of};
use crate::arena::{ArenaLayout, Mapping};
use crate::error::EngineError;
use crate::protocol::{FromWorker, Place, ProtocolError, Run, Terms, WireTensor, frame};
use crate::runtime::{LoadSpec, Loaded, Model, Runtime, RuntimeInfo, WarmUpRun, WarmUpSample};
use crate::tensor::{TensorSpec, TensorView, check_inputs};
use crate::wire::Outbox;

/// A runtime with at most one model.
pub(super) struct Engine {
    runtime: Box<dyn Runtime>,
    info: Option<RuntimeInfo>,
    interrupts: Interrupts,
    terms: Option<Terms>,
    memory: Option<SharedMemory>,
    model: Option<LoadedModel>,
}

/// A model that has been read and has not run yet.
pub(super) struct Opened {
    model: Box<dyn Model>,
    runtime: RuntimeInfo,
    load_micros: u64,
}

struct LoadedModel {
    model: Box<dyn Model>,
    sample: Option<Sample>,
    self_check_every: Duration,
    self_checks: u64,
    /// When the model last did something.
    active: Instant,
}

/// What has come of a model's first runs.
#[derive(Default)]
struct FirstRuns {
    /// The one that is repeated to see whether the model still does what it did.
    sample: Option<Sample>,
    /// How long the smallest one took.
    micros: u64,
    /// Why there is none.
    skipped: Option<String>,
    stated: Vec<WarmUpRun>,
}

// === impl Engine ===

impl Engine {
    pub(super) fn new(runtime: Box<dyn Runtime>, interrupts: Interrupts) -> Self {
        Self {
            runtime,
            info: None,
            interrupts,
            terms: None,
            memory: None,
            model: None,
        }
    }

    /// Takes the server's terms and the arena that came with them.
    pub(super) fn agree(&mut self, terms: Terms, memory: Option<SharedMemory>) {
        self.terms = Some(terms);
        self.memory = memory;
    }

    /// Starts the runtime; returns what to tell the server about it.
    pub(super) fn start_runtime(&mut self, library: &Path) -> FromWorker {
        match self.runtime.start(library) {
            Ok(info) => {
                self.info = Some(info.clone());
                FromWorker::RuntimeReady(info)
            }
            Err(error) => FromWorker::LoadFailed(error),
        }
    }

    /// Opens a model in place of the one there is; it serves once it has been warmed up.
    pub(super) fn open(&mut self, spec: &LoadSpec) -> Result<Opened, EngineError> {
        self.unload();
        let runtime = self.info.clone().ok_or(EngineError::NotLoaded)?;
        let started = Instant::now();
        let model = self.runtime.load(spec)?;
        Ok(Opened {
            model,
            runtime,
            load_micros: micros_since(started),
        })
    }

    /// Gives up the model, if there is one.
    pub(super) fn unload(&mut self) {
        self.interrupts.set(None);
        self.model = None;
    }

    /// Runs the model once and appends the answer, which may be an error.
    ///
    /// Fails only if the server itself is at fault.
    pub(super) fn answer(
        &mut self,
        run: Run,
        payload: &[u8],
        descriptors: &mut VecDeque<OwnedFd>,
        outbox: &mut Outbox,
    ) -> Result<(), WorkerExit> {
        let id = run.id;
        let attached = attached(&run, descriptors)?;
        let Some(terms) = &self.terms else {
            return Err(ProtocolError::Unexpected("run without terms").into());
        };
        let (layout, slots, memory) = match &mut self.memory {
            Some(memory) => {
                let (layout, inputs, outputs) = memory.split();
                (Some(layout), Some(inputs), Some(outputs))
            }
            None => (None, None, None),
        };
        let sources = Sources {
            payload,
            layout,
            slots,
            attached: attached.as_ref(),
        };
        let views = sources.views(&run)?;
        let placer = Placer {
            id,
            slot: run.slot,
            terms,
            layout,
            memory,
            outbox: &mut *outbox,
        };
        let result = views.and_then(|views| match &mut self.model {
            Some(model) if self.interrupts.begin(id) => {
                let result = model.run(&views, placer);
                if self.interrupts.end() {
                    model.model.resume();
                    return result.map_err(|_| EngineError::Abandoned);
                }
                result
            }
            Some(_) => Err(EngineError::Abandoned),
            None => Err(EngineError::NotLoaded),
        });
        match result {
            Ok(()) => Ok(()),
            Err(error) => Ok(fail(outbox, id, error)?),
        }
    }

    /// Returns when an idle model is due to check itself.
    pub(super) fn idle_until(&self) -> Option<Instant> {
        let model = self.model.as_ref()?;
        if model.self_check_every.is_zero() {
            return None;
        }
        model.active.checked_add(model.self_check_every)
    }

    /// Repeats the warm-up sample; returns the beat, or what differed.
    pub(super) fn check_itself(&mut self) -> Result<FromWorker, String> {
        let mut self_checks = 0;
        if let Some(model) = &mut self.model {
            model.check_itself()?;
            self_checks = model.self_checks;
        }
        Ok(FromWorker::Beat {
            idle: true,
            self_checks,
        })
    }

    /// Runs the samples for the first time; returns what to tell the server about the model.
    ///
    /// Fails if one that is stated cannot be run.
    pub(super) fn warm_up(
        &mut self,
        spec: &LoadSpec,
        opened: Opened,
    ) -> Result<Loaded, EngineError> {
        let Opened {
            mut model,
            runtime,
            load_micros,
        } = opened;
        self.interrupts.set(model.interrupt());
        let inputs = model.inputs().to_vec();
        let outputs = model.outputs().to_vec();
        let max_batch_free =
            !inputs.is_empty() && inputs.iter().chain(&outputs).all(TensorSpec::is_batchable);
        let mut runs = FirstRuns::default();
        if spec.warm_up {
            runs.smallest(&mut *model);
            for sample in &spec.samples {
                runs.stated(&mut *model, sample, max_batch_free)?;
            }
        } else {
            runs.skipped = Some("switched off".to_owned());
        }
        self.model = Some(LoadedModel {
            model,
            sample: runs.sample,
            self_check_every: spec.self_check_every,
            self_checks: 0,
            active: Instant::now(),
        });
        Ok(Loaded {
            inputs,
            outputs,
            load_micros,
            warm_up_micros: runs.micros,
            warm_up_skipped: runs.skipped,
            sample_runs: runs.stated,
            max_batch_free,
            runtime,
        })
    }
}

// === impl LoadedModel ===

impl LoadedModel {
    fn run(
        &mut self,
        inputs: &[TensorView<'_>],
        mut placer: Placer<'_>,
    ) -> Result<(), EngineError> {
        check_inputs(self.model.inputs(), inputs)?;
        let started = Instant::now();
        let result = self.model.run(inputs, &mut |outputs| {
            placer.place(outputs, micros_since(started))
        });
        self.active = Instant::now();
        result
    }

    fn check_itself(&mut self) -> Result<(), String> {
        if let Some(sample) = &mut self.sample {
            match sample.check(&mut *self.model)? {
                Checked::Same => self.self_checks += 1,
                Checked::NotComparable => {
                    tracing::info!("model is not deterministic, its self-check only runs it");
                    self.self_checks += 1;
                }
            }
        }
        self.active = Instant::now();
        Ok(())
    }
}

// === impl FirstRuns ===

impl FirstRuns {
    /// Runs the model on the smallest inputs that can be made up for it.
    fn smallest(&mut self, model: &mut dyn Model) {
        let started = Instant::now();
        match Sample::take(model) {
            Ok(sample) => {
                self.micros = micros_since(started);
                self.sample = Some(sample);
            }
            Err(reason) => self.skipped = Some(reason),
        }
    }

    /// Runs the model on inputs that somebody has stated.
    fn stated(
        &mut self,
        model: &mut dyn Model,
        sample: &WarmUpSample,
        stacks: bool,
    ) -> Result<(), EngineError> {
        let inputs = inputs_of(model.inputs(), sample)?;
        let rows = inputs.first().and_then(|input| input.shape().first());
        let rows = rows.filter(|_| stacks).map_or(1, |rows| (*rows).max(1));
        let started = Instant::now();
        let run = Sample::of(model, inputs);
        let micros = micros_since(started);
        let taken = run.map_err(|error| EngineError::sample(&sample.key, error))?;
        self.stated.push(WarmUpRun { rows, micros });
        // What somebody has stated is a valid input where none could be made up.
        if self.sample.is_none() {
            self.sample = Some(taken);
            self.skipped = None;
        }
        Ok(())
    }
}

/// Appends the failure of a run; one that no frame can carry is replaced by its length.
fn fail(outbox: &mut Outbox, id: u64, error: EngineError) -> Result<(), ProtocolError> {
    let result = outbox.push(&FromWorker::RunFailed { id, error }, None);
    let Err(too_long @ ProtocolError::Oversized { .. }) = result else {
        return result;
    };
    let error = EngineError::run_failed(format!("the error itself is {too_long}"));
    outbox.push(&FromWorker::RunFailed { id, error }, None)
}

/// Where the bytes of one run's inputs may lie.
struct Sources<'a> {
    payload: &'a [u8],
    layout: Option<ArenaLayout>,
    slots: Option<&'a Mapping>,
    attached: Option<&'a Mapping>,
}

// === impl Sources ===

impl<'a> Sources<'a> {
    /// Returns the inputs as views of where they lie.
    ///
    /// The outer error is the server's: a place that does not exist. The inner one is the
    /// client's: bytes that are no tensor.
    fn views<'r>(
        &self,
        run: &'r Run,
    ) -> Result<Result<Vec<TensorView<'r>>, EngineError>, ProtocolError>
    where
        'a: 'r,
    {
        let exists = |slot| self.layout.is_some_and(|layout| layout.contains(slot));
        if !run.slot.is_none_or(exists) {
            return Err(ProtocolError::Unexpected(
                "loan of a slot that is not there",
            ));
        }
        let mut views = Vec::with_capacity(run.inputs.len());
        for input in &run.inputs {
            let data = self.bytes(run, input)?;
            match TensorView::try_new(&input.name, input.dtype, &input.shape, data) {
                Ok(view) => views.push(view),
                Err(error) => {
                    return Ok(Err(EngineError::malformed(&input.name, error)));
                }
            }
        }
        Ok(Ok(views))
    }

    fn bytes(&self, run: &Run, input: &WireTensor) -> Result<&'a [u8], ProtocolError> {
        let bad = |reason: String| ProtocolError::BadPlace {
            tensor: input.name.clone(),
            reason,
        };
        let whole = match input.place {
            Place::Inline => Some(self.payload),
            Place::Slot(slot) if run.slot == Some(slot) => self
                .slots
                .zip(self.layout)
                .and_then(|(slots, layout)| slots.bytes(layout.inputs(slot.index))),
            Place::Slot(_) => None,
            Place::Attached => self.attached.and_then(|file| file.bytes(0..file.len())),
        };
        let whole = whole.ok_or_else(|| bad("there is no such place".to_owned()))?;
        let range = frame::piece(input.offset, input.len, whole.len()).map_err(bad)?;
        Ok(&whole[range])
    }
}

fn attached(run: &Run, descriptors: &mut VecDeque<OwnedFd>) -> Result<Option<Mapping>, WorkerExit> {
    if run
        .inputs
        .iter()
        .all(|input| input.place != Place::Attached)
    {
        return Ok(None);
    }
    let descriptor = descriptors
        .pop_front()
        .ok_or(ProtocolError::Descriptor("missing"))?;
    Mapping::readable(descriptor)
        .map(Some)
        .map_err(|error| WorkerExit::System(format!("inputs: {error}")))
}

fn micros_since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)
}
