//! A worker process that is killed while it generates.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;

use impetus_engine::generate::{Chosen, Generate, Grammar, Sampling};
use impetus_engine::protocol::ToWorker;
use impetus_engine::{LinkError, Received};
use rustix::process::{Pid, Signal, kill_process};

use super::text::{generation, graph, request, text_of, vocabulary};
use super::{Process, wait};

/// What is known of each answer.
type Answers = BTreeMap<u64, Vec<Chosen>>;

/// Greedy and seeded, free and to a schema.
fn requests() -> Vec<Generate> {
    let schema = r#"{"type":"array","items":{"enum":[1,22,333,"abc"]},"minItems":6,"maxItems":9}"#;
    (0..4)
        .map(|id| {
            let mut request = request(id, &[id as u32 + 1, 2, 3], 50);
            if id % 2 == 1 {
                request.sampling = Sampling {
                    temperature: 0.9,
                    frequency_penalty: 0.1,
                    seed: 4711 + id,
                    ..Sampling::default()
                };
            }
            if id >= 2 {
                request.grammar = Some(Grammar::JsonSchema(schema.into()));
                request.stop_tokens = vocabulary().end;
            }
            request
        })
        .collect()
}

async fn start() -> Process {
    let mut process = Process::spawn();
    process.greet().await;
    let vocabulary = vocabulary();
    process.sender.send_vocabulary(&vocabulary).await.unwrap();
    let generation = generation(true);
    process.load_as(graph(&generation), Some(generation)).await;
    process
}

fn is_over(chosen: &[Chosen]) -> bool {
    chosen.last().is_some_and(|last| last.finish.is_some())
}

/// Takes steps until that is enough.
async fn take_until(
    process: &mut Process,
    answers: &mut Answers,
    enough: impl Fn(&[Chosen]) -> bool,
) {
    while !(0..4).all(|id| answers.get(&id).is_some_and(|chosen| enough(chosen))) {
        match process.next().await.unwrap() {
            Received::Step(step) => {
                for chosen in step.tokens {
                    answers.entry(chosen.id).or_default().push(chosen);
                }
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

async fn send(process: &Process, request: Generate) {
    let message = ToWorker::Generate(request);
    process.sender.send(&message).await.unwrap();
}

pub(super) async fn goes_on_in_another() {
    let mut undisturbed = Answers::new();
    let mut process = start().await;
    for request in requests() {
        send(&process, request).await;
    }
    take_until(&mut process, &mut undisturbed, is_over).await;

    let mut answers = Answers::new();
    let mut process = start().await;
    for request in requests() {
        send(&process, request).await;
    }
    take_until(&mut process, &mut answers, |chosen| chosen.len() >= 4).await;
    kill_process(Pid::from_child(&process.child), Signal::KILL).unwrap();
    // What it had sent is still there, and is given up here: it will be generated again.
    while !matches!(process.next().await, Err(LinkError::Lost { .. })) {}
    assert_eq!(
        wait(&mut process.child).signal(),
        Some(Signal::KILL.as_raw())
    );

    assert!(answers.values().any(|chosen| !is_over(chosen)));
    let mut process = start().await;
    for mut request in requests() {
        let chosen = &answers[&request.id];
        request
            .tokens
            .extend(chosen.iter().map(|chosen| chosen.token));
        if !is_over(chosen) {
            send(&process, request).await;
        }
    }
    take_until(&mut process, &mut answers, is_over).await;
    assert_eq!(answers, undisturbed);
    for id in [2, 3] {
        let tokens: Vec<u32> = answers[&id].iter().map(|chosen| chosen.token).collect();
        let text = text_of(&tokens);
        let value: serde_json::Value = serde_json::from_str(&text).expect(&text);
        assert!(value.as_array().unwrap().len() >= 6);
    }
}
