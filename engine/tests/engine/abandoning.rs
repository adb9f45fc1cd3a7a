//! Runs that nobody waits for any more, and workers that are handed from one loop to another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use impetus_engine::link;
use impetus_engine::{EngineError, Limits};

use crate::fake::Fake;
use crate::support::{pattern, within};

/// Runs until somebody interrupts it if the first byte says so.
fn endless(interrupted: &Arc<AtomicBool>, runs: &Arc<AtomicUsize>) -> Fake {
    let (asked, runs) = (Arc::clone(interrupted), Arc::clone(runs));
    let interrupt = Arc::clone(interrupted);
    Fake::new(move |_, x| {
        runs.fetch_add(1, Ordering::SeqCst);
        while x.len() > 1 && !asked.load(Ordering::SeqCst) {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        asked.store(false, Ordering::SeqCst);
        x.to_vec()
    })
    .interrupted_by(Arc::new(move || interrupt.store(true, Ordering::SeqCst)))
}

#[tokio::test]
async fn a_run_that_nobody_wants_ends_early_and_the_worker_serves_on() {
    let (interrupted, runs) = (Arc::default(), Arc::default());
    let mut worker = endless(&interrupted, &runs)
        .loaded(Limits::default(), |_| {})
        .await;
    worker.send(1, &[&pattern("x", 2)]).await;
    while runs.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    worker.sender.interrupt(1);
    // The fake delivers all the same: what counts is that it ended.
    worker.answer(1).await.unwrap();
    worker.send(2, &[&pattern("x", 1)]).await;
    assert_eq!(worker.answer(2).await.unwrap()[0].data(), [0]);
}

#[tokio::test]
async fn a_run_that_nobody_wants_any_more_before_it_begins_is_never_begun() {
    let (interrupted, runs) = (Arc::default(), Arc::default());
    let mut worker = endless(&interrupted, &runs)
        .loaded(Limits::default(), |_| {})
        .await;
    worker.send(1, &[&pattern("x", 2)]).await;
    worker.send(2, &[&pattern("x", 2)]).await;
    while runs.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    worker.sender.interrupt(2);
    worker.sender.interrupt(1);
    worker.answer(1).await.unwrap();
    assert_eq!(worker.answer(2).await, Err(EngineError::Abandoned));
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_parked_worker_goes_on_where_it_was_on_another_loop() {
    let worker = Fake::new(|_, x| x.to_vec())
        .loaded(Limits::default(), |_| {})
        .await;
    let parked = link::park(&worker.sender, worker.receiver).unwrap();
    drop(worker.sender);
    let answered = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (sender, mut receiver) = parked.resume().unwrap();
            let x = pattern("x", 300_000);
            let input = link::StackedInput {
                name: "x",
                dtype: x.dtype(),
                shape: x.shape(),
                parts: &[x.data()],
            };
            sender.run(5, &[input]).await.unwrap();
            within(receiver.next()).await.unwrap()
        })
    });
    let answered = crate::support::joined(answered).await;
    let link::Received::Done { id: 5, outputs, .. } = answered else {
        panic!("unexpected {answered:?}");
    };
    assert_eq!(outputs[0].data(), pattern("x", 300_000).data());
}

#[tokio::test]
async fn a_link_with_a_run_in_flight_cannot_be_parked() {
    let worker = Fake::new(|_, x| x.to_vec())
        .loaded(Limits::default(), |_| {})
        .await;
    worker.send(1, &[&pattern("x", 2)]).await;
    assert!(link::park(&worker.sender, worker.receiver).is_err());
}
