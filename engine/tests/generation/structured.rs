//! Answers that conform to a grammar, by a model that would never give them by itself.

use impetus_engine::generate::{Finish, Generate, Grammar, Sampling};
use impetus_engine::{EngineError, Fault};

use crate::text::{Text, VOCABULARY, generation, request, text_of};

const END: u32 = VOCABULARY as u32 - 1;

fn with(grammar: Grammar, id: u64, seed: Option<u64>) -> Generate {
    Generate {
        grammar: Some(grammar),
        stop_tokens: vec![END],
        sampling: Sampling {
            temperature: if seed.is_some() { 1.0 } else { 0.0 },
            seed: seed.unwrap_or(0),
            ..Sampling::default()
        },
        ..request(id, &[1, 2, 3], 60)
    }
}

#[tokio::test]
async fn a_schema_is_kept_to_greedily_and_at_random() {
    let schema = r#"{"type":"object","properties":{"name":{"type":"string","pattern":"^[a-d]{1,6}$"},
        "many":{"type":"array","items":{"enum":[1,23,true]},"maxItems":3}},
        "required":["name","many"],"additionalProperties":false}"#;
    let mut text = Text::start(generation(true)).await;
    for id in 0..12 {
        let seed = (id > 0).then_some(id);
        text.generate(with(Grammar::JsonSchema(schema.into()), id, seed))
            .await;
    }
    for id in 0..12 {
        let said = text.end_of(id).await;
        assert_eq!(said.finish(), Some(Finish::Stop), "{said:?}");
        let answer = text_of(&said.tokens());
        let value: serde_json::Value = serde_json::from_str(&answer).expect(&answer);
        let object = value.as_object().unwrap();
        assert_eq!(object.len(), 2, "{answer}");
        let name = object["name"].as_str().unwrap();
        assert!((1..=6).contains(&name.len()) && name.bytes().all(|byte| byte <= b'd'));
        assert!(object["many"].as_array().unwrap().len() <= 3);
    }
}

#[tokio::test]
async fn a_regular_expression_and_a_grammar_are_kept_to() {
    let mut text = Text::start(generation(true)).await;
    let regex = Grammar::Regex("[A-D]{3}-[0-9]{2}".into());
    let said = text.answer(with(regex, 1, Some(5))).await;
    let answer = text_of(&said.tokens());
    assert!(
        answer.len() == 6 && answer.as_bytes()[3] == b'-',
        "{answer}"
    );
    let lark = "start: (\"yes\" | \"no\") (\".\" start)?\n";
    let said = text
        .answer(with(Grammar::Lark(lark.into()), 2, Some(6)))
        .await;
    for word in text_of(&said.tokens()).split('.') {
        assert!(["yes", "no"].contains(&word), "{word}");
    }
}

#[tokio::test]
async fn a_resumed_answer_conforms_as_it_would_have() {
    let grammar = Grammar::JsonSchema(
        r#"{"type":"array","items":{"enum":[1,22,333]},"minItems":4,"maxItems":8}"#.into(),
    );
    let mut text = Text::start(generation(true)).await;
    let whole = with(grammar, 1, Some(77));
    let tokens = text.answer(whole.clone()).await.tokens();
    for known in 1..tokens.len() {
        let mut resumed = whole.clone();
        resumed.id = 1 + known as u64;
        resumed.tokens.extend(&tokens[..known]);
        assert_eq!(text.answer(resumed).await.tokens(), tokens[known..]);
    }
}

#[tokio::test]
async fn a_grammar_that_is_none_fails_its_sequence_and_no_other() {
    let mut text = Text::start(generation(true)).await;
    text.generate(request(1, &[1, 2], 20)).await;
    let said = text.answer(with(Grammar::Regex("(".into()), 2, None)).await;
    let error = said.error.unwrap();
    assert!(
        matches!(error, EngineError::GrammarRefused { .. }),
        "{error:?}"
    );
    assert_eq!(error.fault(), Fault::Client);
    assert_eq!(text.end_of(1).await.tokens().len(), 20);
}
