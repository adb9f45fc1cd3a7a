//! Who gets how much, and who gets nothing.

use proptest::prelude::*;

use super::*;

fn guard(limit: u64) -> Arc<MemoryGuard> {
    Arc::new(MemoryGuard {
        settings: MemorySettings {
            limit: Some(limit),
            usable_percent: 90,
            server_reserve: 64 * MIB,
            headroom: None,
            headroom_min: 64 * MIB,
            recycle_pause: Duration::from_secs(60),
        },
        probe: Mutex::new(None),
        inner: Mutex::default(),
    })
}

/// Loads a worker and has it measured.
fn load(
    guard: &Arc<MemoryGuard>,
    measured: Measured,
    planned: usize,
) -> Result<(Claim, WorkerMemory), NoRoom> {
    let claim = guard.admit(0, Some(measured.resident), planned)?;
    let memory = claim.settle(measured, planned)?;
    Ok((claim, memory))
}

fn measured(resident: u64) -> Measured {
    Measured {
        resident: resident * MIB,
        data: 30 * MIB,
        shared: 0,
        headroom: None,
    }
}

#[test]
fn workers_share_what_is_free_and_stay_within_it_together() {
    let guard = guard(1000 * MIB);
    let (_first, first) = load(&guard, measured(70), 2).unwrap();
    let (_second, second) = load(&guard, measured(70), 1).unwrap();
    let spent = first.hard_limit_bytes + second.hard_limit_bytes;
    assert!(spent <= guard.figures().usable_bytes - 64 * MIB);
    // Neither took the share of the other.
    assert!(first.hard_limit_bytes.abs_diff(second.hard_limit_bytes) <= MIB);
    assert!(first.soft_limit_bytes < first.hard_limit_bytes);
    assert_eq!(
        first.data_limit_bytes - 30 * MIB,
        first.hard_limit_bytes - 70 * MIB
    );
}

#[test]
fn on_a_large_machine_headroom_is_within_reason() {
    let guard = guard(1 << 40);
    let (_small, small) = load(&guard, measured(70), 1).unwrap();
    assert_eq!(small.hard_limit_bytes, 70 * MIB + SMALL_HEADROOM);
    let (_large, large) = load(&guard, measured(5000), 1).unwrap();
    assert_eq!(large.hard_limit_bytes, 5000 * MIB * 5);
}

#[test]
fn what_does_not_fit_is_refused_with_the_arithmetic() {
    let guard = guard(300 * MIB);
    let (first, _) = load(&guard, measured(70), 1).unwrap();
    let refusal = guard.admit(0, Some(70 * MIB), 1).unwrap_err();
    let text = refusal.to_string();
    for part in [
        "134.0 MiB",
        "70.0 MiB",
        "64.0 MiB",
        "270.0 MiB",
        "300.0 MiB",
        "206.0 MiB",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    drop(first);
    guard.admit(0, Some(70 * MIB), 1).unwrap();
}

#[test]
fn a_stated_headroom_is_given_or_refused_but_never_cut() {
    let guard = guard(1000 * MIB);
    let stated = |headroom| Measured {
        headroom: Some(headroom * MIB),
        ..measured(70)
    };
    let (_given, given) = load(&guard, stated(300), 1).unwrap();
    assert_eq!(given.hard_limit_bytes, 370 * MIB);
    let refused = load(&guard, stated(700), 1).unwrap_err();
    assert_eq!(refused.headroom, 700 * MIB);
}

#[test]
fn a_claim_is_given_back_with_whoever_had_it() {
    let guard = guard(1000 * MIB);
    let (claim, _) = load(&guard, measured(70), 1).unwrap();
    assert!(guard.figures().workers_bytes > 70 * MIB);
    // Also one whose worker did not fit in the end.
    let too_large = guard.admit(0, Some(70 * MIB), 1);
    drop(too_large);
    drop(claim);
    assert_eq!(guard.figures().workers_bytes, 0);
}

proptest! {
    #[test]
    fn claims_never_exceed_what_may_be_used(
        limit in 100_u64..100_000,
        workers in prop::collection::vec((1_u64..4000, 1_usize..5), 1..20),
    ) {
        let guard = guard(limit * MIB);
        let mut loaded = Vec::new();
        for (resident, planned) in workers {
            // Refusals are part of the game.
            loaded.extend(load(&guard, measured(resident), planned));
            let figures = guard.figures();
            prop_assert!(figures.workers_bytes + figures.server_bytes <= figures.usable_bytes
                || figures.workers_bytes == 0);
        }
    }
}
