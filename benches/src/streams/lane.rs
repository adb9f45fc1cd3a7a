//! One connection with one answer on its way.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use rustix::event::{PollFd, PollFlags};
use serde_json::json;

use super::Question;
use super::event::{Body, Event};
use super::track::Track;
use crate::http;

const CHUNK: usize = 16 * 1024;

pub(super) struct Lane {
    stream: TcpStream,
    out: Option<Out>,
}

/// An answer on its way.
struct Out {
    request: Vec<u8>,
    written: usize,
    head: Vec<u8>,
    /// What follows the head, once that is whole.
    body: Option<Body>,
    asked: Instant,
    events: Vec<Instant>,
    wanted: usize,
    tokens: Option<usize>,
}

// === impl Lane ===

impl Lane {
    pub(super) fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(http::local(port))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, out: None })
    }

    pub(super) fn is_idle(&self) -> bool {
        self.out.is_none()
    }

    pub(super) fn events(&self) -> usize {
        self.out.as_ref().map_or(0, |out| out.events.len())
    }

    pub(super) fn ask(&mut self, model: &str, question: &Question) -> anyhow::Result<()> {
        ensure!(self.is_idle(), "an answer is on its way here");
        let body = json!({
            "model": model,
            "prompt": question.prompt,
            "max_tokens": question.tokens,
            "temperature": 0,
            "ignore_eos": true,
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        let mut out = Out {
            request: http::post("/v1/completions", &body.to_string()),
            written: 0,
            head: Vec::new(),
            body: None,
            asked: Instant::now(),
            events: Vec::with_capacity(question.tokens),
            wanted: question.tokens,
            tokens: None,
        };
        out.write(&mut self.stream)?;
        self.out = Some(out);
        Ok(())
    }

    /// Returns what it waits for.
    pub(super) fn interest(&self) -> PollFd<'_> {
        let writing = |out: &Out| out.written < out.request.len();
        let flags = match self.out.as_ref().is_some_and(writing) {
            true => PollFlags::IN | PollFlags::OUT,
            false => PollFlags::IN,
        };
        PollFd::new(&self.stream, flags)
    }

    /// Takes what has come; returns how the answer went once it is over.
    pub(super) fn go_on(&mut self, lane: usize) -> anyhow::Result<Option<Track>> {
        let out = self
            .out
            .as_mut()
            .context("an answer that nobody asked for")?;
        out.write(&mut self.stream)?;
        let mut chunk = [0; CHUNK];
        match self.stream.read(&mut chunk) {
            Ok(0) => bail!("the server ended the connection"),
            Ok(read) => out.receive(&chunk[..read])?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        if !out.body.as_ref().is_some_and(Body::is_over) {
            return Ok(None);
        }
        let out = self.out.take().context("it was there before")?;
        let tokens = out
            .tokens
            .context("an answer that does not say its tokens")?;
        ensure!(
            tokens == out.wanted && !out.events.is_empty(),
            "{tokens} tokens in {} events instead of {}",
            out.events.len(),
            out.wanted
        );
        Ok(Some(Track {
            lane,
            asked: out.asked,
            events: out.events,
            tokens,
        }))
    }
}

// === impl Out ===

impl Out {
    fn write(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        while self.written < self.request.len() {
            match stream.write(&self.request[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn receive(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let now = Instant::now();
        let body = match &mut self.body {
            Some(body) => {
                body.receive(bytes)?;
                body
            }
            None => {
                self.head.extend_from_slice(bytes);
                let whole = http::head(&self.head)?;
                let Some(head) = whole else {
                    return Ok(());
                };
                let rest = &self.head[head.body..];
                ensure!(
                    head.status == 200,
                    "status {}: {}",
                    head.status,
                    String::from_utf8_lossy(rest)
                );
                let body = self.body.insert(Body::default());
                body.receive(rest)?;
                body
            }
        };
        while let Some(event) = body.next()? {
            match event {
                Event::Text => self.events.push(now),
                Event::Usage(tokens) => self.tokens = Some(tokens),
                Event::Done | Event::Other => {}
            }
        }
        Ok(())
    }
}
