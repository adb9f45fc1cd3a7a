//! An actor that does what it is told, and keeps a diary that outlives it.

// Each test target uses its own part of this module.
#![allow(dead_code)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use impetus_supervision::{
    Actor, ActorError, ActorId, ActorRef, ActorState, ActorStatus, Birth, ChildSpec, Context,
    Message, ProcessEnd, ProcessLost, Reply, Running, StatusBoard, StatusReport, SupervisorSpec,
    TestExecutor,
};

/// Long enough for anything that is meant to happen; only a failing test waits for it.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// What happened, in order: `"a started 1"`, `"a stopping 1"`, `"a dropped 1"`.
#[derive(Clone, Default)]
pub(crate) struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    pub(crate) fn write(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// The lines that contain `what`.
    pub(crate) fn with(&self, what: &str) -> Vec<String> {
        let lines = self.lines();
        lines
            .into_iter()
            .filter(|line| line.contains(what))
            .collect()
    }
}

pub(crate) enum Msg {
    Add(u64),
    Total(Reply<u64>),
    Panic,
    Fail,
    LoseProcess,
    /// Waits for something that never comes.
    Stall,
    /// Blocks the thread until the sender goes away.
    Block(std::sync::mpsc::Receiver<()>),
    Stop,
    Keep(Reply<u64>),
    /// Takes so long.
    Work(Duration),
    /// Declares an item and its deadline, and takes as long as the second duration.
    Declare(&'static str, Duration, Duration),
    Run(Closure),
}

impl Message for Msg {
    fn label(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Stall => "stall",
            Self::Block(_) => "block",
            Self::Work(_) => "work",
            _ => "message",
        }
    }
}

pub(crate) type Closure = Box<dyn FnOnce(&mut Context<Probe>) + Send>;

/// When a probe fails by itself: asked with its id and generation.
pub(crate) type Script = Arc<dyn Fn(&Birth, Moment) -> Deed + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Factory,
    Started,
    Tick,
    Stopping,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Well,
    Panic,
    Fail,
    Stall,
    /// Blocks the thread for ever.
    Block,
}

pub(crate) struct Probe {
    birth: Birth,
    total: u64,
    kept: Vec<Reply<u64>>,
    diary: Diary,
    script: Script,
}

impl Probe {
    fn new(birth: &Birth, diary: &Diary, script: &Script) -> Self {
        let probe = Self {
            birth: birth.clone(),
            total: 0,
            kept: Vec::new(),
            diary: diary.clone(),
            script: Arc::clone(script),
        };
        if script(birth, Moment::Factory) == Deed::Panic {
            panic!("the factory broke");
        }
        probe
    }

    fn note(&self, what: &str) {
        let Birth { id, generation, .. } = &self.birth;
        self.diary.write(format!("{id} {what} {generation}"));
    }

    async fn act(&self, moment: Moment) -> Result<(), ActorError> {
        match (self.script)(&self.birth, moment) {
            Deed::Well => Ok(()),
            Deed::Panic => panic!("{moment:?} broke"),
            Deed::Fail => Err(ActorError::failed(format!("{moment:?} failed"))),
            Deed::Stall => std::future::pending().await,
            Deed::Block => loop {
                std::thread::park();
            },
        }
    }
}

impl Actor for Probe {
    type Msg = Msg;

    async fn started(&mut self, _ctx: &mut Context<Self>) -> Result<(), ActorError> {
        self.note("starting");
        self.act(Moment::Started).await?;
        self.note("started");
        Ok(())
    }

    async fn handle(&mut self, msg: Msg, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        match msg {
            Msg::Add(n) => {
                self.total += n;
                self.note(&format!("add {n} in"));
            }
            Msg::Total(reply) => reply.send(self.total),
            Msg::Panic => panic!("told to"),
            Msg::Fail => return Err(ActorError::failed("told to fail")),
            Msg::LoseProcess => {
                return Err(ActorError::ProcessLost(ProcessLost {
                    pid: 4711,
                    how: ProcessEnd::Signal(9),
                    detail: None,
                }));
            }
            Msg::Stall => std::future::pending().await,
            Msg::Block(until) => {
                // The sender going away is the sign to go on.
                let _ = until.recv();
                let stolen = ctx.try_next().is_some();
                let current = ctx.fence().is_current();
                self.total = 999;
                self.note(&format!("awake, stolen {stolen}, current {current},"));
            }
            Msg::Stop => ctx.stop(),
            Msg::Keep(reply) => self.kept.push(reply),
            Msg::Work(duration) => {
                let sleep = ctx.clock().sleep(duration);
                sleep.await;
                self.note("worked");
            }
            Msg::Declare(item, within, takes) => {
                ctx.progress(item, within);
                ctx.clock().sleep(takes).await;
            }
            Msg::Run(what) => what(ctx),
        }
        Ok(())
    }

