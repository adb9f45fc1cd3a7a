//! What waits for a worker, and what of it makes the next batch.
//!
//! No clock and no waiting is in here: whoever asks says what time it is, and is told what to take,
//! or until when it is worth waiting. Requests lie in groups that may share a batch, each in three
//! lanes; the front of each lane of each group is listed, so that the oldest of all is found without
//! going through them, however many shapes there are.
//!
//! **Order.** Within a priority, requests of one shape are taken in the order in which they came.
//! Across shapes the oldest decides whose turn it is, and those of its shape behind it go along: no
//! shape waits longer than it takes to run what came before it, and none keeps another from making
//! batches.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::super::Priority;
use super::super::batching::BatchPolicy;
use super::super::job::Job;
use super::group::{Entry, Group, GroupKey, Lane};

/// Empty groups that are kept for the next request of their shape.
const KEPT: usize = 4;

/// Where a request lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::serving) struct Ticket {
    key: GroupKey,
    lane: Lane,
    number: i64,
}

/// What somebody gets who asks for a batch.
#[derive(Debug)]
pub(super) enum Found<T> {
    /// There is one.
    Batch(T),
    /// There is something that may be held back until then.
    Held(Instant),
    /// Nothing.
    Nothing,
}

/// What waits.
#[derive(Debug)]
pub(super) struct Waiting {
    rules: Rules,
    groups: BTreeMap<GroupKey, Group>,
    /// The groups by the numbers of their fronts.
    fronts: [BTreeMap<i64, GroupKey>; Lane::ALL.len()],
    /// Those of them that need no more requests; kept only where any is ever held back.
    ripe: [BTreeMap<i64, GroupKey>; Lane::ALL.len()],
    len: usize,
    /// The number of the next request that comes.
    next: i64,
    /// The number of the last one that was put back.
    put_back: i64,
    /// How many batches in a row an urgent request has led while others waited.
    led_by_high: u32,
    /// Requests that were found here when their deadline had passed.
    expired: u64,
}

#[derive(Debug)]
struct Rules {
    max_rows: usize,
    delay: Duration,
    adaptive: bool,
    preferred: Vec<usize>,
    high_in_a_row: u32,
}

// === impl Waiting ===

impl Waiting {
    pub(super) fn new(policy: &BatchPolicy) -> Self {
        Self {
            rules: Rules::from(policy),
            groups: BTreeMap::new(),
            fronts: Default::default(),
            ripe: Default::default(),
            len: 0,
            next: 0,
            put_back: 0,
            led_by_high: 0,
            expired: 0,
        }
    }

