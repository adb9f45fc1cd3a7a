//! A client that does with its connection what it likes.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};

use crate::harness::{Answer, PATIENCE};

/// A connection without an HTTP client on it.
pub struct Raw(pub TcpStream);

/// A thread that sends the same bytes again and again until the connection ends.
pub struct Drip {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

// === impl Raw ===

impl Raw {
    pub fn connect(port: u16) -> Self {
        Self::over(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap())
    }

    /// Connects with room for a few KiB of answers only.
    pub fn connect_with_little_room(port: u16) -> Self {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        sockopt::set_socket_recv_buffer_size(&socket, 4096).unwrap();
        connect(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
        Self::over(TcpStream::from(socket))
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    pub fn get(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes());
    }

    /// Sends one byte after the other until the connection ends.
    pub fn drip(&self, bytes: &'static [u8]) -> Drip {
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let mut stream = self.0.try_clone().unwrap();
        let thread = std::thread::spawn(move || {
            while !is_over.load(Ordering::SeqCst) && stream.write_all(bytes).is_ok() {
                std::thread::park_timeout(Duration::from_millis(50));
            }
        });
        Drip {
            over,
            thread: Some(thread),
        }
    }

    /// Reads one answer.
    pub fn answer(&mut self) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            let read = self.0.read(&mut byte).unwrap();
            assert_eq!(read, 1, "cut off: {}", String::from_utf8_lossy(&head));
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers: BTreeMap<String, String> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers
            .get("content-length")
            .map_or(0, |l| l.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        Answer {
            status: status.parse().unwrap(),
            headers,
            body,
        }
    }

    /// Reads until the server ends the connection, and returns how many bytes there were.
    pub fn read_to_the_end(&mut self) -> usize {
        let mut bytes = 0;
        let mut buffer = [0; 64 * 1024];
        loop {
            match self.0.read(&mut buffer) {
                Ok(0) => return bytes,
                Ok(read) => bytes += read,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return bytes,
                Err(error) => panic!("the connection does not end: {error}"),
            }
        }
    }

    /// Goes without a goodbye: what is under way is answered with a reset.
    pub fn vanish(self) {
        sockopt::set_socket_linger(&self.0, Some(Duration::ZERO)).unwrap();
    }
}

impl Drop for Drip {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}
