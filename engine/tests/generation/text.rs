//! A worker that has loaded one of the small graphs, and what its sequences have come to.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use impetus_engine::generate::{
    Begun, Chosen, Finish, Generate, GenerationSpec, GraphNames, Sampling, Step, Vocabulary,
};
use impetus_engine::protocol::ToWorker;
use impetus_engine::{EngineError, Limits, LoadSpec, Loaded, Received, WorkerOptions};

use crate::support::Worker;

pub(crate) const MAX_LEN: usize = 64;
pub(crate) const SLOTS: usize = 4;
/// Tokens of the small graphs.
pub(crate) const VOCABULARY: usize = 64;

/// A worker with everything it has said of its sequences.
pub(crate) struct Text {
    pub(crate) worker: Worker,
    pub(crate) steps: Vec<Step>,
    pub(crate) said: HashMap<u64, Said>,
}

/// What has been said of one sequence.
#[derive(Debug, Default, Clone)]
pub(crate) struct Said {
    pub(crate) begun: Option<Begun>,
    pub(crate) chosen: Vec<Chosen>,
    pub(crate) error: Option<EngineError>,
}

impl Said {
    pub(crate) fn tokens(&self) -> Vec<u32> {
        self.chosen.iter().map(|chosen| chosen.token).collect()
    }

    pub(crate) fn finish(&self) -> Option<Finish> {
        self.chosen.last().and_then(|chosen| chosen.finish)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.error.is_some() || self.finish().is_some()
    }
}

/// How one of the small graphs is loaded.
pub(crate) fn generation(shared_buffers: bool) -> GenerationSpec {
    GenerationSpec {
        slots: SLOTS,
        max_len: MAX_LEN,
        prefill_chunk: 8,
        shared_buffers,
        head_dim: shared_buffers.then_some(16),
        names: GraphNames::default(),
    }
}

pub(crate) fn graph(generation: &GenerationSpec) -> PathBuf {
    let name = if generation.shared_buffers {
        "shared.onnx"
    } else {
        "concatenating.onnx"
    };
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/generation")
        .join(name)
}

/// A greedy request for some tokens behind a prompt.
pub(crate) fn request(id: u64, prompt: &[u32], max_tokens: usize) -> Generate {
    Generate {
        id,
        tokens: prompt.to_vec(),
        prompt_len: prompt.len(),
        max_tokens,
        stop_tokens: Vec::new(),
        sampling: Sampling::default(),
        grammar: None,
        logprobs: None,
        prompt_logprobs: false,
    }
}

/// Letters, digits and what JSON needs, one byte each, and an end.
pub(crate) fn vocabulary() -> Vocabulary {
    let text = br#"{}[]",:.-0123456789abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQ"#;
    let mut tokens: Vec<(Vec<u8>, bool)> = text.iter().map(|byte| (vec![*byte], false)).collect();
    tokens.push((b"<end>".to_vec(), true));
    assert_eq!(tokens.len(), VOCABULARY);
    Vocabulary {
        tokens,
        end: vec![VOCABULARY as u32 - 1],
    }
}

/// What a token of [`vocabulary`] stands for.
pub(crate) fn text_of(tokens: &[u32]) -> String {
    let vocabulary = vocabulary();
    let bytes: Vec<u8> = tokens
        .iter()
        .map(|token| &vocabulary.tokens[*token as usize])
        .filter(|(_, special)| !special)
        .flat_map(|(bytes, _)| bytes.clone())
        .collect();
    String::from_utf8(bytes).unwrap()
}

impl Text {
    pub(crate) async fn start(generation: GenerationSpec) -> Self {
        let mut text = Self::unloaded().await;
        text.worker
            .sender
            .send_vocabulary(&vocabulary())
            .await
            .unwrap();
        let spec = text.spec(generation);
        text.load(&spec).await.unwrap();
        text
    }

    pub(crate) async fn unloaded() -> Self {
        Self {
            worker: Worker::start_with(Limits::default(), WorkerOptions::default()).await,
            steps: Vec::new(),
            said: HashMap::new(),
        }
    }

    pub(crate) fn spec(&self, generation: GenerationSpec) -> LoadSpec {
        LoadSpec {
            path: graph(&generation),
            generation: Some(generation),
            ..self.worker.spec(&[])
        }
    }

    pub(crate) async fn load(&mut self, spec: &LoadSpec) -> Result<Loaded, EngineError> {
        self.worker.load(spec).await
    }

    pub(crate) async fn generate(&self, request: Generate) {
        let message = ToWorker::Generate(request);
        self.worker.sender.send(&message).await.unwrap();
    }

    /// Takes one message.
    pub(crate) async fn take(&mut self) {
        match self.worker.next().await {
            Received::Step(step) => {
                for begun in &step.begun {
                    self.said.entry(begun.id).or_default().begun = Some(begun.clone());
                }
                for chosen in &step.tokens {
                    let said = self.said.entry(chosen.id).or_default();
                    assert!(!said.is_over(), "a token behind the last one");
                    said.chosen.push(chosen.clone());
                }
                self.steps.push(step);
            }
            Received::GenerationFailed(failed) => {
                self.said.entry(failed.id).or_default().error = Some(failed.error);
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    /// Takes messages until a sequence is over; returns what has been said of it.
    pub(crate) async fn end_of(&mut self, id: u64) -> Said {
        while !self.said.get(&id).is_some_and(Said::is_over) {
            self.take().await;
        }
        self.said[&id].clone()
    }

    /// Generates one sequence.
    pub(crate) async fn answer(&mut self, request: Generate) -> Said {
        let id = request.id;
        self.generate(request).await;
        self.end_of(id).await
    }
}
