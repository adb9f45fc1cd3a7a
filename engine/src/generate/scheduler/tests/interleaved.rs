//! Any order of joins, leaves, cancellations and crashes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Act {
    Submit(Generate),
    Steps(usize),
    /// Gives up one of those that were submitted.
    Cancel(prop::sample::Index),
    /// Begins another worker with what is known of all that are not over.
    Crash,
}

/// What a server knows of one sequence.
#[derive(Debug, Clone)]
struct Known {
    request: Generate,
    chosen: Vec<Chosen>,
    begun: bool,
    /// Whether this worker has chosen a token of it, so that it decodes.
    decodes: bool,
    cancelled: bool,
}

impl Known {
    fn is_over(&self) -> bool {
        self.chosen.last().is_some_and(|last| last.finish.is_some())
    }

    fn is_decoding(&self) -> bool {
        self.decodes && !self.cancelled && !self.is_over()
    }

    /// Returns the request as another worker is sent it.
    fn resumed(&self) -> Generate {
        let mut request = self.request.clone();
        request
            .tokens
            .extend(self.chosen.iter().map(|chosen| chosen.token));
        request
    }
}

/// A worker, and what the server knows.
struct World {
    scheduler: Scheduler,
    known: BTreeMap<u64, Known>,
    /// Whether the last step took in a chunk.
    prefilled: bool,
}

impl World {
    fn step(&mut self) {
        let decoding = self.known.values().any(Known::is_decoding);
        let report = self.scheduler.step();
        assert!(report.failed.is_empty(), "{:?}", report.failed);
        let Some(step) = report.step else {
            assert!(self.scheduler.is_idle());
            return;
        };
        for begun in step.begun {
            let known = self.known.get_mut(&begun.id).unwrap();
            assert!(!known.begun, "begun twice");
            assert!(begun.reused < known.resumed().tokens.len());
            known.begun = true;
        }
        for chosen in step.tokens {
            let known = self.known.get_mut(&chosen.id).unwrap();
            assert!(known.begun && !known.cancelled && !known.is_over());
            assert_eq!(chosen.position, known.chosen.len());
            known.decodes = true;
            known.chosen.push(chosen);
        }
        let prefilled = step.prefilled > 0;
        assert!(!(decoding && prefilled && self.prefilled), "two chunks");
        self.prefilled = prefilled;
    }

    fn crash(&mut self, slots: usize, chunk: usize, whole: bool) {
        self.scheduler = begin(slots, chunk, whole);
        for known in self.known.values_mut() {
            known.begun = false;
            known.decodes = false;
            if !known.is_over() && !known.cancelled {
                let resumed = known.resumed();
                self.scheduler.accept(resumed).unwrap();
            }
        }
    }
}

fn begin(slots: usize, chunk: usize, whole: bool) -> Scheduler {
    scheduler_of(Fake::new(slots).with_whole_prompts(whole), chunk).0
}

/// Returns what a sequence gives alone, in a slot of its own and by one chunk.
fn alone(request: &Generate) -> Vec<Chosen> {
    let (mut scheduler, _) = scheduler(1, MAX_LEN);
    scheduler.accept(request.clone()).unwrap();
    drain(&mut scheduler)
        .into_iter()
        .flat_map(|step| step.tokens)
        .collect()
}

fn sampling() -> impl Strategy<Value = Sampling> {
    let seeded = (any::<u64>(), 0u32..3, 1.0f32..1.5, 0usize..4).prop_map(
        |(seed, choice, repetition_penalty, min_tokens)| Sampling {
            temperature: 0.9,
            top_p: 0.95,
            repetition_penalty,
            frequency_penalty: 0.1,
            presence_penalty: 0.2,
            min_tokens,
            seed,
            choice,
            ..Sampling::default()
        },
    );
    prop_oneof![Just(Sampling::default()), seeded]
}

fn submission() -> impl Strategy<Value = Act> {
    let tail = prop::collection::vec(0..END, 1..4);
    let grammar = prop::option::weighted(0.3, Just(Grammar::Regex("([ab]{2}c|d)*e?".into())));
    (
        0u32..3,
        0usize..14,
        tail,
        1usize..12,
        sampling(),
        grammar,
        any::<[bool; 3]>(),
    )
        .prop_map(
            |(family, shared, tail, max_tokens, sampling, grammar, [stops, logprobs, prompt])| {
                // Prompts of one family begin alike.
                let start = (0..shared as u32).map(|place| (place * 3 + family) % END);
                let tokens: Vec<u32> = start.chain(tail).collect();
                let stop_tokens = if stops || grammar.is_some() {
                    vec![END, 4]
                } else {
                    Vec::new()
                };
                Act::Submit(Generate {
                    id: 0,
                    prompt_len: tokens.len(),
                    tokens,
                    max_tokens,
                    stop_tokens,
                    sampling,
                    grammar,
                    logprobs: logprobs.then_some(2),
                    prompt_logprobs: prompt,
                })
            },
        )
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        5 => submission(),
        6 => (1usize..6).prop_map(Act::Steps),
        1 => any::<prop::sample::Index>().prop_map(Act::Cancel),
        1 => Just(Act::Crash),
    ];
    prop::collection::vec(act, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_sequence_gives_what_it_gives_alone_whatever_happens_around_it(
        acts in acts(),
        slots in 1usize..6,
        chunk in 1usize..8,
        whole in any::<bool>(),
    ) {
        let mut world = World {
            scheduler: begin(slots, chunk, whole),
            known: BTreeMap::new(),
            prefilled: false,
        };
        for act in acts {
            match act {
                Act::Submit(request) => {
                    let id = world.known.len() as u64;
                    let request = Generate { id, ..request };
                    if world.scheduler.accept(request.clone()).is_ok() {
                        world.known.insert(id, Known {
                            request,
                            chosen: Vec::new(),
                            begun: false,
                            decodes: false,
                            cancelled: false,
                        });
                    }
                }
                Act::Steps(count) => (0..count).for_each(|_| world.step()),
                Act::Cancel(which) if !world.known.is_empty() => {
                    let id = which.index(world.known.len()) as u64;
                    if let Some(known) = world.known.get_mut(&id) {
                        known.cancelled = true;
                        world.scheduler.cancel(&[id]);
                    }
                }
                Act::Cancel(_) => {}
                Act::Crash => world.crash(slots, chunk, whole),
            }
        }
        let mut left = 10_000;
        while !world.scheduler.is_idle() {
            world.step();
            left -= 1;
            prop_assert!(left > 0, "it does not end");
        }
        for known in world.known.values().filter(|known| !known.cancelled) {
            let expected = alone(&known.request);
            prop_assert_eq!(&known.chosen, &expected);
        }
        // Every slot is free again.
        for id in 0..slots as u64 {
            world.scheduler.accept(request(1000 + id, &[1, 2], 1)).unwrap();
        }
        let begun = world.scheduler.step().step.unwrap().begun;
        prop_assert_eq!(begun.len(), slots);
    }
}
