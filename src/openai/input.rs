//! Fields that clients write in several shapes.

use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

/// One text, or several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts(pub Vec<String>);

/// What is to be continued: texts or tokens, one or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompts {
    /// Texts.
    Texts(Vec<String>),
    /// Tokens.
    Tokens(Vec<Vec<u32>>),
}

/// One text, or several.
#[derive(Deserialize, ToSchema)]
#[schema(as = OpenAiTexts)]
#[serde(untagged)]
#[expect(dead_code, reason = "stands for what is read by hand")]
pub(super) enum TextsShape {
    One(String),
    Several(Vec<String>),
}

/// What is to be continued: texts or tokens, one or several.
#[derive(Deserialize, ToSchema)]
#[schema(as = OpenAiPrompts)]
#[serde(untagged)]
#[expect(dead_code, reason = "stands for what is read by hand")]
pub(super) enum PromptsShape {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u32>),
    SeveralTokens(Vec<Vec<u32>>),
}

struct TextsVisitor;

struct PromptsVisitor;

/// An element of a list of prompts.
enum Element {
    Text(String),
    Token(u32),
    Tokens(Vec<u32>),
}

struct ElementVisitor;

// === impl Texts ===

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TextsVisitor)
    }
}

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of strings")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Texts, E> {
        Ok(Texts(vec![text.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Texts, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Texts)
    }
}

// === impl Prompts ===

impl<'de> Deserialize<'de> for Prompts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(PromptsVisitor)
    }
}

impl<'de> Visitor<'de> for PromptsVisitor {
    type Value = Prompts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a list of strings, a list of token ids or a list of such lists")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Prompts, E> {
        Ok(Prompts::Texts(vec![text.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Prompts, A::Error> {
        let mixed = || A::Error::custom("a list of prompts must have elements of one kind");
        match list.next_element()? {
            None => Err(A::Error::invalid_length(0, &self)),
            Some(Element::Text(first)) => {
                let mut texts = vec![first];
                while let Some(element) = list.next_element()? {
                    let Element::Text(text) = element else {
                        return Err(mixed());
                    };
                    texts.push(text);
                }
                Ok(Prompts::Texts(texts))
            }
            Some(Element::Token(first)) => {
                let mut tokens = vec![first];
                while let Some(element) = list.next_element()? {
                    let Element::Token(token) = element else {
                        return Err(mixed());
                    };
                    tokens.push(token);
                }
                Ok(Prompts::Tokens(vec![tokens]))
            }
            Some(Element::Tokens(first)) => {
                let mut prompts = vec![first];
                while let Some(element) = list.next_element()? {
                    let Element::Tokens(tokens) = element else {
                        return Err(mixed());
                    };
                    prompts.push(tokens);
                }
                Ok(Prompts::Tokens(prompts))
            }
        }
    }
}

// === impl Element ===

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ElementVisitor)
    }
}

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Element;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a token id or a list of token ids")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Element, E> {
        Ok(Element::Text(text.to_owned()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Element, E> {
        let token = u32::try_from(number);
        let token = token.map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))?;
        Ok(Element::Token(token))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Element, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Element::Tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompts(text: &str) -> Result<Prompts, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn prompts_come_in_four_shapes_and_in_no_other() {
        let texts = |texts: &[&str]| Prompts::Texts(texts.iter().map(|t| (*t).into()).collect());
        assert_eq!(prompts(r#""a""#), Ok(texts(&["a"])));
        assert_eq!(prompts(r#"["a", "b"]"#), Ok(texts(&["a", "b"])));
        assert_eq!(prompts("[1, 2]"), Ok(Prompts::Tokens(vec![vec![1, 2]])));
        assert_eq!(
            prompts("[[1], [2, 3]]"),
            Ok(Prompts::Tokens(vec![vec![1], vec![2, 3]]))
        );
        for wrong in ["[]", r#"["a", 1]"#, "[1, [2]]", "[-1]", "[4294967296]", "7"] {
            let error = prompts(wrong).unwrap_err();
            assert!(
                error.contains("list of") || error.contains("token id"),
                "{wrong}: {error}"
            );
        }
    }

    #[test]
    fn one_stop_string_is_a_list_of_one() {
        let texts = |text| serde_json::from_str::<Texts>(text).unwrap().0;
        assert_eq!(texts(r#""\n""#), ["\n"]);
        assert_eq!(texts(r#"["a", "b"]"#), ["a", "b"]);
        assert!(texts("[]").is_empty());
        assert!(serde_json::from_str::<Texts>("[1]").is_err());
    }
}
