//! Whatever happens around a sequence, it gives what it gives alone.

mod fake;
mod interleaved;

use fake::{Call, Calls, Fake, MAX_LEN, VOCABULARY};

use super::super::{Finish, Grammar, Sampling, Vocabulary};
use super::*;

/// Letters from `a` on, and an end.
const END: u32 = VOCABULARY as u32 - 1;

fn vocabulary() -> Vocabulary {
    let letters = (0..END).map(|token| (vec![b'a' + token as u8], false));
    Vocabulary {
        tokens: letters.chain([(b"<end>".to_vec(), true)]).collect(),
        end: vec![END],
    }
}

fn scheduler(slots: usize, chunk: usize) -> (Scheduler, Calls) {
    scheduler_of(Fake::new(slots), chunk)
}

fn scheduler_of(fake: Fake, chunk: usize) -> (Scheduler, Calls) {
    let calls = fake.calls();
    let grammars = Grammars::new(&vocabulary()).unwrap();
    let grammars = Some(Arc::new(grammars));
    (Scheduler::new(Box::new(fake), chunk, grammars), calls)
}

fn request(id: u64, prompt: &[u32], max_tokens: usize) -> Generate {
    Generate {
        id,
        tokens: prompt.to_vec(),
        prompt_len: prompt.len(),
        max_tokens,
        stop_tokens: Vec::new(),
        sampling: Sampling::default(),
        grammar: None,
        logprobs: None,
        prompt_logprobs: false,
    }
}

/// Steps until nothing is left; returns every step.
fn drain(scheduler: &mut Scheduler) -> Vec<Step> {
    let mut steps = Vec::new();
    while !scheduler.is_idle() {
        let report = scheduler.step();
        assert!(report.failed.is_empty(), "{:?}", report.failed);
        steps.push(report.step.expect("there is something to do"));
        assert!(steps.len() < 10_000, "it does not end");
    }
    steps
}

fn tokens_of(steps: &[Step], id: u64) -> Vec<u32> {
    steps
        .iter()
        .flat_map(|step| &step.tokens)
        .filter(|chosen| chosen.id == id)
        .map(|chosen| chosen.token)
        .collect()
}

fn reused_by(steps: &[Step], id: u64) -> usize {
    let mut begun = steps.iter().flat_map(|step| &step.begun);
    begun.find(|begun| begun.id == id).unwrap().reused
}

#[test]
fn a_long_prompt_holds_those_that_decode_up_by_one_chunk_at_a_time() {
    let (mut scheduler, calls) = scheduler(3, 4);
    scheduler.accept(request(1, &[1, 2], 20)).unwrap();
    scheduler.step();
    scheduler.step();
    for id in [2, 3] {
        let prompt: Vec<u32> = (0..20).map(|token| (token + id as u32) % END).collect();
        scheduler.accept(request(id, &prompt, 3)).unwrap();
    }
    calls.borrow_mut().clear();
    for _ in 0..16 {
        scheduler.step();
    }
    let prefills: Vec<Option<usize>> = calls
        .borrow()
        .iter()
        .map(|call| match call {
            Call::Prefill { slot, len: 4, .. } => Some(*slot),
            Call::Prefill { .. } => panic!("another chunk than the longest"),
            Call::Decode { .. } => None,
        })
        .collect();
    for (index, slot) in prefills.iter().enumerate() {
        assert_eq!(slot.is_some(), index % 2 == 0, "{prefills:?}");
    }
    // The two prompts take turns.
    let slots: Vec<usize> = prefills.into_iter().flatten().collect();
    assert!(slots.windows(2).all(|pair| pair[0] != pair[1]), "{slots:?}");
}

#[test]
fn those_that_decode_lie_next_to_each_other_without_gaps() {
    let (mut scheduler, calls) = scheduler(6, 8);
    // Those in the middle end first.
    for (id, max_tokens) in [(1, 20), (2, 4), (3, 6), (4, 20), (5, 5), (6, 20)] {
        let prompt = [id as u32, 7, 9];
        scheduler.accept(request(id, &prompt, max_tokens)).unwrap();
    }
    while !scheduler.is_idle() {
        calls.borrow_mut().clear();
        let step = scheduler.step().step.unwrap();
        if step.prefilled == 0 {
            let Call::Decode { rows, .. } = calls.borrow()[0] else {
                panic!("no decoding");
            };
            assert_eq!(rows, step.batch, "nobody is run who does not decode");
        }
    }
}

