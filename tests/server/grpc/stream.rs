//! Many requests on one stream: in order, several at a time, and past every refusal.

use std::time::Duration;

use impetus::grpc::proto::infer_parameter::ParameterChoice;
use impetus::grpc::proto::{ModelInferRequest, ModelStreamInferResponse};
use rustix::process::Signal;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Code, Request, Status, Streaming};

use super::client::{Client, parameters, picture, raw};
use super::models;
use crate::harness::PATIENCE;
use crate::harness::killers::setup_of;
use crate::harness::processes::freeze;
use crate::harness::signal_process;

/// A stream that is open.
struct Stream {
    client: Client,
    requests: Option<mpsc::Sender<ModelInferRequest>>,
    answers: Streaming<ModelStreamInferResponse>,
}

// === impl Stream ===

impl Stream {
    fn open(client: &Client, deadline: Option<Duration>) -> Self {
        let (requests, mut coming) = mpsc::channel(256);
        let outgoing = futures_util::stream::poll_fn(move |cx| coming.poll_recv(cx));
        let mut request = Request::new(outgoing);
        if let Some(deadline) = deadline {
            request.set_timeout(deadline);
        }
        let opened = client.call(async |service| service.model_stream_infer(request).await);
        Self {
            client: client.clone(),
            requests: Some(requests),
            answers: opened.unwrap().into_inner(),
        }
    }

    fn ask(&self, request: ModelInferRequest) {
        self.requests.as_ref().unwrap().try_send(request).unwrap();
    }

    /// Waits for the next answer, or the end.
    fn next(&mut self) -> Result<Option<ModelStreamInferResponse>, Status> {
        let next = async { timeout(PATIENCE, self.answers.message()).await };
        self.client
            .runtime
            .block_on(next)
            .expect("an answer in time")
    }

    fn answer(&mut self) -> ModelStreamInferResponse {
        self.next().unwrap().expect("the stream goes on")
    }
}

fn number(number: u8) -> ModelInferRequest {
    let mut request = raw("echo_UINT8", "UINT8", &[1, 1], vec![number]);
    request.id = number.to_string();
    request
}

#[test]
fn answers_come_in_the_order_of_the_requests_and_refusals_end_nothing() {
    let server = models::one("UINT8").start_ready();
    let client = Client::of(&server);
    let mut stream = Stream::open(&client, None);
    for id in 0..100 {
        let mut request = number(id);
        match id % 10 {
            3 => request.model_name = "nobody".to_owned(),
            7 => request.inputs[0].shape = vec![2, 2],
            _ => {}
        }
        stream.ask(request);
    }
    for id in 0..100_u8 {
        let answer = stream.answer();
        let (words, answer) = (answer.error_message, answer.infer_response.unwrap());
        assert_eq!(answer.id, id.to_string());
        let last = &answer.parameters["triton_final_response"].parameter_choice;
        assert_eq!(*last, Some(ParameterChoice::BoolParam(true)));
        match id % 10 {
            3 => assert!(words.contains("nobody"), "{words}"),
            7 => assert!(words.contains("takes 4 bytes, got 1"), "{words}"),
            _ => assert_eq!(
                (&*words, &*answer.raw_output_contents[0]),
                ("", [id].as_slice())
            ),
        }
    }
    // The client has said all it had to say: so has the server.
    stream.requests = None;
    assert!(stream.next().unwrap().is_none());
}

#[test]
fn who_asks_for_an_empty_last_answer_is_told_that_each_answer_is_the_last() {
    let server = models::one("UINT8").start_ready();
    let client = Client::of(&server);
    let mut stream = Stream::open(&client, None);
    let mut request = number(5);
    let empty = ParameterChoice::BoolParam(true);
    request.parameters = parameters("triton_enable_empty_final_response", empty);
    stream.ask(request);
    stream.ask(number(6));
    for id in ["5", "6"] {
        let answer = stream.answer().infer_response.unwrap();
        assert_eq!((&*answer.id, answer.outputs.len()), (id, 1));
        assert!(answer.parameters.contains_key("triton_final_response"));
    }
}

