//! A web server that does to its files what they are told: a whole answer, half of one, none.
//!
//! It knows ranges, entity tags and the conditions on them, and keeps count of every byte it has sent.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::harness::PATIENCE;

/// The server. It ends with the test's process.
pub struct Fake {
    url: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, File>,
    asked: Vec<Asked>,
}

#[derive(Clone)]
struct File {
    body: Arc<[u8]>,
    etag: String,
    manner: Manner,
}

/// How a file is handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As it should be.
    Well,
    /// So many bytes of each answer, and the connection ends.
    Cut(usize),
    /// The same, once.
    CutOnce(usize),
    /// So many bytes of an answer; when the manner is another one, the connection ends.
    Stall(usize),
    /// So many bytes of each answer, and it is another file.
    Change(usize),
    /// Another answer altogether: a status and a page.
    Say(u16, &'static str),
}

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    /// Where the range that was asked for begins.
    pub from: usize,
    /// Bytes of the body that were sent.
    pub sent: usize,
}

const PIECE: usize = 16 << 10;

// === impl Fake ===

impl Fake {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&of_thread);
                // One who goes away is no failure here.
                std::thread::spawn(move || shared.serve(&stream).unwrap_or_default());
            }
        });
        Self { url, shared }
    }

    /// Returns the address of a path, which begins with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Puts a file where it is to lie, with a tag that says which one it is.
    pub fn put(&self, path: &str, body: &[u8], etag: &str) {
        let file = File {
            body: body.into(),
            etag: format!("\"{etag}\""),
            manner: Manner::Well,
        };
        self.shared.state().files.insert(path.to_owned(), file);
    }

    /// Says how a file is to be handed out from now on.
    pub fn handle(&self, path: &str, manner: Manner) {
        self.shared.state().files.get_mut(path).unwrap().manner = manner;
        self.shared.changed.notify_all();
    }

    /// Returns the requests for the content of a file.
    pub fn reads(&self, path: &str) -> Vec<Asked> {
        let state = self.shared.state();
        let asked = state.asked.iter();
        let reads = asked.filter(|asked| asked.path == path && asked.method == "GET");
        reads.cloned().collect()
    }

    /// Returns how often something was asked about a path.
    pub fn asked(&self, path: &str, method: &str) -> usize {
        let state = self.shared.state();
        let asked = state.asked.iter();
        asked
            .filter(|asked| asked.path == path && asked.method == method)
            .count()
    }

    /// Returns the bytes of a file that were sent in all.
    pub fn sent(&self, path: &str) -> usize {
        self.reads(path).iter().map(|asked| asked.sent).sum()
    }
}

// === impl Shared ===

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Answers one request.
    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let (first, headers) = head(stream)?;
        let mut words = first.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let path = words.next().unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default().to_owned();
        let header = |name: &str| headers.get(name).map(String::as_str);
        let (file, number) = {
            let mut state = self.state();
            let file = state.files.get(&path).cloned();
            state.asked.push(Asked {
                method: method.clone(),
                path: path.clone(),
                from: range(header("range")).unwrap_or_default(),
                sent: 0,
            });
            (file, state.asked.len() - 1)
        };
        let Some(file) = file else {
            return say(stream, 404, "there is nothing here");
        };
        if header("if-match").is_some_and(|tag| tag != file.etag) {
            return say(stream, 412, "it is another one");
        }
        let is_other = header("if-range").is_some_and(|tag| tag != file.etag);
        let from = range(header("range")).filter(|_| !is_other);
        if let Manner::Say(status, page) = file.manner
            && method == "GET"
        {
            return say(stream, status, page);
        }
        let size = file.body.len();
        let begin = from.unwrap_or_default().min(size);
        let (status, about) = match from {
            Some(_) => (
                "206 Partial Content",
                format!("content-range: bytes {begin}-{}/{size}\r\n", size - 1),
            ),
            None => ("200 OK", String::new()),
        };
        let mut out = stream;
        write!(
            out,
            "HTTP/1.1 {status}\r\n{about}content-type: application/octet-stream\r\n\
             content-disposition: attachment\r\naccept-ranges: bytes\r\netag: {}\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            file.etag,
            size - begin
        )?;
        match method.as_str() {
            "HEAD" => Ok(()),
            _ => self.send(out, (&path, number), &file, begin),
        }
    }

    /// Sends the content as it is to be handed out.
    fn send(
        &self,
        mut out: &TcpStream,
        (path, number): (&str, usize),
        file: &File,
        begin: usize,
    ) -> std::io::Result<()> {
        let rest = &file.body[begin..];
        let most = match file.manner {
            Manner::Cut(most) | Manner::CutOnce(most) => most,
            Manner::Stall(most) | Manner::Change(most) => most,
            Manner::Well | Manner::Say(..) => rest.len(),
        };
        for piece in rest[..most.min(rest.len())].chunks(PIECE) {
            out.write_all(piece)?;
            self.state().asked[number].sent += piece.len();
        }
        let mut state = self.state();
        let now = state.files.get_mut(path).unwrap();
        match now.manner {
            Manner::CutOnce(_) if now.manner == file.manner => now.manner = Manner::Well,
            Manner::Change(_) => now.etag = format!("\"changed-{number}\""),
            Manner::Stall(_) => {
                let stalls =
                    |state: &mut State| matches!(state.files[path].manner, Manner::Stall(_));
                drop(self.changed.wait_timeout_while(state, PATIENCE, stalls));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Reads the first line of a request and its headers.
fn head(stream: &TcpStream) -> std::io::Result<(String, BTreeMap<String, String>)> {
    let mut lines = BufReader::new(stream.take(64 << 10)).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    Ok((first, headers))
}

/// Reads where a range begins.
fn range(header: Option<&str>) -> Option<usize> {
    let (from, _) = header?.strip_prefix("bytes=")?.split_once('-')?;
    from.parse().ok()
}

fn say(mut out: &TcpStream, status: u16, page: &str) -> std::io::Result<()> {
    let kind = match page.as_bytes().first() {
        Some(b'<') => "text/html",
        Some(b'{') => "application/json",
        _ => "text/plain",
    };
    write!(
        out,
        "HTTP/1.1 {status} So\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{page}",
        page.len()
    )
}
