//! Embeddings: texts that become vectors.
//!
//! The model itself takes tensors like any other, and gives a vector for each token; how those become
//! one for the text is what sentence-transformers wrote beside it. Texts of one request are run
//! together, those of similar length beside each other, shorter ones filled up and masked: what fills
//! them is never looked at.

mod pool;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use impetus_actors::serving::ServedModel;
use impetus_engine::{DType, Tensor, TensorSpec};
use impetus_text::{Embedding, TextModel};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use super::Refusal;
use super::input::{Prompts, PromptsShape};
use crate::oip::Kind;

pub use pool::pool;

/// Most texts in one request, as OpenAI has it.
const MOST_TEXTS: usize = 2048;

/// What a request for embeddings says.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OpenAiEmbeddingsRequest, example = json!({"model": "embedder", "input": ["a text", "another one"]}))]
pub struct Fields {
    /// The model; may be left out where there is only one.
    pub model: Option<String>,
    /// Texts, or the tokens of texts.
    #[schema(value_type = PromptsShape)]
    pub input: Prompts,
    /// How vectors are written.
    pub encoding_format: Option<EncodingFormat>,
    /// How many of the first numbers are kept; they are brought to length 1 again. For models that were
    /// trained for it.
    pub dimensions: Option<usize>,
    /// Whether a text that is too long is cut, and not refused.
    pub truncate: Option<bool>,
}

/// How vectors are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EncodingFormat {
    /// As numbers.
    #[default]
    Float,
    /// As the base64 of 32-bit floats, little-endian.
    Base64,
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiEmbeddings)]
pub struct Answer {
    /// `list`.
    #[schema(example = "list")]
    object: &'static str,
    /// One for each text, in their order.
    data: Vec<Item>,
    /// The model.
    model: String,
    /// What it cost.
    usage: Usage,
}

/// The vector of one text.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiEmbedding)]
struct Item {
    /// `embedding`.
    #[schema(example = "embedding")]
    object: &'static str,
    /// Which text it is of, from 0.
    index: usize,
    #[schema(value_type = VectorShape)]
    embedding: Vector,
}

/// Tokens that were taken in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiEmbeddingsUsage)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

#[derive(Debug)]
struct Vector {
    numbers: Vec<f32>,
    format: EncodingFormat,
}

/// What the document says of a vector.
#[derive(Serialize, ToSchema)]
#[schema(as = OpenAiVector)]
#[serde(untagged)]
#[expect(dead_code, reason = "stands for what is written by hand")]
enum VectorShape {
    Float(Vec<f32>),
    Base64(String),
}

/// The texts of a request as tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens(Vec<Vec<u32>>);

/// Texts that are run together.
#[derive(Debug)]
pub struct Batch {
    /// Which texts of the request they are.
    pub texts: Vec<usize>,
    /// How many tokens each of them has.
    pub lengths: Vec<usize>,
    /// What the model is run with.
    pub inputs: Vec<Tensor>,
}

// === impl Fields ===

impl Fields {
    /// Turns the texts into tokens.
    ///
    /// # Errors
    /// There is no text, or too many, or one that has no tokens or more than there is room for.
    pub fn tokens(&self, text: &TextModel) -> Result<Tokens, Refusal> {
        let said = text.embedding().and_then(|embedding| embedding.max_tokens);
        let room = said.or(text.context_length()).unwrap_or(usize::MAX);
        let tokens = match &self.input {
            Prompts::Texts(texts) => {
                bounded(texts.len())?;
                let mut all = text.tokenizer().encode_batch(texts, true)?;
                for (tokens, whole) in all.iter_mut().zip(texts) {
                    if self.truncates() && tokens.len() > room {
                        *tokens = text.tokenizer().encode_cut(whole, room)?;
                    }
                }
                all
            }
            Prompts::Tokens(tokens) => {
                bounded(tokens.len())?;
                known(tokens, text.tokenizer().vocabulary().tokens.len())?;
                tokens.clone()
            }
        };
        let fit = |(index, mut tokens): (usize, Vec<u32>)| {
            if tokens.is_empty() {
                return Err(Refusal::invalid(format!("input[{index}]"), "has no tokens"));
            }
            if tokens.len() > room && !self.truncates() {
                let message = format!(
                    "`input[{index}]` has {} tokens, and the model takes {room}; shorten it, or set \
                     `truncate`",
                    tokens.len()
                );
                let refusal = Refusal::new(Kind::Invalid, "context_length_exceeded", message);
                return Err(refusal.of("input"));
            }
            tokens.truncate(room);
            Ok(tokens)
        };
        tokens
            .into_iter()
            .enumerate()
            .map(fit)
            .collect::<Result<_, _>>()
            .map(Tokens)
    }

    /// Makes the answer of what the model has given.
    ///
    /// # Errors
    /// More dimensions are asked for than there are.
    pub fn answer(
        &self,
        model: &ServedModel,
        tokens: &Tokens,
        vectors: Vec<Vec<f32>>,
    ) -> Result<Answer, Refusal> {
        let data = vectors.into_iter().enumerate().map(|(index, numbers)| {
            Ok(Item {
                object: "embedding",
                index,
                embedding: Vector {
                    numbers: self.shortened(numbers)?,
                    format: self.encoding_format.unwrap_or_default(),
                },
            })
        });
        let prompt_tokens = tokens.0.iter().map(Vec::len).sum();
        Ok(Answer {
            object: "list",
            data: data.collect::<Result<_, Refusal>>()?,
            model: model.spec().name.clone(),
            usage: Usage {
                prompt_tokens,
                total_tokens: prompt_tokens,
            },
        })
    }

