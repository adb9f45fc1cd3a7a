//! What is answered, whole and in a stream.

use super::*;

#[test]
fn a_stream_says_the_same_as_the_whole_answer_and_how_many_tokens_there_were() {
    let server = server();
    let whole = answered(&server, CHAT, &greedy(&json!({})));
    assert!(!content(&whole).is_empty());
    assert_eq!(whole["object"], "chat.completion");
    assert_eq!(whole["model"], "tiny-chat");
    assert_eq!(whole["choices"][0]["message"]["role"], "assistant");
    let options = json!({"stream": true, "stream_options": {"include_usage": true}});
    let answer = server.post_json(CHAT, &greedy(&options));
    let events = events(&answer);
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(text_of(&events, 0), content(&whole));
    let (last, chunks) = events.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(
        last["usage"]["prompt_tokens"],
        whole["usage"]["prompt_tokens"]
    );
    assert_eq!(
        last["usage"]["completion_tokens"],
        whole["usage"]["completion_tokens"]
    );
    for chunk in chunks {
        assert_eq!(chunk["usage"], Value::Null, "{chunk}");
        assert_eq!(
            (&chunk["id"], &chunk["object"]),
            (&last["id"], &json!("chat.completion.chunk"))
        );
    }
    let reason = &chunks.last().unwrap()["choices"][0]["finish_reason"];
    assert_eq!(*reason, whole["choices"][0]["finish_reason"]);
    assert!(answer.headers.contains_key("x-request-id"));
    assert!(
        answer.headers["openai-processing-ms"]
            .parse::<u64>()
            .is_ok()
    );
    // The beginning of the prompt was there already.
    assert!(
        last["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64() > Some(0),
        "{last}"
    );
}

#[test]
fn the_same_seed_has_the_same_answers_however_they_are_asked_for() {
    let server = server();
    let seeded = |fields: Value| {
        let mut request =
            json!({"prompt": "The server", "temperature": 1, "seed": 11, "max_tokens": 12});
        merge(&mut request, &fields);
        request
    };
    let texts = |answer: &Value| {
        let choices = answer["choices"].as_array().unwrap().clone();
        let indices: Vec<_> = choices
            .iter()
            .map(|choice| choice["index"].as_u64().unwrap())
            .collect();
        assert_eq!(indices, (0..choices.len() as u64).collect::<Vec<_>>());
        choices
            .iter()
            .map(|choice| choice["text"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let one = texts(&answered(&server, COMPLETIONS, &seeded(json!({}))));
    let three = texts(&answered(&server, COMPLETIONS, &seeded(json!({"n": 3}))));
    assert_eq!(one[0], three[0]);
    assert!(three[0] != three[1] || three[1] != three[2], "{three:?}");
    let both = seeded(json!({"prompt": ["A worker", "The server"], "n": 3}));
    let both = texts(&answered(&server, COMPLETIONS, &both));
    assert_eq!(both[3..], three[..]);
    let streamed = events(&server.post_json(COMPLETIONS, &seeded(json!({"n": 3, "stream": true}))));
    for (index, text) in three.iter().enumerate() {
        assert_eq!(text_of(&streamed, index), *text);
    }
    let unseeded = || {
        texts(&answered(
            &server,
            COMPLETIONS,
            &seeded(json!({"seed": null, "max_tokens": 40, "ignore_eos": true})),
        ))
    };
    assert_ne!(unseeded(), unseeded());
}

#[test]
fn an_answer_ends_before_a_stop_string_wherever_that_is() {
    let server = server();
    let request = |fields: Value| {
        let mut request = greedy(&json!({"max_tokens": 60, "ignore_eos": true}));
        merge(&mut request, &fields);
        request
    };
    let whole = content(&answered(&server, CHAT, &request(json!({})))).to_owned();
    let letters: Vec<char> = whole.chars().collect();
    assert!(letters.len() > 30, "{whole}");
    // Somewhere in them are borders of tokens.
    for begin in 5..20 {
        let stop: String = letters[begin..begin + 8].iter().collect();
        let expected = whole.split(&stop).next().unwrap();
        let answer = answered(
            &server,
            CHAT,
            &request(json!({"stop": [stop, "never said"]})),
        );
        assert_eq!(content(&answer), expected, "{stop:?}");
        assert_eq!(answer["choices"][0]["finish_reason"], "stop");
        let answer = server.post_json(CHAT, &request(json!({"stop": stop, "stream": true})));
        assert_eq!(text_of(&events(&answer), 0), expected, "{stop:?}");
    }
    wait_until_idle(&server);
}

#[test]
fn a_prompt_is_echoed_and_scored_as_text_and_as_tokens() {
    let server = server();
    let request = json!({
        "prompt": "The server starts", "echo": true, "logprobs": 2, "max_tokens": 3, "temperature": 0, "ignore_eos": true,
    });
    let answer = answered(&server, COMPLETIONS, &request);
    let choice = &answer["choices"][0];
    assert!(
        choice["text"]
            .as_str()
            .unwrap()
            .starts_with("The server starts"),
        "{choice}"
    );
    let logprobs = &choice["logprobs"];
    let prompt = answer["usage"]["prompt_tokens"].as_u64().unwrap() as usize;
    let lengths = ["tokens", "token_logprobs", "top_logprobs", "text_offset"]
        .map(|name| logprobs[name].as_array().unwrap().len());
    assert_eq!(lengths, [prompt + 3; 4], "{logprobs}");
    assert!(logprobs["token_logprobs"][0].is_null() && logprobs["top_logprobs"][0].is_null());
    assert!(
        logprobs["token_logprobs"][1].as_f64().unwrap() < 0.0,
        "{logprobs}"
    );
    let scored = answered(
        &server,
        COMPLETIONS,
        &json!({"prompt": "The server starts", "echo": true, "logprobs": 2, "max_tokens": 0}),
    );
    assert_eq!(scored["choices"][0]["text"], "The server starts");
    assert_eq!(scored["usage"]["completion_tokens"], 0);
    let length = scored["choices"][0]["logprobs"]["tokens"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(length, prompt);
    let tokens = answered(
        &server,
        COMPLETIONS,
        &json!({"prompt": [5, 6, 7], "max_tokens": 1}),
    );
    assert_eq!(tokens["usage"]["prompt_tokens"], 3);
}

#[test]
fn probabilities_of_a_message_are_those_of_its_tokens() {
    let server = server();
    let answer = answered(
        &server,
        CHAT,
        &greedy(&json!({"logprobs": true, "top_logprobs": 3})),
    );
    let tokens = answer["choices"][0]["logprobs"]["content"]
        .as_array()
        .unwrap();
    let bytes = tokens
        .iter()
        .flat_map(|token| token["bytes"].as_array().unwrap());
    let bytes: Vec<u8> = bytes
        .map(|byte| u8::try_from(byte.as_u64().unwrap()).unwrap())
        .collect();
    assert_eq!(String::from_utf8(bytes).unwrap(), content(&answer));
    for token in tokens {
        let best = token["top_logprobs"].as_array().unwrap();
        assert_eq!(best.len(), 3);
        // Greedily, the token is the best one.
        assert_eq!(best[0]["token"], token["token"], "{token}");
    }
}

#[test]
fn an_answer_conforms_to_what_it_must() {
    let server = server();
    let asked = |fields: Value| {
        let mut request = greedy(&json!({"temperature": 1, "max_tokens": 300}));
        merge(&mut request, &fields);
        let answer = answered(&server, CHAT, &request);
        assert_eq!(answer["choices"][0]["finish_reason"], "stop", "{answer}");
        content(&answer).to_owned()
    };
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["ready", "kind"],
        "properties": {"ready": {"type": "boolean"}, "kind": {"enum": ["a", "b"]}},
    });
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": true}});
    let answer: Value = serde_json::from_str(&asked(json!({"response_format": format}))).unwrap();
    assert!(
        answer["ready"].is_boolean() && (answer["kind"] == "a" || answer["kind"] == "b"),
        "{answer}"
    );
    let chosen = asked(json!({"guided_choice": ["yes", "no"]}));
    assert!(chosen == "yes" || chosen == "no", "{chosen}");
    let number = asked(json!({"regex": "[0-9]{3}"}));
    assert!(
        number.len() == 3 && number.parse::<u32>().is_ok(),
        "{number}"
    );
}

#[test]
fn everything_is_there_under_openais_own_path_as_well() {
    let server = server();
    let answer = answered(&server, "/openai/v1/chat/completions", &greedy(&json!({})));
    assert!(!content(&answer).is_empty());
    answered(
        &server,
        "/openai/v1/completions",
        &json!({"prompt": "a", "max_tokens": 1}),
    );
    for prefix in ["", "/openai"] {
        let models = server.get(&format!("{prefix}/v1/models")).json();
        let model = &models["data"][0];
        assert_eq!(
            (&model["id"], &model["object"]),
            (&json!("tiny-chat"), &json!("model"))
        );
        assert!(model["max_model_len"].as_u64() > Some(100), "{model}");
        let one = server.get(&format!("{prefix}/v1/models/tiny-chat"));
        assert_eq!(
            (one.status, one.json()["ready"].clone()),
            (200, json!(true))
        );
    }
    let unknown = server.get("/openai/v1/models/nobody");
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.json()["error"]["code"], "model_not_found");
}
