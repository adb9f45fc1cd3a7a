//! Against a server on a socket that answers as a logging service does, or as something else.

mod server;

use std::sync::Mutex;

use serde_json::{Value, json};

use self::server::{Reply, Request, Server};
use super::*;
use crate::predlog::batch::{BatchError, FieldProblem, LogBatch};
use crate::predlog::row::Row;
use crate::predlog::testing::{self, prediction};

const NOON: &str = "2025-01-01T12:00:00Z";
const WITHIN: Duration = Duration::from_secs(30);

fn sink(url: &str) -> ImpetusSink {
    let settings = ImpetusSettings {
        url: url.into(),
        ca_file: None,
        batch: 32,
        batch_timeout: Duration::from_secs(10),
    };
    ImpetusSink::new(&settings, WITHIN)
}

/// Returns rows as they lie in the file, from batches of three of one device after the other.
fn landed(count: usize) -> Vec<Landed> {
    let batch = |number: usize| {
        let images = (0..3).map(|index| prediction(&format!("image {index}"), NOON, index == 1));
        let device = format!("edge-{number}");
        testing::rows(&device, &images.collect::<Vec<_>>()).to_vec()
    };
    let rows = (0..count.div_ceil(3)).flat_map(batch).take(count);
    let landed = |(index, row)| Landed {
        seq: index as i64 + 1,
        created_at: 1_735_732_800_000 + index as i64,
        row,
    };
    rows.enumerate().map(landed).collect()
}

fn error(status: u16, code: &str, message: &str) -> Reply {
    Reply::json(status, &json!({"error": message, "code": code}))
}

/// Answers as `POST /log` does, and keeps the rows.
#[derive(Default)]
struct Log(Mutex<Vec<Row>>);

impl Log {
    fn take(&self, request: &Request) -> Reply {
        assert_eq!(request.line, "POST /log HTTP/1.1");
        match LogBatch::parse(&request.body) {
            Ok(batch) => {
                let logged = batch.len();
                self.0.lock().unwrap().extend(batch.into_rows());
                Reply::json(200, &json!({"logged": logged, "status": "logged"}))
            }
            Err(BatchError::NotJson { reason }) => error(400, "not_json", &reason),
            Err(error @ BatchError::Invalid { .. }) => {
                let message = error.to_string();
                let BatchError::Invalid { problems, .. } = error else {
                    unreachable!("that was said above")
                };
                let detail = |problem: FieldProblem| json!({"field": problem.field, "problem": problem.problem});
                let details: Vec<Value> = problems.into_iter().map(detail).collect();
                let body = json!({"error": message, "code": "invalid_batch", "details": details});
                Reply::json(422, &body)
            }
        }
    }

    fn rows(&self) -> Vec<Row> {
        self.0.lock().unwrap().clone()
    }
}

fn originals(landed: &[Landed]) -> Vec<Row> {
    landed.iter().map(|landed| landed.row.clone()).collect()
}

fn refused(delivery: &Delivery) -> Vec<usize> {
    delivery.refused.iter().map(|row| row.index).collect()
}

async fn reason(reply: Reply) -> String {
    let server = Server::start(move |_| reply.clone()).await;
    let failure = sink(&server.url).deliver(&landed(3)).await;
    let failure = failure.expect_err("nothing was kept");
    failure.reason.replace(&server.url, "http://log")
}

#[tokio::test]
async fn a_row_keeps_its_key_and_device_whatever_batch_it_travels_in() {
    let log = Arc::new(Log::default());
    let server = Server::start({
        let log = Arc::clone(&log);
        move |request| log.take(request)
    })
    .await;
    let rows = landed(8);
    let mut sink = sink(&server.url);
    for part in rows.chunks(5) {
        let delivery = sink.deliver(part).await.expect("kept");
        assert_eq!(delivery, Delivery::default());
    }
    assert_eq!(log.rows(), originals(&rows));
    assert_eq!(server.connections(), 1, "the connection is kept");

    // Once more in other batches, as after a crash: the file of the other server knows them all.
    for part in rows.chunks(3) {
        sink.deliver(part).await.expect("kept again");
    }
    let (_folder, config) = testing::config();
    let mut store = testing::open(&config).await.expect("opens");
    let batch: Arc<[Row]> = log.rows().into();
    assert_eq!(batch.len(), 16);
    let inserted = store.insert(&[batch], 1).await.expect("commits");
    assert_eq!(inserted.rows, 8);
}

