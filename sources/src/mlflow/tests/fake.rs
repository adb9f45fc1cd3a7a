//! Something that answers as it is told, whatever it is asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, channel};

/// A server that gives each connection the next of its answers, and then ends it.
#[derive(Debug)]
pub(super) struct Fake {
    pub(super) url: String,
    heads: Arc<Mutex<Vec<String>>>,
    /// Ends with it what is never answered.
    _running: Receiver<()>,
}

#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// These bytes.
    Raw(Vec<u8>),
    /// These bytes, and then nothing.
    Silence(Vec<u8>),
}

// === impl Fake ===

impl Fake {
    pub(super) async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let (sender, running) = channel(1);
        let told = Arc::clone(&heads);
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let head = head(&mut stream).await;
                told.lock().unwrap().push(head);
                let (Answer::Raw(bytes) | Answer::Silence(bytes)) = &answer;
                stream.write_all(bytes).await.unwrap();
                if let Answer::Silence(_) = answer {
                    sender.closed().await;
                }
                let _ = stream.shutdown().await;
            }
        });
        Self {
            url,
            heads,
            _running: running,
        }
    }

    /// Returns what was asked, each with its headers, in lower case.
    pub(super) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let read = async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(10), read)
        .await
        .unwrap();
    String::from_utf8(head).unwrap().to_lowercase()
}

// === impl Answer ===

impl Answer {
    /// An answer with a length.
    pub(super) fn of(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::Raw(
            format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}")
                .into_bytes(),
        )
    }

    pub(super) fn json(status: &str, body: &str) -> Self {
        Self::of(status, "content-type: application/json\r\n", body)
    }

    /// An answer in chunks, as release 2 sends files: one that is cut short lacks the end.
    pub(super) fn chunks(parts: &[&str], is_whole: bool) -> Self {
        let mut text = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-disposition: attachment\r\n\r\n".to_owned();
        for part in parts {
            text += &format!("{:x}\r\n{part}\r\n", part.len());
        }
        if is_whole {
            text += "0\r\n\r\n";
        }
        Self::Raw(text.into_bytes())
    }
}
