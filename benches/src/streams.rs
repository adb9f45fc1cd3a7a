//! Streams of text: one thread, several connections, each with one answer at a time on its way.
//!
//! As in [`load`](crate::load) the client shares the cores with what it measures, so of an answer it
//! only looks at where events begin and whether there is text in them. When each event came is kept;
//! everything else is worked out afterwards. Prompts are tokens drawn at random, others for each
//! request, so that none begins as another did unless it is meant to.

mod event;
mod lane;
mod prompts;
mod track;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::event::{PollFd, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};

use lane::Lane;
pub(crate) use prompts::Prompts;
pub(crate) use track::{Track, Window, gaps, rate};

/// How long nothing at all may come before something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) prompt: Vec<u32>,
    /// Exactly so many, whatever they are.
    pub(crate) tokens: usize,
}

/// Connections to a server of one model.
pub(crate) struct Streams {
    model: String,
    lanes: Vec<Lane>,
    tracks: Vec<Track>,
}

// === impl Streams ===

impl Streams {
    /// Opens the connections; nothing is sent yet.
    pub(crate) fn open(port: u16, model: &str, count: usize) -> anyhow::Result<Self> {
        let lanes = (0..count).map(|_| Lane::open(port));
        Ok(Self {
            model: model.to_owned(),
            lanes: lanes
                .collect::<Result<_, _>>()
                .context("the server takes no connections")?,
            tracks: Vec::new(),
        })
    }

    /// Asks on a connection that is idle.
    pub(crate) fn ask(&mut self, lane: usize, question: &Question) -> anyhow::Result<()> {
        self.lanes[lane].ask(&self.model, question)
    }

    /// Tells whether a connection has nothing on its way.
    pub(crate) fn is_idle(&self, lane: usize) -> bool {
        self.lanes[lane].is_idle()
    }

    /// Returns how many events a connection's answer has had.
    pub(crate) fn events(&self, lane: usize) -> usize {
        self.lanes[lane].events()
    }

    /// Waits for whatever comes first, takes all that has come, and returns the connections whose
    /// answers are over.
    pub(crate) fn turn(&mut self) -> anyhow::Result<Vec<usize>> {
        let ready: Vec<usize> = {
            let busy: Vec<usize> = (0..self.lanes.len())
                .filter(|lane| !self.lanes[*lane].is_idle())
                .collect();
            ensure!(!busy.is_empty(), "nothing is on its way");
            let interest = busy.iter().map(|lane| self.lanes[*lane].interest());
            let mut interest: Vec<PollFd<'_>> = interest.collect();
            let count = poll(&mut interest, Some(&Timespec::try_from(PATIENCE)?))?;
            ensure!(count > 0, "nothing came for {} s", PATIENCE.as_secs());
            let ready = busy.into_iter().zip(&interest);
            let ready = ready.filter(|(_, fd)| !fd.revents().is_empty());
            ready.map(|(lane, _)| lane).collect()
        };
        let mut over = Vec::new();
        for lane in ready {
            if let Some(track) = self.lanes[lane].go_on(lane)? {
                self.tracks.push(track);
                over.push(lane);
            }
        }
        Ok(over)
    }

    /// Waits until all answers are over.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        while (0..self.lanes.len()).any(|lane| !self.is_idle(lane)) {
            self.turn()?;
        }
        Ok(())
    }

    /// Returns the answers that have ended since this was asked last, in the order of their ends.
    pub(crate) fn take(&mut self) -> Vec<Track> {
        std::mem::take(&mut self.tracks)
    }

    /// Asks one thing alone; returns how that went.
    pub(crate) fn alone(&mut self, question: &Question) -> anyhow::Result<Track> {
        self.ask(0, question)?;
        self.finish()?;
        self.take().pop().context("an answer that is not there")
    }

    /// Keeps every connection busy with new prompts. What counts begins when the first one has its
    /// first answer and ends when the same one has `answers` more, so that it is a whole number of
    /// that connection's answers.
    pub(crate) fn keep_busy(
        &mut self,
        prompts: &mut Prompts,
        (prompt, tokens): (usize, usize),
        answers: usize,
        begun: &mut dyn FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<Busy> {
        self.take();
        for lane in 0..self.lanes.len() {
            let prompt = prompts.draw(prompt);
            self.ask(lane, &Question { prompt, tokens })?;
        }
        let (mut ended, mut began, mut client) = (0, None, Duration::ZERO);
        let began = loop {
            let mut is_done = false;
            for lane in self.turn()? {
                if lane == 0 {
                    match began {
                        None => {
                            begun()?;
                            client = thread_cpu();
                            began = Some(Instant::now());
                        }
                        Some(_) => ended += 1,
                    }
                    is_done = ended == answers;
                }
                if !is_done {
                    let prompt = prompts.draw(prompt);
                    self.ask(lane, &Question { prompt, tokens })?;
                }
            }
            if is_done {
                break began.context("an end without a beginning")?;
            }
        };
        Ok(Busy {
            window: Window {
                begins: began,
                ends: Instant::now(),
            },
            client: (thread_cpu() - client).as_secs_f64(),
        })
    }
}

/// A time in which every connection was busy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Busy {
    pub(crate) window: Window,
    /// CPU seconds that this program took.
    pub(crate) client: f64,
}

fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}
