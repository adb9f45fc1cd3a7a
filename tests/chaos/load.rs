//! Many clients, each of which does a bit of everything and checks every answer.
//!
//! No two requests have the same content: one that is lost with its worker again and again must be
//! told from another that is not.

mod client;
mod contents;
mod ill_behaved;
mod reply;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use client::LogWriter;
pub use contents::{Prediction, Samples, quarters};
pub use ill_behaved::misbehave;
pub use reply::Reply;

use crate::ledger::{Entry, LogBook};
use crate::random::Random;
use crate::schedule::Manner;
use crate::site::Site;
use client::Client;

/// How long a well-behaved client waits for an answer: longer than the server may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// One in so many clients is slow, and another one vanishes.
const ILL_BEHAVED: usize = 8;

/// What all clients know.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    pub site: &'a Site,
    pub samples: &'a Samples,
    pub began: Instant,
}

/// Has the client of that number do its work until it is `over`.
pub fn run(
    scene: Scene<'_>,
    number: usize,
    mut random: Random,
    over: &AtomicBool,
) -> (Vec<Entry>, LogBook) {
    let manner = match number % ILL_BEHAVED {
        1 => Some(Manner::Slow),
        2 => Some(Manner::Vanishing),
        _ => None,
    };
    let Some(manner) = manner else {
        let mut client = Client::new(scene, number, random);
        while !over.load(Ordering::SeqCst) {
            client.act();
        }
        return client.into_books();
    };
    let mut log = LogWriter::new(format!("ill-{number}"));
    let mut entries = Vec::new();
    while !over.load(Ordering::SeqCst) {
        entries.push(misbehave(scene, manner, &mut random, &mut log));
        std::thread::park_timeout(random.millis(20, 200));
    }
    (entries, log.book)
}
