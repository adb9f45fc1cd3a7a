//! Models of language to be measured: shapes with random weights, the server with one of them, and
//! the loops beside it.
//!
//! A loop is another program that has the same folder open and does what a line on its standard input
//! asks for (`impetus-bare generate` says what there is), so that it stands there loaded and rounds
//! alternate without loading anything.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::TempDir;

use crate::process::cores;
use crate::server::{Places, Server};

/// How long a loop may take for one line before something is wrong.
const PATIENCE: Timespec = Timespec {
    tv_sec: 300,
    tv_nsec: 0,
};

/// The shape and its precisions: int4 with sums in fp32, int4 with activations in int8, fp32.
pub(crate) const SHAPES: [&str; 3] = ["135m-int4-1", "135m-int4-4", "135m-fp32"];
/// The one that is measured where one is enough: the builder's own choice.
pub(crate) const USUAL_SHAPE: &str = "135m-int4-4";

/// A folder as onnxruntime-genai's builder writes it.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) folder: PathBuf,
    pub(crate) vocabulary: u32,
}

/// The server with nothing but one such model.
pub(crate) struct TextServer {
    pub(crate) server: Server,
    pub(crate) model: &'static str,
    _models: TempDir,
}

/// A program that generates as it is told; dropping it kills it.
pub(crate) struct Loop {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What a loop says of a batch, in seconds.
#[derive(Debug, Deserialize)]
pub(crate) struct Generated {
    /// Each step of the batch.
    pub(crate) steps: Vec<f64>,
    pub(crate) whole: f64,
}

/// What a loop says of a prompt that was taken in by chunks, in seconds.
#[derive(Debug, Deserialize)]
pub(crate) struct TakenIn {
    pub(crate) chunks: Vec<f64>,
}

// === impl Shape ===

impl Shape {
    /// Finds one that `models/make_shapes.py` has made.
    pub(crate) fn find(places: &Places, name: &'static str) -> anyhow::Result<Self> {
        let folder = places.shapes.join(name);
        let config = folder.join("genai_config.json");
        let config = fs::read(&config).with_context(|| {
            format!(
                "{} is not there: `python models/make_shapes.py --out {} {name}`",
                config.display(),
                places.shapes.display()
            )
        })?;
        let config: Value = serde_json::from_slice(&config)?;
        let vocabulary = config["model"]["vocab_size"].as_u64();
        let vocabulary = vocabulary.and_then(|size| u32::try_from(size).ok());
        Ok(Self {
            name,
            folder,
            vocabulary: vocabulary.context("a model without a vocabulary")?,
        })
    }
}

// === impl TextServer ===

impl TextServer {
    /// Starts the server with its defaults and these settings beside, and waits until it is ready.
    pub(crate) fn start(
        places: &Places,
        shape: &Shape,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let models = tempfile::tempdir_in(&places.shapes)?;
        let folder = models.path().join(shape.name);
        fs::create_dir(&folder)?;
        for entry in fs::read_dir(&shape.folder)? {
            let entry = entry?;
            fs::hard_link(entry.path(), folder.join(entry.file_name()))?;
        }
        let places = places.with_models(models.path().to_owned());
        Ok(Self {
            server: places.start_impetus(settings)?,
            model: shape.name,
            _models: models,
        })
    }
}

// === impl Loop ===

impl Loop {
    /// Starts the bare one, with as many threads as the server's worker has.
    pub(crate) fn bare(places: &Places, shape: &Shape) -> anyhow::Result<Self> {
        let Places { bare, library, .. } = places;
        let mut command = Command::new(bare);
        command
            .arg("generate")
            .arg("--library")
            .arg(library)
            .arg("--model")
            .arg(&shape.folder)
            .args(["--threads", &cores().to_string(), "--spin"])
            .env_clear()
            .env("ORT_DISABLE_TELEMETRY", "1");
        Self::start(command)
    }

    /// Starts onnxruntime-genai, if it is installed.
    pub(crate) fn genai(places: &Places, shape: &Shape) -> anyhow::Result<Option<Self>> {
        let Some(python) = places.genai() else {
            return Ok(None);
        };
        let mut command = Command::new(python);
        command
            .arg(places.served("text_genai.py"))
            .arg(&shape.folder)
            .arg(cores().to_string())
            .env_clear();
        Self::start(command).map(Some)
    }

    fn start(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("a loop could not be started")?;
        Ok(Self {
            requests: child.stdin.take().context("a loop without input")?,
            answers: BufReader::new(child.stdout.take().context("a loop without output")?),
            child,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Generates so many tokens for a batch of prompts.
    pub(crate) fn generate(
        &mut self,
        batch: usize,
        (prompt, tokens): (usize, usize),
    ) -> anyhow::Result<Generated> {
        self.ask(&format!("generate {batch} {prompt} {tokens}"))
    }

    /// Takes one prompt in by chunks.
    pub(crate) fn take_in(&mut self, prompt: usize, chunk: usize) -> anyhow::Result<TakenIn> {
        self.ask(&format!("prefill {prompt} {chunk}"))
    }

    fn ask<T: DeserializeOwned>(&mut self, line: &str) -> anyhow::Result<T> {
        writeln!(self.requests, "{line}")?;
        // A line is all that ever waits to be read, so nothing is left in the buffer.
        let mut ready = [PollFd::new(self.answers.get_ref(), PollFlags::IN)];
        ensure!(
            poll(&mut ready, Some(&PATIENCE))? > 0,
            "a loop does not answer to {line:?}"
        );
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        serde_json::from_str(&answer).with_context(|| format!("a loop answers {answer:?}"))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // Has ended already, or ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === impl Places ===

impl Places {
    /// Returns the interpreter that has onnxruntime-genai, if `make peers-text` has installed it.
    fn genai(&self) -> Option<PathBuf> {
        let python = self.root.join(".test/peers/genai/bin/python");
        python.exists().then_some(python)
    }

    fn served(&self, name: &str) -> PathBuf {
        let served = Path::new("benches").join("peers").join("served");
        self.root.join(served).join(name)
    }
}
