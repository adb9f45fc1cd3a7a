//! All connections together, and what they came to.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::event::{PollFd, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use super::lane::Lane;

/// How long an answer may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connections under load.
pub(super) struct Load<'a> {
    requests: &'a [Vec<u8>],
    lanes: Vec<Lane>,
    rate: Option<f64>,
    next: usize,
    /// The connection that is looked at first for the next one.
    turn: usize,
}

/// When no more requests are sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Until {
    /// After this time.
    Passed(Duration),
    /// After so many.
    Sent(u64),
}

/// What some time of load came to.
#[derive(Debug)]
pub(super) struct Outcome {
    /// How often each status came, while requests were sent.
    statuses: BTreeMap<u16, u64>,
    seconds: f64,
    /// CPU seconds that this program took.
    client: f64,
    /// From when each request was due to its answer, in milliseconds, whatever the status.
    latencies: Vec<f64>,
}

/// The figures, as they are written out.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    answers: u64,
    statuses: BTreeMap<u16, u64>,
    seconds: f64,
    client_cpu_seconds: f64,
    mean_ms: f64,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

/// The requests that are still to be sent.
struct Schedule {
    began: Instant,
    until: Until,
    rate: Option<f64>,
    sent: u64,
}

// === impl Load ===

impl<'a> Load<'a> {
    /// Opens the connections; nothing is sent yet.
    pub(super) fn open(
        port: u16,
        connections: usize,
        requests: &'a [Vec<u8>],
        rate: Option<f64>,
    ) -> anyhow::Result<Self> {
        let lanes = (0..connections).map(|_| Lane::open(port));
        let lanes = lanes
            .collect::<Result<_, _>>()
            .context("the server takes no connections")?;
        Ok(Self {
            requests,
            lanes,
            rate,
            next: 0,
            turn: 0,
        })
    }

    /// Sends requests, and waits for the answers that are out at the end. Of a load that ends by
    /// time those do not count; of one that ends by count all do.
    pub(super) fn run(&mut self, until: Until) -> anyhow::Result<Outcome> {
        let client = thread_cpu();
        let mut schedule = Schedule {
            began: Instant::now(),
            until,
            rate: self.rate,
            sent: 0,
        };
        let mut outcome = Outcome::new();
        while schedule.goes_on() || (schedule.counts() && self.is_out()) {
            self.send(&mut schedule)?;
            self.wait(schedule.next_due(), &mut outcome)?;
        }
        outcome.seconds = schedule.began.elapsed().as_secs_f64();
        outcome.client = (thread_cpu() - client).as_secs_f64();
        let mut rest = Outcome::new();
        while self.is_out() {
            self.wait(None, &mut rest)?;
        }
        ensure!(!outcome.latencies.is_empty(), "there was no answer at all");
        Ok(outcome)
    }

    fn is_out(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.is_idle())
    }

    /// Has idle connections send what is due.
    fn send(&mut self, schedule: &mut Schedule) -> anyhow::Result<()> {
        // In turn, so that no connection stays silent until the server closes it.
        for _ in 0..self.lanes.len() {
            let lane = &mut self.lanes[self.turn];
            if lane.is_idle() {
                let Some(since) = schedule.take() else {
                    break;
                };
                lane.begin(self.next, since, self.requests)?;
                self.next = (self.next + 1) % self.requests.len();
            }
            self.turn = (self.turn + 1) % self.lanes.len();
        }
        Ok(())
    }

    /// Waits until something comes or the next request is due, and takes what has come.
    fn wait(&mut self, due: Option<Instant>, outcome: &mut Outcome) -> anyhow::Result<()> {
        let now = Instant::now();
        let oldest = self.lanes.iter().filter_map(Lane::out_since).min();
        let late = oldest.map_or(PATIENCE, |since| {
            PATIENCE.saturating_sub(now.saturating_duration_since(since))
        });
        ensure!(!late.is_zero(), "no answer for {} s", PATIENCE.as_secs());
        // What is due already waits for a connection to be idle, not for a time.
        let due = due.filter(|due| *due > now || self.lanes.iter().any(Lane::is_idle));
        let patience = due.map_or(late, |due| late.min(due.saturating_duration_since(now)));
        let ready: Vec<usize> = {
            let interest = self.lanes.iter().map(|lane| lane.interest(self.requests));
            let mut interest: Vec<PollFd<'_>> = interest.collect();
            poll(&mut interest, Some(&Timespec::try_from(patience)?))?;
            let ready = interest.iter().enumerate();
            let ready = ready.filter(|(_, fd)| !fd.revents().is_empty());
            ready.map(|(index, _)| index).collect()
        };
        for index in ready {
            if let Some(answered) = self.lanes[index].go_on(self.requests)? {
                outcome.take(answered.status, answered.since.elapsed());
            }
        }
        Ok(())
    }
}

// === impl Schedule ===

impl Schedule {
    fn counts(&self) -> bool {
        matches!(self.until, Until::Sent(_))
    }

    fn goes_on(&self) -> bool {
        match self.until {
            Until::Passed(time) => self.began.elapsed() < time,
            Until::Sent(count) => self.sent < count,
        }
    }

    /// Returns when the next request is due, if there is one.
    fn next_due(&self) -> Option<Instant> {
        let rate = self.rate.filter(|_| self.goes_on())?;
        Some(self.began + Duration::from_secs_f64(self.sent as f64 / rate))
    }

    /// Takes the next request if it is due; returns since when.
    fn take(&mut self) -> Option<Instant> {
        let now = Instant::now();
        if !self.goes_on() {
            return None;
        }
        let since = self.next_due().unwrap_or(now);
        if since > now {
            return None;
        }
        self.sent += 1;
        Some(since)
    }
}

// === impl Outcome ===

impl Outcome {
    fn new() -> Self {
        Self {
            statuses: BTreeMap::new(),
            seconds: 0.0,
            client: 0.0,
            latencies: Vec::new(),
        }
    }

    fn take(&mut self, status: u16, latency: Duration) {
        *self.statuses.entry(status).or_default() += 1;
        self.latencies.push(latency.as_secs_f64() * 1e3);
    }

    pub(super) fn figures(mut self) -> Figures {
        self.latencies.sort_by(f64::total_cmp);
        let last = self.latencies.len() - 1;
        let at = |share: f64| self.latencies[(last as f64 * share) as usize];
        Figures {
            answers: self.statuses.values().sum(),
            seconds: self.seconds,
            client_cpu_seconds: self.client,
            mean_ms: self.latencies.iter().sum::<f64>() / self.latencies.len() as f64,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            max_ms: at(1.0),
            statuses: self.statuses,
        }
    }
}

fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}