#[tokio::test]
async fn a_batch_says_what_it_is() {
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let server = Server::start({
        let bodies = Arc::clone(&bodies);
        move |request| {
            let body: Value = serde_json::from_slice(&request.body).expect("JSON");
            let logged = body["batch_size"].clone();
            bodies.lock().unwrap().push(body);
            Reply::json(200, &json!({"logged": logged}))
        }
    })
    .await;
    let rows = landed(4);
    let mut sink = sink(&format!("{}/", server.url));
    sink.deliver(&rows[..3]).await.expect("kept");
    sink.deliver(&rows).await.expect("kept");
    let bodies = bodies.lock().unwrap();
    assert_eq!(bodies[0]["edge_device_id"], "edge-0");
    assert_eq!(bodies[0]["timestamp"], "2025-01-01T12:00:00.002Z");
    assert_eq!(
        bodies[0]["predictions"][1],
        prediction("image 1", NOON, true)
    );
    assert_eq!(bodies[1]["edge_device_id"], Value::Null, "they are of two");
    assert_eq!(bodies[1]["origins"][3]["edge_device_id"], "edge-1");
}

#[tokio::test]
async fn rows_that_are_named_as_bad_are_refused_and_the_others_kept() {
    let log = Arc::new(Log::default());
    let server = Server::start({
        let log = Arc::clone(&log);
        move |request| log.take(request)
    })
    .await;
    let mut rows = landed(50);
    for bad in &mut rows[10..40] {
        bad.row.body = r#"{"image_id": "image"}"#.into();
    }
    let delivery = sink(&server.url).deliver(&rows).await.expect("dealt with");
    assert_eq!(refused(&delivery), (10..40).collect::<Vec<_>>());
    assert_eq!(delivery.refused[0].reason, "timestamp: is missing");
    rows.drain(10..40);
    assert_eq!(log.rows(), originals(&rows));
}

#[tokio::test]
async fn a_row_that_is_no_json_is_found_by_halving() {
    let log = Arc::new(Log::default());
    let server = Server::start({
        let log = Arc::clone(&log);
        move |request| log.take(request)
    })
    .await;
    let mut rows = landed(32);
    rows[21].row.body = r#"{"image_id": "#.into();
    let delivery = sink(&server.url).deliver(&rows).await.expect("dealt with");
    assert_eq!(refused(&delivery), [21]);
    rows.remove(21);
    assert_eq!(log.rows(), originals(&rows));
    assert!(server.requests() <= 11, "{} requests", server.requests());
}

#[tokio::test]
async fn what_is_too_large_is_sent_in_halves_and_one_row_alone_refused() {
    let log = Arc::new(Log::default());
    let server = Server::start({
        let log = Arc::clone(&log);
        move |request| match request.body.len() > 2_000 {
            true => Reply::text(413, "<html>too large</html>"),
            false => log.take(request),
        }
    })
    .await;
    let mut rows = landed(32);
    let mut large = prediction("large", NOON, false);
    large["processing_notes"] = json!("x".repeat(2_000));
    rows[7].row.body = large.to_string().into();
    let delivery = sink(&server.url).deliver(&rows).await.expect("dealt with");
    assert_eq!(refused(&delivery), [7]);
    rows.remove(7);
    assert_eq!(log.rows(), originals(&rows));
}

#[tokio::test]
async fn a_server_that_is_busy_says_when_to_come_back() {
    for (status, retry_after) in [(503, Some(7)), (429, Some(2)), (503, None)] {
        let server = Server::start(move |_| {
            let reply = error(status, "log_overloaded", "too many wait");
            match retry_after {
                Some(seconds) => reply.header(format!("retry-after: {seconds}")),
                None => reply,
            }
        })
        .await;
        let failure = sink(&server.url).deliver(&landed(2)).await;
        let failure = failure.expect_err("nothing was kept");
        assert_eq!(failure.retry_after, retry_after.map(Duration::from_secs));
        let expected = format!("{}/log answers {status}: too many wait", server.url);
        assert_eq!(&*failure.reason, expected);
        assert_eq!(server.requests(), 1, "one attempt");
    }
}

