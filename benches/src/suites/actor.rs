//! An actor panics; how long until its replacement has started?
//!
//! *In process*: the library alone, from the last instruction before the panic to the moment the
//! new incarnation's `started` runs. *End to end*: the release binary, from sending the order to
//! `/api/faults` to the answer of the health port that shows the next generation, two HTTP
//! exchanges and the search for the moment included, so it is an upper bound.
//!
//! A second panic within a minute waits for its backoff, which is a policy and not a cost, so the
//! setting under which every panic counts as the first one is used.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use impetus_supervision::{
    Actor, ActorError, ActorRef, Backoff, ChildSpec, Context, Intensity, Message, Running,
    SupervisorSpec, System,
};
use serde_json::Value;

use crate::http::{self, Connection};
use crate::machine::{Noise, Watch};
use crate::process::{Cpu, pause};
use crate::report::{Report, Table, Verdict};
use crate::rounds::Plan;
use crate::server::{Places, Server};
use crate::stats::Spread;

/// The promise, in milliseconds.
const MOST: f64 = 5.0;
/// Panics in one round.
const PANICS: usize = 50;
/// The actor that is struck in the server.
const VICTIM: &str = "metrics";
/// Longer than the time after which a fall is overcome.
const OVERCOME: Duration = Duration::from_millis(5);
/// How long a replacement may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(10);
const PLAN: Plan = Plan {
    wanted: 4,
    within: Duration::from_secs(20),
};

/// Falls when it is told to.
struct Victim {
    births: SyncSender<Instant>,
    falls: SyncSender<Instant>,
}

struct Fall;

impl Message for Fall {}

impl Actor for Victim {
    type Msg = Fall;

    async fn started(&mut self, _: &mut Context<Self>) -> Result<(), ActorError> {
        // Nobody reads any more once the measurement is over.
        let _ = self.births.try_send(Instant::now());
        Ok(())
    }

    async fn handle(&mut self, _: Fall, _: &mut Context<Self>) -> Result<(), ActorError> {
        let _ = self.falls.try_send(Instant::now());
        panic!("as ordered")
    }
}

/// The library's own tree with its victim.
struct Tree {
    victim: ActorRef<Fall>,
    births: Receiver<Instant>,
    falls: Receiver<Instant>,
    _running: Running,
}

pub(super) fn run(places: &Places) -> anyhow::Result<Report> {
    let mut report = Report::new("actor");
    let mut table = Table::new(
        "Panic of an actor to its replacement: milliseconds",
        ["where", "median (min–max)", "p99", "panics"],
    );
    let tree = Tree::start()?;
    // What a panic prints is not what is measured.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let inside = PLAN.take(&mut report, "50 panics in process", &[], || tree.round());
    std::panic::set_hook(hook);
    let inside = inside?;
    let figure = Spread::of(inside.taken.into_iter().flatten())?;
    let figure = report.figure("in_process_ms", figure);
    table.row(row("in process", &figure));
    let target = "panic in an actor → replaced: under 5 ms (in process)";
    report.verdict(judge(target, &figure, inside.quiet));

    let server = places.start_impetus(&[
        ("faults.enabled", "true"),
        ("supervision.restarts", "1000"),
        ("supervision.stable_after", "\"1ms\""),
    ])?;
    let outside = PLAN.take(&mut report, "50 panics end to end", &[server.pid()], || {
        ordered(&server)
    })?;
    let figure = Spread::of(outside.taken.into_iter().flatten())?;
    let figure = report.figure("end_to_end_ms", figure);
    table.row(row("end to end over HTTP", &figure));
    let target = "panic in an actor → replaced: under 5 ms (end to end)";
    report.verdict(judge(target, &figure, outside.quiet));
    report.table(table);
    Ok(report)
}

fn judge(target: &str, figure: &Spread, quiet: bool) -> Verdict {
    let Spread { median, p99, .. } = figure;
    let found = format!("median {median:.2} ms, p99 {p99:.2} ms");
    Verdict::new(target, Some(found), quiet.then_some(*p99 < MOST))
}

fn row(place: &str, figure: &Spread) -> [String; 4] {
    [
        place.to_owned(),
        figure.text(2),
        format!("{:.2}", figure.p99),
        figure.count.to_string(),
    ]
}

// === impl Tree ===

impl Tree {
    fn start() -> anyhow::Result<Self> {
        let (birth, births) = sync_channel(4);
        let (fall, falls) = sync_channel(4);
        let (child, victim) = ChildSpec::actor("victim", move |_| Victim {
            births: birth.clone(),
            falls: fall.clone(),
        });
        let second = Duration::from_secs(1);
        let child = child
            .intensity(Intensity::try_new(1000, second)?)
            .backoff(Backoff::try_new(OVERCOME, second, 0.0, OVERCOME / 5)?);
        let running = System::builder().start(SupervisorSpec::new("root").child(child))?;
        births.recv_timeout(PATIENCE)?;
        Ok(Self {
            victim,
            births,
            falls,
            _running: running,
        })
    }

    fn round(&self) -> anyhow::Result<(Vec<f64>, Noise)> {
        let watch = Watch::begin(&[])?;
        let mut figures = Vec::with_capacity(PANICS);
        for _ in 0..PANICS {
            pause(OVERCOME);
            let sent = self.victim.try_send(Fall);
            ensure!(sent.is_ok(), "the victim takes no messages");
            let fell = self.falls.recv_timeout(PATIENCE)?;
            let born = self.births.recv_timeout(PATIENCE)?;
            figures.push(born.duration_since(fell).as_secs_f64() * 1e3);
        }
        // A round has to last for the kernel's coarse account of who used the cores.
        pause(Duration::from_millis(500));
        Ok((figures, watch.end(&[], Cpu::default())?))
    }
}

fn ordered(server: &Server) -> anyhow::Result<(Vec<f64>, Noise)> {
    let watch = Watch::begin(&[server.pid()])?;
    let order = format!(r#"{{"target":"{VICTIM}","fault":"panic"}}"#);
    let order = http::post("/api/faults", &order);
    let ask = http::get("/api/health/status");
    let mut work = Connection::open(server.port)?;
    let mut health = Connection::open(server.health_port)?;
    let mut figures = Vec::with_capacity(PANICS);
    for _ in 0..PANICS {
        pause(OVERCOME * 4);
        let before = generation(&health.exchange(&ask)?.body)?;
        let began = Instant::now();
        let taken = work.exchange(&order)?;
        ensure!(taken.status == 200, "the order was refused");
        let took = loop {
            let answer = health.exchange(&ask)?;
            let took = began.elapsed();
            if generation(&answer.body)? > before {
                break took;
            }
            ensure!(took < PATIENCE, "the actor was not replaced");
        };
        figures.push(took.as_secs_f64() * 1e3);
    }
    Ok((figures, watch.end(&[server.pid()], Cpu::default())?))
}

/// Returns the generation of the victim once it runs, 0 before.
fn generation(status: &[u8]) -> anyhow::Result<u64> {
    fn find(actors: &Value) -> Option<&Value> {
        actors.as_array()?.iter().find_map(|actor| {
            if actor["name"] == VICTIM {
                Some(actor)
            } else {
                find(&actor["children"])
            }
        })
    }
    let status: Value = serde_json::from_slice(status)?;
    let victim = find(&status["actors"]).context("the victim is not in the status")?;
    let running = victim["state"] == "running";
    Ok(if running {
        victim["generation"].as_u64().unwrap_or_default()
    } else {
        0
    })
}
