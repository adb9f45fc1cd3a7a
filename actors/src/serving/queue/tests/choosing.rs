//! What makes the next batch, in the time of the test.

use super::super::waiting::{Found, Ticket, Waiting};
use super::*;

/// What waits, and the time, which stands still unless the test moves it.
struct Desk {
    waiting: Waiting,
    now: Instant,
    pushed: usize,
    answers: Vec<Answer>,
}

impl Desk {
    fn new(text: &str) -> Self {
        Self {
            waiting: Waiting::new(&policy(text)),
            now: Instant::now(),
            pushed: 0,
            answers: Vec::new(),
        }
    }

    /// Has a request of so many rows of so many columns wait; the first is number 1.
    fn push(&mut self, priority: Priority, rows: usize, columns: usize) -> Ticket {
        self.pushed += 1;
        let (request, rows) = request(self.pushed, rows, columns);
        let terms = Terms {
            since: self.now,
            priority,
            take_by: None,
        };
        let (job, answer) = Job::new(request, rows, terms, pass());
        self.answers.push(answer);
        self.waiting.push(job)
    }

    fn normal(&mut self, rows: usize) -> Ticket {
        self.push(Priority::Normal, rows, 1)
    }

    fn high(&mut self, rows: usize) -> Ticket {
        self.push(Priority::High, rows, 1)
    }

    fn normals(&mut self, count: usize) {
        (0..count).for_each(|_| {
            self.normal(1);
        });
    }

    fn highs(&mut self, count: usize) {
        (0..count).for_each(|_| {
            self.high(1);
        });
    }

    /// Takes a batch for a busy worker and returns the numbers in it.
    fn take(&mut self) -> Vec<usize> {
        match self.waiting.take(self.now, false) {
            Found::Batch(jobs) => jobs.iter().map(number).collect(),
            Found::Held(_) | Found::Nothing => Vec::new(),
        }
    }

    /// Returns for how many milliseconds what waits is held back.
    fn held(&mut self) -> Option<u128> {
        match self.waiting.take(self.now, false) {
            Found::Held(until) => Some((until - self.now).as_millis()),
            Found::Batch(_) | Found::Nothing => None,
        }
    }

    fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }
}

#[test]
fn a_batch_is_held_back_until_it_is_full() {
    let mut desk = Desk::new("batching.delay = \"10ms\"");
    for _ in 0..3 {
        desk.normal(1);
        assert_eq!(desk.held(), Some(10));
    }
    desk.normal(1);
    assert_eq!(desk.take(), [1, 2, 3, 4]);
    assert!(desk.take().is_empty());
}

#[test]
fn it_is_the_oldest_request_whose_time_counts() {
    let mut desk = Desk::new("batching.delay = \"10ms\"");
    desk.normal(1);
    desk.pass(7);
    desk.normal(1);
    assert_eq!(desk.held(), Some(3));
    desk.pass(3);
    assert_eq!(desk.take(), [1, 2]);
}

#[test]
fn a_batch_of_a_preferred_size_goes_at_once_and_the_largest_such_one() {
    let mut desk = Desk::new("batching = { delay = \"10ms\", max_rows = 16, preferred = [2, 4] }");
    desk.normal(1);
    assert_eq!(desk.held(), Some(10));
    desk.normals(4);
    assert_eq!(desk.take(), [1, 2, 3, 4]);
    assert_eq!(desk.held(), Some(10));
    desk.pass(10);
    assert_eq!(desk.take(), [5], "no size is worth waiting for ever");
}

#[test]
fn sizes_are_counted_in_rows_and_a_batch_that_can_grow_no_more_goes() {
    let mut desk = Desk::new("batching = { delay = \"10ms\", max_rows = 8, preferred = [6] }");
    desk.normal(4);
    desk.normal(1);
    assert_eq!(desk.held(), Some(10));
    desk.normal(1);
    assert_eq!(desk.take(), [1, 2, 3]);
    desk.normal(5);
    desk.normal(4);
    assert_eq!(desk.take(), [4], "the next one does not fit");
}

