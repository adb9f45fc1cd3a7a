//! Many sequences at once: each gives what it gives alone.

use impetus_engine::generate::{Generate, Sampling, Step};
use impetus_engine::protocol::ToWorker;

use crate::text::{MAX_LEN, SLOTS, Said, Text, VOCABULARY, generation, request};

/// Prompts of many lengths; every third one begins like those before it.
fn prompts(count: usize) -> Vec<Vec<u32>> {
    (0..count)
        .map(|index| {
            let family = index as u32 % 3;
            let len = 1 + index * 7 % 30;
            (0..len as u32)
                .map(|place| (place * place * 5 + place * 3 + family * 11) % VOCABULARY as u32)
                .chain([index as u32 % VOCABULARY as u32])
                .collect()
        })
        .collect()
}

/// Greedy and seeded ones, in turn.
fn requests(count: usize) -> Vec<Generate> {
    (0u64..)
        .zip(prompts(count))
        .map(|(id, prompt)| Generate {
            sampling: Sampling {
                temperature: if id % 2 == 0 { 0.0 } else { 0.8 },
                seed: 1000 + id,
                repetition_penalty: 1.1,
                ..Sampling::default()
            },
            ..request(id, &prompt, 5 + id as usize * 3 % 20)
        })
        .collect()
}

/// What each gives when no other runs and nothing is remembered, taken in as one chunk.
async fn alone(requests: &[Generate], shared_buffers: bool) -> Vec<Said> {
    let mut spec = generation(shared_buffers);
    (spec.slots, spec.prefill_chunk) = (1, MAX_LEN);
    let mut text = Text::start(spec).await;
    let mut all = Vec::new();
    for request in requests {
        let whole = Generate {
            // Which keeps it from using what the one before has left.
            prompt_logprobs: true,
            ..request.clone()
        };
        all.push(text.answer(whole).await);
    }
    all
}

#[tokio::test]
async fn sequences_that_join_and_leave_give_what_each_gives_alone() {
    let requests = requests(24);
    let expected = alone(&requests, true).await;
    for (slots, chunk) in [(1, 8), (SLOTS, 3), (SLOTS, 8), (16, 5)] {
        let mut spec = generation(true);
        (spec.slots, spec.prefill_chunk) = (slots, chunk);
        let mut text = Text::start(spec).await;
        for (index, request) in requests.iter().enumerate() {
            text.generate(request.clone()).await;
            // The next one comes when this one, or one before, has got somewhere.
            if index % 3 == 2 {
                text.end_of(index as u64 - 2).await;
            }
        }
        for (request, expected) in requests.iter().zip(&expected) {
            let said = text.end_of(request.id).await;
            assert_eq!(
                said.tokens(),
                expected.tokens(),
                "{slots} slots, chunks of {chunk}"
            );
            assert_eq!(said.finish(), expected.finish());
        }
        let batched = text.steps.iter().any(|step| step.batch > 1);
        assert_eq!(batched, slots > 1);
        let reused = |said: &Said| said.begun.as_ref().unwrap().reused;
        let reused: usize = text.said.values().map(reused).sum();
        assert!(slots == 1 || reused > 20, "{reused}");
    }
}

#[tokio::test]
async fn a_graph_that_concatenates_gives_the_same_one_after_the_other() {
    let requests = requests(9);
    let expected = alone(&requests, true).await;
    let mut text = Text::start(generation(false)).await;
    for request in &requests {
        text.generate(request.clone()).await;
    }
    for (request, expected) in requests.iter().zip(&expected) {
        let said = text.end_of(request.id).await;
        assert_eq!(said.tokens(), expected.tokens());
    }
    assert!(text.steps.iter().all(|step| step.batch == 1));
    // A prompt that begins like the one before it is rewound and not taken in again.
    let again = Generate {
        id: 100,
        ..requests[8].clone()
    };
    let said = text.answer(again).await;
    assert_eq!(said.tokens(), expected[8].tokens());
    assert_eq!(said.begun.unwrap().reused, requests[8].tokens.len() - 1);
}

#[tokio::test]
async fn a_sequence_goes_on_in_another_worker_from_any_of_its_tokens() {
    let requests = requests(4);
    for shared_buffers in [true, false] {
        let expected = alone(&requests, shared_buffers).await;
        let mut text = Text::start(generation(shared_buffers)).await;
        let mut id = 100;
        for (request, expected) in requests.iter().zip(&expected) {
            let tokens = expected.tokens();
            for known in [1, tokens.len() / 2, tokens.len() - 1] {
                id += 1;
                let mut resumed = request.clone();
                resumed.id = id;
                resumed.tokens.extend(&tokens[..known]);
                let said = text.answer(resumed).await;
                assert_eq!(said.tokens(), tokens[known..]);
                assert_eq!(said.chosen[0].position, known);
                assert_eq!(said.finish(), expected.finish());
            }
        }
    }
}

#[tokio::test]
async fn one_that_is_cancelled_is_heard_of_no_more_and_leaves_its_slot() {
    let mut text = Text::start(generation(true)).await;
    for id in 0..SLOTS as u64 {
        text.generate(request(id, &[id as u32 + 1, 2, 3], 50)).await;
    }
    // It waits for a slot, at least until somebody is given up.
    text.generate(request(100, &[40, 41], 3)).await;
    let cancel = ToWorker::Cancel(vec![1, 2]);
    text.worker.sender.send(&cancel).await.unwrap();
    text.generate(request(101, &[42, 43], 3)).await;
    let begun = |said: &Said| said.begun.is_some();
    while !text.said.get(&101).is_some_and(begun) {
        text.take().await;
    }
    let heard = |text: &Text, id: u64| text.said.get(&id).map_or(0, |said| said.chosen.len());
    let before = [heard(&text, 1), heard(&text, 2)];
    for id in [0, 3, 100, 101] {
        text.end_of(id).await;
    }
    assert_eq!([heard(&text, 1), heard(&text, 2)], before);
    assert_eq!([heard(&text, 0), heard(&text, 100)], [50, 3]);
}

#[tokio::test]
async fn a_long_prompt_is_taken_in_between_the_steps_of_those_that_decode() {
    let mut text = Text::start(generation(true)).await;
    text.generate(request(1, &[1, 2, 3], 50)).await;
    let prompt: Vec<u32> = (0..40).collect();
    text.generate(request(2, &prompt, 2)).await;
    text.end_of(2).await;
    text.end_of(1).await;
    let chunks = text.steps.iter().filter(|step| step.prefilled > 0).count();
    assert_eq!(chunks, 1 + 40usize.div_ceil(8));
    let of_first = |step: &Step| step.tokens.iter().any(|chosen| chosen.id == 1);
    let first = text.steps.iter().position(of_first).unwrap();
    let last = text.steps.iter().rposition(of_first).unwrap();
    for pair in text.steps[first..=last].windows(2) {
        let chunks = pair.iter().filter(|step| step.prefilled > 0).count();
        assert!(chunks < 2, "two chunks in a row");
    }
}
