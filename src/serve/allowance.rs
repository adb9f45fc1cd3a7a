//! What the machine lets the server have, and what the server makes of it: read once, at the start,
//! and said in one line of the log.

use std::thread::available_parallelism;

use impetus_actors::metrics::Allowance;
use tracing::{info, warn};

use crate::config::Config;

/// How many threads and workers there are to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Threads {
    /// Cores' worth of threads that may compute.
    pub(super) cores: usize,
    /// Request workers.
    pub(super) http: usize,
}

// === impl Threads ===

impl Threads {
    /// Reads the limits and chooses; says what was found and what was chosen.
    ///
    /// Limits that cannot be read are no reason not to serve: then it is the processors that count.
    pub(super) fn choose(config: &Config) -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        let allowance = Allowance::read()
            .inspect_err(|error| warn!(%error, processors, "limits cannot be read"))
            .ok();
        let cores = allowance.map_or(processors, |allowance| allowance.threads(processors));
        let threads = Self {
            cores,
            http: config.http.workers_for(cores),
        };
        if let Some(found) = allowance {
            threads.tell(config, found, processors);
        }
        threads
    }

    fn tell(self, config: &Config, found: Allowance, processors: usize) {
        let models = &config.models;
        let (workers, each) = (
            models.workers_for(self.cores),
            models.threads_for(self.cores),
        );
        info!(
            cpu_cores = found.cores,
            cpu_source = found.cpu_source.as_str(),
            processors,
            memory_bytes = found.memory_bytes,
            memory_source = found.memory_source.as_str(),
            http_workers = self.http,
            workers_per_model = workers,
            threads_per_worker = each,
            "limits found"
        );
        if config.role.infers() && workers * each > self.cores {
            warn!(
                workers_per_model = workers,
                threads_per_worker = each,
                cores = self.cores,
                "one model computes with more threads than there are cores for"
            );
        }
    }
}
