//! The load: one thread, many keep-alive connections, each with one request out at a time.
//!
//! It shares the cores with what it measures, so it has to be cheap and the same for every side:
//! requests are bytes made beforehand, all sockets are waited for with one call, and an answer is
//! only looked through for its status and its class. Its own CPU time is reported beside the rest.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};

use crate::http;

/// Width and height of the model's input.
const SIZE: (u32, u32) = (32, 32);

/// A request and what its answer must contain.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) request: Vec<u8>,
    pub(crate) class: String,
}

/// What some time of load came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Answers with status 200 and the right class.
    pub(crate) right: u64,
    /// Any other answer.
    pub(crate) wrong: u64,
    pub(crate) seconds: f64,
    /// CPU seconds the client itself took.
    pub(crate) client: f64,
    /// Milliseconds from request to answer.
    pub(crate) latencies: Vec<f64>,
}

/// Connections under load.
pub(crate) struct Load {
    samples: Arc<Vec<Sample>>,
    lanes: Vec<Lane>,
}

struct Lane {
    stream: TcpStream,
    sample: usize,
    written: usize,
    began: Instant,
    buffer: Vec<u8>,
}

/// Returns a request for each picture of the demo model that the model's own size needs no resizing
/// for.
pub(crate) fn samples(folder: &Path) -> anyhow::Result<Arc<Vec<Sample>>> {
    samples_for(folder, "/predict")
}

/// Returns the same for a path that names the model.
pub(crate) fn samples_for(folder: &Path, to: &str) -> anyhow::Result<Arc<Vec<Sample>>> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "png"));
    paths.sort();
    let samples: Vec<Sample> = paths
        .iter()
        .filter_map(|path| Sample::of_picture(path, to).transpose())
        .collect::<anyhow::Result<_>>()?;
    ensure!(!samples.is_empty(), "no pictures in {}", folder.display());
    Ok(Arc::new(samples))
}

// === impl Sample ===

impl Sample {
    fn of_picture(path: &Path, to: &str) -> anyhow::Result<Option<Self>> {
        let picture = image::open(path)?.to_rgb8();
        if picture.dimensions() != SIZE {
            return Ok(None);
        }
        let plane = |channel: usize| picture.pixels().map(move |pixel| pixel.0[channel]);
        let numbers: Vec<f32> = (0..3)
            .flat_map(plane)
            .map(|sample| f32::from(sample) / 255.0)
            .collect();
        let name = path.file_stem().and_then(|stem| stem.to_str());
        let class = name.and_then(|name| name.split('-').next());
        // As short as a float32 can be written, so that reading it costs as little as it can.
        let body = format!("{{\"data\":{}}}", serde_json::to_string(&numbers)?);
        Ok(Some(Self {
            request: http::post(to, &body),
            class: class.context("a picture without a name")?.to_owned(),
        }))
    }

    /// Tells whether a body is the right answer.
    fn is_answered_by(&self, body: &[u8]) -> bool {
        // Both sides begin their answer with it.
        let rest = body.strip_prefix(br#"{"class":""#);
        let rest = rest.and_then(|rest| rest.strip_prefix(self.class.as_bytes()));
        rest.is_some_and(|rest| rest.starts_with(b"\""))
    }
}

// === impl Load ===

impl Load {
    /// Opens the connections; nothing is sent yet.
    pub(crate) fn open(
        port: u16,
        connections: usize,
        samples: Arc<Vec<Sample>>,
    ) -> anyhow::Result<Self> {
        let lanes = (0..connections)
            .map(|index| Lane::open(port, index % samples.len()))
            .collect::<io::Result<_>>()
            .context("the server takes no connections")?;
        Ok(Self { samples, lanes })
    }

    /// Keeps every connection busy for that long, then waits for the answers that are out, which
    /// count neither as answers nor as time.
    pub(crate) fn run(&mut self, time: Duration) -> anyhow::Result<Outcome> {
        let began = Instant::now();
        let client = thread_cpu();
        for lane in &mut self.lanes {
            lane.begin();
            lane.write(&self.samples)?;
        }
        let mut outcome = Outcome::default();
        while began.elapsed() < time {
            self.turn(&mut outcome, true)?;
        }
        outcome.seconds = began.elapsed().as_secs_f64();
        outcome.client = (thread_cpu() - client).as_secs_f64();
        let mut rest = Outcome::default();
        while self.lanes.iter().any(Lane::is_out) {
            self.turn(&mut rest, false)?;
        }
        outcome.wrong += rest.wrong;
        Ok(outcome)
    }

    /// Waits for whatever comes first and takes all that has come.
    fn turn(&mut self, outcome: &mut Outcome, again: bool) -> anyhow::Result<()> {
        let samples = &*self.samples;
        let ready = {
            let indices: Vec<usize> = (0..self.lanes.len())
                .filter(|index| self.lanes[*index].is_out())
                .collect();
            let mut waiting: Vec<PollFd<'_>> = indices
                .iter()
                .map(|index| self.lanes[*index].interest(samples))
                .collect();
            let patience = Timespec {
                tv_sec: 30,
                tv_nsec: 0,
            };
            let count = poll(&mut waiting, Some(&patience))?;
            ensure!(count > 0, "no answer for 30 s");
            indices
                .into_iter()
                .zip(&waiting)
                .filter(|(_, fd)| !fd.revents().is_empty())
                .map(|(index, _)| index)
                .collect::<Vec<usize>>()
        };
        for index in ready {
            let lane = &mut self.lanes[index];
            lane.write(samples)?;
            let Some(right) = lane.read(samples)? else {
                continue;
            };
            if right {
                outcome.right += 1;
            } else {
                outcome.wrong += 1;
            }
            outcome
                .latencies
                .push(lane.began.elapsed().as_secs_f64() * 1e3);
            lane.sample = (lane.sample + 1) % samples.len();
            lane.rest();
            if again {
                lane.begin();
                lane.write(samples)?;
            }
        }
        Ok(())
    }
}

// === impl Lane ===

impl Lane {
    fn open(port: u16, sample: usize) -> io::Result<Self> {
        let stream = TcpStream::connect(http::local(port))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            sample,
            written: usize::MAX,
            began: Instant::now(),
            buffer: Vec::with_capacity(4096),
        })
    }

    fn begin(&mut self) {
        self.written = 0;
        self.began = Instant::now();
        self.buffer.clear();
    }

    fn rest(&mut self) {
        self.written = usize::MAX;
    }

    fn is_out(&self) -> bool {
        self.written != usize::MAX
    }

    fn interest(&self, samples: &[Sample]) -> PollFd<'_> {
        let flags = if self.written < samples[self.sample].request.len() {
            PollFlags::IN | PollFlags::OUT
        } else {
            PollFlags::IN
        };
        PollFd::new(&self.stream, flags)
    }

    fn write(&mut self, samples: &[Sample]) -> io::Result<()> {
        let request = &samples[self.sample].request;
        while self.written < request.len() {
            match self.stream.write(&request[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads once; returns whether the answer was right once it is whole.
    fn read(&mut self, samples: &[Sample]) -> io::Result<Option<bool>> {
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => self.buffer.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        let Some(head) = http::head(&self.buffer)? else {
            return Ok(None);
        };
        if self.buffer.len() < head.total {
            return Ok(None);
        }
        let body = &self.buffer[head.body..head.total];
        Ok(Some(
            head.status == 200 && samples[self.sample].is_answered_by(body),
        ))
    }
}

fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}
