//! Requests that kill the worker they meet.

use std::time::Instant;

use super::{Healing, Striker};
use crate::load::quarters;
use crate::random::Random;
use crate::schedule::Killer;

/// What an exploding request asks for, in MiB: far beyond what any worker may have. Should nobody
/// stop it, it is found as a hang before it has written a few GiB.
const EXPLOSION: f64 = 8192.0;
/// What any other killer's first number is.
const MARKER: f64 = 2.0;

impl Striker<'_> {
    /// Sends a killer; healed when it has its answer and the model has all its workers and answers
    /// others.
    pub(super) fn unleash(&self, killer: Killer, random: &mut Random) -> Result<Healing, String> {
        let marker = match killer {
            Killer::Explosion => EXPLOSION,
            Killer::Endless | Killer::Failure => MARKER,
        };
        let request = quarters(killer.model(), Some(marker), random);
        let strike = Instant::now();
        let reply = request.send(&self.agent, self.scene.site);
        let answer = request.outcome(&reply);
        let healed = self.until_model_serves(killer.model(), random);
        Ok(Healing {
            recovery: healed.map(|()| strike.elapsed()),
            killer: Some(answer),
            ..Healing::since(strike)
        })
    }
}
