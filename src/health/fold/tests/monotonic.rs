//! Whatever goes wrong beside what has gone wrong already makes nothing better: no score rises and
//! no "no" becomes a "yes".

use proptest::prelude::*;

use super::*;

/// One more thing that goes wrong.
#[derive(Debug, Clone)]
enum Trouble {
    GivenUp,
    RootSilent(Duration),
    HeartSilent(Duration),
    /// The request worker of that number, counted round, stands still.
    WorkerStalls(usize, Duration),
    ActorUnknown,
    MemoryFills(f64),
    MemoryUsedUp,
    CpuBusier(f64),
    /// The model of that number, counted round, gets into a worse state.
    ModelWorse(usize, State),
    ModelMissing,
    FolderUnreadable,
    RuntimeGone,
    DatabaseGone,
    Ending(Phase),
}

/// A model's states from the best to the worst; those of one rank are equally good.
fn rank(state: State) -> u8 {
    match state {
        State::Ready => 0,
        State::Degraded => 1,
        State::Absent | State::Downloading | State::Loading | State::Warming => 2,
        State::Unloading | State::Failed => 3,
    }
}

fn befall(mut facts: Facts, trouble: &Trouble) -> Facts {
    match trouble {
        Trouble::GivenUp => {
            facts.given_up = Some(GivenUp {
                actor: "root".to_owned(),
                reason: "panic".to_owned(),
            });
        }
        Trouble::RootSilent(longer) => facts.root_age = facts.root_age.map(|age| age + *longer),
        Trouble::HeartSilent(longer) => {
            facts.heartbeat.age = facts.heartbeat.age.map(|age| age + *longer);
        }
        Trouble::WorkerStalls(index, longer) => {
            let count = facts.edge.len();
            facts.edge[index % count] += *longer;
        }
        Trouble::ActorUnknown => facts.unknown.push("heartbeat".to_owned()),
        Trouble::MemoryFills(by) => {
            if let Some(memory) = &mut facts.memory {
                memory.percent = (memory.percent + by).min(100.0);
            }
        }
        Trouble::MemoryUsedUp => {
            if let Some(memory) = &mut facts.memory {
                memory.available = false;
            }
        }
        Trouble::CpuBusier(by) => {
            facts.cpu_percent = facts.cpu_percent.map(|percent| percent + by);
        }
        Trouble::ModelWorse(index, state) => {
            let count = facts.models.all.len().max(1);
            let model = facts.models.all.get_mut(index % count);
            if let Some(model) = model.filter(|model| rank(*state) > rank(model.state)) {
                model.state = *state;
            }
        }
        Trouble::ModelMissing => facts.models.missing.push("another".to_owned()),
        Trouble::FolderUnreadable => {
            facts.models.scanned = true;
            facts.models.source_problem = Some("gone".to_owned());
        }
        Trouble::RuntimeGone => facts.runtime = None,
        Trouble::DatabaseGone => {
            if let Some(database) = &mut facts.database {
                database.connected = false;
            }
        }
        Trouble::Ending(phase) => facts.phase = facts.phase.max(*phase),
    }
    facts
}

fn states() -> impl Strategy<Value = State> {
    prop::sample::select(vec![
        State::Absent,
        State::Downloading,
        State::Loading,
        State::Warming,
        State::Ready,
        State::Degraded,
        State::Failed,
        State::Unloading,
    ])
}

fn ages() -> impl Strategy<Value = Duration> {
    prop_oneof![0_u64..3_000, 3_000_u64..40_000].prop_map(Duration::from_millis)
}

fn troubles() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        Just(Trouble::GivenUp),
        ages().prop_map(Trouble::RootSilent),
        ages().prop_map(Trouble::HeartSilent),
        (0_usize..4, ages()).prop_map(|(index, age)| Trouble::WorkerStalls(index, age)),
        Just(Trouble::ActorUnknown),
        (0.0..60.0).prop_map(Trouble::MemoryFills),
        Just(Trouble::MemoryUsedUp),
        (0.0..60.0).prop_map(Trouble::CpuBusier),
        (0_usize..4, states()).prop_map(|(index, state)| Trouble::ModelWorse(index, state)),
        Just(Trouble::ModelMissing),
        Just(Trouble::FolderUnreadable),
        Just(Trouble::RuntimeGone),
        Just(Trouble::DatabaseGone),
        prop::sample::select(vec![Phase::LameDuck, Phase::Draining, Phase::Stopping])
            .prop_map(Trouble::Ending),
    ]
}

/// Models as the loader leaves them: the only one is required, of several those that were named.
fn several_models() -> impl Strategy<Value = Vec<ModelStatus>> {
    prop::collection::vec((states(), any::<bool>()), 0..4).prop_map(|all| {
        let only = all.len() == 1;
        let named = all.into_iter().enumerate();
        named
            .map(|(index, (state, required))| ModelStatus {
                required: required || only,
                ..model(&format!("model-{index}"), state)
            })
            .collect()
    })
}

fn all_facts() -> impl Strategy<Value = Facts> {
    let stamps = (ages(), ages(), prop::collection::vec(ages(), 1..4));
    let resources = (0.0..100.0, any::<bool>(), 0.0..100.0);
    let loaded = (several_models(), any::<bool>(), any::<bool>());
    (stamps, resources, loaded).prop_map(|(stamps, resources, loaded)| {
        let (root, heart, edge) = stamps;
        let (percent, available, cpu) = resources;
        let (all, scanned, runtime) = loaded;
        Facts {
            root_age: Some(root),
            heartbeat: beat(heart),
            edge,
            memory: Some(memory(percent, available)),
            cpu_percent: Some(cpu),
            models: ModelFacts {
                scanned: scanned || !all.is_empty(),
                ..models(all)
            },
            runtime: runtime.then(|| "onnxruntime".to_owned()),
            ..healthy_facts()
        }
    })
}

proptest! {
    #[test]
    fn trouble_never_helps(
        facts in all_facts(),
        troubles in prop::collection::vec(troubles(), 1..5),
        require_model in any::<bool>(),
    ) {
        let rules = Rules { require_model, ..rules() };
        let mut before = facts;
        for trouble in &troubles {
            let after = befall(before.clone(), trouble);
            compare(&before, &after, &rules)?;
            before = after;
        }
    }
}

fn compare(before: &Facts, after: &Facts, rules: &Rules) -> Result<(), TestCaseError> {
    prop_assert!(
        !live(after, rules).holds() || live(before, rules).holds(),
        "became alive"
    );
    let (was, is) = (ready(before, rules), ready(after, rules));
    prop_assert!(!is.holds() || was.holds(), "became ready");
    for (was, is) in was.all_checks().iter().zip(is.all_checks()) {
        prop_assert!(!is.holds || was.holds, "{} began to hold", is.name);
    }
    let (was, is) = (overall(before, rules), overall(after, rules));
    prop_assert!(
        is.score <= was.score,
        "the score rose from {} to {}",
        was.score,
        is.score
    );
    for ((name, was), (_, is)) in was.components.iter().zip(is.components) {
        prop_assert!(
            is.score <= was.score,
            "{name} rose from {} to {}",
            was.score,
            is.score
        );
    }
    Ok(())
}
