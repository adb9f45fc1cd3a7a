//! One sequence at a time: what it gives, and how it ends.

use std::time::Duration;

use impetus_engine::generate::{Finish, Generate, GenerationInfo, GenerationSpec};
use impetus_engine::protocol::ToWorker;
use impetus_engine::{EngineError, Fault, LoadSpec, Received, WorkerExit};

use crate::support;
use crate::text::{MAX_LEN, SLOTS, Text, VOCABULARY, generation, request};

/// What the graphs give behind these prompts, by another program: see `make_graphs.py`.
pub(crate) const PROMPTS: [(&[u32], [u32; 12]); 3] = [
    (&[1, 2, 3], [15, 0, 49, 60, 10, 17, 20, 10, 50, 0, 50, 50]),
    (&[5], [43, 58, 21, 61, 58, 17, 61, 53, 42, 52, 55, 36]),
    (
        &[9, 9, 9, 20, 31, 7],
        [56, 62, 56, 51, 16, 61, 42, 50, 60, 51, 11, 17],
    ),
];

#[tokio::test]
async fn both_kinds_of_graph_give_what_another_program_gets_from_them() {
    for shared_buffers in [true, false] {
        let mut text = Text::start(generation(shared_buffers)).await;
        for (id, (prompt, expected)) in PROMPTS.iter().enumerate() {
            let said = text.answer(request(id as u64, prompt, 12)).await;
            assert_eq!(said.tokens(), expected, "shared buffers: {shared_buffers}");
            assert_eq!(said.finish(), Some(Finish::Length));
            assert!(said.begun.is_some());
        }
    }
}

#[tokio::test]
async fn a_loaded_model_says_what_it_has_room_for() {
    let mut text = Text::unloaded().await;
    let spec = text.spec(generation(true));
    let loaded = text.load(&spec).await.unwrap();
    let expected = GenerationInfo {
        slots: SLOTS,
        max_len: MAX_LEN,
        vocabulary: VOCABULARY,
        layers: 2,
        cache_bytes: (2 * 2 * SLOTS * MAX_LEN * 2 * 16 * 4) as u64,
    };
    assert_eq!(loaded.generation, Some(expected));
    assert!(loaded.warm_up_micros > 0);
    assert_eq!(loaded.inputs.len(), 6);
    let spec = text.spec(generation(false));
    let loaded = text.load(&spec).await.unwrap();
    assert_eq!(loaded.generation.unwrap().slots, 1);
}

#[tokio::test]
async fn probabilities_are_told_where_they_are_asked_for() {
    let mut text = Text::start(generation(true)).await;
    let (prompt, expected) = PROMPTS[2];
    let told = Generate {
        logprobs: Some(3),
        prompt_logprobs: true,
        ..request(1, prompt, 4)
    };
    let said = text.answer(told).await;
    for (chosen, expected) in said.chosen.iter().zip(expected) {
        let told = chosen.logprobs.as_ref().unwrap();
        assert_eq!(told.best[0], (expected, told.chosen));
        assert_eq!(told.best.len(), 3);
    }
    assert_eq!(said.begun.unwrap().prompt_logprobs.len(), prompt.len() - 1);
    let said = text.answer(request(2, prompt, 4)).await;
    assert!(said.chosen.iter().all(|chosen| chosen.logprobs.is_none()));
}

#[tokio::test]
async fn a_prompt_that_leaves_no_room_is_refused_with_both_numbers() {
    let mut text = Text::start(generation(true)).await;
    let said = text.answer(request(1, &[7; MAX_LEN], 4)).await;
    let expected = EngineError::PromptTooLong {
        tokens: MAX_LEN,
        max_len: MAX_LEN,
    };
    assert_eq!(said.error, Some(expected));
    // One less, and there is room for one token.
    let said = text.answer(request(2, &[7; MAX_LEN - 1], 4)).await;
    assert_eq!(said.tokens().len(), 1);
    assert_eq!(said.finish(), Some(Finish::Length));
}