    /// Goes by another policy from now on.
    pub(super) fn follow(&mut self, policy: &BatchPolicy) {
        self.rules = Rules::from(policy);
        let keys: Vec<GroupKey> = self.groups.keys().copied().collect();
        for key in keys {
            self.list(key);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn expired(&self) -> u64 {
        self.expired
    }

    /// Tells whether anything is ever held back.
    pub(super) fn holds_back(&self) -> bool {
        !self.rules.delay.is_zero()
    }

    /// Takes a request in behind the others of its priority.
    pub(super) fn push(&mut self, job: Job) -> Ticket {
        let lane = job.priority.into();
        self.add(lane, job)
    }

    fn add(&mut self, lane: Lane, job: Job) -> Ticket {
        let number = self.next;
        self.next += 1;
        self.insert(lane, Entry { number, job })
    }

    /// Puts requests back before all others of their priority, in their order.
    pub(super) fn put_back(&mut self, jobs: Vec<Job>) {
        for job in jobs.into_iter().rev() {
            self.put_back -= 1;
            let number = self.put_back;
            self.insert(job.priority.into(), Entry { number, job });
        }
    }

    fn insert(&mut self, lane: Lane, entry: Entry) -> Ticket {
        let number = entry.number;
        let key = GroupKey::of(&entry.job, number);
        self.groups.entry(key).or_default().add(lane, entry);
        self.len += 1;
        self.list(key);
        Ticket { key, lane, number }
    }

    /// Takes a request out, if it still lies where it was put.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Job> {
        let Ticket { key, lane, number } = ticket;
        let job = self.groups.get_mut(&key)?.remove(lane, number)?;
        self.len -= 1;
        self.list(key);
        Some(job)
    }

    /// Has a request wait until nothing else does, if it still lies where it was put.
    pub(super) fn demote(&mut self, ticket: Ticket) {
        if let Some(job) = self.remove(ticket) {
            self.add(Lane::Late, job);
        }
    }

    /// Takes out the one that has waited longest among the least urgent, if it is no more urgent than
    /// `priority`. One that was taken before has been promised an answer, and stays.
    pub(super) fn shed(&mut self, priority: Priority) -> Option<Job> {
        let own = Lane::from(priority);
        let lanes = Lane::ALL.into_iter().rev().filter(|lane| *lane >= own);
        let oldest = lanes.filter_map(|lane| self.oldest_untaken(lane)).next()?;
        self.remove(oldest)
    }

    fn oldest_untaken(&self, lane: Lane) -> Option<Ticket> {
        let fronts = &self.fronts[lane as usize];
        let untaken = fronts
            .range(0..)
            .next()
            .map(|(number, key)| (*number, *key));
        // Behind one that was put back there may be older ones than all other fronts.
        let behind = fronts.range(..0).filter_map(|(_, key)| {
            let number = self.groups.get(key)?.oldest_untaken(lane)?;
            Some((number, *key))
        });
        let (number, key) = behind.chain(untaken).min_by_key(|(number, _)| *number)?;
        Some(Ticket { key, lane, number })
    }

    /// Takes out the requests that nobody waits for any more.
    pub(super) fn purge(&mut self, now: Instant) {
        let keys: Vec<GroupKey> = self.groups.keys().copied().collect();
        for key in keys {
            if let Some(group) = self.groups.get_mut(&key) {
                let (len, expired) = (&mut self.len, &mut self.expired);
                group.retain(|job| {
                    let wanted = job.is_wanted(now);
                    *len -= usize::from(!wanted);
                    *expired += u64::from(now >= job.deadline);
                    wanted
                });
            }
            self.list(key);
        }
    }

    /// Takes everything out, the most urgent and the oldest first.
    pub(super) fn drain(&mut self) -> Vec<Job> {
        let groups = std::mem::take(&mut self.groups).into_values();
        let mut all: Vec<(Lane, Entry)> = groups.flat_map(Group::into_entries).collect();
        all.sort_by_key(|(lane, entry)| (*lane, entry.number));
        self.fronts = Default::default();
        self.ripe = Default::default();
        self.len = 0;
        all.into_iter().map(|(_, entry)| entry.job).collect()
    }

    /// Takes a batch for a worker that is `idle`, or has something to do already.
    pub(super) fn take(&mut self, now: Instant, idle: bool) -> Found<Vec<Job>> {
        loop {
            let (key, lead) = match self.turn(now, idle) {
                Found::Batch(turn) => turn,
                Found::Held(until) => return Found::Held(until),
                Found::Nothing => return Found::Nothing,
            };
            let batch = self.take_around(key, lead, now);
            if !batch.is_empty() {
                self.count_lead(lead);
                return Found::Batch(batch);
            }
        }
    }

    /// Tells whether such a worker would get a batch, and takes none.
    pub(super) fn look(&mut self, now: Instant, idle: bool) -> Found<()> {
        match self.turn(now, idle) {
            Found::Batch(_) => Found::Batch(()),
            Found::Held(until) => Found::Held(until),
            Found::Nothing => Found::Nothing,
        }
    }

    /// Finds out whose turn it is.
    fn turn(&mut self, now: Instant, idle: bool) -> Found<(GroupKey, Lane)> {
        let mut held: Option<Instant> = None;
        for lane in self.lanes_in_turn() {
            if lane == Lane::Late && held.is_some() {
                break;
            }
            let Some((number, key)) = self.first_wanted(lane, now) else {
                continue;
            };
            let job = self.groups[&key].front(lane).map(|entry| &entry.job);
            let until = job.and_then(|job| self.rules.held_until(job, now, idle));
            let until = until.filter(|_| lane != Lane::Late && number >= 0);
            let Some(until) = until else {
                return Found::Batch((key, lane));
            };
            if let Some((_, ripe)) = self.ripe[lane as usize].first_key_value() {
                return Found::Batch((*ripe, lane));
            }
            held = Some(held.map_or(until, |earlier| earlier.min(until)));
        }
        held.map_or(Found::Nothing, Found::Held)
    }

    fn lanes_in_turn(&self) -> [Lane; 3] {
        let most = self.rules.high_in_a_row;
        if most > 0 && self.led_by_high >= most {
            return [Lane::Normal, Lane::High, Lane::Late];
        }
        Lane::ALL
    }

    /// Returns the oldest of a lane that somebody waits for, without those before it.
    fn first_wanted(&mut self, lane: Lane, now: Instant) -> Option<(i64, GroupKey)> {
        loop {
            let (number, key) = self.fronts[lane as usize].first_key_value()?;
            let (number, key) = (*number, *key);
            let front = self.groups.get(&key)?.front(lane)?;
            if front.job.is_wanted(now) {
                return Some((number, key));
            }
            self.expired += u64::from(now >= front.job.deadline);
            self.remove(Ticket { key, lane, number });
        }
    }

    fn take_around(&mut self, key: GroupKey, lead: Lane, now: Instant) -> Vec<Job> {
        let Some(group) = self.groups.get_mut(&key) else {
            return Vec::new();
        };
        let plan = group.plan(lead, self.rules.max_rows, &self.rules.preferred, now);
        let mut jobs = group.take(plan);
        self.len -= jobs.len();
        self.list(key);
        jobs.retain(|job| {
            self.expired += u64::from(now >= job.deadline);
            job.is_wanted(now)
        });
        jobs
    }

    fn count_lead(&mut self, lead: Lane) {
        let others_wait = !self.fronts[Lane::Normal as usize].is_empty();
        self.led_by_high = match lead {
            Lane::High if others_wait => self.led_by_high + 1,
            _ => 0,
        };
    }

    /// Lists a group by what is in it now.
    fn list(&mut self, key: GroupKey) {
        let Some(group) = self.groups.get_mut(&key) else {
            return;
        };
        let ripe = !self.rules.delay.is_zero()
            && group.is_ripe(self.rules.max_rows, &self.rules.preferred);
        for lane in Lane::ALL {
            let index = lane as usize;
            let front = group.front(lane).map(|entry| (entry.number, ripe));
            if group.listed[index] == front {
                continue;
            }
            if let Some((number, _)) = group.listed[index] {
                self.fronts[index].remove(&number);
                self.ripe[index].remove(&number);
            }
            if let Some((number, ripe)) = front {
                self.fronts[index].insert(number, key);
                if ripe {
                    self.ripe[index].insert(number, key);
                }
            }
            group.listed[index] = front;
        }
        let is_of_one = matches!(key, GroupKey::Alone(_));
        if group.is_empty() && (is_of_one || self.groups.len() > KEPT) {
            self.groups.remove(&key);
        }
    }
}

// === impl Rules ===

impl Rules {
    /// Returns until when a request may be held back that leads a batch; `None` when it is to go.
    fn held_until(&self, lead: &Job, now: Instant, idle: bool) -> Option<Instant> {
        if self.delay.is_zero() || lead.alone || (idle && self.adaptive) {
            return None;
        }
        let until = lead.enqueued + self.delay;
        (now < until).then_some(until)
    }
}

impl From<&BatchPolicy> for Rules {
    fn from(policy: &BatchPolicy) -> Self {
        Self {
            max_rows: policy.max_rows,
            delay: policy.delay,
            adaptive: policy.adaptive,
            preferred: policy.preferred.clone(),
            high_in_a_row: policy.high_in_a_row,
        }
    }
}
