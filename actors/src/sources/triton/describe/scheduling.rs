//! How requests wait and become batches, and how many instances serve them.

use std::time::Duration;

use super::super::mapping::Key;
use super::{Describing, NO_GPU, NOT_UNDERSTOOD};
use crate::serving::Priority;
use crate::serving::description::TimeoutAction;

/// Most rows that a batch can be asked to have here.
pub(super) const MOST_ROWS: usize = 4096;
/// Most requests that a queue can be asked to hold here.
const MOST_WAITING: usize = 1_000_000;

// === impl Describing ===

impl Describing<'_> {
    /// Adds a group of instances, each of which is a worker here.
    pub(super) fn instances(&mut self, key: &Key<'_>) -> Result<(), String> {
        let mut count = 1;
        for key in key.keys()? {
            match key.name() {
                // A group without a number has one.
                "count" => count = key.count::<usize>()?.max(1),
                "kind" => match key.word()? {
                    "KIND_AUTO" => {}
                    "KIND_CPU" => self.hardware.cpu = true,
                    "KIND_GPU" => {
                        self.hardware.gpu = true;
                        self.notes.add(
                            &key,
                            "is taken for cuda, and for the CPU where that is not to be had: all \
                             instances run on the same",
                        );
                    }
                    _ => self.notes.unused(&key, NOT_UNDERSTOOD),
                },
                "name" => {}
                "gpus" | "secondary_devices" => self.notes.unused(&key, NO_GPU),
                "passive" if !key.truth()? => {}
                _ => self.notes.unused(&key, NOT_UNDERSTOOD),
            }
        }
        let so_far = self.description.workers.unwrap_or(0);
        self.description.workers = Some(so_far.saturating_add(count));
        Ok(())
    }

    pub(super) fn dynamic_batching(&mut self, key: &Key<'_>) -> Result<(), String> {
        if self.description.stackable == Some(false) {
            self.notes.add(
                key,
                "stacks nothing: max_batch_size is 0, every request runs alone",
            );
        }
        let keys = key.keys()?;
        let levels = keys.iter().find(|key| key.name() == "priority_levels");
        let levels: u64 = levels.map_or(Ok(0), Key::count)?;
        for key in keys {
            match key.name() {
                "preferred_batch_size" => self.preferred(&key)?,
                "max_queue_delay_microseconds" => {
                    self.description.batching.delay = Some(Duration::from_micros(key.count()?));
                }
                "preserve_ordering" => {
                    self.unless_false(&key, "does nothing: an answer goes out when it is there")?
                }
                "priority_levels" if levels <= 2 => {}
                "priority_levels" => self.notes.add(
                    &key,
                    "is taken for 2: level 1 is urgent, all others are alike",
                ),
                "default_priority_level" => {
                    let urgent = key.count::<u64>()? == 1 && levels > 1;
                    self.description.batching.priority = urgent.then_some(Priority::High);
                }
                "default_queue_policy" => self.queue_policy(&key)?,
                "priority_queue_policy" => self.notes.add(
                    &key,
                    "does nothing: default_queue_policy holds for all levels",
                ),
                _ => self.notes.unused(&key, NOT_UNDERSTOOD),
            }
        }
        Ok(())
    }

    fn preferred(&mut self, key: &Key<'_>) -> Result<(), String> {
        let rows: usize = key.count()?;
        let most = self.description.batching.max_rows.unwrap_or(MOST_ROWS);
        match rows {
            // Triton refuses these where it batches; where nothing is stacked they mean nothing.
            _ if self.description.stackable == Some(false) => {}
            rows if (1..=most).contains(&rows) => self.description.batching.preferred.push(rows),
            _ => return key.must(&format!("be 1 to {most}, the most rows of a batch")),
        }
        Ok(())
    }

    fn queue_policy(&mut self, key: &Key<'_>) -> Result<(), String> {
        // What a policy does not allow it forbids.
        self.description.batching.allow_timeout_override = Some(false);
        for key in key.keys()? {
            let batching = &mut self.description.batching;
            match key.name() {
                "timeout_action" => {
                    batching.timeout_action = Some(match key.word()? {
                        "REJECT" => TimeoutAction::Reject,
                        "DELAY" => TimeoutAction::Delay,
                        _ => return key.must("be REJECT or DELAY"),
                    });
                }
                "default_timeout_microseconds" => {
                    batching.timeout = Some(Duration::from_micros(key.count()?));
                }
                "allow_timeout_override" => {
                    batching.allow_timeout_override = Some(key.truth()?);
                }
                "max_queue_size" => self.queue(&key)?,
                _ => self.notes.unused(&key, NOT_UNDERSTOOD),
            }
        }
        Ok(())
    }

    fn queue(&mut self, key: &Key<'_>) -> Result<(), String> {
        match key.count()? {
            0 => self.notes.add(
                key,
                "is no bound: models.queue holds, as every queue has one",
            ),
            size => {
                if size > MOST_WAITING {
                    self.notes.add(
                        key,
                        &format!("is taken for {MOST_WAITING}, the longest queue"),
                    );
                }
                self.description.batching.queue = Some(size.min(MOST_WAITING));
            }
        }
        Ok(())
    }
}
