//! The server's own process, under the names that every Prometheus client library uses, and which
//! build it is. Workers are processes of their own and not among it.

mod platform;

use std::env::consts::{ARCH, OS};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use super::descriptor::Kind::{Counter, Gauge};
use super::descriptor::{Descriptor, Label, Values, subject};
use super::families::{Families, Family};

const VERSION: &str = env!("CARGO_PKG_VERSION");

const ELSEWHERE: &str = "on other systems than Linux";

subject! { "Process";
    BUILD = Descriptor::new("impetus_build_info", Gauge, "always 1")
        .help("Which build this is.")
        .labels(&[
            Label { name: "arch", values: Values::Constant("the processor it is built for") },
            Label { name: "os", values: Values::Constant("the system it is built for") },
            Label { name: "version", values: Values::Constant("its version") },
        ]);
    START = Descriptor::new("process_start_time_seconds", Gauge, "seconds since 1970")
        .help("When the server's process started; read once, so it changes with the process alone.");
    CPU = Descriptor::new("process_cpu_seconds_total", Counter, "seconds")
        .help("CPU time the server's process has used, in user mode and in the kernel.")
        .except(ELSEWHERE);
    RESIDENT = Descriptor::new("process_resident_memory_bytes", Gauge, "bytes")
        .help("Resident memory of the server's process.")
        .except(ELSEWHERE);
    VIRTUAL = Descriptor::new("process_virtual_memory_bytes", Gauge, "bytes")
        .help("Address space of the server's process.")
        .except(ELSEWHERE);
    OPEN_FDS = Descriptor::new("process_open_fds", Gauge, "descriptors")
        .help("File descriptors the server's process has open.")
        .except(ELSEWHERE);
    MAX_FDS = Descriptor::new("process_max_fds", Gauge, "descriptors")
        .help("File descriptors it may have open.")
        .except("where there is no limit");
    THREADS = Descriptor::new("process_threads", Gauge, "threads")
        .help("Threads of the server's process.")
        .except(ELSEWHERE);
}

/// What the system says about this process.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Figures {
    cpu_seconds: f64,
    resident_bytes: u64,
    virtual_bytes: u64,
    threads: u64,
    open_fds: Option<u64>,
}

pub(super) fn expose(now: SystemTime, out: &mut Families) {
    let mut build = Family::new(&BUILD);
    build.add(&[ARCH, OS, VERSION], 1.0);
    out.add(build);
    out.known(&START, started_at(now));
    let figures = platform::figures();
    out.known(&CPU, figures.map(|figures| figures.cpu_seconds));
    out.known(
        &RESIDENT,
        figures.map(|figures| figures.resident_bytes as f64),
    );
    out.known(
        &VIRTUAL,
        figures.map(|figures| figures.virtual_bytes as f64),
    );
    let open = figures.and_then(|figures| figures.open_fds);
    out.known(&OPEN_FDS, open.map(|open| open as f64));
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    out.known(&MAX_FDS, limits.current.map(|most| most as f64));
    out.known(&THREADS, figures.map(|figures| figures.threads as f64));
}

/// Returns the start of the process in seconds since 1970. The system knows it by a clock that
/// cannot be set, so it is converted once: a wall clock that is set later moves no start.
fn started_at(now: SystemTime) -> Option<f64> {
    static STARTED: OnceLock<Option<f64>> = OnceLock::new();
    *STARTED.get_or_init(|| {
        let at = now.checked_sub(platform::age()?)?;
        Some(at.duration_since(UNIX_EPOCH).ok()?.as_secs_f64())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use impetus_supervision::{Clock, SystemClock};

    use super::*;

    #[test]
    fn the_start_of_the_process_lies_before_now_and_stays_where_it_is() {
        let now = SystemClock::new().wall();
        let started = started_at(now).unwrap();
        let since = now.duration_since(UNIX_EPOCH).unwrap();
        // Tests run for less than a day.
        assert!((0.0..86_400.0).contains(&(since.as_secs_f64() - started)));
        let later = now + Duration::from_secs(3600);
        assert_eq!(started_at(later), Some(started), "a clock that was set");
    }
}