    fn truncates(&self) -> bool {
        self.truncate.unwrap_or_default()
    }

    fn shortened(&self, mut numbers: Vec<f32>) -> Result<Vec<f32>, Refusal> {
        let Some(wanted) = self.dimensions else {
            return Ok(numbers);
        };
        if !(1..=numbers.len()).contains(&wanted) {
            let message = format!("is {wanted}; the model gives 1 to {}", numbers.len());
            return Err(Refusal::invalid("dimensions", message));
        }
        if wanted < numbers.len() {
            numbers.truncate(wanted);
            pool::normalize(&mut numbers);
        }
        Ok(numbers)
    }
}

/// Insists that the model knows every token.
fn known(texts: &[Vec<u32>], vocabulary: usize) -> Result<(), Refusal> {
    let unknown = |(index, tokens): (usize, &Vec<u32>)| {
        let token = tokens.iter().find(|token| **token as usize >= vocabulary)?;
        Some((index, *token))
    };
    match texts.iter().enumerate().find_map(unknown) {
        None => Ok(()),
        Some((index, token)) => Err(Refusal::invalid(
            format!("input[{index}]"),
            format!(
                "has the token {token}, and the model knows 0 to {}",
                vocabulary.saturating_sub(1)
            ),
        )),
    }
}

fn bounded(texts: usize) -> Result<(), Refusal> {
    match texts {
        0 => Err(Refusal::invalid("input", "is empty")),
        1..=MOST_TEXTS => Ok(()),
        _ => Err(Refusal::invalid(
            "input",
            format!("has {texts} texts; at most {MOST_TEXTS} are taken at a time"),
        )),
    }
}

// === impl Tokens ===

impl Tokens {
    /// Returns how many texts there are.
    #[must_use]
    pub fn texts(&self) -> usize {
        self.0.len()
    }

    /// Puts texts of similar length together, at most `rows` of them, for a model with these inputs.
    ///
    /// # Errors
    /// The model has an input that is not known here.
    pub fn batches(&self, inputs: &[TensorSpec], rows: usize) -> Result<Vec<Batch>, Refusal> {
        let mut order: Vec<usize> = (0..self.0.len()).collect();
        order.sort_by_key(|text| self.0[*text].len());
        let batches = order.chunks(rows.max(1));
        batches.map(|texts| self.batch(texts, inputs)).collect()
    }

    fn batch(&self, texts: &[usize], inputs: &[TensorSpec]) -> Result<Batch, Refusal> {
        let lengths: Vec<usize> = texts.iter().map(|text| self.0[*text].len()).collect();
        let width = lengths.iter().copied().max().unwrap_or_default();
        let inputs = inputs.iter().map(|spec| {
            let value: fn(&[u32], usize) -> u32 = match spec.name.as_str() {
                "input_ids" => |tokens, at| tokens.get(at).copied().unwrap_or_default(),
                "attention_mask" => |tokens, at| u32::from(at < tokens.len()),
                "token_type_ids" => |_, _| 0,
                "position_ids" => |_, at| u32::try_from(at).unwrap_or(u32::MAX),
                other => {
                    let message =
                        format!("the model has an input {other:?} that texts do not fill");
                    return Err(Refusal::new(
                        Kind::Unsupported,
                        "wrong_kind_of_model",
                        message,
                    ));
                }
            };
            let numbers = texts
                .iter()
                .flat_map(|text| (0..width).map(move |at| value(&self.0[*text], at)));
            let bytes: Vec<u8> = match spec.dtype {
                DType::I32 => numbers.flat_map(u32::to_le_bytes).collect(),
                _ => numbers
                    .flat_map(|number| u64::from(number).to_le_bytes())
                    .collect(),
            };
            let dtype = if spec.dtype == DType::I32 {
                DType::I32
            } else {
                DType::I64
            };
            let shape = vec![texts.len(), width];
            Tensor::try_new(spec.name.clone(), dtype, shape, bytes)
                .map_err(|error| Refusal::new(Kind::Failed, "failed", error.to_string()))
        });
        Ok(Batch {
            texts: texts.to_vec(),
            inputs: inputs.collect::<Result<_, Refusal>>()?,
            lengths,
        })
    }
}

/// Returns how a model embeds, as its folder says or as most do.
#[must_use]
pub fn settings(text: &TextModel) -> Embedding {
    text.embedding().cloned().unwrap_or_default()
}

impl Serialize for Vector {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.format {
            EncodingFormat::Float => self.numbers.serialize(to),
            EncodingFormat::Base64 => {
                let numbers = self.numbers.iter();
                let bytes: Vec<u8> = numbers.flat_map(|number| number.to_le_bytes()).collect();
                STANDARD.encode(bytes).serialize(to)
            }
        }
    }
}
