//! One connection with one request out at a time.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};

use super::answer::Head;

/// Bytes that are read at one time.
const CHUNK: usize = 64 * 1024;

pub(super) struct Lane {
    port: u16,
    stream: TcpStream,
    /// The request that is out and how much of it is written.
    out: Option<Out>,
    received: Vec<u8>,
    head: Option<Head>,
}

#[derive(Debug, Clone, Copy)]
struct Out {
    request: usize,
    written: usize,
    /// When it was due.
    since: Instant,
}

/// An answer that has come whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) since: Instant,
}

// === impl Lane ===

impl Lane {
    pub(super) fn open(port: u16) -> io::Result<Self> {
        Ok(Self {
            port,
            stream: connect(port)?,
            out: None,
            received: Vec::with_capacity(CHUNK),
            head: None,
        })
    }

    pub(super) fn is_idle(&self) -> bool {
        self.out.is_none()
    }

    /// Returns since when the request that is out has been due.
    pub(super) fn out_since(&self) -> Option<Instant> {
        self.out.map(|out| out.since)
    }

    /// Sends a request, as much of it as goes at once.
    pub(super) fn begin(
        &mut self,
        request: usize,
        since: Instant,
        all: &[Vec<u8>],
    ) -> io::Result<()> {
        self.out = Some(Out {
            request,
            written: 0,
            since,
        });
        self.write(all)
    }

    /// Returns what it waits for.
    pub(super) fn interest(&self, all: &[Vec<u8>]) -> PollFd<'_> {
        let writing = |out: Out| out.written < all[out.request].len();
        let flags = match self.out {
            Some(out) if writing(out) => PollFlags::IN | PollFlags::OUT,
            _ => PollFlags::IN,
        };
        PollFd::new(&self.stream, flags)
    }

    /// Goes on with what it waited for; returns the answer once it is whole.
    pub(super) fn go_on(&mut self, all: &[Vec<u8>]) -> io::Result<Option<Answered>> {
        self.write(all)?;
        let begin = self.received.len();
        self.received.resize(begin + CHUNK, 0);
        let read = self.stream.read(&mut self.received[begin..]);
        self.received.truncate(begin + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        if self.head.is_none() {
            self.head = Head::read(&self.received)?;
        }
        match self.head {
            Some(head) if self.received.len() >= head.total => self.end(head).map(Some),
            _ => Ok(None),
        }
    }

    fn end(&mut self, head: Head) -> io::Result<Answered> {
        self.received.clear();
        self.head = None;
        let out = self.out.take();
        let out = out.ok_or_else(|| io::Error::other("an answer that nobody asked for"))?;
        if head.closes {
            self.stream = connect(self.port)?;
        }
        Ok(Answered {
            status: head.status,
            since: out.since,
        })
    }

    fn write(&mut self, all: &[Vec<u8>]) -> io::Result<()> {
        let Some(out) = &mut self.out else {
            return Ok(());
        };
        let request = &all[out.request];
        while out.written < request.len() {
            match self.stream.write(&request[out.written..]) {
                Ok(written) => out.written += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}
