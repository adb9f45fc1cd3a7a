//! Grammars over a vocabulary of single bytes, each its own token.

use super::*;

/// Every byte, and an end.
fn bytes() -> Vocabulary {
    let mut tokens: Vec<(Vec<u8>, bool)> = (0..=255).map(|byte| (vec![byte], false)).collect();
    tokens.push((b"<end>".to_vec(), true));
    Vocabulary {
        tokens,
        end: vec![END],
    }
}

const END: u32 = 256;

fn begin(grammar: &Grammar, text: &str) -> Result<Progress, EngineError> {
    let generated: Vec<u32> = text.bytes().map(u32::from).collect();
    Grammars::new(&bytes()).unwrap().begin(grammar, &generated)
}

/// Returns what may follow a text: characters, and `$` for the end.
fn follows(grammar: &Grammar, text: &str) -> String {
    let mut progress = begin(grammar, text).unwrap();
    progress.allow(&[END]).unwrap();
    (0..=END)
        .filter(|token| progress.allowed()[*token as usize / 32] >> (token % 32) & 1 == 1)
        .map(|token| u8::try_from(token).map_or('$', char::from))
        .collect()
}

#[test]
fn a_regular_expression_is_kept_to_and_ends_where_it_may() {
    let grammar = Grammar::Regex("a[bc]+(d)?".into());
    assert_eq!(follows(&grammar, ""), "a");
    assert_eq!(follows(&grammar, "a"), "bc");
    assert_eq!(follows(&grammar, "ab"), "bcd$");
}

#[test]
fn nothing_follows_a_grammar_that_is_complete() {
    let grammar = Grammar::Regex("ab".into());
    let mut progress = begin(&grammar, "a").unwrap();
    assert!(progress.advance(u32::from(b'b')).unwrap());
    let mut open = begin(&Grammar::Regex("ab?".into()), "").unwrap();
    assert!(!open.advance(u32::from(b'a')).unwrap());
}

#[test]
fn a_schema_gives_json_of_its_shape_and_no_endless_blanks() {
    let schema = r#"{"type":"object","properties":{"n":{"enum":[1,22]}},
        "required":["n"],"additionalProperties":false}"#;
    let grammar = Grammar::JsonSchema(schema.into());
    assert_eq!(follows(&grammar, "{\"n\":2"), "2");
    assert!(follows(&grammar, "{\"n\":1").contains('}'));
    assert!(!follows(&grammar, "{\"n\":1").contains('$'));
    assert!(follows(&grammar, "{\"n\":22}").contains('$'));
    assert!(follows(&grammar, "{").contains(' '));
    assert_eq!(follows(&grammar, "{ "), "\"");
    assert!(follows(&grammar, "{\n   ").contains(' '));
}

#[test]
fn a_grammar_in_larks_notation_is_kept_to() {
    let grammar = Grammar::Lark("start: \"x\" (\"y\" | \"z\")".into());
    assert_eq!(follows(&grammar, "x"), "yz");
}

#[test]
fn a_stop_token_is_allowed_where_the_answer_may_end_even_if_the_grammar_knows_it_as_text() {
    let mut progress = begin(&Grammar::Regex("[ab]+c".into()), "a").unwrap();
    progress.allow(&[END, u32::from(b'b')]).unwrap();
    let allowed = |token: u8| progress.allowed()[usize::from(token) / 32] >> (token % 32) & 1 == 1;
    assert!(allowed(b'a') && allowed(b'c') && !allowed(b'b'));
}

#[test]
fn a_grammar_that_needs_a_stop_token_in_its_middle_is_refused() {
    let mut progress = begin(&Grammar::Regex("abc".into()), "a").unwrap();
    let error = progress.allow(&[u32::from(b'b')]).unwrap_err();
    assert!(error.to_string().contains("stop tokens"), "{error}");
}

#[test]
fn what_cannot_be_kept_is_the_clients_fault_and_says_why() {
    let wrong = [
        Grammar::Regex("a(".into()),
        Grammar::Lark("start: nothing".into()),
        Grammar::JsonSchema("{".into()),
        Grammar::JsonSchema(r#"{"type":"nonsense"}"#.into()),
        Grammar::JsonSchema(r##"{"$ref":"#/definitions/none"}"##.into()),
        Grammar::JsonSchema(r#"{"enum":[]}"#.into()),
        // Larger than anybody should wait for.
        Grammar::Lark(format!("start: {}", "\"a\" ".repeat(70_000))),
    ];
    for grammar in wrong {
        let Err(error) = begin(&grammar, "") else {
            panic!("{grammar:?} is accepted");
        };
        assert!(
            matches!(error, EngineError::GrammarRefused { .. }),
            "{error:?}"
        );
        assert_eq!(error.fault(), crate::Fault::Client);
        assert!(error.to_string().len() > "the grammar cannot be used: ".len());
    }
}

#[test]
fn what_was_generated_has_to_conform_to_the_grammar() {
    let error = begin(&Grammar::Regex("abc".into()), "ax").err().unwrap();
    assert!(
        matches!(error, EngineError::GrammarRefused { .. }),
        "{error:?}"
    );
}

#[test]
fn a_vocabulary_without_an_end_cannot_be_used() {
    for end in [vec![], vec![END + 1]] {
        let vocabulary = Vocabulary { end, ..bytes() };
        assert!(Grammars::new(&vocabulary).is_err());
    }
}
