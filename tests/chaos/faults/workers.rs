//! Signals from outside.

use std::time::Instant;

use rustix::process::Signal;

use super::{Healing, Striker};
use crate::harness::signal_process;
use crate::random::Random;
use crate::schedule::{Blow, Worker};
use crate::site::serving;

impl Striker<'_> {
    /// Signals a worker that serves; healed when another process serves in its place and the model
    /// answers.
    pub(super) fn signal(
        &self,
        blow: Blow,
        worker: Worker,
        random: &mut Random,
    ) -> Result<Healing, String> {
        let (generation, pid) =
            self.until_status("a worker to strike", |status| serving(status, worker))?;
        let strike = Instant::now();
        signal_process(
            pid,
            match blow {
                Blow::Kill => Signal::KILL,
                Blow::Segv => Signal::SEGV,
                Blow::Stop => Signal::STOP,
            },
        );
        self.until_status(&format!("another {worker}"), |status| {
            let (now, _) = serving(status, worker)?;
            (now > generation).then_some(())
        })?;
        self.until_model_serves(worker.model, random)?;
        Ok(Healing::since(strike))
    }
}
