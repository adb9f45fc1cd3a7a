//! What goes over the wire.

use insta::assert_json_snapshot;

use super::answer::{Form, Head, Writer};
use super::choice::Delta;
use super::generation::Counts;
use super::*;

fn writer(form: Form, streamed: bool, logprobs: bool) -> Writer {
    let head = Head {
        id: String::new(),
        object: "",
        created: 1_735_732_800,
        model: "m".to_owned(),
        system_fingerprint: "fp_0".to_owned(),
    };
    Writer::new(form, streamed, head, logprobs)
}

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// Has a job done by a sequence that says something, and returns what came of it, and how many tokens there were.
async fn done(job: &Job, said: &str, at_once: usize) -> (Vec<Delta>, Counts) {
    let (events, _) = Scripted::begin(saying(said, Finish::Stop), at_once);
    let mut generation = generation(job, vec![events]);
    let mut deltas = Vec::new();
    while let Some(some) = generation.next().await {
        deltas.extend(some.unwrap());
    }
    (deltas, generation.counts())
}

fn asking(fields: Value) -> Job {
    let mut body = json!({"messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    chat(&body).unwrap()
}

#[actix_web::test]
async fn a_message_as_a_whole() {
    let job = asking(json!({"logprobs": true, "top_logprobs": 2}));
    let (answers, counts) = done(&job, "é", 100).await;
    let body = writer(Form::Chat, false, true).whole(answers, counts);
    assert_json_snapshot!(parsed(&body), {".id" => "[id]"});
}

#[actix_web::test]
async fn a_message_that_is_a_call() {
    let job = asking(
        json!({"tools": [{"type": "function", "function": {"name": "look"}}], "tool_choice": "required"}),
    );
    let said = r#"{"name": "look", "arguments": {"at": "it"}}"#;
    let (answers, counts) = done(&job, said, 100).await;
    let body = writer(Form::Chat, false, false).whole(answers.clone(), counts);
    assert_json_snapshot!(parsed(&body)["choices"], {"[].message.tool_calls[].id" => "[id]"});
    let chunk = writer(Form::Chat, true, false).chunk(answers.into_iter().next().unwrap(), None);
    assert_json_snapshot!(parsed(&chunk)["choices"], {"[].delta.tool_calls[].id" => "[id]"});
}

#[actix_web::test]
async fn a_message_in_chunks() {
    let job = asking(json!({}));
    let (deltas, counts) = done(&job, "ab", 2).await;
    let writer = writer(Form::Chat, true, false);
    let mut chunks = vec![parsed(&writer.begun(0, Some(None)).unwrap())];
    chunks.extend(
        deltas
            .into_iter()
            .map(|delta| parsed(&writer.chunk(delta, Some(None)))),
    );
    chunks.push(parsed(&writer.usage(counts)));
    assert_json_snapshot!(chunks, {"[].id" => "[id]"});
    let (deltas, _) = done(&job, "ab", 9).await;
    for delta in deltas {
        assert!(parsed(&writer.chunk(delta, None)).get("usage").is_none());
    }
}

#[actix_web::test]
async fn a_text_as_a_whole_and_in_chunks() {
    let job = completion(&json!({"prompt": "x", "logprobs": 2})).unwrap();
    let (answers, counts) = done(&job, "é", 100).await;
    let body = writer(Form::Completion, false, true).whole(answers.clone(), counts);
    assert_json_snapshot!(parsed(&body), {".id" => "[id]"});
    let writer = writer(Form::Completion, true, true);
    assert!(writer.begun(0, None).is_none());
    let chunk = writer.chunk(answers.into_iter().next().unwrap(), None);
    assert_json_snapshot!(parsed(&chunk), {".id" => "[id]"});
}

#[test]
fn every_answer_has_a_name_of_its_own() {
    let id = |form| parsed(&writer(form, false, false).usage(Counts::default()))["id"].clone();
    assert_ne!(id(Form::Chat), id(Form::Chat));
    assert!(id(Form::Chat).as_str().unwrap().starts_with("chatcmpl-"));
    assert!(id(Form::Completion).as_str().unwrap().starts_with("cmpl-"));
}
