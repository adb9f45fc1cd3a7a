//! The queue alone, with nobody behind it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use impetus_engine::Tensor;

use super::*;
use crate::serving::occupancy::Occupancy;
use crate::serving::{Inference, Protocol, Request, ServeError};

type Answer = tokio::sync::oneshot::Receiver<Result<Inference, ServeError>>;

fn job(value: f32) -> (Job, Answer) {
    let now = Instant::now();
    let inputs = vec![Tensor::from_f32("x", vec![1, 1], &[value]).unwrap()];
    let deadline = now + Duration::from_secs(3600);
    let request = Request::new(inputs, deadline, Protocol::Predict);
    Job::new(request, 1, now, Arc::<Occupancy>::default().enter())
}

fn value(job: &Job) -> f32 {
    job.inputs[0].to_f32().unwrap()[0]
}

#[test]
fn a_sealed_queue_takes_nothing_new_and_loses_nothing_old() {
    let queue = Queue::new(8);
    let (first, _first) = job(1.0);
    queue.push(first).unwrap();
    queue.seal();
    let (late, _late) = job(2.0);
    match queue.push(late) {
        Err(PushError::Closed(given_back)) => assert_eq!(value(&given_back), 2.0),
        other => panic!("a sealed queue took work in: {other:?}"),
    }
    let taken = queue.take(4).now_or_never().flatten().unwrap();
    assert_eq!(value(&taken[0]), 1.0);
    let mut waiting = Box::pin(queue.take(4));
    assert!(waiting.as_mut().now_or_never().is_none());
    queue.push_front(taken).unwrap();
    let again = waiting.now_or_never().flatten().unwrap();
    assert_eq!(value(&again[0]), 1.0, "what comes back is taken again");
    assert!(queue.close().is_empty());
    assert!(queue.push_front(again).is_err());
    assert!(queue.take(4).now_or_never().unwrap().is_none());
}

#[test]
fn a_queue_that_has_been_closed_is_not_opened_by_being_sealed() {
    let queue = Queue::new(8);
    queue.close();
    queue.seal();
    let (late, _late) = job(1.0);
    assert!(queue.push_front(vec![late]).is_err());
}

#[test]
fn a_full_queue_gives_the_job_back() {
    let queue = Queue::new(1);
    let (first, _first) = job(1.0);
    queue.push(first).unwrap();
    let (second, _second) = job(2.0);
    match queue.push(second) {
        Err(PushError::Full(given_back)) => assert_eq!(value(&given_back), 2.0),
        other => panic!("a full queue took work in: {other:?}"),
    }
}
