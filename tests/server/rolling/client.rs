//! Clients that keep their connections to the balancer and look at every answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use serde_json::Value;

use crate::database::batch;
use crate::harness::{PATIENCE, load};

/// Of so many requests one logs a prediction; the others ask for one.
const ONE_LOGS: usize = 20;

/// All clients together.
pub struct Crowd {
    port: u16,
    answered: AtomicUsize,
    logged: AtomicU64,
    stopped: AtomicBool,
    failures: Mutex<Vec<String>>,
}

// === impl Crowd ===

impl Crowd {
    pub fn new(port: u16) -> Self {
        Self {
            port,
            answered: AtomicUsize::new(0),
            logged: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            failures: Mutex::default(),
        }
    }

    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }

    /// Returns how many predictions were acknowledged.
    pub fn logged(&self) -> u64 {
        self.logged.load(Ordering::SeqCst)
    }

    pub fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap().clone()
    }

    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// Sends requests one after the other while `goes_on` says so of the number of answers.
    pub fn send_while(&self, client: usize, goes_on: impl Fn(usize) -> bool) {
        let mut connection = None;
        let mut number = 0;
        while goes_on(self.answered()) && !self.stopped.load(Ordering::SeqCst) {
            let outcome = self.one(&mut connection, client, number);
            if let Err(failure) = outcome {
                connection = None;
                self.failures.lock().unwrap().push(failure);
            }
            self.answered.fetch_add(1, Ordering::SeqCst);
            number += 1;
        }
    }

    fn one(
        &self,
        connection: &mut Option<BufReader<TcpStream>>,
        client: usize,
        number: usize,
    ) -> Result<(), String> {
        let stream = connection.get_or_insert_with(|| connect(self.port));
        if number % ONE_LOGS == 1 {
            let image = format!("good-{client}-{number}");
            let body = batch("rolling", &[&image]).to_string();
            let answer = exchange(stream, "/log", "application/json", body.as_bytes())?;
            if answer["logged"] != 1 {
                return Err(format!("/log: {answer}"));
            }
            self.logged.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
        let pictures = load::requests().iter();
        let mut pictures = pictures.filter(|sample| sample.content_type != "application/json");
        let sample = pictures.nth(number % 8).unwrap();
        let answer = exchange(stream, "/predict", sample.content_type, &sample.body)?;
        match answer["class"] == sample.class.as_str() {
            true => Ok(()),
            false => Err(format!("{answer} for a {}", sample.class)),
        }
    }
}

fn connect(port: u16) -> BufReader<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

/// Sends one request and returns the answer, if it is a 200.
fn exchange(
    stream: &mut BufReader<TcpStream>,
    path: &str,
    content_type: &str,
    body: &[u8],
) -> Result<Value, String> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content_type}\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    let written = stream.get_mut().write_all(&request);
    written.map_err(|error| format!("{path} not sent: {error}"))?;
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let begin = head.len();
        match stream.read_line(&mut head) {
            Ok(0) => return Err(format!("{path}: cut off after {head:?}")),
            Ok(_) => {}
            Err(error) => return Err(format!("{path}: {error}")),
        }
        if let Some((name, value)) = head[begin..].split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    let read = stream.read_exact(&mut body);
    read.map_err(|error| format!("{path}: {error} in the body"))?;
    let text = String::from_utf8_lossy(&body).into_owned();
    match head.starts_with("HTTP/1.1 200 ") {
        true => serde_json::from_str(&text).map_err(|error| format!("{path}: {error}: {text}")),
        false => Err(format!(
            "{path}: {}: {text}",
            head.lines().next().unwrap_or_default()
        )),
    }
}
