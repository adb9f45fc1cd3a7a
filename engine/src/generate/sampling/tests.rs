//! Sampling against a plain reference that sorts everything and counts in double precision.

use proptest::prelude::*;

use super::*;

const NONE: &[u32] = &[];

fn draw<'a>(sampling: &'a Sampling, history: &'a History) -> Draw<'a> {
    Draw {
        sampling,
        history,
        allowed: None,
        avoided: NONE,
        position: 0,
    }
}

fn choose(logits: &[f32], sampling: &Sampling) -> u32 {
    let history = History::default();
    Sampler::default()
        .choose(logits, &draw(sampling, &history))
        .unwrap()
}

/// Returns the tokens that may be drawn with their probabilities, by number; and whether a token at
/// the border of a stage is so close to it that rounding decides.
fn reference(scores: &[f32], sampling: &Sampling) -> (Vec<(u32, f64)>, bool) {
    let mut ranked: Vec<(u32, f64)> = (0u32..)
        .zip(scores)
        .map(|(token, score)| (token, f64::from(*score) / f64::from(sampling.temperature)))
        .collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    if sampling.top_k > 0 {
        ranked.truncate(sampling.top_k);
    }
    let best = ranked[0].1;
    for (_, weight) in &mut ranked {
        *weight = (*weight - best).exp();
    }
    let mut close = false;
    if sampling.top_p < 1.0 {
        let total: f64 = ranked.iter().map(|(_, weight)| weight).sum();
        let wanted = f64::from(sampling.top_p) * total;
        let (mut sum, mut kept) = (0.0, 0);
        for (_, weight) in &ranked {
            kept += 1;
            sum += weight;
            close |= (sum - wanted).abs() < total * 1e-5;
            if sum >= wanted {
                break;
            }
        }
        ranked.truncate(kept);
    }
    let least = f64::from(sampling.min_p);
    close |= ranked
        .iter()
        .any(|(_, weight)| least > 0.0 && (weight - least).abs() < 1e-5);
    ranked.retain(|(_, weight)| *weight >= least);
    ranked.sort_by_key(|(token, _)| *token);
    (ranked, close)
}

/// Returns the token at a part of the whole, and whether rounding decides which.
fn reference_at(kept: &[(u32, f64)], part: f64) -> (u32, bool) {
    let total: f64 = kept.iter().map(|(_, weight)| weight).sum();
    let mut sum = 0.0;
    let mut close = false;
    for (token, weight) in kept {
        sum += weight;
        close |= (sum - part * total).abs() < total * 1e-5;
        if part * total < sum {
            return (*token, close);
        }
    }
    (kept[kept.len() - 1].0, true)
}

fn samplings() -> impl Strategy<Value = Sampling> {
    (
        0.05f32..3.0,
        prop_oneof![Just(0usize), 1usize..80],
        prop_oneof![Just(1.0f32), 0.01f32..1.0],
        prop_oneof![Just(0.0f32), 0.0f32..0.9],
        any::<u64>(),
    )
        .prop_map(|(temperature, top_k, top_p, min_p, seed)| Sampling {
            temperature,
            top_k,
            top_p,
            min_p,
            seed,
            ..Sampling::default()
        })
}

/// Scores with many equals among them.
fn scores() -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec((-40i32..40).prop_map(|score| score as f32 / 4.0), 1..400)
}

proptest! {
    #[test]
    fn what_is_chosen_is_what_a_sort_of_everything_chooses(
        scores in scores(),
        sampling in samplings(),
    ) {
        let (kept, close_set) = reference(&scores, &sampling);
        let part = random::uniform(sampling.seed, 0, 0);
        let (expected, close_draw) = reference_at(&kept, part);
        prop_assume!(!close_set && !close_draw);
        prop_assert_eq!(choose(&scores, &sampling), expected);
    }

    #[test]
    fn greedy_takes_the_first_of_the_best(scores in scores()) {
        let best = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let first = scores.iter().position(|score| *score == best).unwrap();
        prop_assert_eq!(choose(&scores, &Sampling::default()) as usize, first);
    }

    #[test]
    fn probabilities_add_up_and_the_best_come_first(scores in scores(), count in 0usize..30) {
        let mut sampler = Sampler::default();
        let told = sampler.logprobs(&scores, 0, count);
        prop_assert_eq!(told.best.len(), count.min(scores.len()));
        prop_assert!(told.best.is_sorted_by(|a, b| a.1 > b.1 || (a.1 == b.1 && a.0 < b.0)));
        let all = sampler.logprobs(&scores, 0, scores.len());
        let sum: f64 = all.best.iter().map(|(_, logprob)| f64::from(logprob.exp())).sum();
        prop_assert!((sum - 1.0).abs() < 1e-4, "{}", sum);
        let own = all.best.iter().find(|(token, _)| *token == 0).unwrap();
        prop_assert_eq!(own.1, told.chosen);
        prop_assert_eq!(&all.best[..told.best.len()], &told.best[..]);
    }

    #[test]
    fn a_token_that_is_not_allowed_is_never_chosen(
        scores in scores(),
        sampling in samplings(),
        words in prop::collection::vec(any::<u32>(), 13),
    ) {
        let allowed = |token: u32| words[token as usize / 32] >> (token % 32) & 1 == 1;
        prop_assume!((0..scores.len() as u32).any(allowed));
        let history = History::default();
        let draw = Draw { allowed: Some(&words), ..draw(&sampling, &history) };
        let token = Sampler::default().choose(&scores, &draw).unwrap();
        prop_assert!(allowed(token));
    }
}

