//! Structured output: which tokens may follow.
//!
//! llguidance keeps a parser for each sequence and says, before each token, which of the vocabulary's
//! tokens its grammar allows. A grammar comes from a client, so it is bounded in every dimension:
//! what exceeds [`limits`] is refused when the sequence is taken in, or ends it when a single step
//! takes too much work. The bounds count work and not time, so a resumed sequence meets the same.

use std::fmt::Display;
use std::sync::Arc;

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::toktrie::{ApproximateTokEnv, SimpleVob, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};

use super::{Generate, Grammar, Vocabulary};
use crate::error::EngineError;

/// The longest text of a grammar, in bytes.
const MAX_TEXT: usize = 256 * 1024;
/// The longest token, in bytes; the trie counts them in sixteen bits.
const MAX_TOKEN: usize = 8 * 1024;

/// Makes the grammars of one vocabulary.
pub struct Grammars {
    factory: ParserFactory,
}

/// What a sequence must conform to, as far as it has come.
pub struct Conforming(pub(super) Option<Progress>);

/// How far one sequence has come in its grammar.
pub(crate) struct Progress {
    matcher: Matcher,
    allowed: SimpleVob,
}

// === impl Grammars ===

impl Grammars {
    /// Makes a trie of a vocabulary's tokens.
    ///
    /// # Errors
    ///
    /// Fails with what is wrong with the vocabulary: no token that ends an answer, or one that is
    /// none of its tokens.
    pub fn new(vocabulary: &Vocabulary) -> Result<Self, String> {
        let count = u32::try_from(vocabulary.tokens.len())
            .ok()
            .filter(|count| *count > 0)
            .ok_or("the vocabulary has no tokens")?;
        let end = vocabulary
            .end
            .first()
            .ok_or("the vocabulary has no token that ends an answer")?;
        if let Some(beyond) = vocabulary.end.iter().find(|token| **token >= count) {
            return Err(format!(
                "token {beyond} is to end an answer and there are {count} tokens"
            ));
        }
        let words: Vec<Vec<u8>> = vocabulary.tokens.iter().map(word).collect();
        let trie = TokTrie::from(&TokRxInfo::new(count, *end), &words);
        let trie = trie.with_eos_tokens(&vocabulary.end);
        let env: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory = ParserFactory::new_simple(&env).map_err(|error| error.to_string())?;
        factory.quiet();
        *factory.limits_mut() = limits();
        Ok(Self { factory })
    }

    /// Compiles what a sequence must conform to, if anything, up to what has been generated of it.
    ///
    /// # Errors
    ///
    /// [`EngineError::GrammarRefused`] with what is wrong with it.
    pub fn conforming(&self, request: &Generate) -> Result<Conforming, EngineError> {
        let generated = request.tokens.get(request.prompt_len..).unwrap_or_default();
        let grammar = request.grammar.as_ref();
        let progress = grammar.map(|grammar| self.begin(grammar, generated));
        progress.transpose().map(Conforming)
    }

    /// Begins a grammar, behind what has been generated already.
    pub(crate) fn begin(
        &self,
        grammar: &Grammar,
        generated: &[u32],
    ) -> Result<Progress, EngineError> {
        let parser = self
            .factory
            .create_parser(top_level(grammar)?)
            .map_err(refused)?;
        let mut progress = Progress {
            matcher: Matcher::new(Ok(parser)),
            allowed: SimpleVob::new(),
        };
        for token in generated {
            progress.advance(*token)?;
        }
        Ok(progress)
    }
}

// === impl Progress ===

impl Progress {
    /// Finds which tokens may follow: of those that end the answer, `stop`, all if it may end here
    /// and none otherwise.
    ///
    /// # Errors
    ///
    /// [`EngineError::GrammarRefused`] if the grammar takes too much work here, or goes on with nothing
    /// but tokens that would end the answer.
    pub(crate) fn allow(&mut self, stop: &[u32]) -> Result<(), EngineError> {
        let accepts = self.matcher.is_accepting().map_err(refused)?;
        self.allowed = self.matcher.compute_mask_or_eos().map_err(refused)?;
        for token in stop {
            if (*token as usize) < self.allowed.len() {
                self.allowed.set(*token as usize, accepts);
            }
        }
        if self.allowed.is_zero() {
            return Err(EngineError::grammar(
                "it goes on with nothing but stop tokens, and must not end here",
            ));
        }
        Ok(())
    }

    /// Returns a bit for each token that [`allow`](Self::allow) has found.
    pub(crate) fn allowed(&self) -> &[u32] {
        self.allowed.as_slice()
    }

    /// Goes on behind a token; returns whether nothing can follow it.
    ///
    /// # Errors
    ///
    /// [`EngineError::GrammarRefused`] if the token was not allowed.
    pub(crate) fn advance(&mut self, token: u32) -> Result<bool, EngineError> {
        self.matcher.consume_token(token).map_err(refused)?;
        Ok(self.matcher.is_stopped())
    }
}

/// What a grammar may cost. A thousand lexer steps take some 70 microseconds, a thousand items 50.
fn limits() -> ParserLimits {
    ParserLimits {
        max_items_in_row: 2_000,
        initial_lexer_fuel: 1_000_000,
        step_lexer_fuel: 200_000,
        step_max_items: 50_000,
        max_lexer_states: 50_000,
        max_grammar_size: 200_000,
        precompute_large_lexemes: true,
        verbose_errors: false,
    }
}

fn top_level(grammar: &Grammar) -> Result<TopLevelGrammar, EngineError> {
    let (Grammar::JsonSchema(text) | Grammar::Regex(text) | Grammar::Lark(text)) = grammar;
    if text.len() > MAX_TEXT {
        return Err(EngineError::grammar(format!(
            "it has {} bytes, at most {MAX_TEXT} are allowed",
            text.len()
        )));
    }
    match grammar {
        Grammar::JsonSchema(schema) => schema_grammar(schema),
        Grammar::Regex(expression) => Ok(TopLevelGrammar::from_regex(expression)),
        Grammar::Lark(grammar) => Ok(TopLevelGrammar::from_lark(grammar.clone())),
    }
}

/// Returns a schema's grammar, with a blank, or a line's end and an indent, between two parts: a model
/// that cannot decide what to say goes on with blanks for as long as it is let.
fn schema_grammar(schema: &str) -> Result<TopLevelGrammar, EngineError> {
    const OPTIONS: &str = "x-guidance";
    const WHITESPACE: &str = r" |\n {0,12}";
    let mut schema: serde_json::Value = serde_json::from_str(schema)
        .map_err(|error| EngineError::grammar(format!("the schema is no JSON: {error}")))?;
    if let Some(schema) = schema.as_object_mut() {
        schema
            .entry(OPTIONS)
            .or_insert_with(|| serde_json::json!({ "whitespace_pattern": WHITESPACE }));
    }
    Ok(TopLevelGrammar::from_json_schema(schema))
}

/// Returns a refusal with all that the library says about it.
fn refused(error: impl Display) -> EngineError {
    EngineError::grammar(format!("{error:#}"))
}

/// Returns a token's bytes as the trie wants them: special ones behind a mark that is no UTF-8.
fn word((bytes, special): &(Vec<u8>, bool)) -> Vec<u8> {
    let bytes = &bytes[..bytes.len().min(MAX_TOKEN)];
    if *special {
        [&[TokTrie::SPECIAL_TOKEN_MARKER], bytes].concat()
    } else {
        bytes.to_vec()
    }
}

#[cfg(test)]
mod tests;
