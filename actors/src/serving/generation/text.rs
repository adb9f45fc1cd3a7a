//! What a model's folder says about text, read before its first worker is opened.
//!
//! The server turns text into tokens and back, and tells the worker what the graph does not say: how
//! its inputs and outputs are called, how much room there is, which bytes each token stands for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use impetus_engine::generate::{GenerationSpec, GraphNames, Vocabulary};
use impetus_text::{GenaiConfig, TextModel};

use super::super::{ModelKind, ServedModel};
use super::GenerationLimits;

/// The file without which there is no text.
const TOKENIZER: &str = "tokenizer.json";
/// Most tokens of a slot where neither the model nor the configuration names any.
const UNKNOWN_LENGTH: usize = 2048;

/// Reads what the folder of a model says about text, if that has not been done; `None` for a model that
/// has nothing to do with text.
///
/// # Errors
/// Says which file is missing or not understood.
pub(in crate::serving) async fn read(
    model: &ServedModel,
) -> Result<Option<Arc<TextModel>>, String> {
    if model.kind() == ModelKind::Tensors {
        return Ok(None);
    }
    if let Some(text) = model.text() {
        return Ok(Some(text));
    }
    let folder = folder_of(&model.spec().path);
    // Blocks for as long as a large vocabulary takes.
    let read = tokio::task::spawn_blocking(move || TextModel::load(&folder));
    let text = match read.await {
        Ok(read) => read.map_err(|error| error.to_string())?,
        Err(error) => return Err(format!("its text could not be read: {error}")),
    };
    let text = Arc::new(text);
    model.set_text(Arc::clone(&text));
    Ok(Some(text))
}

/// Returns the folder that says what a model's text is: that of its file, or the one above, where
/// exporters put the graph into a folder of its own.
fn folder_of(file: &Path) -> PathBuf {
    let mut folders = file.ancestors().skip(1).take(2);
    let with_text = folders.find(|folder| folder.join(TOKENIZER).is_file());
    let own = || file.parent().unwrap_or(file);
    with_text.unwrap_or_else(own).to_owned()
}

/// Returns what a worker must know to generate.
pub(in crate::serving) fn spec(text: &TextModel, limits: GenerationLimits) -> GenerationSpec {
    let genai = text.genai();
    let context = text.context_length().unwrap_or(UNKNOWN_LENGTH);
    let shared_buffers = genai.is_some_and(|genai| genai.search.past_present_share_buffer);
    GenerationSpec {
        // A graph that concatenates runs one sequence at a time.
        slots: if shared_buffers { limits.slots } else { 1 },
        max_len: limits.max_len.min(context),
        prefill_chunk: limits.prefill_chunk,
        shared_buffers,
        head_dim: genai
            .map(|genai| genai.decoder().head_size)
            .filter(|size| *size > 0),
        names: genai.map_or_else(GraphNames::default, names),
    }
}

/// Returns the names that onnxruntime-genai's builder wrote down, or its own where it did not.
fn names(genai: &GenaiConfig) -> GraphNames {
    let (inputs, outputs) = (&genai.decoder().inputs, &genai.decoder().outputs);
    let usual = GraphNames::default();
    let input = |purpose, usual| inputs.get(purpose).map_or(usual, str::to_owned);
    let output = |purpose, usual| outputs.get(purpose).map_or(usual, str::to_owned);
    GraphNames {
        input_ids: input("input_ids", usual.input_ids),
        attention_mask: input("attention_mask", usual.attention_mask),
        position_ids: input("position_ids", usual.position_ids),
        past_key: input("past_key_names", usual.past_key),
        past_value: input("past_value_names", usual.past_value),
        present_key: output("present_key_names", usual.present_key),
        present_value: output("present_value_names", usual.present_value),
        logits: output("logits", usual.logits),
    }
}

/// Returns the bytes of every token, for structured output.
pub(in crate::serving) fn vocabulary(text: &TextModel) -> Vocabulary {
    let table = text.tokenizer().vocabulary();
    Vocabulary {
        tokens: table
            .tokens
            .iter()
            .map(|token| (token.bytes.clone(), token.special))
            .collect(),
        end: text.eos_tokens().to_vec(),
    }
}
