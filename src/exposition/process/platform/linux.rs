//! Linux: `/proc/self/stat` (proc(5)), which is memory and no disk.

use std::fs;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::time::{ClockId, clock_gettime};

use super::super::Figures;

/// Returns how long ago this process was started.
pub(in super::super) fn age() -> Option<Duration> {
    let stat = Stat::read()?;
    // Both by the clock that began when the machine did and goes on while it sleeps.
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).ok()?;
    let nanos = u32::try_from(now.tv_nsec).ok()?;
    Duration::new(seconds, nanos).checked_sub(ticks(stat.start))
}

/// Returns what the kernel has counted of this process.
pub(in super::super) fn figures() -> Option<Figures> {
    let stat = Stat::read()?;
    Some(Figures {
        cpu_seconds: ticks(stat.cpu).as_secs_f64(),
        resident_bytes: stat.resident_pages.saturating_mul(page_size() as u64),
        virtual_bytes: stat.virtual_bytes,
        threads: stat.threads,
        open_fds: open_fds(),
    })
}

/// Counts the descriptors. Since Linux 6.2 their folder says how many there are as its size; to list
/// a thousand of them takes longer than all else a scrape does.
fn open_fds() -> Option<u64> {
    let folder = "/proc/self/fd";
    match fs::metadata(folder).ok()?.len() {
        // Less the descriptor with which they are listed.
        0 => Some((fs::read_dir(folder).ok()?.count() as u64).saturating_sub(1)),
        count => Some(count),
    }
}

/// What is needed of the file.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu: u64,
    threads: u64,
    start: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

// === impl Stat ===

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// The second field is the program's name in parentheses, and may have anything in it.
    fn parse(text: &str) -> Option<Self> {
        let (_, behind) = text.rsplit_once(')')?;
        let fields: Vec<&str> = behind.split_whitespace().collect();
        // The manual counts from 1, and the first one here is its third.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu: field(14)?.saturating_add(field(15)?),
            threads: field(20)?,
            start: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

fn ticks(count: u64) -> Duration {
    Duration::from_secs_f64(count as f64 / clock_ticks_per_second().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_behind_a_name_of_any_kind() {
        let line = "71 (a ) b (c) S 1 71 71 0 -1 4194560 10 20 0 0 300 45 6 7 20 0 9 0 1234 \
                    5000000 678 18446744073709551615 1 1 0 0";
        let stat = Stat {
            cpu: 345,
            threads: 9,
            start: 1234,
            virtual_bytes: 5_000_000,
            resident_pages: 678,
        };
        assert_eq!(Stat::parse(line), Some(stat));
        assert_eq!(Stat::parse("71 (cut off) S 1"), None);
    }

    #[test]
    fn this_process_has_memory_threads_and_descriptors() {
        let figures = figures().unwrap();
        assert!(figures.resident_bytes > 1 << 20, "{figures:?}");
        assert!(
            figures.virtual_bytes >= figures.resident_bytes,
            "{figures:?}"
        );
        assert!(figures.threads >= 1, "{figures:?}");
        let before = figures.open_fds.unwrap();
        let held: Vec<fs::File> = (0..50)
            .map(|_| fs::File::open("/dev/null").unwrap())
            .collect();
        // Other tests open and close files at the same time.
        let after = super::figures().unwrap().open_fds.unwrap();
        assert!(after >= before + held.len() as u64 / 2, "{before} {after}");
    }
}
