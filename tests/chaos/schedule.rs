//! Which fault strikes when, and how: all of it drawn from the seed before the first one strikes.
//!
//! The kinds are dealt like cards: a deck holds every kind once, shuffled, so that also a short run
//! meets them all and no actor is asked to heal more often than its restart intensity promises.
//! Some are struck together with the next card, if that is of another group; two faults of one
//! group would only hide each other.

use std::fmt;
use std::time::Duration;

use crate::random::Random;

/// The models that are served: the demo model, and those that one input turns into killers.
pub const MODELS: [&str; 5] = ["surface", "endless", "explode", "fail", "slow"];

/// Workers of each model. Fixed, so that a run is the same on every machine.
pub const WORKERS: usize = 2;

/// One fault and its parameters.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// A worker gets a signal from outside.
    Signal { blow: Blow, worker: Worker },
    /// A request does to its worker what the model is named after.
    Killer(Killer),
    /// An actor panics.
    Panic { role: Role, worker: Worker },
    /// The prediction log cannot be written for a while.
    Storage { how: Storage, lasting: Duration },
    /// Many clients misbehave at one time.
    Crowd { manner: Manner, clients: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    Kill,
    Segv,
    Stop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Killer {
    Endless,
    Explosion,
    Failure,
}

/// Every actor there is but the root: a root that panics is what liveness is to fail for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Heartbeat,
    Metrics,
    DbWriter,
    Models,
    ModelLoader,
    Model,
    Worker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    Locked,
    ReadOnly,
    Full,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Sends byte by byte, or stops in the middle.
    Slow,
    /// Closes in the middle of the body, or before the answer.
    Vanishing,
}

/// A place in the tree: the worker of that number of that model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker {
    pub model: &'static str,
    pub place: usize,
}

/// A part of the server, as its users see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Model(&'static str),
    Log,
    /// Status, metrics, lists: what nothing may take away.
    Always,
}

/// Which refusals a fault excuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Nothing,
    Only(Part),
    EveryModel,
}

/// One or two faults and the pause before them.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub pause: Duration,
    pub fault: Fault,
    /// Strikes while the first is being healed, so long after it.
    pub second: Option<(Duration, Fault)>,
    /// Whether it belongs to the first deck, which a run does not leave out.
    pub must: bool,
}

// === impl Fault ===

impl Fault {
    /// Returns the name of the kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Signal { blow, .. } => match blow {
                Blow::Kill => "worker SIGKILL",
                Blow::Segv => "worker SIGSEGV",
                Blow::Stop => "worker SIGSTOP",
            },
            Self::Killer(Killer::Endless) => "endless loop",
            Self::Killer(Killer::Explosion) => "memory explosion",
            Self::Killer(Killer::Failure) => "failing run",
            Self::Panic { role, .. } => match role {
                Role::Heartbeat => "panic heartbeat",
                Role::Metrics => "panic metrics",
                Role::DbWriter => "panic db_writer",
                Role::Models => "panic models",
                Role::ModelLoader => "panic model_loader",
                Role::Model => "panic model",
                Role::Worker => "panic worker",
            },
            Self::Storage { how, .. } => match how {
                Storage::Locked => "database locked",
                Storage::ReadOnly => "database read-only",
                Storage::Full => "disk full",
            },
            Self::Crowd { manner, .. } => match manner {
                Manner::Slow => "slow clients",
                Manner::Vanishing => "vanishing clients",
            },
        }
    }

    /// Returns which refusals it excuses while it is being healed.
    pub fn scope(&self) -> Scope {
        match self {
            Self::Signal { worker, .. } => Scope::Only(Part::Model(worker.model)),
            Self::Killer(killer) => Scope::Only(Part::Model(killer.model())),
            Self::Panic { role, worker } => match role {
                Role::Heartbeat | Role::Metrics => Scope::Nothing,
                Role::DbWriter => Scope::Only(Part::Log),
                Role::Models | Role::ModelLoader => Scope::EveryModel,
                Role::Model | Role::Worker => Scope::Only(Part::Model(worker.model)),
            },
            Self::Storage { .. } => Scope::Only(Part::Log),
            Self::Crowd { .. } => Scope::Nothing,
        }
    }

    fn needs_mounts(&self) -> bool {
        matches!(self, Self::Storage { how, .. } if *how != Storage::Locked)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self {
            Self::Signal { worker, .. } => write!(f, " {worker}"),
            Self::Panic { role, worker } => match role {
                Role::Model => write!(f, ":{}", worker.model),
                Role::Worker => write!(f, ":{worker}"),
                _ => Ok(()),
            },
            Self::Killer(killer) => write!(f, " of {}", killer.model()),
            Self::Storage { lasting, .. } => write!(f, " for {} ms", lasting.as_millis()),
            Self::Crowd { clients, .. } => write!(f, ", {clients}"),
        }
    }
}

// === impl Killer ===

impl Killer {
    pub fn model(self) -> &'static str {
        match self {
            Self::Endless => "endless",
            Self::Explosion => "explode",
            Self::Failure => "fail",
        }
    }
}

// === impl Worker ===

