//! As much of an HTTP server as the tests need: real sockets, answers as a test wants them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What came in.
pub(super) struct Request {
    /// `POST /log HTTP/1.1`.
    pub(super) line: String,
    pub(super) body: Vec<u8>,
}

/// What goes out.
#[derive(Clone)]
pub(super) struct Reply {
    status: u16,
    headers: Vec<String>,
    body: String,
    way: Way,
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Whole,
    Cut,
    Never,
}

/// Listens until it is dropped.
pub(super) struct Server {
    pub(super) url: String,
    counts: Arc<[AtomicUsize; 2]>,
    accepting: JoinHandle<()>,
}

type Answer = dyn Fn(&Request) -> Reply + Send + Sync;

// === impl Server ===

impl Server {
    pub(super) async fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let counted = Arc::clone(&counts);
        let answer: Arc<Answer> = Arc::new(answer);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted[0].fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, Arc::clone(&answer), Arc::clone(&counted)));
            }
        });
        Self {
            url,
            counts,
            accepting,
        }
    }

    pub(super) fn connections(&self) -> usize {
        self.counts[0].load(Ordering::SeqCst)
    }

    pub(super) fn requests(&self) -> usize {
        self.counts[1].load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(stream: TcpStream, answer: Arc<Answer>, counts: Arc<[AtomicUsize; 2]>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        counts[1].fetch_add(1, Ordering::SeqCst);
        let reply = answer(&request);
        if reply.way == Way::Never {
            std::future::pending::<()>().await;
        }
        let mut text = format!(
            "HTTP/1.1 {} x\r\ncontent-length: {}\r\n",
            reply.status,
            reply.body.len()
        );
        for header in &reply.headers {
            text.push_str(&format!("{header}\r\n"));
        }
        text.push_str("\r\n");
        match reply.way {
            Way::Whole => text.push_str(&reply.body),
            _ => text.push_str(&reply.body[..reply.body.len() / 2]),
        }
        let written = stream.write_all(text.as_bytes()).await;
        if written.is_err() || reply.way == Way::Cut {
            return;
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let length = head.iter().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then_some(value)
    });
    let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a length"))];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request {
        line: head.swap_remove(0),
        body,
    })
}

// === impl Reply ===

impl Reply {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::text(status, &body.to_string())
    }

    pub(super) fn text(status: u16, body: &str) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.to_owned(),
            way: Way::Whole,
        }
    }

    /// Nothing at all, with the connection open.
    pub(super) fn never() -> Self {
        Self {
            way: Way::Never,
            ..Self::text(200, "")
        }
    }

    pub(super) fn header(mut self, header: String) -> Self {
        self.headers.push(header);
        self
    }

    /// Half of the body and then the end of the connection.
    pub(super) fn cut(mut self) -> Self {
        self.way = Way::Cut;
        self
    }
}
