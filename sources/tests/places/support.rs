//! A web server that serves ranges and fails as it is told, and what the tests have in common.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use impetus_sources::fetch::{FetchError, FetchLimits, FetchOrder, Manifest, Progress, fetch};
use impetus_sources::{Remote, StoreSettings};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// What happens to the next `GET` of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// So many bytes are sent, then the connection ends.
    Cut(usize),
    /// So many bytes are sent, then nothing more.
    Stall(usize),
    /// The body is so many bytes long and says so.
    Short(usize),
    /// The body is so many bytes longer, and its length is not said.
    Long(usize),
    /// The answer has this status.
    Status(u16),
    /// So many bytes are sent, then the connection ends and the file is another.
    Change(usize),
}

/// How the server is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manners {
    pub(crate) etags: bool,
    pub(crate) ranges: bool,
    pub(crate) head: bool,
    pub(crate) dav: bool,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) url: String,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    manners: Manners,
    files: Mutex<BTreeMap<String, Arc<Vec<u8>>>>,
    redirects: Mutex<BTreeMap<String, String>>,
    faults: Mutex<VecDeque<Fault>>,
    served: AtomicU64,
    requests: Mutex<Vec<String>>,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            etags: true,
            ranges: true,
            head: true,
            dav: false,
        }
    }
}

impl Server {
    pub(crate) async fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            manners,
            files: Mutex::default(),
            redirects: Mutex::default(),
            faults: Mutex::default(),
            served: AtomicU64::new(0),
            requests: Mutex::default(),
        });
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let state = Arc::clone(&serving);
                tokio::spawn(async move {
                    // A client that goes away is no failure of the server's.
                    let _ = serve(&state, socket).await;
                });
            }
        });
        Self { url, state }
    }

    pub(crate) fn put(&self, path: &str, content: &[u8]) {
        let mut files = self.state.files.lock().unwrap();
        files.insert(path.to_owned(), Arc::new(content.to_vec()));
    }

    pub(crate) fn redirect(&self, from: &str, to: &str) {
        let mut redirects = self.state.redirects.lock().unwrap();
        redirects.insert(from.to_owned(), to.to_owned());
    }

    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.faults.lock().unwrap().extend(faults);
    }

    /// How many bytes of files were sent.
    pub(crate) fn served(&self) -> usize {
        usize::try_from(self.state.served.load(Ordering::SeqCst)).unwrap()
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.requests.lock().unwrap().clone()
    }

    pub(crate) fn remote(&self, path: &str) -> Box<dyn Remote> {
        let settings = StoreSettings::default();
        settings.open(&format!("{}{path}", self.url)).unwrap()
    }
}

