//! How requests wait for a worker: who is taken first, who is refused, what is counted of them.

use std::future::Future;
use std::pin::Pin;

use super::super::super::Priority;
use super::super::super::rejection::Rejection;
use super::super::Timed;
use super::super::admission::Bounced;
use super::*;

fn described_by(text: &str) -> Arc<ServedModel> {
    described(limits(), toml::from_str(text).unwrap())
}

fn urgent(value: f32) -> Request {
    Request {
        priority: Some(Priority::High),
        ..request(value)
    }
}

fn impatient(value: f32, millis: u64) -> Request {
    Request {
        queue_timeout: Some(Duration::from_millis(millis)),
        ..request(value)
    }
}

/// Answers whatever waits, batch by batch, and returns the values in the order of their batches.
fn answer_all(model: &ServedModel) -> Vec<Vec<f32>> {
    let batches = std::iter::from_fn(|| {
        let jobs = model.queue.take_now(&Idle)??;
        let value = |job: &super::super::super::job::Job| job.inputs[0].to_f32().unwrap()[0];
        let values = jobs.iter().map(value).collect();
        let id = model.ledger.enter(LINK, jobs, None);
        model.ledger.sending(id);
        answer(model, LINK, id);
        Some(values)
    });
    batches.collect()
}

fn rejected(model: &ServedModel, reason: Rejection) -> u64 {
    model.turned_away(reason)
}

type Inferring<'a> = Pin<Box<dyn Future<Output = Result<Inference, Box<Bounced>>> + 'a>>;

/// Lets a request in and polls its caller once.
fn begin(model: &ServedModel, request: Request) -> Inferring<'_> {
    let mut inferring: Inferring<'_> = Box::pin(model.infer(request));
    let polled = futures_util::FutureExt::now_or_never(inferring.as_mut());
    assert!(polled.is_none(), "nobody has answered it yet: {polled:?}");
    inferring
}

#[test]
fn urgent_requests_go_first_and_each_kind_in_its_order() {
    let model = described_by("batching.max_rows = 1");
    let _answers: Vec<_> = [request(1.0), urgent(2.0), request(3.0), urgent(4.0)]
        .into_iter()
        .map(|request| model.submit(request).unwrap())
        .collect();
    assert_eq!(answer_all(&model), [[2.0], [4.0], [1.0], [3.0]]);
}

#[test]
fn requests_are_as_urgent_as_the_model_says_where_they_do_not() {
    let model = described_by("batching = { max_rows = 1, priority = \"high\" }");
    let lowly = Request {
        priority: Some(Priority::Normal),
        ..request(1.0)
    };
    let _answers = [lowly, request(2.0)].map(|request| model.submit(request).unwrap());
    assert_eq!(answer_all(&model), [[2.0], [1.0]]);
}

#[test]
fn where_the_oldest_makes_room_it_is_told_so_and_the_newest_gets_its_answer() {
    let model = described_by("batching = { queue = 2, when_full = \"drop_oldest\" }");
    let first = model.submit(request(1.0)).unwrap();
    let _urgent = model.submit(urgent(2.0)).unwrap();
    let third = model.submit(request(3.0)).unwrap();
    let shed = first.blocking_recv().unwrap().unwrap_err();
    assert!(matches!(shed, ServeError::Shed { .. }), "{shed}");
    assert!(shed.retry_after().is_some());
    // The least urgent goes, however long the urgent one has waited.
    let _fourth = model.submit(urgent(4.0)).unwrap();
    assert!(matches!(
        third.blocking_recv().unwrap(),
        Err(ServeError::Shed { .. })
    ));
    // And no urgent one for one that is not.
    assert!(matches!(
        model.submit(request(5.0)),
        Err(ServeError::QueueFull { .. })
    ));
    assert_eq!(rejected(&model, Rejection::Shed), 2);
    assert_eq!(rejected(&model, Rejection::QueueFull), 1);
    assert_eq!(answer_all(&model), [[2.0, 4.0]]);
}

#[test]
fn one_that_has_come_back_from_a_lost_worker_makes_room_for_nobody() {
    let model = described_by("batching = { queue = 1, when_full = \"drop_oldest\" }");
    let lost = model.submit(request(1.0)).unwrap();
    take(&model, at(1)).unwrap();
    model.recover(at(1), &crash(), Blame::Running);
    assert!(matches!(
        model.submit(urgent(2.0)),
        Err(ServeError::QueueFull { .. })
    ));
    answer_all(&model);
    assert!(lost.blocking_recv().unwrap().is_ok());
}