#[test]
fn tokens_are_drawn_as_often_as_their_probabilities_say() {
    let logits = [0.0, 2f32.ln(), 5f32.ln(), f32::NEG_INFINITY];
    let mut counts = [0; 4];
    for seed in 0..80_000 {
        let sampling = Sampling {
            temperature: 1.0,
            seed,
            ..Sampling::default()
        };
        counts[choose(&logits, &sampling) as usize] += 1;
    }
    for (count, expected) in counts.iter().zip([10_000i32, 20_000, 50_000, 0]) {
        assert!((count - expected).abs() < 700, "{counts:?}");
    }
}

#[test]
fn penalties_and_bias_are_applied_in_their_order() {
    let sampling = Sampling {
        repetition_penalty: 2.0,
        presence_penalty: 0.5,
        frequency_penalty: 0.25,
        logit_bias: vec![(0, 4.0), (9, 1.0)],
        ..Sampling::default()
    };
    // 0 and 1 occur in the prompt, 1 twice and 2 once behind it.
    let history = History::new(&sampling, &[0, 1], &[1, 2, 1]);
    let mut adjusted = Vec::new();
    let logits = [2.0, 4.0, -1.0, 7.0];
    assert!(adjust(&logits, &draw(&sampling, &history), &mut adjusted));
    assert_eq!(adjusted, [3.0, 1.0, -2.75, 7.0]);
}

#[test]
fn a_stop_token_waits_until_enough_has_been_generated_unless_nothing_else_is_left() {
    let (sampling, history) = (Sampling::default(), History::default());
    let avoiding = |logits: &[f32]| {
        let draw = Draw {
            avoided: &[1],
            ..draw(&sampling, &history)
        };
        Sampler::default().choose(logits, &draw).unwrap()
    };
    assert_eq!(avoiding(&[0.0, 9.0]), 0);
    assert_eq!(avoiding(&[f32::NEG_INFINITY, 9.0]), 1);
}

#[test]
fn scores_that_are_no_numbers_are_the_models_fault() {
    for temperature in [0.0, 1.0] {
        let sampling = Sampling {
            temperature,
            ..Sampling::default()
        };
        let history = History::default();
        for logits in [
            [f32::NAN, f32::NAN],
            [f32::NEG_INFINITY; 2],
            [f32::INFINITY, 0.0],
        ] {
            let error = Sampler::default()
                .choose(&logits, &draw(&sampling, &history))
                .unwrap_err();
            assert!(matches!(error, EngineError::RunFailed { .. }), "{error:?}");
        }
    }
}

#[test]
fn a_setting_out_of_its_range_is_named() {
    let wrong: [(&str, Sampling); 5] = [
        (
            "temperature",
            Sampling {
                temperature: -0.1,
                ..Sampling::default()
            },
        ),
        (
            "top_p",
            Sampling {
                top_p: 0.0,
                ..Sampling::default()
            },
        ),
        (
            "min_p",
            Sampling {
                min_p: 1.5,
                ..Sampling::default()
            },
        ),
        (
            "repetition_penalty",
            Sampling {
                repetition_penalty: f32::NAN,
                ..Sampling::default()
            },
        ),
        (
            "logit_bias of token 7",
            Sampling {
                logit_bias: vec![(7, f32::INFINITY)],
                ..Sampling::default()
            },
        ),
    ];
    for (name, sampling) in wrong {
        let error = sampling.check().unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
    assert_eq!(Sampling::default().check(), Ok(()));
}