async fn serve(state: &State, socket: TcpStream) -> std::io::Result<()> {
    let mut socket = BufReader::new(socket);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if socket.read_line(&mut line).await? == 0 || line == "\r\n" {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let header = |name: &str| {
        head.iter().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    };
    let first = head.first().cloned().unwrap_or_default();
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let range = header("range").filter(|_| state.manners.ranges);
    let log = format!("{method} {path} {}", range.clone().unwrap_or_default());
    state.requests.lock().unwrap().push(log.trim().to_owned());
    let from = range
        .and_then(|range| {
            range
                .strip_prefix("bytes=")?
                .split('-')
                .next()?
                .parse()
                .ok()
        })
        .unwrap_or(0);
    if method == "PROPFIND" && state.manners.dav {
        return properties(state, &path, socket.get_mut()).await;
    }
    let request = Request {
        is_head: method == "HEAD",
        known: method == "GET" || (method == "HEAD" && state.manners.head),
        from,
        is_partial: header("range").is_some() && state.manners.ranges,
        if_match: header("if-match"),
        path,
    };
    answer(state, request, socket.get_mut()).await
}

struct Request {
    is_head: bool,
    known: bool,
    path: String,
    from: usize,
    is_partial: bool,
    if_match: Option<String>,
}

async fn answer(state: &State, request: Request, socket: &mut TcpStream) -> std::io::Result<()> {
    let to = state.redirects.lock().unwrap().get(&request.path).cloned();
    if let Some(to) = to {
        let head = format!(
            "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        return socket.write_all(head.as_bytes()).await;
    }
    let content = state.files.lock().unwrap().get(&request.path).cloned();
    let Some(content) = content.filter(|_| request.known) else {
        let status = if request.known { 404 } else { 405 };
        return refuse(socket, status).await;
    };
    let is_digests = request.path.ends_with(".sha256") || request.path.ends_with("SUMS");
    let fault = match request.is_head || is_digests {
        true => None,
        false => state.faults.lock().unwrap().pop_front(),
    };
    let etag = format!(
        "\"{:x}\"",
        content.iter().map(|byte| u64::from(*byte)).sum::<u64>()
    );
    let matches = request.if_match.is_none_or(|asked| asked == etag);
    if let Some(Fault::Status(status)) = fault {
        return refuse(socket, status).await;
    }
    if !matches {
        return refuse(socket, 412).await;
    }
    let mut body = content[request.from.min(content.len())..].to_vec();
    match fault {
        Some(Fault::Short(length)) => body.truncate(length),
        Some(Fault::Long(more)) => body.extend(vec![7; more]),
        _ => {}
    }
    let mut head = match request.is_partial {
        true => format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {}-{}/{}\r\n",
            request.from,
            content.len() - 1,
            content.len()
        ),
        false => "HTTP/1.1 200 OK\r\n".to_owned(),
    };
    if state.manners.etags {
        head += &format!("ETag: {etag}\r\n");
    }
    if !matches!(fault, Some(Fault::Long(_) | Fault::Short(_))) {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    head += "Connection: close\r\n\r\n";
    socket.write_all(head.as_bytes()).await?;
    if request.is_head {
        return Ok(());
    }
    let sent = match fault {
        Some(Fault::Cut(sent) | Fault::Stall(sent) | Fault::Change(sent)) => sent.min(body.len()),
        _ => body.len(),
    };
    socket.write_all(&body[..sent]).await?;
    if !is_digests {
        state.served.fetch_add(sent as u64, Ordering::SeqCst);
    }
    if let Some(Fault::Change(_)) = fault {
        let other: Vec<u8> = content.iter().map(|byte| byte.wrapping_add(1)).collect();
        let mut files = state.files.lock().unwrap();
        files.insert(request.path, Arc::new(other));
    }
    if let Some(Fault::Stall(_)) = fault {
        // Until the client gives up.
        return socket.readable().await;
    }
    socket.shutdown().await
}

/// Lists by WebDAV what lies in a folder.
async fn properties(state: &State, folder: &str, socket: &mut TcpStream) -> std::io::Result<()> {
    let files = state.files.lock().unwrap().clone();
    let listed = files.iter().filter(|(path, _)| path.starts_with(folder));
    let entry = |path: &str, properties: &str| {
        format!(
            "<D:response><D:href>{path}</D:href><D:propstat><D:prop>{properties}<D:getlastmodified>\
             Mon, 01 Jan 2024 00:00:00 GMT</D:getlastmodified></D:prop>\
             <D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
        )
    };
    let mut xml = "<?xml version=\"1.0\"?><D:multistatus xmlns:D=\"DAV:\">".to_owned();
    xml += &entry(folder, "<D:resourcetype><D:collection/></D:resourcetype>");
    for (path, content) in listed {
        let length = content.len();
        let properties =
            format!("<D:resourcetype/><D:getcontentlength>{length}</D:getcontentlength>");
        xml += &entry(path, &properties);
    }
    xml += "</D:multistatus>";
    let length = xml.len();
    let head = format!(
        "HTTP/1.1 207 Multi-Status\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    socket.write_all((head + &xml).as_bytes()).await
}

async fn refuse(socket: &mut TcpStream, status: u16) -> std::io::Result<()> {
    let head =
        format!("HTTP/1.1 {status} No\r\nContent-Length: 4\r\nConnection: close\r\n\r\nwhy?");
    socket.write_all(head.as_bytes()).await
}

/// Bytes that differ from place to place.
pub(crate) fn content(size: usize) -> Vec<u8> {
    (0..size)
        .map(|at| (at * 31 % 251 + at / 65_536) as u8)
        .collect()
}

pub(crate) fn limits() -> FetchLimits {
    FetchLimits {
        retries: 3,
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(10),
        within: DEADLINE,
        ..FetchLimits::default()
    }
}

/// Lists and downloads.
pub(crate) async fn bring(
    remote: &dyn Remote,
    into: &Path,
    limits: &FetchLimits,
    progress: &Progress,
) -> Result<Manifest, FetchError> {
    let listing = remote.list().await?;
    let order = FetchOrder {
        listing,
        into: into.to_owned(),
        from: "here".to_owned(),
        at: 1,
    };
    fetch(remote, &order, limits, progress).await
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(DEADLINE, waiting).await;
    assert!(waited.is_ok(), "never so: {what}");
}
