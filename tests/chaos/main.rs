//! The chaos suite: a server under load from many clients, struck by every fault there is, and a
//! ledger of what it promised and what it did.
//!
//! `make test` runs the short form and `make chaos` the long one. The seed decides which fault
//! strikes when and what every client sends; it is printed, so that a run can be made again with
//! `CHAOS_SEED` (as nearly as threads and clocks allow). docs/chaos.md says how to read the report.
//!
//! Linux only: what a process holds is read from `/proc`, and disks are mounted.

#![cfg(target_os = "linux")]
// Nothing here is anybody else's interface.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr
)]

mod faults;
mod ledger;
mod load;
mod options;
mod probe;
mod random;
mod report;
mod resources;
mod schedule;
#[path = "../server"]
mod server {
    // Each of the two binaries uses its part of it.
    #[allow(dead_code, unused_imports)]
    pub mod harness;
}
mod site;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::faults::Striker;
use crate::ledger::{Ledger, LogBook, Outcome, Port, verdict};
use crate::load::{Samples, Scene};
use crate::options::Options;
use crate::random::Random;
use crate::report::{Asked, Report};
use crate::resources::Footprint;
use crate::schedule::Step;
use crate::server::harness;
use crate::site::Site;

/// Load without faults, after which everything that is made at first use has been made.
const WARM_UP: Duration = Duration::from_secs(2);

#[test]
fn a_server_struck_by_every_fault_under_load_keeps_every_promise() {
    let options = Options::from_environment();
    println!("seed {} (CHAOS_SEED repeats it)", options.seed);
    let (ledger, took) = run(&options);
    let broken = verdict(&ledger);
    let asked = Asked {
        seed: options.seed,
        seconds: took.as_secs_f64(),
        clients: options.clients,
    };
    let report = Report::new(asked, &ledger, &broken);
    println!("{report}");
    std::fs::write(&options.report, report.json()).unwrap();
    println!("report: {}", options.report.display());
    if !report.kept {
        let log = options.report.with_extension("log");
        std::fs::write(&log, &ledger.server_log).unwrap();
        println!("log of the server: {}", log.display());
    }
    assert!(report.kept, "seed {}: {:#?}", options.seed, report.broken);
}

/// Returns a client that waits so long for an answer.
fn agent(within: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(within))
        .http_status_as_error(false)
        .build()
        .into()
}

/// Starts a server, has it struck, ends it, and returns what was seen and how long the faults took.
fn run(options: &Options) -> (Ledger, Duration) {
    let mut random = Random::new(options.seed);
    let mut site = Site::open();
    println!("server {}", site.server.pid());
    let may_mount = site.disk.is_some();
    let plan = schedule::plan(&mut random, options.length, may_mount);
    print_plan(&plan, may_mount);
    let samples = Samples::of(&site);
    let warm_up = warm_up(&site, &samples, options, &mut random);
    let before = Footprint::at_rest(&site);
    let scene = Scene {
        site: &site,
        samples: &samples,
        began: Instant::now(),
    };
    let mut ledger = strike_under_load(scene, &plan, options, random);
    let took = scene.began.elapsed();
    ledger.add(Vec::new(), warm_up);
    ledger.before = before;
    ledger.after = Footprint::at_rest(&site);
    ledger.expected = schedule::kinds(may_mount);
    ledger.exit = site.end();
    ledger.log.rows.extend(site.rows());
    ledger.server_log = site.server.log();
    (ledger, took)
}

fn print_plan(plan: &[Step], may_mount: bool) {
    if !may_mount {
        println!("disks cannot be mounted here: a full and a read-only one are left out");
    }
    for Step {
        pause,
        fault,
        second,
        ..
    } in plan
    {
        print!("after {} ms: {fault}", pause.as_millis());
        match second {
            Some((after, second)) => println!("; {} ms later: {second}", after.as_millis()),
            None => println!(),
        }
    }
}

/// Insists that nothing goes wrong without a fault; returns what was logged meanwhile.
fn warm_up(site: &Site, samples: &Samples, options: &Options, random: &mut Random) -> LogBook {
    let scene = Scene {
        site,
        samples,
        began: Instant::now(),
    };
    let over = AtomicBool::new(false);
    let ledger = Mutex::new(Ledger::new());
    std::thread::scope(|scope| {
        for number in 0..options.clients {
            // Their images are not to be those of the clients that follow.
            let (number, random) = (options.clients + number, random.split());
            let (ledger, over) = (&ledger, &over);
            scope.spawn(move || {
                let (entries, log) = load::run(scene, number, random, over);
                ledger.lock().unwrap().add(entries, log);
            });
        }
        std::thread::park_timeout(WARM_UP);
        over.store(true, Ordering::SeqCst);
    });
    let ledger = ledger.into_inner().unwrap();
    let amiss: Vec<_> = ledger
        .owed()
        .filter(|entry| entry.outcome != Outcome::Right)
        .collect();
    assert!(amiss.is_empty(), "without any fault: {amiss:#?}");
    ledger.log
}

fn strike_under_load(
    scene: Scene<'_>,
    plan: &[Step],
    options: &Options,
    mut random: Random,
) -> Ledger {
    let (load_over, watch_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut ledger = Ledger::new();
    std::thread::scope(|scope| {
        let watches = [Port::Main, Port::Health].map(|port| {
            let over = &watch_over;
            scope.spawn(move || probe::watch(scene.site, port, scene.began, over))
        });
        let clients: Vec<_> = (0..options.clients)
            .map(|number| {
                let (random, over) = (random.split(), &load_over);
                scope.spawn(move || load::run(scene, number, random, over))
            })
            .collect();
        let striker = Striker::new(scene);
        strike_all(&striker, plan, options, &mut random, &mut ledger);
        load_over.store(true, Ordering::SeqCst);
        for client in clients {
            let (entries, log) = client.join().unwrap();
            ledger.add(entries, log);
        }
        ledger.healed_in_the_end = striker.until_every_worker_serves();
        ledger.add(Vec::new(), striker.into_log());
        watch_over.store(true, Ordering::SeqCst);
        for watch in watches {
            ledger.probes.extend(watch.join().unwrap());
        }
    });
    ledger
}

/// Goes through the plan until the time is over, but not before the first deck is.
fn strike_all(
    striker: &Striker<'_>,
    plan: &[Step],
    options: &Options,
    random: &mut Random,
    ledger: &mut Ledger,
) {
    let end = Instant::now() + options.length;
    for step in plan {
        let is_over = !step.must && Instant::now() >= end;
        if is_over || striker.is_too_late() {
            break;
        }
        std::thread::park_timeout(step.pause);
        let (mine, others) = (random.split(), random.split());
        std::thread::scope(|scope| {
            let second = step.second.as_ref().map(|(after, fault)| {
                scope.spawn(move || {
                    std::thread::park_timeout(*after);
                    striker.strike(fault, others)
                })
            });
            let first = striker.strike(&step.fault, mine);
            let second = second.map(|second| second.join().unwrap());
            for struck in std::iter::once(first).chain(second) {
                let at = struck.window.from.as_secs_f64();
                println!("{at:8.3} s: {}: {:?}", struck.what, struck.recovery);
                ledger.struck.push(struck);
            }
        });
    }
}
