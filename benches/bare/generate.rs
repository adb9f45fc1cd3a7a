//! What a model that generates text allows: prompts taken in one after the other, then steps of the
//! whole batch, greedily. No scheduler, no sampling, no other process.
//!
//! Whoever compares something with it writes lines to its standard input and reads one line of JSON
//! for each, so that it stands there with its model loaded and rounds can alternate:
//!
//! * `generate BATCH PROMPT TOKENS`: how long each prompt took, and each step;
//! * `prefill PROMPT CHUNK`: how long each chunk of one prompt took.
//!
//! The graph is onnxruntime-genai's with GroupQueryAttention: one buffer for each layer and side is
//! past and present alike.

mod graph;

use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use super::model::start_runtime;
use super::{GenerateArgs, ModelArgs};
use graph::{Graph, Options, Rows};

/// Ids below this have a meaning of their own.
const SPECIAL: u64 = 4;

/// What of `genai_config.json` is needed.
#[derive(Debug, Deserialize)]
struct Config {
    model: ModelConfig,
}

#[derive(Debug, Deserialize)]
struct ModelConfig {
    vocab_size: usize,
    decoder: DecoderConfig,
}

#[derive(Debug, Deserialize)]
struct DecoderConfig {
    head_size: usize,
    num_hidden_layers: usize,
    num_key_value_heads: usize,
}

/// Seconds.
#[derive(Debug, Serialize)]
struct Generated {
    prefill: Vec<f64>,
    steps: Vec<f64>,
    /// From the first prompt to the last step.
    whole: f64,
}

/// Seconds.
#[derive(Debug, Serialize)]
struct TakenIn {
    chunks: Vec<f64>,
}

struct Loop {
    graph: Graph,
    vocabulary: u64,
    state: u64,
}

/// Does what each line asks for until there are no more.
pub(super) fn generate(args: &GenerateArgs) -> anyhow::Result<()> {
    let ModelArgs { library, model } = &args.model;
    let environment = start_runtime(library)?;
    let config = read(model)?;
    let options = Options {
        path: model.join("model.onnx"),
        threads: args.threads,
        spins: args.spin,
        slots: args.slots,
        max_len: args.max_len,
        layers: config.decoder.num_hidden_layers,
        kv_heads: config.decoder.num_key_value_heads,
        head_size: config.decoder.head_size,
        vocabulary: config.vocab_size,
    };
    let mut bare = Loop {
        graph: Graph::open(&environment, &options)?,
        vocabulary: config.vocab_size as u64,
        state: 0x9e37_79b9_7f4a_7c15,
    };
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let numbers = words.iter().skip(1).map(|word| word.parse());
        let numbers = numbers.collect::<Result<Vec<usize>, _>>();
        let numbers = numbers.with_context(|| format!("{line:?} has no numbers"))?;
        match (words.first().copied(), &numbers[..]) {
            (Some("generate"), [batch, prompt, tokens]) => {
                answer(&bare.generate(*batch, *prompt, *tokens)?)?;
            }
            (Some("prefill"), [prompt, chunk]) => answer(&bare.take_in(*prompt, *chunk)?)?,
            _ => bail!("{line:?} is not understood"),
        }
    }
    Ok(())
}

fn read(folder: &Path) -> anyhow::Result<ModelConfig> {
    let path = folder.join("genai_config.json");
    let text = std::fs::read(&path).with_context(|| format!("{} is missing", path.display()))?;
    Ok(serde_json::from_slice::<Config>(&text)?.model)
}

fn answer(answer: &impl Serialize) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    serde_json::to_writer(&mut stdout, answer)?;
    stdout.write_all(b"\n")?;
    Ok(stdout.flush()?)
}

// === impl Loop ===

impl Loop {
    fn generate(
        &mut self,
        batch: usize,
        prompt: usize,
        tokens: usize,
    ) -> anyhow::Result<Generated> {
        ensure!(batch > 0 && prompt > 0 && tokens > 0, "nothing to generate");
        let prompts: Vec<Vec<i64>> = (0..batch).map(|_| self.prompt(prompt)).collect();
        let mut next = vec![0; batch];
        let (mut prefill, mut steps) = (Vec::new(), Vec::new());
        let began = Instant::now();
        for (slot, prompt) in prompts.iter().enumerate() {
            let since = Instant::now();
            next[slot] = self.graph.prefill(slot, 0, prompt)?;
            prefill.push(since.elapsed().as_secs_f64());
        }
        for step in 1..tokens {
            let since = Instant::now();
            let rows = Rows {
                tokens: &next,
                past: prompt + step - 1,
            };
            next = self.graph.decode(&rows)?;
            steps.push(since.elapsed().as_secs_f64());
        }
        Ok(Generated {
            prefill,
            steps,
            whole: began.elapsed().as_secs_f64(),
        })
    }

    fn take_in(&mut self, prompt: usize, chunk: usize) -> anyhow::Result<TakenIn> {
        ensure!(prompt > 0 && chunk > 0, "nothing to take in");
        let prompt = self.prompt(prompt);
        let mut chunks = Vec::new();
        for (index, part) in prompt.chunks(chunk).enumerate() {
            let since = Instant::now();
            self.graph.prefill(0, index * chunk, part)?;
            chunks.push(since.elapsed().as_secs_f64());
        }
        Ok(TakenIn { chunks })
    }

    /// Returns tokens that mean nothing, others each time (xorshift).
    fn prompt(&mut self, length: usize) -> Vec<i64> {
        let mut next = || {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            (SPECIAL + self.state % (self.vocabulary - SPECIAL)).cast_signed()
        };
        (0..length).map(|_| next()).collect()
    }
}
