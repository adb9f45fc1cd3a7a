//! One suite for each promise.

mod actor;
mod download;
mod generate;
mod generate_cpu;
mod generate_prefill;
mod generate_prefix;
mod hang;
mod health;
mod isolation;
mod log;
mod log_drain;
mod log_large;
mod memory;
mod numbers;
mod predict;
mod scrape;
mod spare;
mod start;
mod switch;
mod worker;

use clap::ValueEnum;

use crate::report::Report;
use crate::server::Places;

/// What a suite may be asked to do otherwise than usual.
#[derive(Debug)]
pub(crate) struct Asked {
    /// How many rows a log has that is made for it.
    pub(crate) rows: Option<u64>,
    /// The only shape of a model of language.
    pub(crate) shape: Option<String>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// Predictions a second, and CPU time for each, against the bare server.
    Predict,
    /// From the death of a worker to the next answer.
    Worker,
    /// From the death of a worker with a spare to the next answer.
    Spare,
    /// From a request that meets a worker that stands still to its answer.
    Hang,
    /// Workers in processes against workers on threads.
    Isolation,
    /// From the panic of an actor to its replacement.
    Actor,
    /// From the start of the process to the first answers.
    Start,
    /// Resident memory of the server.
    Memory,
    /// Numbers of JSON into a tensor, against serde_json.
    Numbers,
    /// Latency and size of a scrape with 50 models and 200 workers.
    Scrape,
    /// Durable rows a second, against the bare logging service, and what logging costs `/predict`.
    Log,
    /// Pages and counts of a log of ten million rows, and the server's memory meanwhile.
    LogLarge,
    /// Rows a second from the file to PostgreSQL, against a bare loop.
    LogDrain,
    /// Latency of the liveness probe: idle, saturated, under faults, throttled.
    Health,
    /// What a change of version costs the requests that come meanwhile.
    Switch,
    /// How fast a model is fetched, against curl.
    Download,
    /// Tokens a second with 1, 8 and 16 streams, against a bare loop and onnxruntime-genai.
    Generate,
    /// How much a long prompt holds up the streams that run.
    GeneratePrefill,
    /// Time to the first token of a prompt whose beginning is known.
    GeneratePrefix,
    /// The server's own part of the CPU time.
    GenerateCpu,
}

// === impl Suite ===

impl Suite {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Predict => "predict: against a bare server",
            Self::Worker => "worker: killed, and the next answer",
            Self::Spare => "spare: a worker killed, and the spare's answer",
            Self::Hang => "hang: a worker that stands still, and the answer",
            Self::Isolation => "isolation: processes against threads",
            Self::Actor => "actor: panic, and its replacement",
            Self::Start => "start: to the first answers",
            Self::Memory => "memory: of the server process",
            Self::Numbers => "numbers: of JSON, into a tensor",
            Self::Scrape => "scrape: of 50 models and 200 workers",
            Self::Log => "log: durable predictions",
            Self::LogLarge => "log-large: reading a log of many rows",
            Self::LogDrain => "log-drain: from the file to PostgreSQL",
            Self::Health => "health: latency of the liveness probe",
            Self::Switch => "switch: a new version, and the requests that come meanwhile",
            Self::Download => "download: a model, against curl",
            Self::Generate => "generate: tokens a second",
            Self::GeneratePrefill => "generate-prefill: a long prompt, and those that run",
            Self::GeneratePrefix => "generate-prefix: a beginning that is known",
            Self::GenerateCpu => "generate-cpu: the server's own part",
        }
    }

    /// Returns those that run when none is named: all but what needs a PostgreSQL, ten gigabytes, or
    /// models that have to be made first, or two gigabytes of memory.
    pub(crate) fn usual() -> impl Iterator<Item = Self> {
        let all = Self::value_variants().iter().copied();
        all.filter(|suite| {
            !matches!(
                suite,
                Self::LogLarge
                    | Self::LogDrain
                    | Self::Download
                    | Self::Generate
                    | Self::GeneratePrefill
                    | Self::GeneratePrefix
                    | Self::GenerateCpu
            )
        })
    }

    /// Measures.
    pub(crate) fn run(self, places: &Places, asked: &Asked) -> anyhow::Result<Report> {
        match self {
            Self::Predict => predict::run(places),
            Self::Worker => worker::run(places),
            Self::Spare => spare::run(places),
            Self::Hang => hang::run(places),
            Self::Isolation => isolation::run(places),
            Self::Actor => actor::run(places),
            Self::Start => start::run(places),
            Self::Memory => memory::run(places),
            Self::Numbers => numbers::run(places),
            Self::Scrape => scrape::run(places),
            Self::Log => log::run(places),
            Self::LogLarge => log_large::run(places, asked.rows),
            Self::LogDrain => log_drain::run(places, asked.rows),
            Self::Health => health::run(places),
            Self::Switch => switch::run(places),
            Self::Download => download::run(places),
            Self::Generate => generate::run(places, asked.shape.as_deref()),
            Self::GeneratePrefill => generate_prefill::run(places),
            Self::GeneratePrefix => generate_prefix::run(places),
            Self::GenerateCpu => generate_cpu::run(places),
        }
    }
}
