//! Requests that may share a batch, in the order in which they came.

use std::collections::VecDeque;
use std::iter;
use std::time::Instant;

use super::super::Priority;
use super::super::job::Job;

/// What the members of a group have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum GroupKey {
    /// Names, types and shapes of their inputs. Two shapes may have the same key, which costs their
    /// batches members and mixes nothing: members are compared before they are put together.
    Shape(u64),
    /// Nothing: the one that has this number goes alone.
    Alone(i64),
}

/// In which turn a request is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// It is urgent.
    High,
    /// It is not.
    Normal,
    /// It has waited longer than it should have, and is taken when nothing else waits.
    Late,
}

/// A request with its place in the order of all: one that came later has a higher number, and one
/// that was put back has one below zero.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) number: i64,
    pub(super) job: Job,
}

/// How many of each lane make a batch, from its front on.
pub(super) type Plan = [usize; Lane::ALL.len()];

/// Requests that may share a batch.
#[derive(Debug, Default)]
pub(super) struct Group {
    lanes: [VecDeque<Entry>; Lane::ALL.len()],
    rows: usize,
    /// Under which numbers its fronts are listed, and whether as ripe.
    pub(super) listed: [Option<(i64, bool)>; Lane::ALL.len()],
}

// === impl Lane ===

impl Lane {
    pub(super) const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Late];
}

impl From<Priority> for Lane {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::High => Self::High,
            Priority::Normal => Self::Normal,
        }
    }
}

// === impl GroupKey ===

impl GroupKey {
    /// Returns the group of a request that has this number.
    pub(super) fn of(job: &Job, number: i64) -> Self {
        match job.alone {
            true => Self::Alone(number),
            false => Self::Shape(job.shape),
        }
    }
}

// === impl Group ===

impl Group {
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.iter().all(VecDeque::is_empty)
    }

    pub(super) fn front(&self, lane: Lane) -> Option<&Entry> {
        self.lanes[lane as usize].front()
    }

    /// Adds a request, which has a higher number than any in its lane, or a lower one.
    pub(super) fn add(&mut self, lane: Lane, entry: Entry) {
        self.rows += entry.job.rows;
        let entries = &mut self.lanes[lane as usize];
        match entries.front() {
            Some(front) if entry.number < front.number => entries.push_front(entry),
            _ => entries.push_back(entry),
        }
    }

    /// Takes the request with that number out.
    pub(super) fn remove(&mut self, lane: Lane, number: i64) -> Option<Job> {
        let entries = &mut self.lanes[lane as usize];
        let index = entries
            .binary_search_by_key(&number, |entry| entry.number)
            .ok()?;
        let job = entries.remove(index)?.job;
        self.rows -= job.rows;
        Some(job)
    }

    /// Takes out the requests that `keep` does not want.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Job) -> bool) {
        for entries in &mut self.lanes {
            entries.retain(|entry| keep(&entry.job));
        }
        let rows = self.lanes.iter().flatten().map(|entry| entry.job.rows);
        self.rows = rows.sum();
    }

    /// Returns the number of the oldest request that was never taken before.
    pub(super) fn oldest_untaken(&self, lane: Lane) -> Option<i64> {
        let entries = &self.lanes[lane as usize];
        let first = entries.partition_point(|entry| entry.number < 0);
        Some(entries.get(first)?.number)
    }

    /// Tells whether its requests need no others: they fill a batch, or make one of a preferred size.
    pub(super) fn is_ripe(&self, max_rows: usize, preferred: &[usize]) -> bool {
        if self.rows >= max_rows {
            return true;
        }
        let smallest = preferred.first().copied().unwrap_or(usize::MAX);
        let reaches = || {
            let mut rows = 0;
            self.lanes.iter().flatten().any(|entry| {
                rows += entry.job.rows;
                preferred.contains(&rows)
            })
        };
        self.rows >= smallest && reaches()
    }

    /// Chooses a batch around the oldest of the leading lane, which is in it whatever its size: the
    /// most urgent first, each lane in its order, and of the largest preferred size if there is one.
    /// Those that nobody waits for any more are among them and take no room.
    pub(super) fn plan(
        &self,
        lead: Lane,
        max_rows: usize,
        preferred: &[usize],
        now: Instant,
    ) -> Plan {
        let mut plan = Plan::default();
        let mut best = None;
        let (mut first, mut rows): (Option<&Job>, usize) = (None, 0);
        for (lane, entry) in self.in_turn(lead) {
            let job = &entry.job;
            if job.is_wanted(now) {
                let fits =
                    first.is_none_or(|first| rows + job.rows <= max_rows && first.stacks_with(job));
                if !fits {
                    break;
                }
                first.get_or_insert(job);
                rows += job.rows;
            }
            plan[lane as usize] += 1;
            if preferred.contains(&rows) {
                best = Some(plan);
            }
        }
        best.unwrap_or(plan)
    }

    /// Takes out what was planned.
    pub(super) fn take(&mut self, plan: Plan) -> Vec<Job> {
        let mut jobs = Vec::with_capacity(plan.iter().sum());
        for (entries, count) in self.lanes.iter_mut().zip(plan) {
            jobs.extend(entries.drain(..count).map(|entry| entry.job));
        }
        self.rows -= jobs.iter().map(|job| job.rows).sum::<usize>();
        jobs
    }

    /// Returns all requests in the order in which they join a batch.
    fn in_turn(&self, lead: Lane) -> impl Iterator<Item = (Lane, &Entry)> {
        let leader = self.front(lead).map(|entry| (lead, entry));
        let others = Lane::ALL.into_iter().flat_map(move |lane| {
            let entries = self.lanes[lane as usize].iter();
            let skipped = usize::from(lane == lead);
            entries.skip(skipped).map(move |entry| (lane, entry))
        });
        iter::chain(leader, others)
    }

    pub(super) fn into_entries(self) -> impl Iterator<Item = (Lane, Entry)> {
        let lanes = Lane::ALL.into_iter().zip(self.lanes);
        lanes.flat_map(|(lane, entries)| entries.into_iter().map(move |entry| (lane, entry)))
    }
}