/// Whatever else answers at the address must neither swallow predictions nor have them refused.
#[tokio::test]
async fn nothing_is_kept_or_refused_on_the_word_of_a_stranger() {
    for (reply, expected) in [
        (
            Reply::text(200, "<html>welcome</html>"),
            "http://log/log answers 200 and does not say what it logged; is that a logging service?",
        ),
        (
            Reply::json(200, &json!({"logged": 2})),
            "http://log/log answers 200 and logged 2 of 3 predictions",
        ),
        (
            Reply::text(404, "not found"),
            "http://log/log answers 404; is that a logging service?",
        ),
        (
            Reply::text(400, "bad request"),
            "http://log/log answers 400; is that a logging service?",
        ),
        (
            Reply::json(422, &json!({"detail": []})),
            "http://log/log answers 422; is that a logging service?",
        ),
        (
            error(404, "not_found", "there is nothing here"),
            "http://log/log answers 404: there is nothing here",
        ),
        (
            Reply::text(401, "who are you?"),
            "http://log/log answers 401; something before it wants credentials",
        ),
        (
            Reply::text(308, "").header("location: /elsewhere".into()),
            "http://log/log answers 308; redirects are not followed, `sink.url` has to name the logging service",
        ),
        (
            Reply::text(502, "bad gateway"),
            "http://log/log answers 502",
        ),
        (
            Reply::text(422, &"x".repeat(1 << 20)),
            "http://log/log answers 422; is that a logging service?",
        ),
    ] {
        assert_eq!(reason(reply).await, expected);
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_with_its_address() {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = gone.local_addr().expect("an address");
    drop(gone);
    let mut sink = sink(&format!("http://user:s3cret@{address}"));
    for failure in [
        sink.deliver(&landed(1)).await.map(|_| ()),
        sink.check().await,
    ] {
        let reason = failure.expect_err("nobody is there").reason;
        let expected = format!("http://{address} cannot be reached: Connection refused");
        assert!(reason.starts_with(&expected), "{reason}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let server = Server::start(|_| Reply::never()).await;
    let mut sink = sink(&server.url);
    sink.within = Duration::from_millis(100);
    let failure = sink.deliver(&landed(1)).await.expect_err("no answer");
    assert_eq!(
        &*failure.reason,
        format!("{} does not answer in time", server.url)
    );
}

#[tokio::test]
async fn a_server_that_breaks_off_is_an_error() {
    let server = Server::start(|_| Reply::json(200, &json!({"logged": 1})).cut()).await;
    let failure = sink(&server.url).deliver(&landed(1)).await;
    let reason = failure.expect_err("half an answer").reason;
    let expected = format!("{} broke off: ", server.url);
    assert!(reason.starts_with(&expected), "{reason}");
}

#[tokio::test]
async fn a_server_is_there_when_it_is_healthy() {
    for (status, expected) in [(200, None), (500, Some("/health answers 500"))] {
        let server = Server::start(move |request| {
            assert_eq!(request.line, "GET /health HTTP/1.1");
            Reply::text(status, "{}")
        })
        .await;
        let checked = sink(&server.url).check().await;
        let failure = checked
            .err()
            .map(|error| error.reason.replace(&server.url, ""));
        assert_eq!(failure.as_deref(), expected);
    }
}

#[tokio::test]
async fn authorities_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let empty = folder.path().join("empty.pem");
    fs::write(&empty, "").expect("written");
    for (file, expected) in [
        (folder.path().join("none.pem"), "No such file or directory"),
        (empty, "no certificates in"),
    ] {
        let mut sink = sink("https://127.0.0.1:1");
        sink.ca_file = Some(file.clone());
        let reason = sink.check().await.expect_err("no authorities").reason;
        assert!(reason.contains(expected), "{reason}");
        assert!(reason.contains(&file.display().to_string()), "{reason}");
    }
}