    async fn tick(&mut self, _ctx: &mut Context<Self>) -> Result<(), ActorError> {
        self.note("tick");
        self.act(Moment::Tick).await
    }

    fn status(&self) -> StatusReport {
        let generation = self.birth.generation;
        StatusReport {
            score: 90,
            note: Some(format!("total {} of {generation}", self.total)),
            ..StatusReport::default()
        }
    }

    async fn stopping(&mut self, _ctx: &mut Context<Self>) {
        self.note("stopping");
        // Only how long it takes matters here.
        let _ = self.act(Moment::Stopping).await;
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.note("dropped");
    }
}

/// A probe that behaves.
pub(crate) fn probe(id: &str, diary: &Diary) -> (ChildSpec, ActorRef<Msg>) {
    scripted(id, diary, |_, _| Deed::Well)
}

pub(crate) fn scripted(
    id: &str,
    diary: &Diary,
    script: impl Fn(&Birth, Moment) -> Deed + Send + Sync + 'static,
) -> (ChildSpec, ActorRef<Msg>) {
    let diary = diary.clone();
    let script: Script = Arc::new(script);
    ChildSpec::actor(id, move |birth| Probe::new(birth, &diary, &script))
}

/// A system under virtual time.
pub(crate) struct World {
    pub(crate) executor: TestExecutor,
    pub(crate) running: Running,
    pub(crate) board: StatusBoard,
}

impl World {
    pub(crate) fn start(spec: SupervisorSpec) -> Self {
        let executor = TestExecutor::new();
        let running = executor.system().start(spec).unwrap();
        executor.settle();
        let board = running.board();
        Self {
            executor,
            running,
            board,
        }
    }

    pub(crate) fn send(&self, to: &ActorRef<Msg>, msg: Msg) {
        to.try_send(msg).unwrap();
        self.executor.settle();
    }

    pub(crate) fn total(&self, of: &ActorRef<Msg>) -> u64 {
        // A question needs room like any other message.
        self.executor.settle();
        self.executor.run_until(of.ask(Msg::Total, SOON)).unwrap()
    }

    pub(crate) fn status(&self, id: &str) -> ActorStatus {
        self.board.get(&ActorId::from(id)).unwrap()
    }

    pub(crate) fn state(&self, id: &str) -> ActorState {
        self.status(id).state
    }

    pub(crate) fn generation(&self, id: &str) -> u64 {
        self.status(id).generation.get()
    }

    pub(crate) fn last_exit(&self, id: &str) -> &'static str {
        self.status(id).last_exit.unwrap().reason.kind()
    }

    pub(crate) fn advance(&self, seconds: f64) {
        self.executor.advance(Duration::from_secs_f64(seconds));
    }
}

pub(crate) fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Runs a future on a thread of its own kind, with real time.
pub(crate) fn in_real_time<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Waits until `holds`, looking again after every event; fails after [`SOON`].
pub(crate) async fn until(board: &StatusBoard, what: &str, holds: impl Fn() -> bool) {
    let mut events = board.watch_events();
    let wait = async {
        while !holds() {
            events.changed().await.unwrap();
        }
    };
    tokio::time::timeout(SOON, wait)
        .await
        .unwrap_or_else(|_| panic!("still waiting: {what}"));
}

/// Waits until `holds` for something that makes no event, such as the end of a thread; fails after [`SOON`].
pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + SOON;
    while !holds() {
        assert!(
            std::time::Instant::now() < deadline,
            "still waiting: {what}"
        );
        std::thread::yield_now();
    }
}
