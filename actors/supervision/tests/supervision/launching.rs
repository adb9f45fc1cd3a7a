//! When there is nothing to run an actor on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use impetus_supervision::{
    ActorState, Body, Executor, Incarnation, LaunchError, Significance, StartError, SupervisorSpec,
    System, TestExecutor,
};

use crate::support::{Diary, SOON, probe, secs};

/// Lets the root through and refuses so many launches after it.
struct Poor {
    refusals: AtomicU32,
    rich: Arc<dyn Executor>,
}

impl Executor for Poor {
    fn launch(&self, name: &str, body: Body) -> Result<Box<dyn Incarnation>, LaunchError> {
        let refuse = |left: u32| left.checked_sub(1);
        let left = self
            .refusals
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, refuse);
        if name != "root" && left.is_ok() {
            let reason = "no threads left".to_owned();
            return Err(LaunchError { reason });
        }
        self.rich.launch(name, body)
    }
}

fn poor(executor: &TestExecutor, refusals: u32) -> Arc<Poor> {
    Arc::new(Poor {
        refusals: AtomicU32::new(refusals),
        rich: executor.executor(),
    })
}

#[test]
fn a_launch_that_is_refused_is_a_failed_start_and_is_tried_again() {
    let diary = Diary::default();
    let (a, _) = probe("a", &diary);
    let executor = TestExecutor::new();
    // One of the refusals is spent on the root, which is let through all the same.
    let builder = executor.system().executor(poor(&executor, 3));
    let running = builder.start(SupervisorSpec::new("root").child(a)).unwrap();
    let board = running.board();

    executor.settle();
    let status = board.get(&"a".into()).unwrap();
    assert_eq!(status.state, ActorState::BackingOff);
    let reason = status.last_exit.unwrap().reason;
    assert_eq!(reason.kind(), "failed_start");
    assert!(reason.to_string().ends_with("no threads left"));

    executor.advance(secs(1));
    let status = board.get(&"a".into()).unwrap();
    assert_eq!(
        (status.state, status.generation.get()),
        (ActorState::Running, 3)
    );
    assert_eq!(running.leaked(), 0);
}

#[test]
fn a_significant_actor_that_can_never_be_launched_is_the_verdict() {
    let diary = Diary::default();
    let (a, _) = probe("a", &diary);
    let executor = TestExecutor::new();
    let builder = executor.system().executor(poor(&executor, u32::MAX));
    let a = a.significance(Significance::Significant);
    let running = builder.start(SupervisorSpec::new("root").child(a)).unwrap();

    executor.advance(secs(30));

    assert_eq!(running.verdict().unwrap().actor.as_str(), "a");
}

#[test]
fn a_root_that_cannot_be_launched_is_an_error_and_not_a_tree() {
    struct Broke;
    impl Executor for Broke {
        fn launch(&self, _: &str, _: Body) -> Result<Box<dyn Incarnation>, LaunchError> {
            let reason = "no threads at all".to_owned();
            Err(LaunchError { reason })
        }
    }

    let refused = System::builder()
        .executor(Arc::new(Broke))
        .start(SupervisorSpec::new("root"));

    assert!(matches!(refused, Err(StartError::Launch(_))));
}

#[test]
fn a_request_to_launch_says_that_it_could_not_be() {
    let diary = Diary::default();
    let (a, _) = probe("a", &diary);
    let executor = TestExecutor::new();
    let builder = executor.system().executor(poor(&executor, 1000));
    let running = builder.start(SupervisorSpec::new("root").child(a)).unwrap();
    executor.advance(secs(30));

    let root = running.root();
    let restarted = executor.run_until(root.restart_child(&"a".into(), SOON));

    let error = restarted.unwrap_err();
    assert!(error.is_retryable());
    assert!(error.to_string().ends_with("no threads left"));
}
