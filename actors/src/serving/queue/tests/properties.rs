//! What holds of batches whatever comes, goes and is lost, in whatever order, at whatever time.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::waiting::{Found, Ticket, Waiting};
use super::*;

#[derive(Debug, Clone)]
enum Step {
    Push {
        high: bool,
        rows: usize,
        columns: usize,
    },
    Take {
        idle: bool,
    },
    /// A batch that was taken comes back, its members to go alone or not.
    PutBack {
        alone: bool,
    },
    /// The time of one that waits is over, and it is taken out.
    Withdraw(usize),
    /// The time of one that waits is over, and it waits on.
    Demote(usize),
    /// A caller goes.
    Leave(usize),
    Shed {
        high: bool,
    },
    Pass(u64),
    Purge,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (any::<bool>(), 1..4_usize, 1..4_usize)
            .prop_map(|(high, rows, columns)| Step::Push { high, rows, columns }),
        6 => any::<bool>().prop_map(|idle| Step::Take { idle }),
        1 => any::<bool>().prop_map(|alone| Step::PutBack { alone }),
        1 => (0..16_usize).prop_map(Step::Withdraw),
        1 => (0..16_usize).prop_map(Step::Demote),
        1 => (0..16_usize).prop_map(Step::Leave),
        1 => any::<bool>().prop_map(|high| Step::Shed { high }),
        3 => (0..12_u64).prop_map(Step::Pass),
        1 => Just(Step::Purge),
    ]
}

fn rules() -> impl Strategy<Value = String> {
    let delay = prop_oneof![Just(0_u64), Just(5), Just(20)];
    let preferred = prop_oneof![Just("[]"), Just("[2]"), Just("[2, 4]"), Just("[3, 5]")];
    (1..7_usize, delay, any::<bool>(), preferred, 0..4_u32).prop_map(
        |(max_rows, delay, adaptive, preferred, high_in_a_row)| {
            format!(
                "batching = {{ max_rows = {max_rows}, delay = \"{delay}ms\", adaptive = {adaptive}, \
                 preferred = {preferred}, high_in_a_row = {high_in_a_row} }}"
            )
        },
    )
}

/// What waits, and what must come of it.
struct Trial {
    policy: BatchPolicy,
    waiting: Waiting,
    now: Instant,
    next: usize,
    /// Those who wait for an answer.
    callers: BTreeMap<usize, (Answer, Ticket)>,
    /// Everything that has left for good, and what became of it.
    gone: BTreeSet<usize>,
    out: Vec<Vec<Job>>,
    /// The last one that was taken of each priority and shape, not counting those that came back.
    last: BTreeMap<(Priority, u64), usize>,
    /// Those whose order is not that of their numbers any more.
    displaced: BTreeSet<usize>,
    /// Those that came back.
    returned: BTreeSet<usize>,
}

