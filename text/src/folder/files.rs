//! The files of a folder, and the several shapes in which exporters write the same thing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::TextError;

/// Above this a `model_max_length` is transformers' way of writing "infinite".
const SANE_LENGTH: f64 = 1e9;

/// The special tokens that a template may name, as transformers lists them.
const SPECIAL_NAMES: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// Reads the files of one folder.
pub(super) struct Folder<'a> {
    folder: &'a Path,
}

/// The chat templates that were found: the usual one, and one for conversations with tools.
pub(super) struct Templates {
    pub(super) path: PathBuf,
    pub(super) default: String,
    pub(super) tool_use: Option<String>,
}

/// `tokenizer_config.json`, as far as it concerns us.
#[derive(Debug, Default, Deserialize)]
pub(super) struct TokenizerConfig {
    /// An integer, or a float where it stands for infinity.
    model_max_length: Option<f64>,
    chat_template: Option<ChatTemplates>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// One template, or several with names.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ChatTemplates {
    One(String),
    Named(Vec<NamedTemplate>),
}

#[derive(Debug, Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

/// `config.json`, as far as it concerns us.
#[derive(Debug, Default, Deserialize)]
pub(super) struct HfConfig {
    max_position_embeddings: Option<usize>,
    n_positions: Option<usize>,
    text_config: Option<Box<HfConfig>>,
}

// === impl Folder ===

impl<'a> Folder<'a> {
    pub(super) fn new(folder: &'a Path) -> Self {
        Self { folder }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Reads a file of text; `None` where there is no such file.
    fn text(&self, name: &str) -> Result<Option<String>, TextError> {
        let path = self.path(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(TextError::Read { path, source }),
        }
    }

    /// Reads a file of JSON; `None` where there is no such file.
    pub(super) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, TextError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|source| TextError::Parse {
                path: self.path(name),
                source,
            })
    }

    /// Returns the special tokens by name, `special_tokens_map.json` filling what
    /// `tokenizer_config.json` leaves out.
    pub(super) fn special_tokens(
        &self,
        config: &TokenizerConfig,
    ) -> Result<BTreeMap<String, String>, TextError> {
        let map: Map<String, Value> = self.json("special_tokens_map.json")?.unwrap_or_default();
        let find = |name: &str| {
            config
                .rest
                .get(name)
                .and_then(token_text)
                .or_else(|| map.get(name).and_then(token_text))
        };
        Ok(SPECIAL_NAMES
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), find(name)?)))
            .collect())
    }

    /// Finds the chat templates: `chat_template.jinja` before `tokenizer_config.json`, and the one
    /// called `tool_use` beside the usual one.
    pub(super) fn chat_templates(
        &self,
        config: &TokenizerConfig,
    ) -> Result<Option<Templates>, TextError> {
        if let Some(default) = self.text("chat_template.jinja")? {
            let tool_use = self.text("additional_chat_templates/tool_use.jinja")?;
            return Ok(Some(Templates {
                path: self.path("chat_template.jinja"),
                default,
                tool_use,
            }));
        }
        let path = self.path("tokenizer_config.json");
        Ok(match &config.chat_template {
            None => None,
            Some(ChatTemplates::One(text)) => Some(Templates {
                path,
                default: text.clone(),
                tool_use: None,
            }),
            Some(ChatTemplates::Named(list)) => {
                let named = |name: &str| {
                    list.iter()
                        .find(|it| it.name == name)
                        .map(|it| it.template.clone())
                };
                let tool_use = named("tool_use");
                named("default")
                    .or_else(|| tool_use.clone())
                    .map(|default| Templates {
                        path,
                        default,
                        tool_use,
                    })
            }
        })
    }
}

// === impl TokenizerConfig ===

impl TokenizerConfig {
    /// Returns `model_max_length` where it is a length and not a stand-in for infinity.
    pub(super) fn sane_max_length(&self) -> Option<usize> {
        self.model_max_length
            .filter(|length| (1.0..SANE_LENGTH).contains(length))
            .map(|length| length as usize)
    }
}

// === impl HfConfig ===

impl HfConfig {
    /// Returns the number of positions that the model was made for.
    pub(super) fn max_positions(&self) -> Option<usize> {
        self.max_position_embeddings
            .or(self.n_positions)
            .or_else(|| self.text_config.as_ref().and_then(|it| it.max_positions()))
    }
}

/// A special token is a string, or an `AddedToken` with its text in `content`.
fn token_text(token: &Value) -> Option<String> {
    token
        .as_str()
        .or_else(|| token.get("content")?.as_str())
        .map(str::to_owned)
}