#[test]
fn a_request_with_more_rows_than_a_batch_goes_alone_and_at_once() {
    let mut desk = Desk::new("batching.delay = \"10ms\"");
    desk.normal(9);
    desk.normal(1);
    assert_eq!(desk.take(), [1]);
    assert_eq!(desk.held(), Some(10));
}

#[test]
fn a_shape_in_front_that_is_held_back_does_not_hold_back_a_full_batch_of_another() {
    let mut desk = Desk::new("batching.delay = \"10ms\"");
    desk.push(Priority::Normal, 1, 7);
    desk.normals(4);
    assert_eq!(desk.take(), [2, 3, 4, 5]);
    assert_eq!(desk.held(), Some(10));
    desk.pass(10);
    assert_eq!(desk.take(), [1]);
}

#[test]
fn shapes_that_alternate_make_batches_and_the_oldest_decides_whose_turn_it_is() {
    let mut desk = Desk::new("");
    for _ in 0..3 {
        desk.push(Priority::Normal, 1, 1);
        desk.push(Priority::Normal, 1, 2);
    }
    assert_eq!(desk.take(), [1, 3, 5]);
    assert_eq!(desk.take(), [2, 4, 6]);
}

#[test]
fn urgent_requests_lead_and_others_of_their_shape_fill_the_batch() {
    let mut desk = Desk::new("");
    desk.normal(1);
    desk.high(1);
    desk.push(Priority::Normal, 1, 2);
    desk.high(1);
    assert_eq!(desk.take(), [2, 4, 1]);
    assert_eq!(desk.take(), [3]);
}

#[test]
fn urgent_requests_lead_so_many_batches_in_a_row_and_then_another_has_its_turn() {
    let mut desk = Desk::new("batching = { max_rows = 1, high_in_a_row = 2 }");
    desk.normal(1);
    desk.normal(1);
    desk.highs(5);
    let order: Vec<_> = (0..7).map(|_| desk.take()[0]).collect();
    assert_eq!(order, [3, 4, 1, 5, 6, 2, 7]);
}

#[test]
fn without_that_bound_urgent_requests_are_all_taken_first() {
    let mut desk = Desk::new("batching = { max_rows = 1, high_in_a_row = 0 }");
    desk.normal(1);
    desk.highs(20);
    let order: Vec<_> = (0..21).map(|_| desk.take()[0]).collect();
    assert_eq!(order.last(), Some(&1));
}

#[test]
fn a_late_request_waits_for_all_others_but_joins_a_batch_that_has_room() {
    let mut desk = Desk::new("batching.max_rows = 2");
    let late = desk.normal(1);
    desk.waiting.demote(late);
    desk.push(Priority::Normal, 1, 2);
    desk.normal(1);
    assert_eq!(desk.take(), [2]);
    assert_eq!(desk.take(), [3, 1]);
}

#[test]
fn what_was_put_back_goes_before_all_others_of_its_priority_and_is_never_held_back() {
    let mut desk = Desk::new("batching.delay = \"10ms\"");
    desk.normals(4);
    let Found::Batch(lost) = desk.waiting.take(desk.now, false) else {
        panic!("it was full")
    };
    desk.normal(1);
    let mut lost = lost;
    lost.iter_mut().for_each(|job| job.alone = true);
    desk.waiting.put_back(lost);
    for expected in 1..=4 {
        assert_eq!(desk.take(), [expected]);
    }
    assert_eq!(desk.held(), Some(10));
}

#[test]
fn requests_that_nobody_waits_for_take_no_room_in_a_batch() {
    let mut desk = Desk::new("");
    desk.normals(6);
    // The first two callers go.
    desk.answers.drain(..2);
    assert_eq!(desk.take(), [3, 4, 5, 6]);
    assert_eq!(desk.waiting.len(), 0);
}

#[test]
fn a_policy_that_comes_later_holds_for_what_waits_already() {
    let mut desk = Desk::new("batching.delay = \"10ms\"");
    desk.normal(1);
    assert_eq!(desk.held(), Some(10));
    let alone = policy("batching.delay = \"10ms\"").without_batches();
    desk.waiting.follow(&alone);
    assert_eq!(desk.take(), [1]);
}
