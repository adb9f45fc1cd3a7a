//! What becomes of sequences.

use impetus_actors::serving::ServeError;
use proptest::prelude::*;

use super::choice::{Delta, FinishReason};
use super::*;

/// Puts all that came of each answer together.
fn together(deltas: impl IntoIterator<Item = Delta>, answers: usize) -> Vec<Delta> {
    let mut whole: Vec<Delta> = (0..answers)
        .map(|index| Delta {
            index,
            ..Delta::default()
        })
        .collect();
    for delta in deltas {
        let answer = &mut whole[delta.index];
        assert!(answer.finish.is_none(), "nothing comes after the end");
        answer.text.push_str(&delta.text);
        answer.calls.extend(delta.calls);
        answer.tokens.extend(delta.tokens);
        answer.finish = delta.finish;
    }
    whole
}

async fn all(mut generation: Generation) -> Result<Vec<Delta>, Refusal> {
    let mut deltas = Vec::new();
    while let Some(some) = generation.next().await {
        deltas.extend(some?);
    }
    Ok(deltas)
}

/// Returns the answer to a request for chat whose sequence is written by hand.
async fn answered(fields: Value, events: Vec<StreamEvent>, at_once: usize) -> Delta {
    let mut body = json!({"messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    let job = chat(&body).unwrap();
    let (events, _) = Scripted::begin(events, at_once);
    let deltas = all(generation(&job, vec![events])).await.unwrap();
    together(deltas, 1).remove(0)
}

fn tokens_of(answer: &Delta) -> String {
    let bytes = answer
        .tokens
        .iter()
        .flat_map(|told| told.token.bytes.clone());
    String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned()
}

#[actix_web::test]
async fn a_character_is_shown_when_it_is_whole_and_tokens_that_are_ready_come_together() {
    let job = completion(&json!({"prompt": "x"})).unwrap();
    let (events, _) = Scripted::begin(saying("aé😀", Finish::Stop), 1);
    let deltas = all(generation(&job, vec![events])).await.unwrap();
    let texts: Vec<&str> = deltas.iter().map(|delta| delta.text.as_str()).collect();
    assert_eq!(texts, ["a", "é", "😀", ""]);
    assert_eq!(deltas.last().unwrap().finish, Some(FinishReason::Stop));
    let (events, _) = Scripted::begin(saying("aé😀", Finish::Stop), 100);
    let deltas = all(generation(&job, vec![events])).await.unwrap();
    assert_eq!(deltas.len(), 1);
    assert_eq!(deltas[0].text, "aé😀");
}

#[actix_web::test]
async fn what_is_cut_within_a_character_ends_with_a_replacement() {
    let mut events = saying("aé", Finish::Length);
    events.pop();
    let Some(StreamEvent::Token(last)) = events.last_mut() else {
        panic!("a token");
    };
    last.finish = Some(Finish::Length);
    let answer = answered(json!({"logprobs": true}), events, 1).await;
    assert_eq!(answer.text, "a\u{fffd}");
    assert_eq!(answer.finish, Some(FinishReason::Length));
    assert_eq!(answer.tokens.len(), 2);
}

#[actix_web::test]
async fn an_answer_ends_before_a_stop_string_and_gives_its_sequence_up() {
    let job = completion(&json!({"prompt": "x", "stop": ["END", "\n\n"], "logprobs": 1})).unwrap();
    for at_once in [1, 3, 100] {
        let (events, is_gone) = Scripted::begin(saying("good EENDless", Finish::Length), at_once);
        let mut generation = generation(&job, vec![events]);
        let mut deltas = Vec::new();
        while let Some(some) = generation.next().await {
            deltas.extend(some.unwrap());
            let shown: String = deltas
                .iter()
                .map(|delta: &Delta| delta.text.as_str())
                .collect();
            assert!("good E".starts_with(&shown), "{shown:?}");
        }
        assert!(is_gone.get(), "the sequence was given up");
        let answer = together(deltas, 1).remove(0);
        assert_eq!(answer.text, "good E");
        assert_eq!(answer.finish, Some(FinishReason::Stop));
        assert_eq!(tokens_of(&answer), "good E");
    }
}

#[actix_web::test]
async fn what_might_have_become_a_stop_string_is_shown_in_the_end() {
    let answer = answered(
        json!({"stop": "END", "logprobs": true}),
        saying("the EN", Finish::Stop),
        1,
    )
    .await;
    assert_eq!(
        (answer.text.as_str(), answer.finish),
        ("the EN", Some(FinishReason::Stop))
    );
    assert_eq!(tokens_of(&answer), "the EN");
}

#[actix_web::test]
async fn a_token_that_ends_the_answer_is_no_part_of_it_unless_it_is_to_go_on() {
    let dot = u32::from(b'.');
    let events = || vec![begun(0), token(97, None), token(dot, Some(Finish::Stop))];
    let answer = answered(
        json!({"stop_token_ids": [dot], "logprobs": true}),
        events(),
        1,
    )
    .await;
    assert_eq!((answer.text.as_str(), answer.tokens.len()), ("a", 1));
    // A grammar may be complete with a token that is text.
    let answer = answered(json!({"logprobs": true}), events(), 1).await;
    assert_eq!((answer.text.as_str(), answer.tokens.len()), ("a.", 2));
}

#[actix_web::test]
async fn an_echoed_prompt_comes_first_with_the_probabilities_of_its_tokens() {
    let body = json!({"prompt": "é!", "echo": true, "logprobs": 1, "max_tokens": 2});
    let prompt_logprobs = vec![
        TokenLogprobs {
            chosen: -1.0,
            best: vec![(97, -0.5)],
        },
        TokenLogprobs {
            chosen: -2.0,
            best: vec![(98, -0.25)],
        },
    ];
    let mut events = saying("xy", Finish::Length);
    events[0] = StreamEvent::Begun {
        reused: 0,
        prompt_logprobs,
        queued: Duration::ZERO,
    };
    let (events, _) = Scripted::begin(events, 2);
    let answer = together(
        all(generation(&completion(&body).unwrap(), vec![events]))
            .await
            .unwrap(),
        1,
    )
    .remove(0);
    assert_eq!(answer.text, "é!xy");
    let told: Vec<_> = answer
        .tokens
        .iter()
        .map(|told| (told.token.logprob, told.offset))
        .collect();
    assert_eq!(
        told,
        [
            (None, 0),
            (Some(-1.0), 0),
            (Some(-2.0), 1),
            (Some(-0.5), 2),
            (Some(-0.5), 3)
        ]
    );
    assert!(answer.tokens[0].best.is_none());
    assert_eq!(answer.tokens[1].best.as_ref().unwrap()[0].text(), "a");
}

#[actix_web::test]
async fn scoring_tells_the_prompt_and_nothing_else() {
    let body = json!({"prompt": "ab", "echo": true, "max_tokens": 0});
    let (events, _) = Scripted::begin(saying("x", Finish::Length), 1);
    let mut generation = generation(&completion(&body).unwrap(), vec![events]);
    let mut deltas = Vec::new();
    while let Some(some) = generation.next().await {
        deltas.extend(some.unwrap());
    }
    let answer = together(deltas, 1).remove(0);
    assert_eq!(
        (answer.text.as_str(), answer.finish),
        ("ab", Some(FinishReason::Length))
    );
    assert_eq!(
        (generation.counts().prompt, generation.counts().completion),
        (2, 0)
    );
}

#[actix_web::test]
async fn several_answers_come_as_they_are_ready_and_all_tokens_are_counted() {
    let job = completion(&json!({"prompt": ["ab", "c"], "n": 2, "max_tokens": 9})).unwrap();
    let texts = ["first", "2", "third one", ""];
    let mut sequences = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        let mut events = saying(text, Finish::Stop);
        events[0] = begun(at + 1);
        sequences.push(Scripted::begin(events, at + 1).0);
    }
    let mut generation = generation(&job, sequences);
    let mut deltas = Vec::new();
    while let Some(some) = generation.next().await {
        deltas.extend(some.unwrap());
    }
    let answers = together(deltas, 4);
    for (answer, text) in answers.iter().zip(texts) {
        assert_eq!(
            (answer.text.as_str(), answer.finish),
            (text, Some(FinishReason::Stop))
        );
    }
    let counts = generation.counts();
    // Every answer has the token that ended it, and of each prompt the first answer says what was reused.
    assert_eq!(
        (counts.prompt, counts.completion, counts.cached),
        (3, 5 + 1 + 9 + 4, 1 + 3)
    );
}

#[actix_web::test]
async fn one_answer_that_cannot_be_finished_gives_all_up() {
    let job = completion(&json!({"prompt": "x", "n": 2})).unwrap();
    let lost = ServeError::WorkerLost {
        model: "m".to_owned(),
        attempts: 3,
    };
    let (fine, fine_is_gone) = Scripted::begin(saying("a long answer", Finish::Stop), 1);
    let (failing, _) = Scripted::begin(
        vec![begun(0), token(97, None), StreamEvent::Failed(lost)],
        1,
    );
    let mut generation = generation(&job, vec![fine, failing]);
    let refusal = loop {
        match generation.next().await.expect("a failure") {
            Ok(_) => {}
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal.code(), "worker_lost");
    assert!(fine_is_gone.get());
    // A sequence without an end is no answer.
    let (cut, _) = Scripted::begin(vec![begun(0), token(97, None)], 1);
    let job = completion(&json!({"prompt": "x"})).unwrap();
    let refusal = all(super::generation(&job, vec![cut])).await.unwrap_err();
    assert_eq!(refusal.code(), "failed");
}

#[actix_web::test]
async fn calls_of_tools_are_taken_out_of_the_text() {
    let tools = json!([{"type": "function", "function": {"name": "look"}}]);
    let call = |what: &str| {
        format!(
            "<tool_call>\n{{\"name\": \"look\", \"arguments\": {{\"at\": \"{what}\"}}}}\n</tool_call>"
        )
    };
    let said = format!("Let me see. {}{}", call("a"), call("b"));
    for at_once in [1, 7, 500] {
        let answer = answered(
            json!({"tools": tools}),
            saying(&said, Finish::Stop),
            at_once,
        )
        .await;
        assert_eq!(answer.text.trim_end(), "Let me see.");
        assert_eq!(answer.finish, Some(FinishReason::ToolCalls));
        let calls: Vec<_> = answer
            .calls
            .iter()
            .map(|called| {
                (
                    called.index,
                    called.call.name.as_str(),
                    called.call.arguments.as_str(),
                )
            })
            .collect();
        assert_eq!(
            calls,
            [(0, "look", r#"{"at": "a"}"#), (1, "look", r#"{"at": "b"}"#)]
        );
    }
    let one = json!({"tools": tools, "parallel_tool_calls": false});
    let answer = answered(one, saying(&said, Finish::Stop), 1).await;
    assert_eq!(
        (answer.calls.len(), answer.finish),
        (1, Some(FinishReason::ToolCalls))
    );
    // What is no call is text, and what was cut is shown as it stands.
    let answer = answered(
        json!({"tools": tools}),
        saying("no <tool>", Finish::Stop),
        1,
    )
    .await;
    assert_eq!(
        (answer.text.as_str(), answer.finish),
        ("no <tool>", Some(FinishReason::Stop))
    );
    let answer = answered(
        json!({"tools": tools}),
        saying("<tool_call>{\"na", Finish::Length),
        1,
    )
    .await;
    assert!(
        answer.calls.is_empty() && answer.text.contains("{\"na"),
        "{answer:?}"
    );
    assert_eq!(answer.finish, Some(FinishReason::Length));
}

#[actix_web::test]
async fn a_demanded_call_is_the_whole_answer() {
    let fields = json!({"tools": [{"type": "function", "function": {"name": "look"}}], "tool_choice": "required"});
    let said = r#"{"name": "look", "arguments": {}}"#;
    let answer = answered(fields, saying(said, Finish::Stop), 3).await;
    assert_eq!((answer.text.as_str(), answer.calls.len()), ("", 1));
    assert_eq!(answer.finish, Some(FinishReason::ToolCalls));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_answer_is_the_same_however_its_tokens_come(
        said in "[abc😀é ]{0,12}",
        stop in "[abcé ]{1,3}",
        at_once in 1usize..20,
    ) {
        let fields = || json!({"stop": stop, "logprobs": true, "top_logprobs": 1});
        let events = || saying(&said, Finish::Stop);
        let (pieces, whole) = actix_web::rt::System::new().block_on(async {
            (answered(fields(), events(), at_once).await, answered(fields(), events(), 1000).await)
        });
        let expected = said.split(stop.as_str()).next().unwrap_or_default();
        prop_assert_eq!(&whole.text, expected);
        prop_assert_eq!(tokens_of(&whole), expected);
        prop_assert_eq!(pieces, whole);
    }
}
