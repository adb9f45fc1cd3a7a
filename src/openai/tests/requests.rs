//! What becomes of the fields of a request.

use std::time::Instant;

use impetus_actors::serving::GenerateRequest;
use impetus_engine::generate::{Grammar, Sampling};
use impetus_text::ToolFormat;

use super::*;
use crate::oip::Kind;

fn sequences(job: &Job) -> Vec<GenerateRequest> {
    job.requests(Instant::now(), None).collect()
}

fn written(tokens: &[u32]) -> String {
    text().tokenizer().decode(tokens, false).unwrap()
}

fn asking(fields: Value) -> Value {
    let mut body = json!({"messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    body
}

#[test]
fn a_conversation_becomes_the_prompt_that_its_template_writes() {
    let body = json!({"messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ]});
    let job = chat(&body).unwrap();
    assert_eq!(
        written(&job.prompts[0].tokens),
        "[system:be brief][user:a\nb][assistant:"
    );
    let going_on = asking(json!({"continue_final_message": true}));
    let job = chat(&going_on).unwrap();
    assert_eq!(written(&job.prompts[0].tokens), "[user:hi");
    assert!(job.continues);
}

#[test]
fn where_nothing_is_said_openais_defaults_hold() {
    let job = chat(&asking(json!({}))).unwrap();
    let [only] = &sequences(&job)[..] else {
        panic!("one answer");
    };
    assert_eq!(
        only.sampling,
        Sampling {
            temperature: 1.0,
            seed: SEED,
            ..Sampling::default()
        }
    );
    assert_eq!(only.max_tokens, None);
    assert_eq!(only.stop_tokens, [END]);
    assert!(!only.seeded && only.logprobs.is_none() && only.grammar.is_none());
    let job = completion(&json!({"prompt": "x"})).unwrap();
    assert_eq!(sequences(&job)[0].max_tokens, Some(16));
}

#[test]
fn where_nothing_is_said_the_models_own_defaults_go_first() {
    let folder = json!({"temperature": 0.6, "top_k": 20, "top_p": 0.9, "repetition_penalty": 1.1, "max_new_tokens": 99});
    let own = text_with(&folder);
    let job = chat_with(&own, &asking(json!({}))).unwrap();
    let only = &sequences(&job)[0];
    assert_eq!(only.max_tokens, Some(99));
    assert_eq!(
        only.sampling,
        Sampling {
            temperature: 0.6,
            top_k: 20,
            top_p: 0.9,
            repetition_penalty: 1.1,
            seed: SEED,
            ..Sampling::default()
        }
    );
    let said = asking(
        json!({"temperature": 0, "top_k": -1, "top_p": 1, "max_completion_tokens": 5, "max_tokens": 6}),
    );
    let only = &sequences(&chat_with(&own, &said).unwrap())[0];
    assert_eq!(only.max_tokens, Some(5));
    assert_eq!(
        (
            only.sampling.temperature,
            only.sampling.top_k,
            only.sampling.top_p
        ),
        (0.0, 0, 1.0)
    );
    let greedy = text_with(&json!({"do_sample": false, "temperature": 0.6}));
    let only = &sequences(&chat_with(&greedy, &asking(json!({}))).unwrap())[0];
    assert_eq!(only.sampling.temperature, 0.0);
}

#[test]
fn every_field_that_shapes_the_answer_reaches_its_sequence() {
    let job = chat(&asking(json!({
        "seed": -3, "n": 2, "stop": ["a", "b"], "stop_token_ids": [9], "min_tokens": 2, "min_p": 0.1,
        "presence_penalty": 0.5, "frequency_penalty": -0.5, "logit_bias": {"65": -100, "257": 1.5},
        "logprobs": true, "top_logprobs": 3, "response_format": {"type": "json_object"},
    })))
    .unwrap();
    let sequences = sequences(&job);
    assert_eq!(sequences.len(), 2);
    for (choice, sequence) in sequences.iter().enumerate() {
        assert!(sequence.seeded);
        assert_eq!(sequence.stop_tokens, [END, 9]);
        assert_eq!(sequence.logprobs, Some(3));
        assert!(matches!(&sequence.grammar, Some(Grammar::JsonSchema(_))));
        assert_eq!(
            sequence.sampling,
            Sampling {
                temperature: 1.0,
                min_p: 0.1,
                presence_penalty: 0.5,
                frequency_penalty: -0.5,
                logit_bias: vec![(257, 1.5), (65, -100.0)],
                min_tokens: 2,
                seed: (-3_i64).cast_unsigned(),
                choice: u32::try_from(choice).unwrap(),
                ..Sampling::default()
            }
        );
    }
    let on = chat(&asking(json!({"ignore_eos": true}))).unwrap();
    assert!(on.terms.stop_tokens.is_empty());
}

#[test]
fn prompts_come_as_texts_or_as_tokens_and_each_gets_its_answers() {
    let job = completion(&json!({"prompt": ["ab", "c"], "n": 2, "max_tokens": 3})).unwrap();
    let all = sequences(&job);
    let prompts: Vec<_> = all
        .iter()
        .map(|sequence| written(&sequence.prompt))
        .collect();
    assert_eq!(prompts, ["ab", "ab", "c", "c"]);
    // The same prompt gets the same answers, alone or among others.
    let choices: Vec<_> = all
        .iter()
        .map(|sequence| sequence.sampling.choice)
        .collect();
    assert_eq!(choices, [0, 1, 0, 1]);
    let job = completion(&json!({"prompt": [[97], [98, 99]]})).unwrap();
    assert_eq!(job.prompt_tokens(), 3);
    let job = completion(&json!({"prompt": [98, 99]})).unwrap();
    assert_eq!(sequences(&job)[0].prompt, [98, 99]);
    // A model that has a token for the beginning can begin with nothing.
    let job = completion(&json!({"prompt": ""})).unwrap();
    assert_eq!(sequences(&job)[0].prompt, [256]);
}

#[test]
fn scoring_a_prompt_takes_one_step_that_nobody_is_told_of() {
    let body = json!({"prompt": "ab", "max_tokens": 0, "echo": true, "logprobs": 1});
    let only = &sequences(&completion(&body).unwrap())[0];
    assert_eq!(only.max_tokens, Some(1));
    assert!(only.prompt_logprobs);
}

#[test]
fn a_field_with_a_value_that_is_not_possible_is_refused_by_its_name() {
    for (fields, param) in [
        (json!({"temperature": 2.5}), "temperature"),
        (json!({"temperature": "hot"}), "temperature"),
        (json!({"top_p": 1.5}), "top_p"),
        (json!({"top_k": -2}), "top_k"),
        (json!({"min_p": -0.1}), "min_p"),
        (json!({"repetition_penalty": 0}), "repetition_penalty"),
        (json!({"presence_penalty": 3}), "presence_penalty"),
        (json!({"frequency_penalty": -3}), "frequency_penalty"),
        (json!({"logit_bias": {"x": 1}}), "logit_bias"),
        (json!({"logit_bias": {"258": 1}}), "logit_bias"),
        (json!({"logit_bias": {"1": 101}}), "logit_bias"),
        (json!({"n": 0}), "n"),
        (json!({"n": 9}), "n"),
        (json!({"max_tokens": 0}), "max_tokens"),
        (json!({"max_tokens": -1}), "max_tokens"),
        (json!({"max_completion_tokens": 0}), "max_completion_tokens"),
        (json!({"max_tokens": 3, "min_tokens": 4}), "min_tokens"),
        (json!({"stop": ""}), "stop"),
        (json!({"stop": vec!["a"; 17]}), "stop"),
        (json!({"stop": "a".repeat(257)}), "stop"),
        (json!({"stop": 7}), "stop"),
        (json!({"seed": 0.5}), "seed"),
        (json!({"top_logprobs": 3}), "top_logprobs"),
        (
            json!({"logprobs": true, "top_logprobs": 21}),
            "top_logprobs",
        ),
        (
            json!({"response_format": {"type": "xml"}}),
            "response_format.type",
        ),
        (json!({"functions": []}), "functions"),
        (json!({"messages": []}), "messages"),
        (json!({"messages": "hi"}), "messages"),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
            "messages[0].content[0]",
        ),
    ] {
        let refusal = chat(&asking(fields)).unwrap_err();
        assert_eq!(refusal.param(), Some(param), "{refusal}");
        assert!(refusal.kind().is_clients_fault(), "{refusal}");
    }
    for (body, param) in [
        (json!({}), "prompt"),
        (json!({"prompt": []}), "prompt"),
        (json!({"prompt": [258]}), "prompt"),
        (json!({"prompt": [[]]}), "prompt"),
        (json!({"prompt": vec!["x"; 9]}), "prompt"),
        (json!({"prompt": vec!["x"; 3], "n": 3}), "prompt"),
        (json!({"prompt": "x", "suffix": "y"}), "suffix"),
        (json!({"prompt": "x", "best_of": 2}), "best_of"),
        (json!({"prompt": "x", "logprobs": 21}), "logprobs"),
    ] {
        let refusal = completion(&body).unwrap_err();
        assert_eq!(refusal.param(), Some(param), "{refusal}");
    }
}

#[test]
fn a_text_that_cannot_fit_is_refused_before_it_is_looked_at() {
    // The longest token is written in seven letters.
    let most = "a".repeat(64 * 7 * 4);
    let job = completion(&json!({"prompt": most})).unwrap();
    assert_eq!(job.prompt_tokens(), most.len());
    let messages = json!([{"role": "user", "content": most}]);
    for (refused, param) in [
        (completion(&json!({"prompt": format!("{most}a")})), "prompt"),
        (chat(&asking(json!({"messages": messages}))), "messages"),
    ] {
        let refusal = refused.unwrap_err();
        assert_eq!(refusal.code(), "context_length_exceeded");
        assert_eq!(refusal.param(), Some(param));
        assert!(refusal.message().contains("64"), "{refusal}");
    }
}

#[test]
fn options_for_a_stream_are_for_streams_alone() {
    let streamed = |fields: Value| {
        read::<common::Common>(fields.to_string().as_bytes())
            .unwrap()
            .streamed()
    };
    assert_eq!(streamed(json!({})), Ok(None));
    assert_eq!(streamed(json!({"stream": false})), Ok(None));
    assert_eq!(
        streamed(json!({"stream": true})),
        Ok(Some(common::Streamed::default()))
    );
    let options = json!({"stream": true, "stream_options": {"include_usage": true}});
    assert!(streamed(options).unwrap().unwrap().usage);
    let refusal = streamed(json!({"stream_options": {"include_usage": true}})).unwrap_err();
    assert_eq!(refusal.param(), Some("stream_options"));
}

#[test]
fn tools_are_in_the_prompt_and_a_demanded_call_is_held_to_a_schema() {
    let tools = json!([{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]);
    let job = chat(&asking(json!({"tools": tools}))).unwrap();
    assert!(written(&job.prompts[0].tokens).starts_with("<tool_call>look;"));
    let calls = job.calls.unwrap();
    assert!(calls.format == ToolFormat::Hermes && calls.parallel);
    let job = chat(&asking(
        json!({"tools": tools, "tool_choice": "required", "parallel_tool_calls": false}),
    ))
    .unwrap();
    let calls = job.calls.unwrap();
    assert!(calls.format == ToolFormat::Json && !calls.parallel);
    assert!(matches!(
        &job.terms.grammar,
        Some(("tools", Grammar::JsonSchema(_)))
    ));
    let both = json!({"tools": tools, "tool_choice": "required", "regex": "a"});
    assert_eq!(
        chat(&asking(both)).unwrap_err().param(),
        Some("tool_choice")
    );
}

#[test]
fn a_model_without_a_template_says_what_it_can_do() {
    let folder = tempfile::tempdir().unwrap();
    let with_template = text();
    drop(with_template);
    // A tokenizer alone, as of a base model.
    let tokenizer = json!({"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}});
    fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let base = TextModel::load(folder.path()).unwrap();
    let refusal = chat_with(&base, &asking(json!({}))).unwrap_err();
    assert_eq!(
        (refusal.kind(), refusal.code()),
        (Kind::Unsupported, "no_chat_template")
    );
    assert!(refusal.message().contains("/v1/completions"), "{refusal}");
}
