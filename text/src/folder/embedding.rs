//! What sentence-transformers writes beside a model that embeds text.
//!
//! `modules.json` lists what happens to a text after the other: the transformer, pooling, perhaps
//! normalisation. Each has a folder with its settings. Versions before 6 name the ways of pooling one by
//! one, later ones by a word; both are read. A module that changes the vector in another way (a dense
//! layer) is an error: leaving it out would give wrong vectors in silence.

use serde::Deserialize;

use super::files::Folder;
use crate::TextError;

/// How the vectors of a text's tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// That of the first token.
    Cls,
    /// Their mean.
    Mean,
    /// The largest number of each dimension.
    Max,
    /// Their sum, divided by the square root of how many they are.
    MeanSqrtLen,
    /// That of the last token.
    LastToken,
}

/// How a model embeds text.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// How one vector is made.
    pub pooling: Pooling,
    /// Whether it is brought to length 1.
    pub normalize: bool,
    /// Most tokens of a text, the special ones included.
    pub max_tokens: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PoolingConfig {
    pooling_mode: Option<String>,
    pooling_mode_cls_token: bool,
    pooling_mode_mean_tokens: bool,
    pooling_mode_max_tokens: bool,
    pooling_mode_mean_sqrt_len_tokens: bool,
    pooling_mode_weightedmean_tokens: bool,
    pooling_mode_lasttoken: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BertConfig {
    max_seq_length: Option<usize>,
}

// === impl Embedding ===

impl Default for Embedding {
    /// Returns what most such models do: the mean, brought to length 1.
    fn default() -> Self {
        Self {
            pooling: Pooling::Mean,
            normalize: true,
            max_tokens: None,
        }
    }
}

impl Embedding {
    /// Reads it; `None` where the folder says nothing about it.
    pub(super) fn read(files: &Folder<'_>) -> Result<Option<Self>, TextError> {
        let Some(modules): Option<Vec<Module>> = files.json("modules.json")? else {
            return Ok(None);
        };
        let bert: BertConfig = files.json("sentence_bert_config.json")?.unwrap_or_default();
        let mut embedding = Self {
            normalize: false,
            max_tokens: bert.max_seq_length,
            ..Self::default()
        };
        for module in modules {
            let name = module.kind.rsplit('.').next().unwrap_or_default();
            match name {
                "Transformer" => {}
                "Normalize" => embedding.normalize = true,
                "Pooling" => {
                    let file = format!("{}/config.json", module.path);
                    let config: PoolingConfig = files.json(&file)?.unwrap_or_default();
                    embedding.pooling = config.pooling().ok_or_else(|| TextError::Unsupported {
                        path: files.path(&file),
                        what: "it pools in a way, or in several, that is not known here".to_owned(),
                    })?;
                }
                other => {
                    return Err(TextError::Unsupported {
                        path: files.path("modules.json"),
                        what: format!("module {other} is not known here"),
                    });
                }
            }
        }
        Ok(Some(embedding))
    }
}

// === impl PoolingConfig ===

impl PoolingConfig {
    /// Returns the one way of pooling that is asked for.
    fn pooling(&self) -> Option<Pooling> {
        match self.pooling_mode.as_deref() {
            Some("cls") => return Some(Pooling::Cls),
            Some("mean") => return Some(Pooling::Mean),
            Some("max") => return Some(Pooling::Max),
            Some("mean_sqrt_len_tokens") => return Some(Pooling::MeanSqrtLen),
            Some("lasttoken") => return Some(Pooling::LastToken),
            Some(_) => return None,
            None => {}
        }
        let ways = [
            (self.pooling_mode_cls_token, Some(Pooling::Cls)),
            (self.pooling_mode_mean_tokens, Some(Pooling::Mean)),
            (self.pooling_mode_max_tokens, Some(Pooling::Max)),
            (
                self.pooling_mode_mean_sqrt_len_tokens,
                Some(Pooling::MeanSqrtLen),
            ),
            (self.pooling_mode_lasttoken, Some(Pooling::LastToken)),
            (self.pooling_mode_weightedmean_tokens, None),
        ];
        let mut wanted = ways.into_iter().filter(|(wanted, _)| *wanted);
        match (wanted.next(), wanted.next()) {
            (Some((_, way)), None) => way,
            (None, _) => Some(Pooling::Mean),
            (Some(_), Some(_)) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(files: &[(&str, &str)]) -> Result<Option<Embedding>, TextError> {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        Embedding::read(&Folder::new(dir.path()))
    }

    const MODULES: &str = r#"[{"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]"#;

    #[test]
    fn both_ways_of_writing_how_to_pool_are_read() {
        for config in [
            r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#,
            r#"{"pooling_mode": "cls"}"#,
        ] {
            let files = [
                ("modules.json", MODULES),
                ("1_Pooling/config.json", config),
                ("sentence_bert_config.json", r#"{"max_seq_length": 48}"#),
            ];
            let embedding = read(&files).unwrap().unwrap();
            assert_eq!(
                embedding,
                Embedding {
                    pooling: Pooling::Cls,
                    normalize: true,
                    max_tokens: Some(48),
                }
            );
        }
    }

    #[test]
    fn what_would_give_other_vectors_is_an_error_that_names_its_file() {
        let dense = MODULES.replace("Normalize\"", "Dense\"");
        let error = read(&[("modules.json", &dense)]).unwrap_err().to_string();
        assert!(
            error.contains("Dense") && error.contains("modules.json"),
            "{error}"
        );
        let two = r#"{"pooling_mode_cls_token": true, "pooling_mode_max_tokens": true}"#;
        let files = [("modules.json", MODULES), ("1_Pooling/config.json", two)];
        let error = read(&files).unwrap_err().to_string();
        assert!(error.contains("1_Pooling"), "{error}");
    }

    #[test]
    fn a_folder_of_another_kind_says_nothing() {
        assert_eq!(read(&[("config.json", "{}")]).unwrap(), None);
        let nowhere = Embedding::read(&Folder::new(Path::new("/nowhere"))).unwrap();
        assert_eq!(nowhere, None);
    }
}
