//! A graph with GroupQueryAttention and the buffers that are its past and its present.
//!
//! Values are made once over memory that stays where it is, and a run is one call with two lists of
//! pointers: less cannot be done for a step.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_void};
use std::path::PathBuf;
use std::ptr::{self, NonNull};

use anyhow::{Context, ensure};
use ort::environment::Environment;
use ort::memory::MemoryInfo;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::sys::{OrtRunOptions, OrtValue};
use ort::value::TensorElementType;
use ort::{AsPointer, ortsys};

/// Scores of which the highest is found before it is compared with that of others.
const BLOCK: usize = 1024;
const LANES: usize = 16;

/// What is opened, and how.
pub(super) struct Options {
    pub(super) path: PathBuf,
    pub(super) threads: usize,
    /// Whether idle threads of the runtime spin.
    pub(super) spins: bool,
    pub(super) slots: usize,
    pub(super) max_len: usize,
    pub(super) layers: usize,
    pub(super) kv_heads: usize,
    pub(super) head_size: usize,
    pub(super) vocabulary: usize,
}

/// The last token of each sequence, and how many tokens each had before.
pub(super) struct Rows<'a> {
    pub(super) tokens: &'a [i64],
    pub(super) past: usize,
}

pub(super) struct Graph {
    session: Session,
    memory: MemoryInfo<'static>,
    names: Names,
    /// `[slots, kv_heads, max_len, head_size]` for key and value of each layer.
    buffers: Vec<Vec<f32>>,
    /// Scores of a step.
    scores: Vec<f32>,
    /// The values over the slots that were decoded last, and the first scores.
    view: Option<View>,
    shape: [usize; 4],
    vocabulary: usize,
}

struct View {
    first: usize,
    count: usize,
    values: Vec<Value>,
}

/// What a run is given.
struct Feed<'a> {
    ids: &'a [i64],
    mask: &'a [i64],
    batch: usize,
}

struct Names {
    /// What the pointers point to.
    texts: Vec<CString>,
    inputs: Vec<*const c_char>,
    outputs: Vec<*const c_char>,
}

struct Value(NonNull<OrtValue>);

// === impl Graph ===

impl Graph {
    pub(super) fn open(environment: &Environment, options: &Options) -> anyhow::Result<Self> {
        let session = open_session(environment, options)?;
        let shape = [
            options.slots,
            options.kv_heads,
            options.max_len,
            options.head_size,
        ];
        let names = Names::new(options.layers)?;
        let known = session
            .inputs()
            .iter()
            .all(|input| names.has(input.name()) && !input.name().is_empty());
        ensure!(known, "a graph with inputs that are not known here");
        // From the allocator as zeros: pages that no token reaches take no memory.
        let buffer = || vec![0.0; shape.iter().product()];
        Ok(Self {
            session,
            memory: MemoryInfo::default(),
            names,
            buffers: std::iter::repeat_with(buffer)
                .take(2 * options.layers)
                .collect(),
            scores: vec![0.0; options.slots * options.vocabulary],
            view: None,
            shape,
            vocabulary: options.vocabulary,
        })
    }

    /// Takes tokens in behind those that a slot has; returns what comes next.
    pub(super) fn prefill(
        &mut self,
        slot: usize,
        past: usize,
        tokens: &[i64],
    ) -> anyhow::Result<i64> {
        self.fits(slot + 1, past + tokens.len())?;
        let view = self.view_of(slot, 1)?;
        let mask = vec![1; past + tokens.len()];
        let feed = Feed {
            ids: tokens,
            mask: &mask,
            batch: 1,
        };
        let scores = self.run(&feed, &view, None)?;
        let scores = scores.context("a run without scores")?;
        let all = tokens.len() * self.vocabulary;
        let mut data: *mut c_void = ptr::null_mut();
        // SAFETY: the value is the tensor of scores that the run has made.
        ortsys![unsafe GetTensorMutableData(scores.0.as_ptr(), &mut data)?];
        // SAFETY: it has that many numbers, for each token those of the whole vocabulary.
        let numbers = unsafe { std::slice::from_raw_parts(data.cast::<f32>(), all) };
        Ok(best(&numbers[all - self.vocabulary..]))
    }