#[tokio::test]
async fn each_kind_of_model_says_how_the_other_is_asked() {
    let mut text = Text::start(generation(true)).await;
    let x = support::pattern("x", 4);
    text.worker.send(9, &[&x]).await;
    match text.worker.next().await {
        Received::RunFailed { id: 9, error } => {
            assert!(error.to_string().contains("completions"), "{error}");
            assert_eq!(error.fault(), Fault::Client);
        }
        other => panic!("unexpected {other:?}"),
    }
    let spec = LoadSpec {
        generation: None,
        ..text.spec(generation(true))
    };
    text.load(&spec).await.unwrap();
    let said = text.answer(request(1, &[1], 1)).await;
    assert!(said.error.unwrap().to_string().contains("predictions"));
}

#[tokio::test]
async fn a_graph_of_another_layout_is_not_supported_and_says_what_to_do() {
    let mut text = Text::unloaded().await;
    let open = GenerationSpec {
        head_dim: None,
        ..generation(true)
    };
    let mut other_name = generation(true);
    other_name.names.input_ids = "tokens".into();
    let mut no_cache = generation(true);
    no_cache.names.past_key = "past.%d".into();
    let mut other_size = generation(false);
    other_size.head_dim = Some(8);
    for (wrong, words) in [
        (open, "head_size"),
        (other_name, "no input tokens"),
        (no_cache, "past.0"),
        (other_size, "head_size is 8"),
    ] {
        let spec = text.spec(wrong);
        let error = text.load(&spec).await.unwrap_err();
        assert!(
            matches!(error, EngineError::ModelUnsupported { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn sequences_of_a_model_that_is_replaced_are_over() {
    let mut text = Text::start(generation(true)).await;
    text.generate(request(1, &[1, 2], 60)).await;
    let spec = text.spec(generation(true));
    let load = ToWorker::Load(Box::new(spec));
    text.worker.sender.send(&load).await.unwrap();
    let said = text.end_of(1).await;
    assert!(said.error == Some(EngineError::NotLoaded) || said.finish().is_some());
    // The new one is there, and the test does not end in the middle of its making.
    while !matches!(text.worker.next().await, Received::Loaded(_)) {}
    assert_eq!(text.answer(request(2, &[1, 2], 3)).await.tokens().len(), 3);
}

#[tokio::test]
async fn a_shutdown_lets_what_runs_come_to_its_end() {
    let mut text = Text::start(generation(true)).await;
    text.generate(request(1, &[1, 2], 60)).await;
    text.worker.sender.send(&ToWorker::Shutdown).await.unwrap();
    assert_eq!(text.end_of(1).await.tokens().len(), 60);
    assert!(text.worker.try_next().await.is_err());
    assert_eq!(text.worker.finish().await, WorkerExit::Shutdown);
}

#[tokio::test]
async fn an_idle_model_checks_itself_and_forgets_nothing() {
    let mut text = Text::unloaded().await;
    let spec = LoadSpec {
        self_check_every: Duration::from_millis(1),
        ..text.spec(generation(true))
    };
    text.load(&spec).await.unwrap();
    let mut checks = 0;
    while checks < 3 {
        match text.worker.next().await {
            Received::Beat { idle, self_checks } => {
                assert!(idle);
                checks = self_checks;
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_graph_that_takes_no_chunk_behind_another_is_given_whole_prompts() {
    let mut text = Text::unloaded().await;
    let spec = text.spec(generation(false));
    let spec = LoadSpec {
        path: spec.path.with_file_name("refusing.onnx"),
        ..spec
    };
    text.load(&spec).await.unwrap();
    let prompt: Vec<u32> = (0..20).collect();
    let tokens = text.answer(request(1, &prompt, 6)).await.tokens();
    assert_eq!(text.steps[0].prefilled, 20);
    // The same again lacks one token; another one that begins alike is taken in as a whole.
    let again = text.answer(request(2, &prompt, 6)).await;
    assert_eq!(again.tokens(), tokens);
    assert_eq!(again.begun.unwrap().reused, 19);
    let other = text.answer(request(3, &prompt[..10], 6)).await;
    assert_eq!(other.begun.unwrap().reused, 9);
    let longer = [&prompt[..10], &[40, 19]].concat();
    let longer = text.answer(request(4, &longer, 6)).await;
    // The graph knows but the last token.
    assert_eq!(longer.tokens(), tokens);
    assert_eq!(longer.begun.unwrap().reused, 0);
}
