//! Everything about text around a language model, and nothing of the model.
//!
//! A model takes token ids and gives token ids; people send conversations and read characters.
//! What lies between is in this crate, so that the server can do it without a model runtime and
//! without the actors, and so that it can be held against Hugging Face's own results alone:
//!
//! - [`folder`]: what a model's folder says about its text, read once;
//! - [`tokenizer`]: text to token ids and back, and the bytes of every token for the grammar's trie;
//! - [`template`]: conversations to prompts, byte for byte as transformers renders them;
//! - [`detokenize`]: token ids to text while they come, without ever splitting a character;
//! - [`stop`]: stop strings, also where they cross the border of two tokens;
//! - [`tools`]: tool calls in what a model writes, and the schema that forces one.
//!
//! Nothing here waits, draws random numbers or reads the clock; only [`TextModel::load`] and
//! [`Tokenizer::from_file`] touch the disk.

pub mod detokenize;
pub mod error;
pub mod folder;
pub mod stop;
pub mod template;
pub mod tokenizer;
pub mod tools;

pub use detokenize::Detokenizer;
pub use error::{TemplateError, TextError};
pub use folder::{Embedding, GenaiConfig, GenerationDefaults, Pooling, TextModel};
pub use stop::{StopStrings, Stopping};
pub use template::{Chat, ChatTemplate};
pub use tokenizer::{TokenEntry, TokenTable, Tokenizer};
pub use tools::{ForcedCall, Parsed, ToolCall, ToolCallParser, ToolChoice, ToolFormat};
