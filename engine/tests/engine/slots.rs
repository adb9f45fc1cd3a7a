//! Slots: who holds one, and who waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use impetus_engine::{DType, Limits, LinkError, StackedInput, Tensor};

use crate::fake::Fake;
use crate::support::{pattern, within};

/// One slot of the smallest size, so that few bytes need it.
fn one_slot() -> Limits {
    Limits {
        inline_max: 1024,
        slots: 1,
        slot_bytes: 64 * 1024,
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_slot_nobody_waits_for_is_lent_again_only_after_its_answer() {
    let (go, may_go) = sync_channel::<()>(0);
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let fake = Fake::new(move |_, x| {
        counted.fetch_add(1, Ordering::SeqCst);
        may_go.recv().unwrap();
        x.to_vec()
    });
    let mut worker = fake.loaded(one_slot(), |_| {}).await;
    let large = |fill: u8| {
        let data = vec![fill; 20_000];
        Tensor::try_new("x", DType::U8, vec![20_000], data).unwrap()
    };
    // Whoever asked for this run has gone away; it holds the only slot all the same.
    worker.send(1, &[&large(1)]).await;

    // The next one has to wait, and gives up.
    let (second, patience) = (large(2), Duration::from_millis(50));
    let gave_up = tokio::time::timeout(patience, worker.try_send(2, &[&second])).await;
    assert!(gave_up.is_err(), "the slot was lent twice");
    assert_eq!(worker.sender.in_flight(), 1);

    // A small one needs no slot and is not held up.
    worker.send(3, &[&pattern("x", 10)]).await;

    go.send(()).unwrap();
    let outputs = worker.answer(1).await.unwrap();
    assert!(outputs[0].data().iter().all(|byte| *byte == 1));
    go.send(()).unwrap();
    worker.answer(3).await.unwrap();

    worker.send(4, &[&large(4)]).await;
    go.send(()).unwrap();
    let outputs = worker.answer(4).await.unwrap();
    assert!(outputs[0].data().iter().all(|byte| *byte == 4));
    assert_eq!(runs.load(Ordering::SeqCst), 3, "the abandoned run was sent");
}

#[tokio::test]
async fn whoever_waits_for_a_slot_learns_of_the_workers_death() {
    let (go, may_go) = sync_channel::<()>(0);
    let fake = Fake::new(move |_, _| {
        may_go.recv().unwrap();
        panic!("told to");
    });
    let mut worker = fake.loaded(one_slot(), |_| {}).await;
    worker.send(1, &[&pattern("x", 20_000)]).await;
    let sender = worker.sender.clone();
    let waiting = tokio::spawn(async move {
        let input = pattern("x", 20_000);
        let stacked = StackedInput {
            name: "x",
            dtype: input.dtype(),
            shape: input.shape(),
            parts: &[input.data()],
        };
        sender.run(2, &[stacked]).await
    });
    go.send(()).unwrap();
    let end = worker.try_next().await;
    assert!(matches!(end, Err(LinkError::Lost { .. })), "{end:?}");
    let result = within(waiting).await.unwrap();
    assert!(matches!(result, Err(LinkError::Lost { .. })), "{result:?}");
}
