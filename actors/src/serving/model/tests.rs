//! The path of a request with a worker that exists only as a row of calls: what is taken, entered,
//! lost, failed or done. What must hold whatever happens: every request gets exactly one answer.

use std::time::{Duration, Instant};

use impetus_engine::{DType, EngineError, Tensor};
use proptest::prelude::*;

use super::super::job::{Inference, Request};
use super::super::ledger::LinkId;
use super::super::loss::{Blame, Loss};
use super::super::state::WorkerState;
use super::*;
use crate::serving::Protocol;
use crate::serving::testing::{self, Idle, ROW, limits, serve};

mod batching;
mod losses;

fn model(limits: ServingLimits) -> Arc<ServedModel> {
    described(limits, Description::default())
}

fn described(limits: ServingLimits, description: Description) -> Arc<ServedModel> {
    let wanted = Wanted {
        spec: ModelSpec {
            kind: ModelKind::default(),
            name: "m".to_owned(),
            version: "1".to_owned(),
            versioned: false,
            load: 1,
            path: "m/model.onnx".into(),
            bytes: 1,
            description,
        },
        fingerprint: Fingerprint::default(),
        problem: None,
        arrival: None,
    };
    let model = Arc::new(ServedModel::new(wanted, limits, testing::commons()));
    testing::load(&model);
    model
}

fn request(value: f32) -> Request {
    let inputs = vec![Tensor::from_f32("x", vec![1, ROW], &[value, value]).unwrap()];
    let deadline = Instant::now() + Duration::from_secs(3600);
    Request {
        id: Some("r".into()),
        ..Request::new(inputs, deadline, Protocol::Predict)
    }
}

/// Takes a batch as a link's writer does.
fn take(model: &ServedModel, link: LinkId) -> Option<u64> {
    let batch = model.queue.take_now(&Idle)??;
    let id = model.ledger.enter(link, batch, None);
    model.ledger.sending(id);
    Some(id)
}

/// Answers a batch with its own inputs, as an identity model does.
fn answer(model: &ServedModel, link: LinkId, id: u64) {
    let Some(batch) = model.ledger.settle(link, id) else {
        return;
    };
    let rows: Vec<u8> = batch
        .jobs
        .iter()
        .flat_map(|job| job.inputs[0].data().to_vec())
        .collect();
    let shape = vec![batch.jobs.len(), ROW];
    let output = Tensor::try_new("y", DType::F32, shape, rows).unwrap();
    model.complete(batch, vec![output], 7);
}

fn crash() -> Loss {
    Loss::Crash("was ended by signal 11".to_owned())
}

fn outside() -> Loss {
    Loss::Outside("was ended by signal 9".to_owned())
}

fn at(generation: u64) -> LinkId {
    LinkId {
        worker: 0,
        generation,
    }
}

const LINK: LinkId = LinkId {
    worker: 0,
    generation: 1,
};

#[test]
fn requests_that_wait_together_share_a_batch_and_each_gets_its_own_rows() {
    let model = model(limits());
    let answers: Vec<_> = (0..5)
        .map(|i| model.submit(request(i as f32)).unwrap())
        .collect();
    let first = take(&model, LINK).unwrap();
    let second = take(&model, LINK).unwrap();
    answer(&model, LINK, first);
    answer(&model, LINK, second);
    for (i, answer) in answers.into_iter().enumerate() {
        let inference = answer.blocking_recv().unwrap().unwrap();
        assert_eq!(inference.outputs[0].to_f32().unwrap(), [i as f32; ROW]);
        assert_eq!(inference.batch, if i < 4 { 4 } else { 1 });
    }
}

#[test]
fn a_lost_batch_runs_again_member_by_member_and_in_front_of_the_others() {
    let model = model(limits());
    let answers: Vec<_> = (0..3)
        .map(|i| model.submit(request(i as f32)).unwrap())
        .collect();
    let id = take(&model, LINK).unwrap();
    let late = model.submit(request(9.0)).unwrap();
    assert_eq!(model.recover(at(1), &crash(), Blame::Running).requests, 3);
    let again = model.recover(at(1), &crash(), Blame::Running);
    assert_eq!(again, Recovered::default(), "nothing is recovered twice");
    serve(&model, 0, 2);
    let link = LinkId {
        worker: 0,
        generation: 2,
    };
    for (i, answer_to) in answers.into_iter().chain([late]).enumerate() {
        let again = take(&model, link).unwrap();
        answer(&model, link, again);
        let inference = answer_to.blocking_recv().unwrap().unwrap();
        assert_eq!(inference.batch, 1);
        assert_eq!(inference.attempts, if i < 3 { 2 } else { 1 });
    }
    // What the fenced link still says changes nothing.
    answer(&model, LINK, id);
    assert_eq!(model.status().predictions, 4);
}

#[test]
fn a_request_that_loses_its_worker_too_often_is_answered_with_that() {
    let model = model(limits());
    let answer_to = model.submit(request(1.0)).unwrap();
    for generation in 1..=5 {
        serve(&model, 0, generation);
        take(
            &model,
            LinkId {
                worker: 0,
                generation,
            },
        )
        .unwrap();
        model.recover(at(generation), &outside(), Blame::Running);
    }
    let error = answer_to.blocking_recv().unwrap().unwrap_err();
    assert!(
        matches!(error, ServeError::WorkerLost { attempts: 5, .. }),
        "{error}"
    );
    assert_eq!(model.status().errors, 1);
    assert_eq!(model.queued(), 0);
}

