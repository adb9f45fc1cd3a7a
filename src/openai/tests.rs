//! From a request to an answer, with a model whose tokens are bytes and sequences that are written by hand.

mod answers;
mod choices;
mod requests;

use std::cell::Cell;
use std::fs;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use impetus_actors::serving::StreamEvent;
use impetus_engine::generate::{Chosen, Finish, TokenLogprobs};
use impetus_text::TextModel;
use serde_json::{Map, Value, json};
use time::macros::datetime;

use super::chat::ChatRequest;
use super::common::Bounds;
use super::completion::CompletionRequest;
use super::generation::{Events, Generation};
use super::job::Job;
use super::read::read;
use super::*;

/// The token that ends an answer.
const END: u32 = 257;
const BOUNDS: Bounds = Bounds {
    max_choices: 8,
    room: 64,
};
const SEED: u64 = 7;
/// Writes each message in brackets, and tools before them.
const TEMPLATE: &str = "{% for tool in tools %}<tool_call>{{ tool.function.name }};{% endfor %}\
    {% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}\
    {% if add_generation_prompt %}[assistant:{% endif %}";

/// What the folder of a model says whose tokens are bytes, with two special ones behind them.
fn text_with(generation: &Value) -> Arc<TextModel> {
    let visible = |byte: u32| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut others = 0x100..;
    let letters = (0..256).map(|byte| match visible(byte) {
        true => byte,
        false => others.next().unwrap(),
    });
    let vocabulary: Map<String, Value> = letters
        .enumerate()
        .map(|(byte, letter)| (char::from_u32(letter).unwrap().to_string(), byte.into()))
        .collect();
    let special = |id: u32, content: &str| {
        json!({"id": id, "content": content, "special": true, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false})
    };
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": [special(256, "<begin>"), special(END, "<end>")],
        "pre_tokenizer": byte_level, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary, "merges": []},
    });
    let config = json!({"bos_token": "<begin>", "eos_token": "<end>", "chat_template": TEMPLATE});
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("tokenizer.json", &tokenizer),
        ("tokenizer_config.json", &config),
        ("generation_config.json", generation),
    ] {
        fs::write(folder.path().join(name), content.to_string()).unwrap();
    }
    Arc::new(TextModel::load(folder.path()).unwrap())
}

fn text() -> Arc<TextModel> {
    text_with(&json!({}))
}

fn chat_with(text: &TextModel, body: &Value) -> Result<Job, Refusal> {
    let body = body.to_string();
    let request = ChatRequest {
        common: read(body.as_bytes())?,
        fields: read(body.as_bytes())?,
        drawn_seed: SEED,
        bounds: BOUNDS,
        now: datetime!(2025-01-01 12:00 UTC),
    };
    request.job("m", text)
}

fn chat(body: &Value) -> Result<Job, Refusal> {
    chat_with(&text(), body)
}

fn completion(body: &Value) -> Result<Job, Refusal> {
    let body = body.to_string();
    let request = CompletionRequest {
        common: read(body.as_bytes())?,
        fields: read(body.as_bytes())?,
        drawn_seed: SEED,
        bounds: BOUNDS,
    };
    request.job(&text())
}

/// Says that a prompt has been taken in.
fn begun(reused: usize) -> StreamEvent {
    StreamEvent::Begun {
        reused,
        prompt_logprobs: Vec::new(),
        queued: Duration::ZERO,
    }
}

fn token(token: u32, finish: Option<Finish>) -> StreamEvent {
    StreamEvent::Token(Chosen {
        id: 1,
        position: 0,
        token,
        logprobs: Some(TokenLogprobs {
            chosen: -0.5,
            best: vec![(token, -0.5), (u32::from(b'?'), f32::NEG_INFINITY)],
        }),
        finish,
    })
}

/// Returns a sequence that writes a text and then ends.
fn saying(text: &str, finish: Finish) -> Vec<StreamEvent> {
    let mut tokens: Vec<u32> = text.bytes().map(u32::from).collect();
    if finish == Finish::Stop {
        tokens.push(END);
    }
    let last = tokens.len() - 1;
    let tokens = tokens.into_iter().enumerate();
    let tokens = tokens.map(|(at, id)| token(id, (at == last).then_some(finish)));
    std::iter::once(begun(0)).chain(tokens).collect()
}

/// A sequence: so many of its events are ready at each look, and then none for one look.
struct Scripted {
    events: std::vec::IntoIter<StreamEvent>,
    at_once: usize,
    left: usize,
    is_gone: Rc<Cell<bool>>,
}

// === impl Scripted ===

impl Scripted {
    fn begin(events: Vec<StreamEvent>, at_once: usize) -> (Events, Rc<Cell<bool>>) {
        let is_gone = Rc::new(Cell::new(false));
        let events = Self {
            events: events.into_iter(),
            at_once,
            left: at_once,
            is_gone: Rc::clone(&is_gone),
        };
        (Box::pin(events), is_gone)
    }
}

impl Stream for Scripted {
    type Item = StreamEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<StreamEvent>> {
        if self.left == 0 {
            self.left = self.at_once;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.left -= 1;
        Poll::Ready(self.events.next())
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.is_gone.set(true);
    }
}

/// Begins a generation of a job, with a sequence of events for each answer.
fn generation(job: &Job, sequences: Vec<Events>) -> Generation {
    let choices = job.choices(&text()).unwrap();
    assert_eq!(choices.len(), sequences.len());
    Generation::new(choices.into_iter().zip(sequences), job.prompt_tokens())
}