    /// Takes one step of the first sequences; returns what comes next in each.
    pub(super) fn decode(&mut self, rows: &Rows<'_>) -> anyhow::Result<Vec<i64>> {
        let batch = rows.tokens.len();
        self.fits(batch, rows.past + 1)?;
        let view = match self.view.take() {
            Some(view) if (view.first, view.count) == (0, batch) => view,
            _ => self.view_of(0, batch)?,
        };
        let mask = vec![1; batch * (rows.past + 1)];
        let feed = Feed {
            ids: rows.tokens,
            mask: &mask,
            batch,
        };
        let used = batch * self.vocabulary;
        let extents = [batch as i64, 1, self.vocabulary as i64];
        let data = self.scores.as_mut_ptr().cast::<c_void>();
        let bytes = used * size_of::<f32>();
        let kind = TensorElementType::Float32;
        // SAFETY: the buffer has room for these scores and outlives the value.
        let scores = unsafe { Value::over(&self.memory, (data, bytes), &extents, kind) }?;
        self.run(&feed, &view, Some(&scores))?;
        self.view = Some(view);
        Ok(self.scores[..used]
            .chunks_exact(self.vocabulary)
            .map(best)
            .collect())
    }

    fn fits(&self, slots: usize, tokens: usize) -> anyhow::Result<()> {
        let [most, _, longest, _] = self.shape;
        ensure!(
            slots <= most && tokens <= longest,
            "{slots} slots of {tokens} tokens, and there are {most} of {longest}"
        );
        Ok(())
    }

    fn view_of(&mut self, first: usize, count: usize) -> anyhow::Result<View> {
        let [_, heads, longest, size] = self.shape;
        let slot = heads * longest * size;
        let extents = [count, heads, longest, size].map(|extent| extent as i64);
        let bytes = count * slot * size_of::<f32>();
        let kind = TensorElementType::Float32;
        let mut values = Vec::with_capacity(self.buffers.len());
        for buffer in &mut self.buffers {
            let data = buffer[first * slot..].as_mut_ptr().cast::<c_void>();
            // SAFETY: the slots lie in the buffer, as the caller has checked; no buffer is moved or
            // read as long as the graph lives.
            values.push(unsafe { Value::over(&self.memory, (data, bytes), &extents, kind) }?);
        }
        Ok(View {
            first,
            count,
            values,
        })
    }

    /// Runs the graph; returns the scores if they are not to go where `scores` is.
    fn run(
        &mut self,
        feed: &Feed<'_>,
        view: &View,
        scores: Option<&Value>,
    ) -> ort::Result<Option<Value>> {
        let value = |numbers: &[i64]| {
            let data = numbers.as_ptr().cast_mut().cast::<c_void>();
            let extents = [feed.batch as i64, (numbers.len() / feed.batch) as i64];
            let all = (data, size_of_val(numbers));
            // SAFETY: the numbers outlive the run, which only reads them.
            unsafe { Value::over(&self.memory, all, &extents, TensorElementType::Int64) }
        };
        let (ids, mask) = (value(feed.ids)?, value(feed.mask)?);
        let pasts = view.values.iter().map(|value| value.0.as_ptr());
        let inputs: Vec<*const OrtValue> = [ids.0.as_ptr(), mask.0.as_ptr()]
            .into_iter()
            .chain(pasts.clone())
            .map(<*mut OrtValue>::cast_const)
            .collect();
        let given = scores.map_or(ptr::null_mut(), |scores| scores.0.as_ptr());
        let mut outputs: Vec<*mut OrtValue> = [given].into_iter().chain(pasts).collect();
        let options: *const OrtRunOptions = ptr::null();
        // SAFETY: there are as many values as names, all of them alive until the end of this
        // function, and nobody else has the memory under them.
        ortsys![unsafe Run(
            self.session.ptr().cast_mut(),
            options,
            self.names.inputs.as_ptr(),
            inputs.as_ptr(),
            inputs.len(),
            self.names.outputs.as_ptr(),
            outputs.len(),
            outputs.as_mut_ptr()
        )?];
        Ok(match scores {
            Some(_) => None,
            None => NonNull::new(outputs[0]).map(Value),
        })
    }
}

