//! Streams that outlive their engine: sixteen at a time, chosen greedily and at random, free and held to a
//! grammar, all end with the text of an undisturbed run.

use std::thread;

use rustix::process::Signal;

use super::*;
use crate::harness::scrape::Scrape;
use crate::harness::signal_process;

const STREAMS: usize = 16;
const RESUMED: &str = "impetus_generation_resumed_total{model=\"tiny-chat\"}";
const TOKENS: &str = "impetus_generation_tokens_total{model=\"tiny-chat\"}";

/// Returns the request of one of the streams.
fn request(stream: usize) -> Value {
    let mut request = json!({
        "prompt": format!("The night of server {stream}"),
        "stream": true, "max_tokens": 700, "seed": stream,
        "temperature": if stream.is_multiple_of(2) { 0.0 } else { 0.9 },
    });
    let kind = match stream % 4 {
        2 => {
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "list", "schema": {
                "type": "array", "minItems": 60, "maxItems": 60, "items": {"type": "integer", "minimum": 10, "maximum": 99},
            }}}})
        }
        3 => json!({"regex": "([a-z]{2,6} ){80}"}),
        _ => json!({"ignore_eos": true}),
    };
    merge(&mut request, &kind);
    request
}

/// Runs all streams at a time and returns their texts; `meanwhile` has the server to itself.
fn texts(server: &Server, meanwhile: impl FnOnce()) -> Vec<String> {
    thread::scope(|scope| {
        let streams: Vec<_> = (0..STREAMS)
            .map(|stream| {
                scope.spawn(move || {
                    let answer = server.post_json(COMPLETIONS, &request(stream));
                    let events = events(&answer);
                    let error = events.iter().find(|event| event.get("error").is_some());
                    assert!(error.is_none(), "stream {stream}: {error:?}");
                    text_of(&events, 0)
                })
            })
            .collect();
        meanwhile();
        let texts = streams.into_iter().map(|stream| stream.join().unwrap());
        texts.collect()
    })
}

/// Ends the worker by a signal as often as that, each time in the middle of the streams, and returns
/// whether they all say what they say undisturbed.
fn survive(signal: Signal, times: usize) {
    let server = setup().start_ready();
    let undisturbed = texts(&server, || {});
    assert_eq!(Scrape::of(&server).value(RESUMED), 0.0);
    let all = Scrape::of(&server).value(TOKENS);
    let disturbed = texts(&server, || {
        for time in 1..=times {
            // Well into the answers, and further each time.
            let so_far = all * (time as f64) / (times as f64 + 2.0);
            server.wait_for("the streams to get on", || {
                Scrape::of(&server).value(TOKENS) >= all + so_far
            });
            let workers = server.workers();
            workers.iter().for_each(|pid| signal_process(*pid, signal));
            server.wait_for("another worker", || {
                let now = server.workers();
                !now.is_empty() && now.iter().all(|pid| !workers.contains(pid))
            });
        }
    });
    for (stream, (before, after)) in undisturbed.iter().zip(&disturbed).enumerate() {
        assert_eq!(before, after, "stream {stream}");
    }
    let resumed = Scrape::of(&server).value(RESUMED);
    assert!(
        resumed >= times as f64,
        "{resumed} resumptions of {times} losses"
    );
    assert_eq!(server.status()["status"], "healthy");
    wait_until_idle(&server);
}

#[test]
fn streams_say_the_same_when_their_engine_is_killed_again_and_again() {
    survive(Signal::KILL, 3);
}

#[test]
fn streams_say_the_same_when_their_engine_stands_still() {
    survive(Signal::STOP, 1);
}

#[test]
fn streams_say_the_same_when_their_engine_crashes_by_itself() {
    survive(Signal::SEGV, 2);
}

/// The token at which the model of `tests/models/endless_chat` never comes back.
const DEADLY: u32 = 2047;

#[test]
fn a_stream_that_kills_its_engine_alone_is_ended_and_refused_and_the_others_say_what_they_would_have()
 {
    let server = setup().with_endless_chat_model().start_ready();
    let innocent = |stream: usize| {
        json!({"prompt": format!("The night of server {stream}"), "stream": true, "ignore_eos": true,
               "temperature": 0, "max_tokens": 400})
    };
    let undisturbed: Vec<String> = (0..4)
        .map(|stream| {
            text_of(
                &events(&server.post_json(COMPLETIONS, &innocent(stream))),
                0,
            )
        })
        .collect();
    let deadly = json!({"prompt": "An evil hour", "stream": true, "ignore_eos": true, "temperature": 0,
                        "max_tokens": 400, "logit_bias": {DEADLY.to_string(): 100}});
    let (texts, ended) = thread::scope(|scope| {
        let server = &server;
        let streams: Vec<_> = (0..4)
            .map(|stream| scope.spawn(move || server.post_json(COMPLETIONS, &innocent(stream))))
            .collect();
        let ended = server.post_json(COMPLETIONS, &deadly).text();
        let texts: Vec<String> = streams
            .into_iter()
            .map(|stream| text_of(&events(&stream.join().unwrap()), 0))
            .collect();
        (texts, ended)
    });
    assert_eq!(texts, undisturbed);
    // It had said its deadly token, so its status was out already.
    let error = ended
        .lines()
        .find_map(|line| line.strip_prefix("data: {\"error\":"))
        .unwrap_or_else(|| panic!("{ended}"));
    assert!(error.contains("\"code\":\"quarantined\""), "{error}");
    assert!(ended.trim_end().ends_with("data: [DONE]"), "{ended}");
    let again = server.post_json(COMPLETIONS, &deadly);
    assert_eq!(again.status, 422, "{}", again.text());
    let losses = Scrape::of(&server)
        .value("impetus_worker_losses_total{cause=\"hang\",model=\"tiny-chat\"}");
    assert!(losses >= 3.0, "{losses}");
    let still: String = text_of(&events(&server.post_json(COMPLETIONS, &innocent(0))), 0);
    assert_eq!(still, undisturbed[0]);
}