impl Trial {
    fn new(text: &str) -> Self {
        let policy = policy(text);
        Self {
            waiting: Waiting::new(&policy),
            policy,
            now: Instant::now(),
            next: 1,
            callers: BTreeMap::new(),
            gone: BTreeSet::new(),
            out: Vec::new(),
            last: BTreeMap::new(),
            displaced: BTreeSet::new(),
            returned: BTreeSet::new(),
        }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Push {
                high,
                rows,
                columns,
            } => self.push(high, rows, columns),
            Step::Take { idle } => {
                self.take(idle)?;
            }
            Step::PutBack { alone } => self.put_back(alone),
            Step::Withdraw(index) => {
                if let Some((number, ticket)) = self.caller(index)
                    && let Some(job) = self.waiting.remove(ticket)
                {
                    self.ends(&job, number)?;
                    prop_assert!(self.waiting.remove(ticket).is_none(), "it came out twice");
                }
            }
            Step::Demote(index) => {
                if let Some((number, ticket)) = self.caller(index) {
                    self.waiting.demote(ticket);
                    self.displaced.insert(number);
                }
            }
            Step::Leave(index) => {
                if let Some((number, _)) = self.caller(index) {
                    self.callers.remove(&number);
                }
            }
            Step::Shed { high } => {
                if let Some(job) = self.waiting.shed(priority(high)) {
                    let number = number(&job);
                    // One that is late is less urgent than any that is not.
                    let late = self.displaced.contains(&number);
                    prop_assert!(high || late || job.priority == Priority::Normal);
                    prop_assert!(
                        !self.returned.contains(&number),
                        "it was promised an answer"
                    );
                    self.ends(&job, number)?;
                }
            }
            Step::Pass(millis) => self.now += Duration::from_millis(millis),
            Step::Purge => self.waiting.purge(self.now),
        }
        Ok(())
    }

    fn push(&mut self, high: bool, rows: usize, columns: usize) {
        let (request, rows) = request(self.next, rows, columns);
        let terms = Terms {
            since: self.now,
            priority: priority(high),
            take_by: None,
        };
        let (job, answer) = Job::new(request, rows, terms, pass());
        let ticket = self.waiting.push(job);
        self.callers.insert(self.next, (answer, ticket));
        self.next += 1;
    }

    fn take(&mut self, idle: bool) -> Result<bool, TestCaseError> {
        let jobs = match self.waiting.take(self.now, idle) {
            Found::Batch(jobs) => jobs,
            Found::Held(until) => {
                prop_assert!(until > self.now && until <= self.now + self.policy.delay);
                prop_assert!(
                    !(idle && self.policy.adaptive),
                    "held back from an idle worker"
                );
                return Ok(false);
            }
            Found::Nothing => {
                prop_assert_eq!(self.waiting.len(), 0, "something waits and is not offered");
                return Ok(false);
            }
        };
        self.check_batch(&jobs)?;
        self.check_order(&jobs)?;
        self.out.push(jobs);
        Ok(true)
    }

    fn check_batch(&self, jobs: &[Job]) -> Result<(), TestCaseError> {
        prop_assert!(!jobs.is_empty());
        let rows: usize = jobs.iter().map(|job| job.rows).sum();
        prop_assert!(
            jobs.len() == 1 || rows <= self.policy.max_rows,
            "{} rows",
            rows
        );
        for other in &jobs[1..] {
            prop_assert!(jobs[0].stacks_with(other), "shapes are mixed");
        }
        for job in jobs {
            prop_assert!(
                self.callers.contains_key(&number(job)),
                "nobody waits for it"
            );
            prop_assert!(!self.gone.contains(&number(job)), "it was answered before");
            let is_out = self
                .out
                .iter()
                .flatten()
                .any(|out| number(out) == number(job));
            prop_assert!(!is_out, "it was taken twice");
        }
        Ok(())
    }

    fn check_order(&mut self, jobs: &[Job]) -> Result<(), TestCaseError> {
        for job in jobs {
            let number = number(job);
            if self.displaced.contains(&number) {
                continue;
            }
            let last = self.last.entry((job.priority, job.shape)).or_default();
            prop_assert!(*last < number, "{} came before {}", number, *last);
            *last = number;
        }
        Ok(())
    }

    fn put_back(&mut self, alone: bool) {
        let Some(mut jobs) = self.out.pop() else {
            return;
        };
        self.displaced.extend(jobs.iter().map(number));
        self.returned.extend(jobs.iter().map(number));
        jobs.iter_mut().for_each(|job| job.alone |= alone);
        self.waiting.put_back(jobs);
    }

    fn caller(&self, index: usize) -> Option<(usize, Ticket)> {
        let index = index % self.callers.len().max(1);
        let (number, (_, ticket)) = self.callers.iter().nth(index)?;
        Some((*number, *ticket))
    }

    fn ends(&mut self, job: &Job, number: usize) -> Result<(), TestCaseError> {
        prop_assert_eq!(super::number(job), number, "another one came out");
        prop_assert!(self.gone.insert(number), "it ended twice");
        Ok(())
    }

    /// Takes all that is left, as time goes by, and counts what there was.
    fn finish(mut self) -> Result<(), TestCaseError> {
        while self.waiting.len() > 0 {
            let before = self.waiting.len();
            if !self.take(false)? {
                self.now += self.policy.delay;
                self.take(false)?;
            }
            prop_assert!(self.waiting.len() < before, "it is held back for ever");
        }
        let out: BTreeSet<usize> = self.out.iter().flatten().map(number).collect();
        for number in self.callers.keys() {
            prop_assert!(
                out.contains(number) || self.gone.contains(number),
                "{} is lost",
                number
            );
        }
        Ok(())
    }
}

fn priority(high: bool) -> Priority {
    match high {
        true => Priority::High,
        false => Priority::Normal,
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_or_taken_twice_and_batches_keep_order_shape_and_size(
        text in rules(),
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut trial = Trial::new(&text);
        for step in steps {
            trial.step(step)?;
        }
        trial.finish()?;
    }

    #[test]
    fn whatever_is_closed_gives_back_all_that_waited_in_its_order(
        steps in prop::collection::vec(step(), 1..100),
    ) {
        let mut trial = Trial::new("batching.delay = \"10ms\"");
        for step in steps {
            trial.step(step)?;
        }
        let waiting = trial.waiting.len();
        let drained = trial.waiting.drain();
        prop_assert_eq!(drained.len(), waiting);
        prop_assert_eq!(trial.waiting.len(), 0);
        for job in &drained {
            let number = number(job);
            prop_assert!(trial.gone.insert(number), "it ended twice");
        }
        trial.finish()?;
    }

    #[test]
    fn of_so_many_batches_one_is_led_by_a_request_that_is_not_urgent(
        high_in_a_row in 1..5_u32,
        pushes in prop::collection::vec((any::<bool>(), 1..4_usize), 1..100),
    ) {
        let text = format!("batching = {{ max_rows = 1, high_in_a_row = {high_in_a_row} }}");
        let mut trial = Trial::new(&text);
        let mut in_a_row = 0;
        for (high, columns) in pushes {
            // Two come for one that goes, so that something always waits.
            trial.push(high, 1, columns);
            trial.push(!high, 1, columns);
            let Found::Batch(jobs) = trial.waiting.take(trial.now, false) else {
                prop_assert!(false, "nothing came");
                continue;
            };
            in_a_row = match jobs[0].priority {
                Priority::High => in_a_row + 1,
                Priority::Normal => 0,
            };
            prop_assert!(in_a_row <= high_in_a_row);
        }
    }
}
