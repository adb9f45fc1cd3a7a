//! Somebody who is told: a listener for what Alertmanager posts.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::harness::PATIENCE;

/// Keeps what was posted to it. Its thread waits for the next caller until the process ends.
pub(crate) struct Webhook {
    pub(crate) port: u16,
    heard: Arc<Mutex<Vec<Message>>>,
}

/// One post.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Whom it was for, such as `/pager`.
    pub(crate) path: String,
    pub(crate) body: Value,
}

// === impl Webhook ===

impl Webhook {
    pub(crate) fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&heard);
        std::thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                // A caller that breaks off has told nothing; Alertmanager tells it again.
                if let Some(message) = take(caller) {
                    hears.lock().unwrap().push(message);
                }
            }
        });
        Self { port, heard }
    }

    /// Returns the first alert that a receiver was told of with that name and status.
    pub(crate) fn told(&self, path: &str, name: &str, status: &str) -> Option<Value> {
        self.messages()
            .iter()
            .filter(|message| message.path == path)
            .flat_map(|message| message.body["alerts"].as_array().unwrap().clone())
            .find(|alert| alert["labels"]["alertname"] == name && alert["status"] == status)
    }

    pub(crate) fn messages(&self) -> Vec<Message> {
        self.heard.lock().unwrap().clone()
    }
}

/// Reads one request, answers 200 and closes.
fn take(caller: TcpStream) -> Option<Message> {
    caller.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut reader = BufReader::new(caller);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    reader.get_mut().write_all(answer).ok()?;
    let body = serde_json::from_slice(&body).ok()?;
    Some(Message { path, body })
}
