//! Clients that are slow, stop in the middle, or go away.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::{LogWriter, PATIENCE, Reply, Scene};
use crate::ledger::{Entry, Outcome, Span};
use crate::random::Random;
use crate::schedule::{MODELS, Manner, Part};

/// A request as it goes through the wire.
struct Raw {
    part: Part,
    bytes: Vec<u8>,
    judge: Judge,
}

type Judge = Box<dyn Fn(&Result<Reply, String>) -> Outcome>;

/// Sends one request in that manner; says what came back, if the client was still there.
pub fn misbehave(
    scene: Scene<'_>,
    manner: Manner,
    random: &mut Random,
    log: &mut LogWriter,
) -> Entry {
    let raw = any_request(scene, random, log);
    let from = scene.began.elapsed();
    let port = scene.site.server.port;
    let reply = TcpStream::connect(("127.0.0.1", port))
        .and_then(|stream| match manner {
            Manner::Slow => slowly(stream, &raw.bytes, random),
            Manner::Vanishing => vanish(stream, &raw.bytes, random),
        })
        .map_err(|error| error.to_string())
        .and_then(|answer| Reply::parse(&answer));
    Entry {
        kind: match manner {
            Manner::Slow => "slow client",
            Manner::Vanishing => "vanishing client",
        },
        part: raw.part,
        well_behaved: false,
        span: Span {
            from,
            to: scene.began.elapsed(),
        },
        outcome: match ((raw.judge)(&reply), &reply) {
            // What is wrong with half a request may be said.
            (Outcome::Wrong(what), Ok(reply)) if reply.status != 200 => Outcome::Refused {
                status: reply.status,
                code: what,
            },
            (outcome, _) => outcome,
        },
    }
}

fn any_request(scene: Scene<'_>, random: &mut Random, log: &mut LogWriter) -> Raw {
    let (path, content_type) = ("/log".to_owned(), "application/json");
    if random.percent(30) {
        let batch = log.batch(random);
        return Raw {
            part: Part::Log,
            bytes: to_bytes(&path, content_type, &batch.body),
            judge: Box::new(move |reply| batch.outcome(reply)),
        };
    }
    let model = random.pick(&MODELS);
    let prediction = scene.samples.ordinary(model, random);
    Raw {
        part: prediction.part(),
        bytes: to_bytes(
            &prediction.path(),
            prediction.content_type,
            &prediction.body,
        ),
        judge: Box::new(move |reply| prediction.outcome(reply)),
    }
}

fn to_bytes(path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Sends the head byte by byte and the body in pieces, and stops somewhere or waits for the answer.
fn slowly(mut stream: TcpStream, request: &[u8], random: &mut Random) -> io::Result<Vec<u8>> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let stops_at = random.percent(50).then(|| random.below(request.len()));
    let single = random.below(40);
    let piece = request.len() / 10 + 1;
    let mut sent = 0;
    while sent < stops_at.unwrap_or(request.len()) {
        let end = if sent < single {
            sent + 1
        } else {
            sent + piece
        };
        let end = end.min(stops_at.unwrap_or(request.len()));
        stream.write_all(&request[sent..end])?;
        sent = end;
        std::thread::park_timeout(random.millis(1, 50));
    }
    if stops_at.is_some() {
        // Holds on to the connection for a while, and says nothing.
        stream.set_read_timeout(Some(random.millis(200, 1200)))?;
    }
    read_to_end(&mut stream)
}

/// Closes in the middle of the request, or after it and before the answer.
fn vanish(mut stream: TcpStream, request: &[u8], random: &mut Random) -> io::Result<Vec<u8>> {
    let until = if random.percent(50) {
        random.below(request.len())
    } else {
        request.len()
    };
    stream.write_all(&request[..until])?;
    std::thread::park_timeout(Duration::from_millis(random.below(5) as u64));
    stream.shutdown(Shutdown::Both)?;
    Err(io::Error::other("the client went away"))
}

fn read_to_end(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}