// === impl Names ===

impl Names {
    /// Returns the names that onnxruntime-genai's builder gives.
    fn new(layers: usize) -> anyhow::Result<Self> {
        let of_layers = |stem: &str| {
            let name = |layer| ["key", "value"].map(|side| format!("{stem}.{layer}.{side}"));
            (0..layers).flat_map(name).collect::<Vec<String>>()
        };
        let mut names = vec!["input_ids".to_owned(), "attention_mask".to_owned()];
        names.extend(of_layers("past_key_values"));
        let inputs = names.len();
        names.push("logits".to_owned());
        names.extend(of_layers("present"));
        let texts = names.into_iter().map(CString::new);
        let texts = texts.collect::<Result<Vec<CString>, _>>()?;
        let mut pointers: Vec<*const c_char> = texts.iter().map(|text| text.as_ptr()).collect();
        Ok(Self {
            outputs: pointers.split_off(inputs),
            inputs: pointers,
            texts,
        })
    }

    fn has(&self, name: &str) -> bool {
        self.texts
            .iter()
            .any(|text| text.to_bytes() == name.as_bytes())
    }
}

// === impl Value ===

impl Value {
    /// Makes a value over so many bytes.
    ///
    /// # Safety
    ///
    /// The memory is there, aligned for its kind, as long as the value.
    unsafe fn over(
        memory: &MemoryInfo<'_>,
        (data, bytes): (*mut c_void, usize),
        extents: &[i64],
        kind: TensorElementType,
    ) -> ort::Result<Self> {
        let mut value: *mut OrtValue = ptr::null_mut();
        // SAFETY: the caller vouches for the memory, and the runtime checks its size.
        ortsys![unsafe CreateTensorWithDataAsOrtValue(
            memory.ptr(),
            data,
            bytes,
            extents.as_ptr(),
            extents.len(),
            kind.into(),
            &mut value
        )?];
        let value = NonNull::new(value);
        Ok(Self(value.ok_or_else(|| {
            ort::Error::new("the runtime returned no value")
        })?))
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: it is this value's own, and nobody uses it any more.
        ortsys![unsafe ReleaseValue(self.0.as_ptr())];
    }
}

/// Opens a session with the settings of Impetus's workers.
fn open_session(environment: &Environment, options: &Options) -> ort::Result<Session> {
    let spins = if options.spins { "1" } else { "0" };
    Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(options.threads)?
        .with_inter_threads(1)?
        .with_memory_pattern(false)?
        .with_config_entry("session.intra_op.allow_spinning", spins)?
        .with_config_entry("session.inter_op.allow_spinning", "0")?
        .with_config_entry("session.force_spinning_stop", "1")?
        .commit_from_file(&options.path)
}

/// Returns the token with the best score.
fn best(scores: &[f32]) -> i64 {
    let (mut best, mut at) = (f32::NEG_INFINITY, 0);
    for (index, block) in scores.chunks(BLOCK).enumerate() {
        let most = maximum(block);
        if most > best {
            (best, at) = (most, index * BLOCK);
        }
    }
    let within = scores[at..].iter().position(|score| *score == best);
    (at + within.unwrap_or_default()) as i64
}

/// Returns the highest of some scores, several of which are compared at once.
fn maximum(scores: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (wide, rest) = scores.as_chunks::<LANES>();
    for scores in wide {
        for (lane, score) in lanes.iter_mut().zip(scores) {
            *lane = if *score > *lane { *score } else { *lane };
        }
    }
    let all = lanes.iter().chain(rest).copied();
    all.fold(f32::NEG_INFINITY, f32::max)
}
