//! What a model's folder says about its text.
//!
//! Exporters scatter it over half a dozen files, each of which may be missing, and the same fact
//! stands in several of them: the end-of-sequence tokens in `generation_config.json`,
//! `genai_config.json` and `tokenizer_config.json`, the context length in `genai_config.json`,
//! `config.json` and `tokenizer_config.json`. They are read here once, in the order in which
//! transformers and onnxruntime-genai trust them. Only `tokenizer.json` has to be there. A file that
//! is there and cannot be understood is an error, never ignored.

mod embedding;
mod files;
mod genai;
mod generation;

use std::path::Path;
use std::sync::Arc;

pub use embedding::{Embedding, Pooling};
pub use genai::{GenaiConfig, GenaiDecoder, GenaiNames};
pub use generation::GenerationDefaults;

use crate::template::ChatTemplate;
use crate::tokenizer::{RawTokenizer, Tokenizer, TokenizerFacts};
use crate::{TemplateError, TextError};
use files::{Folder, HfConfig, TokenizerConfig};

/// A model's folder as people export it; cheap to clone.
#[derive(Debug, Clone)]
pub struct TextModel {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    defaults: GenerationDefaults,
    eos_tokens: Vec<u32>,
    bos_token: Option<u32>,
    context_length: Option<usize>,
    genai: Option<GenaiConfig>,
    embedding: Option<Embedding>,
}

// === impl TextModel ===

impl TextModel {
    /// Reads what `folder` says about text. Blocks.
    ///
    /// # Errors
    /// [`TextError`] where `tokenizer.json` is missing, or where any of the files cannot be
    /// understood.
    pub fn load(folder: &Path) -> Result<Self, TextError> {
        let files = Folder::new(folder);
        let config: TokenizerConfig = files.json("tokenizer_config.json")?.unwrap_or_default();
        let specials = files.special_tokens(&config)?;
        let hf: HfConfig = files.json("config.json")?.unwrap_or_default();
        let genai: Option<GenaiConfig> = files.json("genai_config.json")?;
        let generation: Option<GenerationDefaults> = files.json("generation_config.json")?;

        let tokenizer = RawTokenizer::read(&files.path("tokenizer.json"))?;
        let named = |name: &str| specials.get(name).and_then(|text| tokenizer.id_of(text));
        let (bos, eos) = (named("bos_token"), named("eos_token"));

        let mut eos_tokens = generation
            .iter()
            .flat_map(|it| it.eos_token_id.clone())
            .collect::<Vec<_>>();
        eos_tokens.extend(genai.iter().flat_map(|it| it.eos_token_ids().to_vec()));
        eos_tokens.extend(eos);
        eos_tokens.sort_unstable();
        eos_tokens.dedup();

        let tokenizer = tokenizer.with(TokenizerFacts {
            vocab_size: genai.as_ref().map_or(0, GenaiConfig::vocab_size),
            eos: eos_tokens.clone(),
        });

        let template = match files.chat_templates(&config)? {
            Some(found) => Some(
                ChatTemplate::new(&found.default, found.tool_use.as_deref(), specials).map_err(
                    |source: TemplateError| TextError::Template {
                        path: found.path,
                        source,
                    },
                )?,
            ),
            None => None,
        };
        let context_length = genai
            .as_ref()
            .and_then(GenaiConfig::context_length)
            .or(hf.max_positions())
            .or(config.sane_max_length());
        let defaults = generation
            .or_else(|| genai.as_ref().map(GenaiConfig::defaults))
            .unwrap_or_default();
        let inner = Inner {
            tokenizer,
            template,
            defaults,
            eos_tokens,
            bos_token: bos,
            context_length,
            genai,
            embedding: Embedding::read(&files)?,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Returns the tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.inner.tokenizer
    }

    /// Returns the chat template; `None` for a base model, which can only complete.
    pub fn template(&self) -> Option<&ChatTemplate> {
        self.inner.template.as_ref()
    }

    /// Returns how the model's authors would have it sampled: `generation_config.json`, else the
    /// `search` section of `genai_config.json`, else nothing set.
    pub fn defaults(&self) -> &GenerationDefaults {
        &self.inner.defaults
    }

    /// Returns every token that ends a generation: all that any of the files names, in ascending
    /// order.
    pub fn eos_tokens(&self) -> &[u32] {
        &self.inner.eos_tokens
    }

    /// Returns the token that begins a text, if the model has one.
    pub fn bos_token(&self) -> Option<u32> {
        self.inner.bos_token
    }

    /// Returns how many tokens the model can see at once: `context_length` of `genai_config.json`,
    /// else `max_position_embeddings` of `config.json`, else `model_max_length` of
    /// `tokenizer_config.json` where that is a length and not a stand-in for infinity.
    pub fn context_length(&self) -> Option<usize> {
        self.inner.context_length
    }

    /// Returns how sentence-transformers has it embed text, of a model that it wrote.
    pub fn embedding(&self) -> Option<&Embedding> {
        self.inner.embedding.as_ref()
    }

    /// Returns what onnxruntime-genai's builder wrote about the graph.
    pub fn genai(&self) -> Option<&GenaiConfig> {
        self.inner.genai.as_ref()
    }
}