#[test]
fn one_bad_request_fails_alone_and_not_with_its_batch() {
    let model = model(limits());
    let answers: Vec<_> = (0..2)
        .map(|i| model.submit(request(i as f32)).unwrap())
        .collect();
    let bad = EngineError::run_failed("an index was out of range");
    let id = take(&model, LINK).unwrap();
    model.failed(model.ledger.settle(LINK, id).unwrap(), &bad);
    let mut answers = answers.into_iter();
    let first = take(&model, LINK).unwrap();
    model.failed(model.ledger.settle(LINK, first).unwrap(), &bad);
    assert!(answers.next().unwrap().blocking_recv().unwrap().is_err());
    let second = take(&model, LINK).unwrap();
    answer(&model, LINK, second);
    assert!(answers.next().unwrap().blocking_recv().unwrap().is_ok());
    assert_eq!((model.status().errors, model.status().predictions), (1, 1));
}

#[test]
fn a_full_queue_refuses_and_those_who_have_gone_make_room() {
    let model = model(ServingLimits {
        queue: 2,
        ..limits()
    });
    let _first = model.submit(request(1.0)).unwrap();
    let second = model.submit(request(2.0)).unwrap();
    assert!(matches!(
        model.submit(request(3.0)),
        Err(ServeError::QueueFull { .. })
    ));
    drop(second);
    assert!(model.submit(request(4.0)).is_ok());
}

#[test]
fn a_closed_model_answers_what_waits_and_finishes_what_runs() {
    let model = model(limits());
    let running = model.submit(request(1.0)).unwrap();
    let id = take(&model, LINK).unwrap();
    let waiting = model.submit(request(2.0)).unwrap();
    model.close();
    assert!(matches!(
        waiting.blocking_recv().unwrap(),
        Err(ServeError::Unloaded { .. })
    ));
    assert!(model.submit(request(3.0)).is_err());
    answer(&model, LINK, id);
    assert!(running.blocking_recv().unwrap().is_ok());
}

#[test]
fn a_model_whose_only_worker_is_gone_takes_requests_inside_its_budget() {
    let model = model(limits());
    model.places[0].write(1, |place| place.state = WorkerState::Down);
    model.note_down();
    assert_eq!(model.state(), ModelState::Degraded);
    assert!(
        model.submit(request(1.0)).is_ok(),
        "it queues until the worker is back"
    );
}

#[test]
fn what_a_fenced_incarnation_writes_about_itself_is_dropped() {
    let model = model(limits());
    serve(&model, 0, 2);
    assert!(!model.places[0].write(1, |place| place.state = WorkerState::Down));
    assert_eq!(model.state(), ModelState::Ready);
}

#[derive(Debug, Clone)]
enum Step {
    Submit,
    Forget(usize),
    Take,
    Answer(usize),
    Fail(usize),
    Lose(Loss),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Submit),
        1 => (0..8_usize).prop_map(Step::Forget),
        3 => Just(Step::Take),
        3 => (0..8_usize).prop_map(Step::Answer),
        1 => (0..8_usize).prop_map(Step::Fail),
        1 => prop_oneof![Just(crash()), Just(outside()), Just(Loss::Unknown)].prop_map(Step::Lose),
    ]
}

proptest! {
    #[test]
    fn every_request_gets_exactly_one_answer_and_its_own(steps in prop::collection::vec(step(), 1..200)) {
        let model = model(limits());
        let mut generation = 1;
        let mut waiting = Vec::new();
        let mut out: Vec<u64> = Vec::new();
        let mut value = 0.0;
        for step in steps {
            let link = LinkId { worker: 0, generation };
            match step {
                Step::Submit => {
                    value += 1.0;
                    if let Ok(answer) = model.submit(request(value)) {
                        waiting.push((value, answer));
                    }
                }
                Step::Forget(i) if !waiting.is_empty() => {
                    waiting.swap_remove(i % waiting.len());
                }
                Step::Take => out.extend(take(&model, link)),
                Step::Answer(i) if !out.is_empty() => answer(&model, link, out.swap_remove(i % out.len())),
                Step::Fail(i) if !out.is_empty() => {
                    let id = out.swap_remove(i % out.len());
                    if let Some(batch) = model.ledger.settle(link, id) {
                        model.failed(batch, &EngineError::run_failed("no"));
                    }
                }
                Step::Lose(loss) => {
                    model.recover(at(generation), &loss, Blame::Running);
                    generation += 1;
                    serve(&model, 0, generation);
                    // Answers of the old link that come late must not count.
                    for id in out.drain(..) {
                        answer(&model, link, id);
                    }
                }
                _ => {}
            }
        }
        let link = LinkId { worker: 0, generation };
        for id in out {
            answer(&model, link, id);
        }
        while let Some(id) = take(&model, link) {
            answer(&model, link, id);
        }
        prop_assert_eq!((model.queued(), model.running()), (0, 0));
        for (value, answer) in waiting {
            match answer.blocking_recv() {
                Ok(Ok(inference)) => prop_assert_eq!(inference.outputs[0].to_f32().unwrap(), [value; ROW]),
                Ok(Err(
                    ServeError::WorkerLost { .. }
                    | ServeError::Engine(_)
                    | ServeError::Quarantined { .. },
                )) => {}
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
