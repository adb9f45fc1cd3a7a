//! Where models come from, and what each may cost.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{Bytes, Period};

/// The models and the workers that run them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelsConfig {
    /// Folder of the models, one folder per model. Read only; may be shared.
    pub dir: PathBuf,
    /// Models that come from elsewhere: a name and the source of each, `models:/NAME@ALIAS`, `models:/NAME/VERSION` or `models:/NAME/STAGE` of the registry, or an address of a folder or a file such as `s3://bucket/path` or `https://host/model.onnx`. They are followed, as the folder is where the mode is `watch`.
    pub remote: BTreeMap<String, String>,
    /// When the folder decides what is served. `watch`: always, so that a new version is loaded beside the old one and takes over. `startup`: at the start, and later only for a model that is asked for. `explicit`: never; only what `models.load` and requests to load ask for is served.
    pub mode: ModelMode,
    /// Models to be loaded at the start where the mode is `explicit`.
    pub load: Vec<String>,
    /// Who may load and unload models by request. `by_mode`: everybody where the mode is `explicit`, as with Triton, and whoever is on this machine otherwise.
    pub control: ModelControlBy,
    /// Longest time that a request to load or unload a model waits for it to be done. It goes on when that has passed.
    #[schemars(extend("x-min" = "1ms"))]
    pub control_timeout: Period,
    /// How often the folder is compared with what is loaded.
    #[schemars(extend("x-min" = "10ms"))]
    pub poll_every: Period,
    /// Models that must be usable for the server to be ready. Empty = the only model, when there is just one.
    pub required: Vec<String>,
    /// Workers per model. 0 = one per core that the CPU quota allows, at most 4.
    #[schemars(range(max = 256))]
    pub workers: usize,
    /// Workers per model beyond those, loaded and warm, one of which takes over at once when another is lost. Each takes as much memory as a worker that serves.
    #[schemars(range(max = 16))]
    pub spares: usize,
    /// Threads with which one worker computes one batch. More of them shorten a single long request; more workers serve more requests. 0 = its share of the cores that the CPU quota allows, at least 1.
    #[schemars(range(max = 256))]
    pub threads: usize,
    /// What a worker is. `process` survives a crash of the runtime; `thread` is for comparison and takes the server down with it. A model may say otherwise (`isolation` in its `model.toml`).
    pub isolation: Isolation,
    /// Requests that may wait per model.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub queue: usize,
    /// What becomes of a request that finds the queue full. `reject` refuses it with `Retry-After`; `drop_oldest` refuses the one that has waited longest among the least urgent instead, whose caller is the likeliest to have given up.
    pub when_full: WhenFull,
    /// Longest time that a request may wait for a worker; one that has waited longer is refused with `Retry-After`. 0 = as long as its caller waits for the answer.
    pub queue_timeout: Period,
    /// Most requests stacked into one run, where the graph leaves its first dimension free.
    #[schemars(range(min = 1, max = 4096))]
    pub max_batch: usize,
    /// Longest time that the oldest request of a batch waits for others while its worker is busy. A worker that has nothing to do gets what waits at once. 0 = nothing is held back: batches fill by themselves while all workers are busy.
    #[schemars(extend("x-max" = "1m"))]
    pub batch_delay: Period,
    /// Batches that a worker holds at one time, so that it need not wait for the next one.
    #[schemars(range(min = 1, max = 16))]
    pub in_flight: usize,
    /// Batches of all models together that are with workers at one time, while more models than one have work; they are shared by the weights in the models' descriptions (`share`). 0 = `in_flight` for each core that the CPU quota allows. A model that is alone in having work is never held back.
    #[schemars(range(max = 65_536))]
    pub shared_runs: usize,
    /// Longest time for a worker to start the runtime and read its model.
    #[schemars(extend("x-min" = "1ms"))]
    pub load_timeout: Period,
    /// Longest time for the first run of a model that has been read.
    #[schemars(extend("x-min" = "1ms"))]
    pub warm_up_timeout: Period,
    /// Longest time for one run, the execution budget. A worker that takes longer is killed and its requests are run again. 0 = learned from the warm-up: twenty times the first run with the most rows, as often as the largest batch holds those, between the floor and the ceiling; the ceiling where inputs may be longer than the one it was warmed up with.
    pub run_timeout: Period,
    /// Least execution budget that is learned.
    #[schemars(extend("x-min" = "1ms"))]
    pub run_timeout_floor: Period,
    /// Longest execution budget that is learned.
    #[schemars(extend("x-min" = "1ms"))]
    pub run_timeout_ceiling: Period,
    /// Workers that one request may lose by their own doing (a crash, a hang, too much memory) before it is answered with an error. One that is lost while the request is alone with it gets the request quarantined.
    #[schemars(range(max = 10))]
    pub retries: u32,
    /// Workers that one request may lose otherwise, killed by somebody else, before it is answered with an error.
    #[schemars(range(max = 1000))]
    pub accident_retries: u32,
    /// Least time that a model which has lost its last worker counts as recovering, however fast it was loaded last; otherwise 1.5 times its last load.
    pub recovery_floor: Period,
    /// How often an idle worker runs its warm-up sample and compares the result.
    #[schemars(extend("x-min" = "10ms"))]
    pub self_check_every: Period,
    /// Pause before the second restart of a worker and before a failed load is tried again. The first restart is immediate.
    #[schemars(extend("x-min" = "1ms"))]
    pub backoff_min: Period,
    /// Longest pause between two such attempts, of which there is no last one.
    #[schemars(extend("x-min" = "1ms"))]
    pub backoff_max: Period,
    /// Size of one slot of the memory shared with a worker. A batch that is larger gets a mapping of its own.
    #[schemars(extend("x-min" = "64KiB", "x-max" = "1GiB"))]
    pub slot_bytes: Bytes,
    /// Largest output of one run. A larger one fails that run.
    #[schemars(extend("x-min" = "64KiB", "x-max" = "4GiB"))]
    pub output_cap: Bytes,
    /// How long a worker may take to end when it is asked to, before it is killed.
    #[schemars(extend("x-min" = "1ms"))]
    pub shutdown_timeout: Period,
}

