//! What a lost worker means for the requests it had: who is suspected, who is refused for good, and
//! who has nothing to do with it.

use super::*;

fn link(generation: u64) -> LinkId {
    LinkId {
        worker: 0,
        generation,
    }
}

/// Loses the worker of that generation and starts the next.
fn lose(model: &ServedModel, generation: u64, loss: &Loss) -> Recovered {
    let recovered = model.recover(0, generation, loss);
    serve(model, 0, generation + 1);
    recovered
}

#[test]
fn a_killer_in_a_batch_is_found_out_and_the_others_get_their_answers() {
    let model = model(limits());
    let killer = 2;
    let mut answers: Vec<_> = (0..4)
        .map(|i| model.submit(request(i as f32)).unwrap())
        .collect();
    take(&model, link(1)).unwrap();
    let first = lose(&model, 1, &crash());
    assert!(!first.under_suspicion && first.quarantined.is_empty());
    let mut generation = 2;
    for member in 0..4 {
        let id = take(&model, link(generation)).unwrap();
        if member == killer {
            let second = lose(&model, generation, &crash());
            assert!(second.under_suspicion);
            assert_eq!(second.quarantined.len(), 1);
            generation += 1;
        } else {
            answer(&model, link(generation), id);
        }
    }
    let refused = answers.remove(killer).blocking_recv().unwrap().unwrap_err();
    assert!(
        matches!(refused, ServeError::Quarantined { .. }),
        "{refused}"
    );
    for answer in answers {
        assert_eq!(answer.blocking_recv().unwrap().unwrap().attempts, 2);
    }
    // The same content again is refused at the door, any other is not.
    let again = model.submit(request(killer as f32)).unwrap_err();
    assert!(matches!(again, ServeError::Quarantined { .. }), "{again}");
    assert!(model.submit(request(9.0)).is_ok());
    assert_eq!(model.status().errors, 1);
}

#[test]
fn kills_from_outside_quarantine_nothing_however_many_there_are() {
    let model = model(ServingLimits {
        accident_retries: 1000,
        ..limits()
    });
    let answer_to = model.submit(request(1.0)).unwrap();
    for generation in 1..=100 {
        take(&model, link(generation)).unwrap();
        let recovered = lose(&model, generation, &outside());
        assert!(recovered.quarantined.is_empty());
    }
    let id = take(&model, link(101)).unwrap();
    answer(&model, link(101), id);
    assert_eq!(answer_to.blocking_recv().unwrap().unwrap().attempts, 101);
    assert!(model.commons.quarantine.is_empty());
}

#[test]
fn an_end_that_nobody_saw_proves_nothing_against_a_request_that_was_alone() {
    let model = model(limits());
    let answer_to = model.submit(request(1.0)).unwrap();
    take(&model, link(1)).unwrap();
    lose(&model, 1, &crash());
    take(&model, link(2)).unwrap();
    lose(&model, 2, &Loss::Unknown);
    let id = take(&model, link(3)).unwrap();
    answer(&model, link(3), id);
    assert!(answer_to.blocking_recv().unwrap().is_ok());
}

#[test]
fn what_waited_behind_the_batch_that_ran_is_not_suspected() {
    let model = model(limits());
    let running = model.submit(request(1.0)).unwrap();
    take(&model, link(1)).unwrap();
    let behind = model.submit(request(2.0)).unwrap();
    take(&model, link(1)).unwrap();
    lose(&model, 1, &crash());
    let first = take(&model, link(2)).unwrap();
    answer(&model, link(2), first);
    let second = take(&model, link(2)).unwrap();
    answer(&model, link(2), second);
    assert_eq!(running.blocking_recv().unwrap().unwrap().attempts, 2);
    assert_eq!(behind.blocking_recv().unwrap().unwrap().attempts, 1);
}

#[test]
fn a_batch_that_was_never_sent_is_not_suspected() {
    let model = model(limits());
    let answer_to = model.submit(request(1.0)).unwrap();
    let batch = futures_util::FutureExt::now_or_never(model.queue.take(4)).unwrap();
    model.ledger.enter(link(1), batch.unwrap());
    let recovered = lose(&model, 1, &crash());
    assert_eq!((recovered.requests, recovered.under_suspicion), (1, false));
    let id = take(&model, link(2)).unwrap();
    answer(&model, link(2), id);
    assert_eq!(answer_to.blocking_recv().unwrap().unwrap().attempts, 1);
}

#[test]
fn losses_are_counted_by_their_kind() {
    let model = model(limits());
    model.note_loss(&crash());
    model.note_loss(&crash());
    model.note_loss(&outside());
    let losses = model.status().losses;
    assert_eq!(
        (losses["crash"], losses["outside"], losses["hang"]),
        (2, 1, 0)
    );
}

#[test]
fn a_batch_whose_callers_have_all_gone_is_unwanted_once() {
    let model = model(limits());
    let first = model.submit(request(1.0)).unwrap();
    let second = model.submit(request(2.0)).unwrap();
    let id = take(&model, link(1)).unwrap();
    drop(first);
    let unwanted = || model.ledger.newly_unwanted(link(1), Instant::now());
    assert!(unwanted().is_empty());
    drop(second);
    assert_eq!(unwanted(), [id]);
    assert!(unwanted().is_empty());
    // Its end is nobody's failure.
    let batch = model.ledger.settle(link(1), id).unwrap();
    model.failed(batch, &EngineError::Abandoned);
    for id in std::iter::from_fn(|| take(&model, link(1))) {
        answer(&model, link(1), id);
    }
    assert_eq!(model.status().errors, 0);
}
