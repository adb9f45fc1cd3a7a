//! Workers that die, hang or change their mind, and callers that go away.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use impetus_engine::{Limits, LinkError, Received, WorkerExit};

use crate::fake::{Fake, shut_down};
use crate::support::{Worker, joined, pattern};

fn assert_lost(result: Result<Received, LinkError>) {
    assert!(matches!(result, Err(LinkError::Lost { .. })), "{result:?}");
}

#[tokio::test]
async fn what_a_dying_worker_has_answered_arrives_before_its_loss() {
    let fake = Fake::new(|run, x| {
        assert!(run < 4, "the fourth run is too much");
        x.to_vec()
    });
    let mut worker = fake.loaded(Limits::default(), |_| {}).await;
    for id in 1..=6 {
        worker.send(id, &[&pattern("x", id as usize)]).await;
    }

    for id in 1..=3 {
        let outputs = worker.answer(id).await.unwrap();
        assert_eq!(outputs[0].shape(), [id as usize]);
    }
    assert_lost(worker.try_next().await);
    // And so it stays.
    assert_lost(worker.try_next().await);
    assert!(worker.sender.is_lost());
    assert_eq!(worker.sender.in_flight(), 3);
    let error = worker.try_send(7, &[&pattern("x", 1)]).await.unwrap_err();
    assert!(matches!(error, LinkError::Lost { .. }), "{error}");
    assert!(error.is_retryable());
    let exit = worker.finish().await;
    assert_eq!(
        exit,
        WorkerExit::Panicked("the fourth run is too much".into())
    );
}

#[tokio::test]
async fn a_worker_whose_server_is_gone_ends_at_once_however_long_its_run_takes() {
    let (running, started) = sync_channel(1);
    let (interrupt, interrupted) = sync_channel(1);
    let fake = Fake::new(move |_, _| {
        running.send(()).unwrap();
        loop {
            std::thread::park();
        }
    })
    .interrupted_by(Arc::new(move || interrupt.send(()).unwrap()));
    let worker = fake.loaded(Limits::default(), |_| {}).await;
    worker.send(1, &[&pattern("x", 1)]).await;
    let started = joined(std::thread::spawn(move || started.recv()));
    started.await.unwrap();

    // The hanging thread is left behind; the test's process takes it along.
    assert_eq!(worker.finish().await, WorkerExit::Closed);
    assert_eq!(
        interrupted.try_recv(),
        Ok(()),
        "the run was not interrupted"
    );
}

#[tokio::test]
async fn a_closed_link_returns_what_has_arrived_and_then_the_loss() {
    let mut worker = Fake::new(|_, x| x.to_vec())
        .loaded(Limits::default(), |_| {})
        .await;
    worker.send(1, &[&pattern("x", 5)]).await;
    worker.answer(1).await.unwrap();
    worker.sender.close();
    assert_lost(worker.try_next().await);
    assert_eq!(worker.finish().await, WorkerExit::Closed);
}

#[tokio::test]
async fn a_shutdown_answers_everything_before_it() {
    let mut worker = Fake::new(|_, x| x.to_vec())
        .loaded(Limits::default(), |_| {})
        .await;
    for id in 0..20 {
        worker.send(id, &[&pattern("x", 100)]).await;
    }
    shut_down(&worker).await;
    for id in 0..20 {
        worker.answer(id).await.unwrap();
    }
    assert_lost(worker.try_next().await);
    let exit = worker.finish().await;
    assert_eq!(exit, WorkerExit::Shutdown);
    assert_eq!(exit.code(), 0);
}

#[tokio::test]
async fn a_sender_waits_when_too_much_waits_to_be_written() {
    let limits = Limits {
        backlog: 100_000,
        ..Limits::default()
    };
    let (go, may_go) = sync_channel::<()>(1);
    let fake = Fake::new(move |run, _| {
        if run == 1 {
            may_go.recv().unwrap();
        }
        vec![]
    });
    let mut worker = fake.loaded(limits, |_| {}).await;
    let input = pattern("x", 50_000);
    let mut sent = 0;
    // The worker is in its first run, so the socket fills and then the backlog.
    while tokio::time::timeout(Duration::from_millis(100), worker.try_send(sent, &[&input]))
        .await
        .is_ok()
    {
        sent += 1;
        assert!(sent < 1000, "the backlog has no bound");
    }
    go.send(()).unwrap();
    for id in 0..sent {
        worker.answer(id).await.unwrap();
    }
}

#[tokio::test]
async fn a_model_that_changes_its_mind_is_reported_and_ends_the_worker() {
    // Runs 1 (warm-up) and 2 (first check) agree; the third does not.
    let fake = Fake::new(|run, _| if run < 3 { vec![1, 2] } else { vec![1, 3] });
    let mut worker = fake
        .loaded(Limits::default(), |spec| {
            spec.warm_up = true;
            spec.self_check_every = Duration::from_millis(1);
        })
        .await;
    assert_eq!(
        worker.next().await,
        Received::Beat {
            idle: true,
            self_checks: 1
        }
    );
    let detail = "output y has other values than at first".to_owned();
    assert_eq!(
        worker.next().await,
        Received::SelfCheckFailed {
            detail: detail.clone()
        }
    );
    assert_lost(worker.try_next().await);
    let exit = worker.finish().await;
    assert_eq!(exit, WorkerExit::SelfCheckFailed(detail));
    assert_ne!(exit.code(), 0);
}

#[tokio::test]
async fn a_model_that_was_wrong_from_the_first_check_on_is_reported() {
    // What came first is never seen again, and the repetitions agree with each other.
    let fake = Fake::new(|run, _| if run == 1 { vec![1] } else { vec![2] });
    let mut worker = fake
        .loaded(Limits::default(), |spec| {
            spec.warm_up = true;
            spec.self_check_every = Duration::from_millis(1);
        })
        .await;
    let said = worker.next().await;
    assert!(matches!(said, Received::SelfCheckFailed { .. }), "{said:?}");
}

#[tokio::test]
async fn a_model_that_is_random_by_design_is_run_but_not_compared() {
    let fake = Fake::new(|run, _| vec![run as u8]);
    let mut worker: Worker = fake
        .loaded(Limits::default(), |spec| {
            spec.warm_up = true;
            spec.self_check_every = Duration::from_millis(1);
        })
        .await;
    for expected in 1..=3 {
        assert_eq!(
            worker.next().await,
            Received::Beat {
                idle: true,
                self_checks: expected
            }
        );
    }
}
