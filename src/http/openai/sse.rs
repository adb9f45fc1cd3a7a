//! Answers as server-sent events, while they are generated.
//!
//! Each event is one line of `data:` with JSON, the last one is `[DONE]`. What cannot be finished any more is ended by
//! an event with `error` in place of `choices`, which the official clients raise as an error, and then `[DONE]` too:
//! a reader that waits for it must not wait for ever. In a long silence, such as while a lost worker is replaced,
//! comments keep the connection from being taken for dead.
//!
//! The stream makes a part when the one before has been taken: a client that reads slowly makes nobody wait but
//! itself, and what is generated meanwhile waits in the sequence's own queue, which has room for all of it.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use actix_web::web::Bytes;
use futures_util::stream::unfold;
use impetus_actors::serving::AnswerClass;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, info};

use super::error::OpenAiError;
use crate::http::measuring::Ending;
use crate::openai::Refusal;
use crate::openai::answer::Writer;
use crate::openai::choice::Delta;
use crate::openai::common::Streamed;
use crate::openai::generation::{Counts, Generation};

/// The longest silence.
const SILENCE: Duration = Duration::from_secs(10);
const STILL_HERE: &[u8] = b": still here\n\n";
const DONE: &[u8] = b"data: [DONE]\n\n";

/// An answer on its way.
pub(super) struct Stream {
    generation: Generation,
    writer: Writer,
    streamed: Streamed,
    /// Answers of which nothing has been said.
    unsaid: BTreeSet<usize>,
    /// What had come before the stream began.
    first: Option<Vec<Delta>>,
    ending: Option<Ending>,
    is_over: bool,
}

// === impl Stream ===

impl Stream {
    pub(super) fn new(
        generation: Generation,
        writer: Writer,
        streamed: Streamed,
        first: Vec<Delta>,
        ending: Option<Ending>,
    ) -> Self {
        Self {
            unsaid: (0..generation.answers()).collect(),
            generation,
            writer,
            streamed,
            first: Some(first),
            ending,
            is_over: false,
        }
    }

    /// Returns it in parts, as the body of an answer.
    pub(super) fn into_body(self) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> {
        unfold(self, |mut stream| async move {
            let part = stream.part().await?;
            Some((Ok(part), stream))
        })
    }

    /// Waits for something to say.
    async fn part(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        let mut part = Vec::new();
        if let Some(first) = self.first.take() {
            // That the answer has begun is said even when there is nothing of it yet.
            for index in std::mem::take(&mut self.unsaid) {
                let begun = self.writer.begun(index, self.usage_so_far());
                begun.into_iter().for_each(|begun| event(&begun, &mut part));
            }
            self.write(first, &mut part);
        }
        // What happens and cannot be shown yet is silence too.
        let silent_until = Instant::now() + SILENCE;
        while part.is_empty() {
            match timeout_at(silent_until, self.generation.next()).await {
                Err(_) => part.extend_from_slice(STILL_HERE),
                Ok(Some(Ok(deltas))) => self.write(deltas, &mut part),
                Ok(Some(Err(refusal))) => self.broken_off(refusal, &mut part),
                Ok(None) => self.done(&mut part),
            }
        }
        Some(part.into())
    }

    fn write(&mut self, deltas: Vec<Delta>, part: &mut Vec<u8>) {
        for delta in deltas {
            event(&self.writer.chunk(delta, self.usage_so_far()), part);
        }
    }

    /// Returns what chunks say of how many tokens there were: nothing, null, or the number so far.
    fn usage_so_far(&self) -> Option<Option<Counts>> {
        match self.streamed {
            Streamed {
                usage_so_far: true, ..
            } => Some(Some(self.generation.counts())),
            Streamed { usage: true, .. } => Some(None),
            Streamed { usage: false, .. } => None,
        }
    }

    fn done(&mut self, part: &mut Vec<u8>) {
        if self.streamed.usage {
            event(&self.writer.usage(self.generation.counts()), part);
        }
        debug!("stream of text ended");
        self.end(AnswerClass::Success, part);
    }

    fn broken_off(&mut self, refusal: Refusal, part: &mut Vec<u8>) {
        info!(reason = %refusal, "stream of text broken off");
        let class = match refusal.kind().is_clients_fault() {
            true => AnswerClass::ClientFault,
            false => AnswerClass::ServerFault,
        };
        event(&OpenAiError::from(refusal).to_json(), part);
        self.end(class, part);
    }

    fn end(&mut self, class: AnswerClass, part: &mut Vec<u8>) {
        part.extend_from_slice(DONE);
        self.is_over = true;
        if let Some(ending) = self.ending.take() {
            ending.ended(class);
        }
    }
}

fn event(data: &[u8], part: &mut Vec<u8>) {
    part.extend_from_slice(b"data: ");
    part.extend_from_slice(data);
    part.extend_from_slice(b"\n\n");
}
