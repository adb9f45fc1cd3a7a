//! Who goes next: stride scheduling between accounts, without a clock and without waiting.
//!
//! Each account has a pass, which grows by what its runs cost, divided by its weight; whoever has
//! the least goes first. A run is charged with what the account's runs cost lately when it begins,
//! and put right when it ends: an account with many links would otherwise take every seat before
//! its first run is over. The algorithm is Waldspurger's; what is added is that an account which
//! was idle comes back with a bounded credit, and what is done beyond the number of seats.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// What a run is taken to cost before any has ended, in microseconds.
const FIRST_ESTIMATE: u64 = 1_000;
/// How far an account that was idle may be behind the others, in microseconds of weight 1.
const CREDIT: u64 = 100_000;
/// A pass is in microseconds times this, so that it can be divided by a weight.
const SCALE: u64 = 1_000;
/// What a run is charged with at most, in microseconds: an hour, which no budget allows.
const MOST_COST: u64 = 3_600_000_000;
/// How many of their runs somebody waits for those who have the seats, and no longer.
const PATIENCE_IN_RUNS: u32 = 8;
const SHORTEST_PATIENCE: Duration = Duration::from_millis(100);
const LONGEST_PATIENCE: Duration = Duration::from_secs(10);

/// The accounts and their seats.
#[derive(Debug)]
pub(super) struct Core {
    /// Places that are given away while several accounts want some.
    seats: usize,
    accounts: BTreeMap<u64, Account>,
    out: usize,
    next_account: u64,
    next_token: u64,
}

#[derive(Debug)]
struct Account {
    weight: u64,
    pass: u64,
    /// What its runs cost lately.
    estimate: u64,
    out: usize,
    waiting: VecDeque<u64>,
}

/// What somebody gets who wants to run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// To run, charged with so much.
    Go(u64),
    /// A number to be called by, and how long to wait for that.
    Wait(u64, Duration),
}

/// Somebody's turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Called {
    pub(super) account: u64,
    pub(super) token: u64,
    pub(super) charged: u64,
}

// === impl Core ===

impl Core {
    pub(super) fn new(seats: usize) -> Self {
        Self {
            seats: seats.max(1),
            accounts: BTreeMap::new(),
            out: 0,
            next_account: 0,
            next_token: 0,
        }
    }

    pub(super) fn open(&mut self, weight: u32) -> u64 {
        self.next_account += 1;
        let account = Account {
            weight: u64::from(weight.max(1)),
            pass: 0,
            estimate: FIRST_ESTIMATE,
            out: 0,
            waiting: VecDeque::new(),
        };
        self.accounts.insert(self.next_account, account);
        self.next_account
    }

    /// Closes an account. What it has out counts no more.
    pub(super) fn close(&mut self, id: u64) -> Vec<Called> {
        if let Some(account) = self.accounts.remove(&id) {
            self.out -= account.out;
        }
        self.call()
    }

    /// Tells whether there is more than one account.
    pub(super) fn is_shared(&self) -> bool {
        self.accounts.len() > 1
    }

    /// Lets an account run something, or has it wait: it goes at once when no other wants to, when a
    /// seat is free, and when it has nothing out and is behind all others, however many seats they
    /// have taken while it wanted none.
    pub(super) fn ask(&mut self, id: u64) -> Asked {
        let least = self.least_pass_beside(id);
        let free = self.out < self.seats;
        let Some(account) = self.accounts.get_mut(&id) else {
            return Asked::Go(0);
        };
        if let (true, Some(least)) = (account.is_idle(), least) {
            account.pass = account.pass.max(least.saturating_sub(CREDIT * SCALE));
        }
        let behind = least.is_none_or(|least| account.out == 0 && account.pass <= least);
        if free || behind {
            return Asked::Go(self.begin(id));
        }
        self.next_token += 1;
        account.waiting.push_back(self.next_token);
        Asked::Wait(self.next_token, self.patience())
    }

    /// Ends a run that was charged with so much and has cost so much; whose turn it is then.
    pub(super) fn end(&mut self, id: u64, charged: u64, cost: u64) -> Vec<Called> {
        if let Some(account) = self.accounts.get_mut(&id) {
            account.out -= 1;
            self.out -= 1;
            let cost = cost.min(MOST_COST);
            let owed = cost * SCALE / account.weight;
            account.pass = (account.pass + owed).saturating_sub(charged * SCALE / account.weight);
            if cost > 0 {
                account.estimate = (account.estimate * 7 + cost).div_ceil(8);
            }
        }
        self.call()
    }

    /// Takes the number back of one that waits no more. Whose turn it is then.
    pub(super) fn withdraw(&mut self, id: u64, token: u64) -> Vec<Called> {
        if let Some(account) = self.accounts.get_mut(&id) {
            account.waiting.retain(|waiting| *waiting != token);
        }
        self.call()
    }

    /// Lets one run that has waited as long as it had to; `None` when it has been called meanwhile.
    pub(super) fn go_anyway(&mut self, id: u64, token: u64) -> Option<u64> {
        let account = self.accounts.get_mut(&id)?;
        let seat = account.waiting.iter().position(|t| *t == token)?;
        account.waiting.remove(seat);
        Some(self.begin(id))
    }

    fn begin(&mut self, id: u64) -> u64 {
        let Some(account) = self.accounts.get_mut(&id) else {
            return 0;
        };
        account.out += 1;
        self.out += 1;
        account.pass += account.estimate * SCALE / account.weight;
        account.estimate
    }

    /// Calls whoever may run now.
    fn call(&mut self) -> Vec<Called> {
        let mut called = Vec::new();
        while let Some(id) = self.next() {
            let account = self.accounts.get_mut(&id);
            let Some(token) = account.and_then(|account| account.waiting.pop_front()) else {
                break;
            };
            let charged = self.begin(id);
            called.push(Called {
                account: id,
                token,
                charged,
            });
        }
        called
    }

    /// Returns the account whose turn it is, if it is anybody's.
    fn next(&self) -> Option<u64> {
        let waiting = self.accounts.iter().filter(|(_, a)| !a.waiting.is_empty());
        let (id, account) = waiting.min_by_key(|(_, account)| account.pass)?;
        let least = self.least_pass_beside(*id);
        let behind = least.is_none_or(|least| account.out == 0 && account.pass <= least);
        (self.out < self.seats || behind).then_some(*id)
    }

    /// Returns the least pass among the others that run something or want to.
    fn least_pass_beside(&self, id: u64) -> Option<u64> {
        let others = self.accounts.iter().filter(|(other, _)| **other != id);
        let busy = others.filter(|(_, account)| !account.is_idle());
        busy.map(|(_, account)| account.pass).min()
    }

    /// Returns how long somebody waits for those who have the seats: they may have hung.
    fn patience(&self) -> Duration {
        let out = self.accounts.values().filter(|account| account.out > 0);
        let longest = out.map(|account| account.estimate).max().unwrap_or(0);
        let patience = Duration::from_micros(longest).saturating_mul(PATIENCE_IN_RUNS);
        patience.clamp(SHORTEST_PATIENCE, LONGEST_PATIENCE)
    }
}

// === impl Account ===

impl Account {
    fn is_idle(&self) -> bool {
        self.out == 0 && self.waiting.is_empty()
    }
}
