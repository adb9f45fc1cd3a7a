//! The queue and the ledger of sequences, without workers: what is sent, told and sent again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use impetus_engine::generate::{Begun, Chosen, Finish, Generate, Sampling, Step};
use tokio::sync::mpsc;

use super::super::ledger::LinkId;
use super::super::loss::Loss;
use super::super::occupancy::Occupancy;
use super::sequence::Sequence;
use super::streams::{Errand, NotTaken, Streams};
use super::{GenerateRequest, StreamEvent, Verdict};

const ROOM: usize = 32;
const PROMPT: [u32; 3] = [7, 8, 9];
const LINK: LinkId = LinkId {
    worker: 0,
    generation: 1,
};
const NEXT: LinkId = LinkId {
    worker: 0,
    generation: 2,
};

/// Streams with callers that listen.
struct Stage {
    streams: Streams,
    occupancy: Arc<Occupancy>,
    callers: Vec<mpsc::Receiver<StreamEvent>>,
}

impl Stage {
    fn with(capacity: usize, slots: usize) -> Self {
        Self {
            streams: Streams::new(capacity, slots, Arc::default()),
            occupancy: Arc::default(),
            callers: Vec::new(),
        }
    }

    fn enter(&mut self) -> Result<u64, NotTaken> {
        let id = self.streams.name();
        let (sequence, events) = Sequence::new(id, request(), ROOM, self.occupancy.enter());
        self.streams.push(sequence)?;
        self.callers.push(events);
        Ok(id)
    }

    fn enter_some(&mut self, count: usize) -> Vec<u64> {
        (0..count).map(|_| self.enter().unwrap()).collect()
    }

    /// Returns everything a writer of `link` has to do now.
    fn errands(&self, link: LinkId) -> Vec<Errand> {
        std::iter::from_fn(|| self.streams.errand(link).now_or_never()).collect()
    }

    fn sent(&self, link: LinkId) -> Vec<Generate> {
        let errands = self.errands(link).into_iter();
        let sent = errands.filter_map(|errand| match errand {
            Errand::Generate(generate) => Some(generate),
            Errand::Cancel(_) => None,
        });
        sent.collect()
    }

    fn step(&self, link: LinkId, tokens: Vec<Chosen>) -> Result<usize, String> {
        self.streams.stepped(link, step(tokens, Vec::new()))
    }

    /// Loses the worker behind `link` and gives what it had back; returns the verdicts.
    fn lose(&self, link: LinkId, loss: &Loss) -> Vec<(u64, Verdict)> {
        let mut again = Vec::new();
        let mut verdicts = Vec::new();
        for mut sequence in self.streams.collect(link) {
            let verdict = sequence.lost(loss, 3);
            verdicts.push((sequence.id, verdict));
            if verdict == Verdict::Resume {
                again.push(sequence);
            }
        }
        self.streams.resume(again).unwrap();
        verdicts
    }

    fn heard(&mut self, caller: usize) -> Vec<StreamEvent> {
        std::iter::from_fn(|| self.callers[caller].try_recv().ok()).collect()
    }

    fn tokens(&mut self, caller: usize) -> Vec<u32> {
        let heard = self.heard(caller).into_iter();
        let tokens = heard.filter_map(|event| match event {
            StreamEvent::Token(chosen) => Some(chosen.token),
            _ => None,
        });
        tokens.collect()
    }
}

fn request() -> GenerateRequest {
    GenerateRequest {
        prompt: PROMPT.to_vec(),
        max_tokens: Some(10),
        stop_tokens: vec![0],
        sampling: Sampling::default(),
        seeded: false,
        grammar: None,
        logprobs: None,
        prompt_logprobs: false,
        deadline: Instant::now() + Duration::from_secs(60),
        id: None,
    }
}

fn step(tokens: Vec<Chosen>, begun: Vec<Begun>) -> Step {
    Step {
        batch: tokens.len(),
        tokens,
        begun,
        run_micros: 10,
        own_micros: 1,
        prefilled: 0,
        cached: 5,
    }
}

