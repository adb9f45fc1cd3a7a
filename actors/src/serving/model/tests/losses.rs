//! What a lost worker means for the requests it had: who is suspected, who is refused for good, and
//! who has nothing to do with it.

use super::*;

/// Loses the worker of that generation and starts the next.
fn lose(model: &ServedModel, generation: u64, loss: &Loss) -> Recovered {
    let recovered = model.recover(at(generation), loss, Blame::Running);
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
    take(&model, at(1)).unwrap();
    let first = lose(&model, 1, &crash());
    assert!(!first.under_suspicion && first.quarantined.is_empty());
    let mut generation = 2;
    for member in 0..4 {
        let id = take(&model, at(generation)).unwrap();
        if member == killer {
            let second = lose(&model, generation, &crash());
            assert!(second.under_suspicion);
            assert_eq!(second.quarantined.len(), 1);
            generation += 1;
        } else {
            answer(&model, at(generation), id);
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
        take(&model, at(generation)).unwrap();
        let recovered = lose(&model, generation, &outside());
        assert!(recovered.quarantined.is_empty());
    }
    let id = take(&model, at(101)).unwrap();
    answer(&model, at(101), id);
    assert_eq!(answer_to.blocking_recv().unwrap().unwrap().attempts, 101);
    assert!(model.commons.quarantine.is_empty());
}

#[test]
fn an_end_that_nobody_saw_proves_nothing_against_a_request_that_was_alone() {
    let model = model(limits());
    let answer_to = model.submit(request(1.0)).unwrap();
    take(&model, at(1)).unwrap();
    lose(&model, 1, &crash());
    take(&model, at(2)).unwrap();
    lose(&model, 2, &Loss::Unknown);
    let id = take(&model, at(3)).unwrap();
    answer(&model, at(3), id);
    assert!(answer_to.blocking_recv().unwrap().is_ok());
}

#[test]
fn what_waited_behind_the_batch_that_ran_is_not_suspected() {
    let model = model(limits());
    let running = model.submit(request(1.0)).unwrap();
    take(&model, at(1)).unwrap();
    let behind = model.submit(request(2.0)).unwrap();
    take(&model, at(1)).unwrap();
    lose(&model, 1, &crash());
    let first = take(&model, at(2)).unwrap();
    answer(&model, at(2), first);
    let second = take(&model, at(2)).unwrap();
    answer(&model, at(2), second);
    assert_eq!(running.blocking_recv().unwrap().unwrap().attempts, 2);
    assert_eq!(behind.blocking_recv().unwrap().unwrap().attempts, 1);
}

#[test]
fn a_batch_that_was_never_sent_is_not_suspected() {
    let model = model(limits());
    let answer_to = model.submit(request(1.0)).unwrap();
    let batch = model.queue.take_now(&Idle).unwrap();
    model.ledger.enter(at(1), batch.unwrap(), None);
    let recovered = lose(&model, 1, &crash());
    assert_eq!((recovered.requests, recovered.under_suspicion), (1, false));
    let id = take(&model, at(2)).unwrap();
    answer(&model, at(2), id);
    assert_eq!(answer_to.blocking_recv().unwrap().unwrap().attempts, 1);
}

#[test]
fn a_loss_is_held_against_nobody_but_the_one_to_blame() {
    let model = model(limits());
    let answers: Vec<_> = (0..2)
        .map(|i| {
            let answer = model.submit(request(i as f32)).unwrap();
            (take(&model, at(1)).unwrap(), answer)
        })
        .collect();
    // The one that overran its budget is answered while its worker is being looked at.
    answer(&model, at(1), answers[0].0);
    let recovered = model.recover(at(1), &crash(), Blame::Only(answers[0].0));
    assert_eq!((recovered.requests, recovered.under_suspicion), (1, false));
    serve(&model, 0, 2);
    let id = take(&model, at(2)).unwrap();
    answer(&model, at(2), id);
    for (_, answer) in answers {
        assert_eq!(answer.blocking_recv().unwrap().unwrap().attempts, 1);
    }
}

#[test]
fn a_copy_of_a_request_that_has_been_found_out_is_refused_before_it_kills_again() {
    let model = model(limits());
    let first = model.submit(request(1.0)).unwrap();
    let copy = model.submit(request(1.0)).unwrap();
    take(&model, at(1)).unwrap();
    lose(&model, 1, &crash());
    // Both are suspects now; the first is found out.
    take(&model, at(2)).unwrap();
    assert_eq!(lose(&model, 2, &crash()).quarantined.len(), 1);
    let id = take(&model, at(3)).unwrap();
    assert!(model.refuse_if_known(at(3), id));
    for answer in [first, copy] {
        let refused = answer.blocking_recv().unwrap().unwrap_err();
        assert!(
            matches!(refused, ServeError::Quarantined { .. }),
            "{refused}"
        );
    }
    let other = model.submit(request(2.0)).unwrap();
    let id = take(&model, at(3)).unwrap();
    assert!(!model.refuse_if_known(at(3), id));
    answer(&model, at(3), id);
    assert!(other.blocking_recv().unwrap().is_ok());
}

#[test]
fn a_model_recovers_while_one_of_its_workers_may_and_a_new_one_fails_with_its_first() {
    let model = model(ServingLimits {
        spares: 1,
        ..limits()
    });
    model.places[1].begin(1);
    let refused = |place: &mut super::super::place::PlaceState| {
        place.state = WorkerState::Down;
        place.load_error = Some("it does not fit".to_owned());
    };
    model.places[1].write(1, refused);
    model.places[0].write(1, |place| place.state = WorkerState::Down);
    model.note_down();
    assert_eq!(model.state(), ModelState::Degraded);
    model.life().served = false;
    assert_eq!(model.state(), ModelState::Failed);
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
    let id = take(&model, at(1)).unwrap();
    drop(first);
    let unwanted = || model.ledger.newly_unwanted(at(1), Instant::now());
    assert!(unwanted().is_empty());
    drop(second);
    assert_eq!(unwanted(), [id]);
    assert!(unwanted().is_empty());
    // Its end is nobody's failure.
    let batch = model.ledger.settle(at(1), id).unwrap();
    model.failed(batch, &EngineError::Abandoned);
    for id in std::iter::from_fn(|| take(&model, at(1))) {
        answer(&model, at(1), id);
    }
    assert_eq!(model.status().errors, 0);
}