#[test]
fn a_prefix_that_somebody_has_is_copied_and_one_that_is_left_is_taken() {
    let (mut scheduler, calls) = scheduler(3, 32);
    let prefix: Vec<u32> = (0..10).collect();
    let with = |last: u32| [&prefix[..], &[last]].concat();
    scheduler.accept(request(1, &with(11), 8)).unwrap();
    scheduler.step();
    // While the first one runs.
    scheduler.accept(request(2, &with(12), 2)).unwrap();
    let mut steps = drain(&mut scheduler);
    assert_eq!(reused_by(&steps, 2), 10);
    // The very same prompt lacks only its last token: it is decoded at once.
    calls.borrow_mut().clear();
    scheduler.accept(request(3, &with(12), 2)).unwrap();
    steps.extend(drain(&mut scheduler));
    assert_eq!(reused_by(&steps, 3), 10);
    let prefilled = |call: &Call| matches!(call, Call::Prefill { .. });
    assert!(!calls.borrow().iter().any(prefilled));
    assert_eq!(tokens_of(&steps, 3), tokens_of(&steps, 2));
    // A prompt whose probabilities are asked for is taken in as a whole.
    let whole = Generate {
        prompt_logprobs: true,
        ..request(4, &with(12), 2)
    };
    scheduler.accept(whole).unwrap();
    steps.extend(drain(&mut scheduler));
    assert_eq!(reused_by(&steps, 4), 0);
    assert_eq!(tokens_of(&steps, 4), tokens_of(&steps, 2));
}

#[test]
fn what_a_free_slot_remembers_gives_way_only_when_there_is_no_other_room() {
    let (mut scheduler, _) = scheduler(4, 32);
    let prompts: Vec<Vec<u32>> = (0..4).map(|first| vec![first, 5, 6, 7, 8, 9, 10]).collect();
    let mut id = 0;
    for _ in 0..3 {
        for prompt in &prompts {
            id += 1;
            // Somebody else runs all the time, so that everybody has to be put next to them.
            scheduler.accept(request(1000 + id, &[14, 14], 12)).unwrap();
            scheduler.step();
            scheduler.accept(request(id, &prompt[..6], 1)).unwrap();
            drain(&mut scheduler);
        }
    }
    // Three prompts and the one that always runs have room for all.
    for prompt in &prompts[2..] {
        id += 1;
        scheduler.accept(request(id, prompt, 1)).unwrap();
        let steps = drain(&mut scheduler);
        assert_eq!(reused_by(&steps, id), 6);
    }
}

#[test]
fn a_sequence_ends_for_the_reason_that_comes_first() {
    let (mut scheduler, _) = scheduler(1, 8);
    let end = |scheduler: &mut Scheduler, request: Generate| {
        scheduler.accept(request).unwrap();
        let steps = drain(scheduler);
        let chosen = steps.last().unwrap().tokens.last().unwrap().clone();
        (chosen.position, chosen.finish.unwrap())
    };
    let plain = request(1, &[3, 1, 4], 5);
    assert_eq!(end(&mut scheduler, plain.clone()), (4, Finish::Length));
    let full = Generate {
        max_tokens: 1000,
        ..plain.clone()
    };
    assert_eq!(end(&mut scheduler, full), (MAX_LEN - 3 - 1, Finish::Length));
    scheduler.accept(plain.clone()).unwrap();
    let tokens = tokens_of(&drain(&mut scheduler), 1);
    let stop = Generate {
        stop_tokens: vec![tokens[1]],
        ..plain.clone()
    };
    let first = tokens.iter().position(|token| *token == tokens[1]).unwrap();
    assert_eq!(end(&mut scheduler, stop), (first, Finish::Stop));
    let grammar = Generate {
        grammar: Some(Grammar::Regex("[a-f]{2}".into())),
        stop_tokens: vec![END],
        ..plain
    };
    assert_eq!(end(&mut scheduler, grammar), (1, Finish::Stop));
}