fn token(id: u64, position: usize, token: u32) -> Chosen {
    Chosen {
        id,
        position,
        token,
        logprobs: None,
        finish: None,
    }
}

fn last(id: u64, position: usize, token: u32) -> Chosen {
    Chosen {
        finish: Some(Finish::Stop),
        ..self::token(id, position, token)
    }
}

fn crash() -> Loss {
    Loss::Crash("signal 11".to_owned())
}

#[test]
fn a_worker_gets_as_many_as_it_has_slots_in_their_order_and_the_next_when_one_ends() {
    let mut stage = Stage::with(10, 2);
    let ids = stage.enter_some(4);
    let sent: Vec<u64> = stage.sent(LINK).iter().map(|g| g.id).collect();
    assert_eq!(sent, ids[..2]);
    assert_eq!((stage.streams.waiting(), stage.streams.out()), (2, 2));
    assert_eq!(stage.step(LINK, vec![last(ids[1], 0, 0)]), Ok(1));
    let sent: Vec<u64> = stage.sent(LINK).iter().map(|g| g.id).collect();
    assert_eq!(sent, [ids[2]]);
    assert!(stage.tokens(0).is_empty());
    assert_eq!(stage.tokens(1), [0]);
}

#[test]
fn a_full_queue_takes_no_more_but_what_nobody_waits_for_makes_room() {
    let mut stage = Stage::with(2, 1);
    stage.enter_some(2);
    assert!(matches!(stage.enter(), Err(NotTaken::Full)));
    stage.callers.remove(0);
    stage.enter().unwrap();
    assert_eq!(stage.streams.waiting(), 2);
}

#[test]
fn a_caller_that_goes_is_cancelled_wherever_its_sequence_is() {
    let mut stage = Stage::with(10, 1);
    let ids = stage.enter_some(3);
    stage.sent(LINK);
    stage.streams.cancel(ids[0]);
    stage.streams.cancel(ids[1]);
    let errands = stage.errands(LINK);
    assert!(matches!(&errands[0], Errand::Cancel(gone) if *gone == [ids[0]]));
    assert!(matches!(&errands[1], Errand::Generate(next) if next.id == ids[2]));
    assert_eq!(errands.len(), 2);
    // What the worker said before it knew is nobody's.
    assert_eq!(stage.step(LINK, vec![token(ids[0], 0, 4)]), Ok(0));
}

#[test]
fn a_caller_that_has_gone_in_silence_is_noticed_with_the_next_token() {
    let mut stage = Stage::with(10, 1);
    let ids = stage.enter_some(1);
    stage.sent(LINK);
    stage.callers.clear();
    stage.step(LINK, vec![token(ids[0], 0, 4)]).unwrap();
    assert!(matches!(&stage.errands(LINK)[..], [Errand::Cancel(gone)] if *gone == ids));
    assert_eq!(stage.streams.out(), 0);
}

#[test]
fn a_sequence_goes_on_with_another_worker_where_it_was_and_says_nothing_twice() {
    let mut stage = Stage::with(10, 4);
    let ids = stage.enter_some(1);
    stage.sent(LINK);
    let begun = Begun {
        id: ids[0],
        reused: 0,
        prompt_logprobs: Vec::new(),
    };
    let first = step(vec![token(ids[0], 0, 40)], vec![begun.clone()]);
    stage.streams.stepped(LINK, first).unwrap();
    stage.step(LINK, vec![token(ids[0], 1, 41)]).unwrap();
    assert_eq!(stage.lose(LINK, &crash()), [(ids[0], Verdict::Resume)]);

    let sent = stage.sent(NEXT);
    assert_eq!(sent[0].tokens, [7, 8, 9, 40, 41]);
    assert_eq!(sent[0].prompt_len, PROMPT.len());
    // The old worker's last words come too late, and the new one repeats itself.
    assert_eq!(stage.step(LINK, vec![token(ids[0], 2, 99)]), Ok(0));
    let again = step(vec![token(ids[0], 1, 41)], vec![begun]);
    stage.streams.stepped(NEXT, again).unwrap();
    stage.step(NEXT, vec![last(ids[0], 2, 42)]).unwrap();
    let heard = stage.heard(0);
    let begins = heard
        .iter()
        .filter(|e| matches!(e, StreamEvent::Begun { .. }));
    assert_eq!(begins.count(), 1);
    let tokens: Vec<u32> = heard
        .iter()
        .filter_map(|event| match event {
            StreamEvent::Token(chosen) => Some(chosen.token),
            _ => None,
        })
        .collect();
    assert_eq!(tokens, [40, 41, 42]);
    assert_eq!(stage.streams.snapshot(0).resumed, 1);
}

