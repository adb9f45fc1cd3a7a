//! The inference thread's model: loading it, running it, checking it.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use super::WorkerExit;
use super::generation::Generation;
use super::interrupts::Interrupts;
use super::outputs::{Placer, SharedMemory};
use super::sample::{Checked, Sample, inputs_of};
use super::sources::{Sources, attached};
use crate::error::EngineError;
use crate::generate::{Generate, GenerationFailed, Vocabulary};
use crate::protocol::{FromWorker, ProtocolError, Run, Terms};
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
    loaded: Option<Kind<LoadedModel>>,
    /// Of the model that is loaded next.
    vocabulary: Option<Vocabulary>,
}

/// A model of one kind or the other.
enum Kind<M> {
    /// Takes tensors and gives tensors.
    Tensors(M),
    /// Generates text.
    Text(Box<Generation>),
}

/// A model that has been read and has not run yet.
pub(super) struct Opened {
    model: Kind<Box<dyn Model>>,
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
            loaded: None,
            vocabulary: None,
        }
    }

    /// Takes the server's terms and the arena that came with them.
    pub(super) fn agree(&mut self, terms: Terms, memory: Option<SharedMemory>) {
        self.terms = Some(terms);
        self.memory = memory;
    }

    /// Starts the runtime; returns what to tell the server about it.
    pub(super) fn start_runtime(&mut self, library: &Path) -> FromWorker {
        let started = self.runtime.start(library);
        self.started(started)
    }

    /// Starts what a model needs; returns what to tell the server about it.
    pub(super) fn start_runtime_for(&mut self, spec: &LoadSpec) -> FromWorker {
        let started = self.runtime.start_for(spec);
        self.started(started)
    }

    fn started(&mut self, started: Result<RuntimeInfo, EngineError>) -> FromWorker {
        match started {
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
        let vocabulary = self.vocabulary.take();
        let model = match &spec.generation {
            None => Kind::Tensors(self.runtime.load(spec)?),
            Some(generation) => {
                let decoder = self.runtime.load_decoder(spec, generation)?;
                let generation = Generation::new(decoder, spec, generation, vocabulary)?;
                Kind::Text(Box::new(generation))
            }
        };
        Ok(Opened {
            model,
            runtime,
            load_micros: micros_since(started),
        })
    }

    /// Gives up the model, if there is one.
    pub(super) fn unload(&mut self) {
        self.interrupts.set(None);
        self.loaded = None;
    }

    /// Keeps the vocabulary of the model that is loaded next.
    pub(super) fn keep_vocabulary(&mut self, vocabulary: Vocabulary) {
        self.vocabulary = Some(vocabulary);
    }

    /// Returns the model, if it generates text.
    pub(super) fn generation(&mut self) -> Option<&mut Generation> {
        match &mut self.loaded {
            Some(Kind::Text(generation)) => Some(generation),
            _ => None,
        }
    }

    /// Takes a sequence to be generated.
    pub(super) fn generate(&mut self, request: Generate) -> Result<(), GenerationFailed> {
        let error = match &mut self.loaded {
            Some(Kind::Text(generation)) => return generation.accept(request),
            Some(Kind::Tensors(_)) => EngineError::WrongKind {
                reason: "the model takes tensors and generates no text: ask it for predictions"
                    .to_owned(),
            },
            None => EngineError::NotLoaded,
        };
        Err(GenerationFailed {
            id: request.id,
            error,
        })
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
        let result = views.and_then(|views| match &mut self.loaded {
            Some(Kind::Text(_)) => Err(EngineError::WrongKind {
                reason: "the model generates text and takes no tensors: ask it for completions"
                    .to_owned(),
            }),
            Some(Kind::Tensors(model)) if self.interrupts.begin(id) => {
                let result = model.run(&views, placer);
                if self.interrupts.end() {
                    model.model.resume();
                    return result.map_err(|_| EngineError::Abandoned);
                }
                result
            }
            Some(Kind::Tensors(_)) => Err(EngineError::Abandoned),
            None => Err(EngineError::NotLoaded),
        });
        match result {
            Ok(()) => Ok(()),
            Err(error) => Ok(fail(outbox, id, error)?),
        }
    }

    /// Returns when an idle model is due to check itself.
    pub(super) fn idle_until(&self) -> Option<Instant> {
        let model = match self.loaded.as_ref()? {
            Kind::Tensors(model) => model,
            Kind::Text(generation) => return generation.idle_until(),
        };
        if model.self_check_every.is_zero() {
            return None;
        }
        model.active.checked_add(model.self_check_every)
    }

    /// Repeats the warm-up sample; returns the beat, or what differed.
    pub(super) fn check_itself(&mut self) -> Result<FromWorker, String> {
        let self_checks = match &mut self.loaded {
            None => 0,
            Some(Kind::Tensors(model)) => model.check_itself()?,
            Some(Kind::Text(generation)) => generation.check_itself()?,
        };
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
            model,
            runtime,
            load_micros,
        } = opened;
        let mut model = match model {
            Kind::Tensors(model) => model,
            Kind::Text(generation) => {
                return self.warm_up_text(spec, generation, runtime, load_micros);
            }
        };
        self.interrupts.set(model.interrupt());
        let inputs = model.inputs().to_vec();
        let outputs = model.outputs().to_vec();
        let execution = model.execution();
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
        self.loaded = Some(Kind::Tensors(LoadedModel {
            model,
            sample: runs.sample,
            self_check_every: spec.self_check_every,
            self_checks: 0,
            active: Instant::now(),
        }));
        Ok(Loaded {
            inputs,
            outputs,
            load_micros,
            warm_up_micros: runs.micros,
            warm_up_skipped: runs.skipped,
            generation: None,
            sample_runs: runs.stated,
            max_batch_free,
            runtime,
            execution,
        })
    }

    fn warm_up_text(
        &mut self,
        spec: &LoadSpec,
        mut generation: Box<Generation>,
        runtime: RuntimeInfo,
        load_micros: u64,
    ) -> Result<Loaded, EngineError> {
        self.interrupts.set(generation.interrupt());
        let execution = spec.providers.for_text(&spec.path)?;
        let mut warm_up_micros = 0;
        if spec.warm_up {
            warm_up_micros = generation.warm_up()?;
        }
        let loaded = Loaded {
            inputs: generation.inputs().to_vec(),
            outputs: generation.outputs().to_vec(),
            load_micros,
            warm_up_micros,
            warm_up_skipped: (!spec.warm_up).then(|| "switched off".to_owned()),
            generation: Some(generation.info()),
            sample_runs: Vec::new(),
            max_batch_free: false,
            runtime,
            execution,
        };
        self.loaded = Some(Kind::Text(generation));
        Ok(loaded)
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

    fn check_itself(&mut self) -> Result<u64, String> {
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
        Ok(self.self_checks)
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

fn micros_since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)
}
