//! Memory, processor and disk: the container's own where it has limits, the machine's otherwise.

use super::descriptor::Kind::Gauge;
use super::descriptor::{Descriptor, subject};
use super::families::Families;
use crate::http::AppState;

subject! { "Resources";
    CPU = Descriptor::new("impetus_cpu_usage_percent", Gauge, "percent")
        .help("Use of the CPU in percent of what may be used.");
    CORES = Descriptor::new("impetus_cpu_limit_cores", Gauge, "cores")
        .help("The CPU quota in cores, or the number of the machine's where there is no quota.")
        .except("before the first reading");
    MEMORY = Descriptor::new("impetus_memory_usage_percent", Gauge, "percent")
        .help("Working set in percent of the memory limit.");
    WORKING_SET = Descriptor::new("impetus_memory_working_set_bytes", Gauge, "bytes")
        .help("Memory in use, less the file cache that can be dropped at once; workers included.")
        .except("before the first reading");
    LIMIT = Descriptor::new("impetus_memory_limit_bytes", Gauge, "bytes")
        .help("What the working set may grow to: the container's limit, or the machine's memory.")
        .except("before the first reading");
    DISK_FREE = Descriptor::new("impetus_data_disk_free_bytes", Gauge, "bytes")
        .help("Room left on the disk of the data folder, as of the last look (with each evaluation of health).")
        .except("while the disk cannot be asked");
    DISK_SIZE = Descriptor::new("impetus_data_disk_size_bytes", Gauge, "bytes")
        .help("Size of the disk of the data folder.")
        .except("while the disk cannot be asked");
}

pub(super) fn expose(state: &AppState, out: &mut Families) {
    let resources = state.plane.sources().resources.snapshot();
    let sample = resources.sample.as_ref();
    let cpu = sample.and_then(|sample| sample.cpu_percent);
    // The documents' own are there from the first scrape on.
    out.one(&CPU, cpu.unwrap_or(0.0));
    out.known(&CORES, sample.map(|sample| sample.cpu_cores));
    out.one(&MEMORY, sample.map_or(0.0, |sample| sample.memory_percent));
    out.known(
        &WORKING_SET,
        sample.map(|sample| sample.memory_used_bytes as f64),
    );
    out.known(
        &LIMIT,
        sample.map(|sample| sample.memory_limit_bytes as f64),
    );
    let room = state.disk.room();
    out.known(&DISK_FREE, room.map(|room| room.free as f64));
    out.known(&DISK_SIZE, room.map(|room| room.size as f64));
}