#[test]
fn a_worker_that_skips_a_token_is_not_believed() {
    let mut stage = Stage::with(10, 4);
    let ids = stage.enter_some(1);
    stage.sent(LINK);
    let wrong = stage.step(LINK, vec![token(ids[0], 1, 4)]).unwrap_err();
    assert!(wrong.contains("token 0"), "{wrong}");
}

#[test]
fn suspects_go_one_at_a_time_past_the_place_of_the_death_and_then_have_company() {
    let mut stage = Stage::with(10, 4);
    let ids = stage.enter_some(2);
    assert_eq!(stage.sent(LINK).len(), 2);
    stage.lose(LINK, &crash());
    // The first time nobody knows whose doing it was: they go on together.
    assert_eq!(stage.sent(NEXT).len(), 2);
    stage.lose(NEXT, &crash());
    let third = LinkId {
        worker: 0,
        generation: 3,
    };
    let alone = stage.sent(third);
    assert_eq!(alone.iter().map(|g| g.id).collect::<Vec<_>>(), [ids[0]]);
    stage.enter().unwrap();
    // Its first token is past the place where it had none.
    stage.step(third, vec![token(ids[0], 0, 4)]).unwrap();
    // The second suspect waits for a worker of its own, and whoever came later waits behind it.
    assert!(stage.sent(third).is_empty());
    stage.step(third, vec![last(ids[0], 1, 0)]).unwrap();
    let alone = stage.sent(third);
    assert_eq!(alone.iter().map(|g| g.id).collect::<Vec<_>>(), [ids[1]]);
    stage.step(third, vec![token(ids[1], 0, 4)]).unwrap();
    assert_eq!(stage.sent(third).len(), 1, "cleared, it has company");
}

#[test]
fn one_that_kills_the_worker_it_has_to_itself_is_found_guilty_and_the_others_go_on() {
    let mut stage = Stage::with(10, 4);
    let ids = stage.enter_some(2);
    for generation in 1..=2 {
        let link = LinkId {
            worker: 0,
            generation,
        };
        assert_eq!(stage.sent(link).len(), 2);
        stage.lose(link, &crash());
    }
    let third = LinkId {
        worker: 0,
        generation: 3,
    };
    assert_eq!(stage.sent(third).len(), 1);
    assert_eq!(stage.lose(third, &crash()), [(ids[0], Verdict::Guilty)]);
    let fourth = LinkId {
        worker: 0,
        generation: 4,
    };
    assert_eq!(stage.sent(fourth)[0].id, ids[1]);
}

#[test]
fn the_judge_sees_a_run_as_long_as_a_worker_has_something_and_another_after_each_step() {
    let mut stage = Stage::with(10, 4);
    assert!(stage.streams.running(LINK).is_none());
    let ids = stage.enter_some(1);
    stage.sent(LINK);
    let before = stage.streams.running(LINK).unwrap();
    stage.step(LINK, vec![token(ids[0], 0, 4)]).unwrap();
    let after = stage.streams.running(LINK).unwrap();
    assert_ne!(before.id, after.id);
    stage.step(LINK, vec![last(ids[0], 1, 0)]).unwrap();
    assert!(stage.streams.running(LINK).is_none());
}