#[test]
fn no_more_requests_of_a_stream_are_worked_on_than_may_be() {
    let server = setup_of("plain", "")
        .set("grpc.stream_in_flight", "3")
        .set("models.in_flight", "1")
        .set("models.max_batch", "1")
        .set("models.run_timeout", "\"50s\"")
        .start_ready();
    let client = Client::of(&server);
    let mut stream = Stream::open(&client, None);
    let worker = server.workers()[0];
    freeze(worker);
    for _ in 0..20 {
        stream.ask(picture("plain", 0.1));
    }
    let known = || {
        let model = server.status()["models"][0].clone();
        model["queued"].as_u64().unwrap() + model["workers"][0]["in_flight"].as_u64().unwrap()
    };
    server.wait_for("three to be worked on", || known() == 3);
    // A call behind them on the same connection is let in, which shows that the stream held back.
    let behind = client.start(picture("plain", 0.1));
    server.wait_for("the fourth", || known() == 4);
    signal_process(worker, Signal::CONT);
    for _ in 0..20 {
        assert_eq!(stream.answer().error_message, "");
    }
    client.wait(behind).unwrap();
}

#[test]
fn a_worker_that_is_killed_costs_a_stream_none_of_its_answers() {
    let server = setup_of("plain", "")
        .set("models.in_flight", "1")
        .set("models.run_timeout", "\"50s\"")
        .start_ready();
    let client = Client::of(&server);
    let mut stream = Stream::open(&client, None);
    let worker = server.workers()[0];
    freeze(worker);
    for id in 0..20 {
        let mut request = picture("plain", 0.1);
        request.id = id.to_string();
        stream.ask(request);
    }
    server.wait_for("the run to begin", || {
        server.status()["models"][0]["workers"][0]["in_flight"] == 1
    });
    signal_process(worker, Signal::KILL);
    for id in 0..20 {
        let answer = stream.answer();
        assert_eq!(answer.error_message, "");
        assert_eq!(answer.infer_response.unwrap().id, id.to_string());
    }
}

#[test]
fn a_message_above_the_limit_ends_a_stream_and_says_so() {
    let server = models::one("UINT8")
        .set("grpc.max_message", "\"1MiB\"")
        .start_ready();
    let client = Client::of(&server);
    let mut stream = Stream::open(&client, None);
    stream.ask(number(1));
    assert_eq!(stream.answer().error_message, "");
    let extent = 2 << 20;
    let data = vec![0; usize::try_from(extent).unwrap()];
    stream.ask(raw("echo_UINT8", "UINT8", &[1, extent], data));
    let ended = stream.next().unwrap_err();
    assert_eq!(ended.code(), Code::ResourceExhausted, "{ended}");
    assert!(ended.message().contains("grpc.max_message"), "{ended}");
}

#[test]
fn a_stream_ends_when_its_own_deadline_has_passed() {
    let server = models::one("UINT8").start_ready();
    let client = Client::of(&server);
    let mut stream = Stream::open(&client, Some(Duration::from_millis(500)));
    let ended = stream.next().unwrap_err();
    // The client's own clock may be the first of the two.
    assert!(
        matches!(ended.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{ended}"
    );
    server.wait_for("nothing to be in flight", || {
        server
            .get("/metrics")
            .text()
            .contains("impetus_grpc_requests_in_flight 0")
    });
}

#[test]
fn a_silent_stream_is_ended_and_its_client_told_why() {
    let server = models::one("UINT8")
        .set("grpc.stream_idle_timeout", "\"1s\"")
        .start_ready();
    let client = Client::of(&server);
    let mut stream = Stream::open(&client, None);
    stream.ask(number(1));
    assert_eq!(stream.answer().error_message, "");
    let ended = stream.next().unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable, "{ended}");
    assert!(ended.message().contains("open another one"), "{ended}");
}