/// When the model folder decides what is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelMode {
    /// Always.
    #[default]
    Watch,
    /// At the start.
    Startup,
    /// Never.
    Explicit,
}

/// Who may load and unload models by request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelControlBy {
    /// Everybody where the mode is `explicit`, and this machine otherwise.
    #[default]
    ByMode,
    /// Whoever is on this machine.
    Local,
    /// Everybody who reaches the port.
    Anyone,
}

/// What stands between a model and the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// A process per worker.
    #[default]
    Process,
    /// A thread of the server per worker.
    Thread,
}

/// What becomes of a request that finds the queue full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// It is refused.
    #[default]
    Reject,
    /// The one that has waited longest among the least urgent is.
    DropOldest,
}

// === impl ModelsConfig ===

impl ModelsConfig {
    /// Returns how many workers a model gets where the CPU quota is worth `cores` cores.
    ///
    /// Several sessions of one thread outrun one session of several threads on
    /// small models; past four, each further one costs more memory than it earns.
    pub fn workers_for(&self, cores: usize) -> usize {
        match self.workers {
            0 => cores.clamp(1, 4),
            fixed => fixed,
        }
    }

    /// Tells whether models may be loaded and unloaded by requests from anywhere.
    pub fn anyone_controls(&self) -> bool {
        match self.control {
            ModelControlBy::ByMode => self.mode == ModelMode::Explicit,
            ModelControlBy::Local => false,
            ModelControlBy::Anyone => true,
        }
    }

    /// Returns how many threads one worker gets where the CPU quota is worth `cores` cores.
    pub fn threads_for(&self, cores: usize) -> usize {
        match self.threads {
            0 => (cores / self.workers_for(cores)).max(1),
            fixed => fixed,
        }
    }

    /// Returns how many batches of several models may be with workers where the CPU quota is worth
    /// `cores` cores. One runs on each core while the next one lies ready.
    pub fn runs_for(&self, cores: usize) -> usize {
        match self.shared_runs {
            0 => cores.max(1) * self.in_flight,
            fixed => fixed,
        }
    }
}

impl Default for ModelsConfig {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("models"),
            remote: BTreeMap::new(),
            mode: ModelMode::Watch,
            load: Vec::new(),
            control: ModelControlBy::ByMode,
            control_timeout: Period::secs(300),
            poll_every: Period::secs(2),
            required: Vec::new(),
            workers: 0,
            spares: 0,
            threads: 1,
            isolation: Isolation::Process,
            queue: 512,
            when_full: WhenFull::Reject,
            queue_timeout: Period::secs(0),
            max_batch: 8,
            batch_delay: Period::secs(0),
            in_flight: 2,
            shared_runs: 0,
            load_timeout: Period::secs(120),
            warm_up_timeout: Period::secs(60),
            run_timeout: Period::secs(0),
            run_timeout_floor: Period::secs(1),
            run_timeout_ceiling: Period::secs(10),
            retries: 2,
            accident_retries: 20,
            recovery_floor: Period::secs(1),
            self_check_every: Period::secs(10),
            backoff_min: Period::millis(100),
            backoff_max: Period::secs(30),
            slot_bytes: Bytes::mib(4),
            output_cap: Bytes::mib(256),
            shutdown_timeout: Period::secs(5),
        }
    }
}