#[test]
fn what_makes_no_sense_is_refused_with_its_numbers() {
    let (mut scheduler, _) = scheduler(1, 8);
    let mut refused = |request: Generate| scheduler.accept(request).unwrap_err().error;
    let long = refused(request(1, &[1; MAX_LEN], 5));
    assert_eq!(
        long,
        EngineError::PromptTooLong {
            tokens: MAX_LEN,
            max_len: MAX_LEN
        }
    );
    for (wrong, words) in [
        (request(2, &[], 5), "at least one"),
        (request(3, &[VOCABULARY as u32], 5), "token 16"),
        (request(4, &[1], 0), "max_tokens is 0"),
        (
            Generate {
                logprobs: Some(1000),
                ..request(5, &[1], 5)
            },
            "1000",
        ),
    ] {
        let error = refused(wrong);
        assert_eq!(error.fault(), crate::Fault::Client);
        assert!(error.to_string().contains(words), "{error}");
    }
    assert!(scheduler.is_idle());
}

#[test]
fn more_than_a_server_should_send_is_refused_and_may_be_sent_again() {
    let (mut scheduler, _) = scheduler(2, 8);
    let refused = (0..100)
        .filter_map(|id| scheduler.accept(request(id, &[1, 2], 2)).err())
        .map(|failed| failed.error)
        .collect::<Vec<_>>();
    assert_eq!(refused.len(), 100 - (2 * 2 + MOST_WAITING));
    assert!(refused.iter().all(EngineError::is_retryable));
    drain(&mut scheduler);
}

#[test]
fn a_run_that_fails_ends_its_sequences_and_no_others() {
    let mut fake = Fake::new(2);
    fake.fails_after = Some(3);
    let mut scheduler = Scheduler::new(Box::new(fake), 8, None);
    for id in [1, 2] {
        scheduler
            .accept(request(id, &[id as u32, 2, 3], 9))
            .unwrap();
    }
    // Two prompts and a step between them; then decoding fails.
    for _ in 0..3 {
        assert!(scheduler.step().failed.is_empty());
    }
    let failed = scheduler.step().failed;
    let ids: Vec<u64> = failed.iter().map(|failed| failed.id).collect();
    assert_eq!(ids, [1, 2]);
    assert!(scheduler.is_idle());
}

#[test]
fn the_probabilities_of_a_prompt_are_those_of_its_tokens_however_it_is_cut() {
    let told = |chunk: usize| {
        let (mut scheduler, _) = scheduler(2, chunk);
        let whole = Generate {
            prompt_logprobs: true,
            logprobs: Some(2),
            ..request(1, &[3, 1, 4, 1, 5, 9, 2, 6], 2)
        };
        scheduler.accept(whole).unwrap();
        let steps = drain(&mut scheduler);
        let begun = steps.iter().flat_map(|step| step.begun.clone());
        let told: Vec<Begun> = begun.collect();
        assert_eq!(told.len(), 1);
        told[0].prompt_logprobs.clone()
    };
    let whole = told(100);
    assert_eq!(whole.len(), 7);
    assert!(
        whole
            .iter()
            .all(|told| told.best.len() == 2 && told.chosen < 0.0)
    );
    for chunk in [1, 2, 3, 7] {
        assert_eq!(told(chunk), whole, "{chunk}");
    }
}

#[test]
fn a_probe_gives_the_same_answer_and_disturbs_nothing() {
    let (mut scheduler, _) = scheduler(3, 8);
    let first = scheduler.warm_up().unwrap().tokens;
    assert!(!first.is_empty());
    scheduler.accept(request(1, &[1, 2, 3], 4)).unwrap();
    let before = tokens_of(&drain(&mut scheduler), 1);
    assert_eq!(scheduler.probe().unwrap().tokens, first);
    scheduler.accept(request(2, &[1, 2, 3], 4)).unwrap();
    let steps = drain(&mut scheduler);
    assert_eq!(reused_by(&steps, 2), 2);
    assert_eq!(tokens_of(&steps, 2), before);
}
