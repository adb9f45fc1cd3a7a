//! A prediction log that cannot be written for a while.

use std::fs;
use std::time::{Duration, Instant};

use super::{Healing, Striker};
use crate::harness::database::Lock;
use crate::harness::disks::Cover;
use crate::random::Random;
use crate::schedule::Storage;

impl Striker<'_> {
    /// Takes the storage away and gives it back; healed when something is committed again.
    pub(super) fn take_storage(
        &self,
        how: Storage,
        lasting: Duration,
        random: &mut Random,
    ) -> Result<Healing, String> {
        let strike = Instant::now();
        match how {
            Storage::Locked => {
                let lock = Lock::take(&self.scene.site.data().join("predictions.db"));
                hold(lasting);
                lock.release();
            }
            Storage::ReadOnly => {
                let cover = Cover::try_read_only(&self.scene.site.data())
                    .ok_or("the folder cannot be made read-only")?;
                // What is open already may be written on; a writer that opens it anew may not.
                self.order("db_writer")?;
                hold(lasting);
                drop(cover);
            }
            Storage::Full => {
                let disk = self.scene.site.disk.as_ref().ok_or("there is no disk")?;
                let filler = disk.fill();
                hold(lasting);
                fs::remove_file(filler).map_err(|error| error.to_string())?;
            }
        }
        let held = strike.elapsed();
        self.until_log_works(random)?;
        Ok(Healing {
            held,
            ..Healing::since(strike)
        })
    }
}

/// Lets the fault last: that is its measure, and nothing is waited for.
fn hold(lasting: Duration) {
    let end = Instant::now() + lasting;
    while let Some(left) = end
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
    {
        std::thread::park_timeout(left);
    }
}