#[tokio::test]
async fn a_request_that_no_worker_takes_in_time_is_refused_at_that_time() {
    let model = described_by("batching.timeout = \"20ms\"");
    let error = model.infer(request(1.0)).await.unwrap_err().error;
    let ServeError::QueueTimeout { within, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*within, Duration::from_millis(20));
    assert_eq!(model.queued(), 0, "it takes nobody's place any more");
    assert_eq!(rejected(&model, Rejection::QueueTimeout), 1);
    assert_eq!(model.status().errors, 0, "nothing was executed");
    assert_eq!(model.statistics().fail.count, 1);
}

#[tokio::test]
async fn a_request_that_was_taken_in_time_is_waited_for() {
    let model = described_by("");
    let inferring = begin(&model, impatient(1.0, 20));
    let id = take(&model, LINK).unwrap();
    let answering = async {
        // Past the time that the request may wait: that nothing happens then is what is shown.
        tokio::time::sleep(Duration::from_millis(40)).await;
        answer(&model, LINK, id);
    };
    let (result, ()) = tokio::join!(inferring, answering);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(rejected(&model, Rejection::QueueTimeout), 0);
}

#[tokio::test]
async fn a_request_that_came_back_from_a_lost_worker_waits_as_long_as_its_caller_does() {
    let model = described_by("");
    let inferring = begin(&model, impatient(1.0, 20));
    take(&model, at(1)).unwrap();
    model.recover(at(1), &crash(), Blame::Running);
    let answering = async {
        // Past the time that the request may wait: that nothing happens then is what is shown.
        tokio::time::sleep(Duration::from_millis(40)).await;
        answer_all(&model);
    };
    let (result, ()) = tokio::join!(inferring, answering);
    assert!(result.is_ok(), "{result:?}");
}

#[tokio::test]
async fn a_late_request_that_is_not_refused_is_taken_when_nothing_else_waits() {
    let text = "batching = { max_rows = 1, timeout = \"20ms\", timeout_action = \"delay\" }";
    let model = described_by(text);
    let mut late = begin(&model, request(1.0));
    // Its own time is over before this is.
    let waited = tokio::time::timeout(Duration::from_millis(40), &mut late).await;
    assert!(waited.is_err(), "it was answered: {waited:?}");
    let _younger = model.submit(request(2.0)).unwrap();
    assert_eq!(answer_all(&model), [[2.0], [1.0]]);
    assert!(late.await.is_ok());
    assert_eq!(rejected(&model, Rejection::QueueTimeout), 0);
}

#[test]
fn a_model_whose_graph_has_no_free_first_dimension_makes_no_batches() {
    let model = described_by("batching = { max_rows = 8, preferred = [4], delay = \"1s\" }");
    assert_eq!(model.batching().max_rows, 8);
    let mut loaded = testing::loaded();
    loaded.max_batch_free = false;
    model.loaded(&loaded, None);
    let policy = model.batching();
    assert_eq!((policy.max_rows, policy.preferred), (1, Vec::new()));
    let _answers: Vec<_> = (0..3)
        .map(|i| model.submit(request(i as f32)).unwrap())
        .collect();
    assert_eq!(answer_all(&model), [[0.0], [1.0], [2.0]]);
}

#[test]
fn statistics_and_histograms_agree_about_what_was_run() {
    let model = described_by("");
    let _answers: Vec<_> = (0..5)
        .map(|i| model.submit(request(i as f32)).unwrap())
        .collect();
    answer_all(&model);
    let statistics = model.statistics();
    assert_eq!(
        (statistics.inference_count, statistics.execution_count),
        (5, 2)
    );
    assert_eq!((statistics.success.count, statistics.queue.count), (5, 5));
    assert!(statistics.success.ns >= statistics.queue.ns);
    assert!(statistics.last_inference_ms > 1_700_000_000_000);
    // Seven microseconds each, as the answers say.
    let infer = Timed {
        count: 5,
        ns: 35_000,
    };
    assert_eq!(statistics.compute.infer, infer);
    let sizes: Vec<_> = statistics
        .batches
        .iter()
        .map(|batch| (batch.rows, batch.compute.infer.count))
        .collect();
    assert_eq!(sizes, [(1, 1), (4, 1)]);
    let rows = model.batch_rows();
    assert_eq!((rows.count(), rows.sum()), (2, 5));
    let times = model.inference_times(Protocol::Predict).unwrap();
    let counts = [times.request, times.queue, times.compute].map(|times| times.count());
    assert_eq!(counts, [5, 5, 5]);
    assert!(model.inference_times(Protocol::V2Grpc).is_none());
}