impl Worker {
    /// Returns the name of its actor.
    pub fn actor(self) -> String {
        format!("worker:{self}")
    }
}

impl fmt::Display for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.model, self.place)
    }
}

// === impl Scope ===

impl Scope {
    pub fn excuses(self, part: Part) -> bool {
        match self {
            Self::Nothing => false,
            Self::Only(only) => only == part,
            Self::EveryModel => matches!(part, Part::Model(_)),
        }
    }
}

/// Returns more steps than fit into `length`. Without the right to mount, those faults that need
/// it are left out.
pub fn plan(random: &mut Random, length: Duration, may_mount: bool) -> Vec<Step> {
    /// A deck takes longer than this, however fast everything heals.
    const SHORTEST_DECK: Duration = Duration::from_secs(8);
    let decks = length.as_millis() / SHORTEST_DECK.as_millis() + 1;
    (0..decks)
        .flat_map(|number| steps(random, deck(may_mount), number == 0))
        .collect()
}

/// Returns the names of all kinds that a run strikes.
pub fn kinds(may_mount: bool) -> Vec<&'static str> {
    let mut random = Random::new(0);
    let deck = deck(may_mount);
    deck.iter().map(|card| card(&mut random).kind()).collect()
}

type Card = Box<dyn Fn(&mut Random) -> Fault>;

fn deck(may_mount: bool) -> Vec<Card> {
    let mut deck: Vec<Card> = Vec::new();
    for blow in [Blow::Kill, Blow::Segv, Blow::Stop] {
        deck.push(Box::new(move |random| Fault::Signal {
            blow,
            worker: worker(random),
        }));
    }
    for killer in [Killer::Endless, Killer::Explosion, Killer::Failure] {
        deck.push(Box::new(move |_| Fault::Killer(killer)));
    }
    let singles = [
        Role::Heartbeat,
        Role::Metrics,
        Role::DbWriter,
        Role::Models,
        Role::ModelLoader,
    ];
    for role in singles.into_iter().chain([Role::Model, Role::Worker]) {
        deck.push(Box::new(move |random| Fault::Panic {
            role,
            worker: worker(random),
        }));
    }
    for how in [Storage::Locked, Storage::ReadOnly, Storage::Full] {
        deck.push(Box::new(move |random| Fault::Storage {
            how,
            lasting: random.millis(200, 800),
        }));
    }
    for manner in [Manner::Slow, Manner::Vanishing] {
        deck.push(Box::new(move |random| Fault::Crowd {
            manner,
            clients: 8 + random.below(25),
        }));
    }
    let mut any = Random::new(0);
    deck.retain(|card| may_mount || !card(&mut any).needs_mounts());
    deck
}

fn worker(random: &mut Random) -> Worker {
    Worker {
        model: random.pick(&MODELS),
        place: random.below(WORKERS),
    }
}

fn steps(random: &mut Random, mut deck: Vec<Card>, must: bool) -> Vec<Step> {
    random.shuffle(&mut deck);
    let mut faults = deck
        .iter()
        .map(|card| card(random))
        .collect::<Vec<_>>()
        .into_iter()
        .peekable();
    let mut steps = Vec::new();
    while let Some(fault) = faults.next() {
        let together = random.percent(25);
        let of_another_group = |next: &Fault| {
            together && std::mem::discriminant(next) != std::mem::discriminant(&fault)
        };
        let second = faults.next_if(of_another_group);
        steps.push(Step {
            pause: random.millis(150, 900),
            second: second.map(|second| (random.millis(0, 200), second)),
            fault,
            must,
        });
    }
    steps
}

// === tests ===

#[test]
fn the_same_seed_makes_the_same_schedule_and_another_one_another() {
    let plan = |seed| plan(&mut Random::new(seed), Duration::from_secs(60), true);
    assert_eq!(plan(7), plan(7));
    assert_ne!(plan(7), plan(8));
}

#[test]
fn a_short_run_must_meet_every_kind_once() {
    let steps = plan(&mut Random::new(1), Duration::from_secs(1), true);
    let mut met: Vec<&str> = steps
        .iter()
        .filter(|step| step.must)
        .flat_map(|step| std::iter::once(&step.fault).chain(step.second.iter().map(|(_, two)| two)))
        .map(Fault::kind)
        .collect();
    let mut all = kinds(true);
    met.sort_unstable();
    all.sort_unstable();
    assert_eq!(met, all);
}

#[test]
fn without_mounts_only_the_faults_that_need_them_are_left_out() {
    let (all, fewer) = (kinds(true), kinds(false));
    let left_out: Vec<_> = all.iter().filter(|kind| !fewer.contains(kind)).collect();
    assert_eq!(left_out, [&"database read-only", &"disk full"]);
}

#[test]
fn a_fault_of_one_model_excuses_no_refusal_of_another_nor_of_the_log() {
    let worker = Worker {
        model: "slow",
        place: 0,
    };
    let scope = Fault::Signal {
        blow: Blow::Kill,
        worker,
    }
    .scope();
    assert!(scope.excuses(Part::Model("slow")));
    for other in [Part::Model("fail"), Part::Log, Part::Always] {
        assert!(!scope.excuses(other), "{other:?}");
    }
}
