//! The queue alone, with nobody behind it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use impetus_engine::Tensor;

use super::*;
use crate::serving::batching::{BatchPolicy, Terms};
use crate::serving::description::Description;
use crate::serving::occupancy::{Occupancy, Pass};
use crate::serving::testing::limits;
use crate::serving::{Inference, ModelKind, Priority, Protocol, Request, ServeError};

mod choosing;
mod properties;

type Answer = tokio::sync::oneshot::Receiver<Result<Inference, ServeError>>;

/// A worker that has, or has not, something to do.
struct Worker {
    idle: bool,
    emptied: Notify,
}

impl Worker {
    fn new(idle: bool) -> Self {
        Self {
            idle,
            emptied: Notify::new(),
        }
    }
}

impl Taker for Worker {
    fn is_idle(&self) -> bool {
        self.idle
    }

    async fn turned_idle(&self) {
        self.emptied.notified().await;
    }
}

fn pass() -> Pass {
    Arc::<Occupancy>::default().enter()
}

fn policy(text: &str) -> BatchPolicy {
    let description: Description = toml::from_str(text).unwrap();
    BatchPolicy::of(&description, &limits().of(ModelKind::Tensors, &description))
}

fn queue(text: &str) -> Queue {
    Queue::new(&policy(text))
}

/// A request of so many rows of so many columns, which holds its own number.
fn request(number: usize, rows: usize, columns: usize) -> (Request, usize) {
    let values = vec![number as f32; rows * columns];
    let inputs = vec![Tensor::from_f32("x", vec![rows, columns], &values).unwrap()];
    let deadline = Instant::now() + Duration::from_secs(3600);
    (Request::new(inputs, deadline, Protocol::Predict), rows)
}

fn job(number: usize) -> (Job, Answer) {
    let (request, rows) = request(number, 1, 1);
    let terms = Terms {
        since: Instant::now(),
        priority: Priority::Normal,
        take_by: None,
    };
    Job::new(request, rows, terms, pass())
}

fn number(job: &Job) -> usize {
    job.inputs[0].to_f32().unwrap()[0] as usize
}

#[test]
fn a_sealed_queue_takes_nothing_new_and_loses_nothing_old() {
    let (queue, worker) = (queue(""), Worker::new(true));
    let (first, _first) = job(1);
    queue.push(first).unwrap();
    queue.seal();
    let (late, _late) = job(2);
    match queue.push(late) {
        Err(PushError::Closed(given_back)) => assert_eq!(number(&given_back), 2),
        other => panic!("a sealed queue took work in: {other:?}"),
    }
    let taken = queue.take(&worker).now_or_never().flatten().unwrap();
    assert_eq!(number(&taken[0]), 1);
    let mut waiting = Box::pin(queue.take(&worker));
    assert!(waiting.as_mut().now_or_never().is_none());
    queue.push_front(taken).unwrap();
    let again = waiting.now_or_never().flatten().unwrap();
    assert_eq!(number(&again[0]), 1, "what comes back is taken again");
    assert!(queue.close().is_empty());
    assert!(queue.push_front(again).is_err());
    assert!(queue.take(&worker).now_or_never().unwrap().is_none());
}

#[test]
fn a_queue_that_has_been_closed_is_not_opened_by_being_sealed() {
    let queue = queue("");
    queue.close();
    queue.seal();
    let (late, _late) = job(1);
    assert!(queue.push_front(vec![late]).is_err());
}

#[test]
fn a_full_queue_gives_the_job_back() {
    let queue = queue("batching.queue = 1");
    let (first, _first) = job(1);
    queue.push(first).unwrap();
    let (second, _second) = job(2);
    match queue.push(second) {
        Err(PushError::Full(given_back)) => assert_eq!(number(&given_back), 2),
        other => panic!("a full queue took work in: {other:?}"),
    }
}

#[tokio::test]
async fn what_is_held_back_goes_when_its_time_is_over() {
    let (queue, busy) = (queue("batching.delay = \"20ms\""), Worker::new(false));
    let (first, _first) = job(1);
    let pushed = Instant::now();
    queue.push(first).unwrap();
    assert!(queue.take_now(&busy).unwrap().is_none(), "not at once");
    let taken = tokio::time::timeout(Duration::from_secs(60), queue.take(&busy)).await;
    assert_eq!(taken.unwrap().unwrap().len(), 1);
    assert!(pushed.elapsed() >= Duration::from_millis(20));
}

#[tokio::test]
async fn what_is_held_back_goes_when_its_worker_has_nothing_to_do_any_more() {
    let text = "batching = { delay = \"1m\", adaptive = true }";
    let (queue, idle) = (queue(text), Worker::new(true));
    let mut busy = Worker::new(false);
    let (first, _first) = job(1);
    queue.push(first).unwrap();
    assert!(queue.take(&busy).now_or_never().is_none());
    busy.emptied.notify_one();
    busy.idle = true;
    let taken = tokio::time::timeout(Duration::from_secs(30), queue.take(&busy)).await;
    assert_eq!(taken.unwrap().unwrap().len(), 1);
    // And one that has nothing to do from the start is not kept waiting at all.
    let (second, _second) = job(2);
    queue.push(second).unwrap();
    assert!(queue.take(&idle).now_or_never().is_some());
}

#[tokio::test]
async fn an_idle_worker_hears_of_what_a_busy_one_holds_back() {
    let text = "batching = { delay = \"1m\", adaptive = true }";
    let queue = queue(text);
    let (busy, idle) = (Worker::new(false), Worker::new(true));
    let mut holds = Box::pin(queue.take(&busy));
    let mut takes = Box::pin(queue.take(&idle));
    assert!(holds.as_mut().now_or_never().is_none());
    assert!(takes.as_mut().now_or_never().is_none());
    let (first, _first) = job(1);
    queue.push(first).unwrap();
    assert!(holds.as_mut().now_or_never().is_none());
    assert!(takes.now_or_never().is_some());
}

#[test]
fn a_word_that_a_link_was_given_and_does_not_follow_can_be_passed_on() {
    let queue = queue("");
    let (ends, stays) = (Worker::new(true), Worker::new(true));
    let mut looks = Box::pin(queue.is_due(&ends));
    let mut takes = Box::pin(queue.take(&stays));
    assert!(looks.as_mut().now_or_never().is_none());
    assert!(takes.as_mut().now_or_never().is_none());
    let (first, _first) = job(1);
    queue.push(first).unwrap();
    assert!(looks.now_or_never().is_some(), "it was told");
    assert!(takes.as_mut().now_or_never().is_none(), "and nobody else");
    queue.pass_on();
    assert!(takes.now_or_never().is_some());
}

#[test]
fn a_busy_worker_is_told_of_a_whole_batch_and_of_nothing_less() {
    let queue = queue("");
    let (busy, idle) = (Worker::new(false), Worker::new(true));
    let mut first = Box::pin(queue.take(&busy));
    assert!(first.as_mut().now_or_never().is_none());
    let mut answers = Vec::new();
    for number in 1..=3 {
        let (job, answer) = job(number);
        queue.push(job).unwrap();
        answers.push(answer);
        assert!(first.as_mut().now_or_never().is_none());
    }
    let (fourth, _fourth) = job(4);
    queue.push(fourth).unwrap();
    assert_eq!(first.now_or_never().flatten().unwrap().len(), 4);
    let mut second = Box::pin(queue.take(&idle));
    let (fifth, _fifth) = job(5);
    queue.push(fifth).unwrap();
    assert_eq!(second.as_mut().now_or_never().flatten().unwrap().len(), 1);
}
