//! From the configuration to the settings of the crates below.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use impetus_actors::archive::{Archive, ArchiveSettings};
use impetus_actors::metrics::MemoryRule;
use impetus_actors::model_loader::{LoaderSettings, Mode};
use impetus_actors::predlog::{
    DriftSettings, ImpetusSettings, Label, PostgresSettings, PredictionLogConfig, Retention,
    SinkSettings, SinkTarget,
};
use impetus_actors::serving::budget::BudgetRule;
use impetus_actors::serving::description;
use impetus_actors::serving::memory::MemorySettings;
use impetus_actors::serving::quarantine::QuarantineSettings;
use impetus_actors::serving::{BatchDefaults, GenerationLimits, ServingLimits, WorkerSettings};
use impetus_actors::sliding::{ErrorRateGate, ErrorRateRule};
use impetus_engine::{ComputeUnits, ProviderOptions, Providers, link};
use impetus_supervision::{Backoff, ChildSpec, Intensity};

use crate::config::{
    Bytes, Config, CoreMlUnits, DriftConfig, HealthConfig, Isolation, LogMode, ModelMode, Period,
    SinkConfig, SinkKind, WhenFull,
};
use crate::health::Rules;
use crate::health::plane::PlaneSettings;
use crate::predictions::RecorderSettings;

use super::no_model;

/// Returns the settings of the health plane.
pub(super) fn plane(config: &Config) -> anyhow::Result<PlaneSettings> {
    Ok(PlaneSettings {
        rules: rules(config),
        environment: config.environment.clone(),
        aliases: config.health.check_aliases.clone(),
        error_gate: ErrorRateGate::new(error_rule(&config.health)?),
    })
}

fn rules(config: &Config) -> Rules {
    let health = &config.health;
    Rules {
        heartbeat_interval: health.heartbeat_interval.get(),
        heartbeat_stale_after: health.heartbeat_stale_after.get(),
        root_stale_after: health.root_stale_after.get(),
        edge_stalled_after: health.edge_stalled_after.get(),
        require_model: health.require_model,
        no_model: no_model::reason(&config.models.dir),
        memory_unready_percent: f64::from(health.memory_unready_percent),
        unhealthy_below: health.unhealthy_below,
        degraded_below: health.degraded_below,
    }
}

fn error_rule(health: &HealthConfig) -> anyhow::Result<ErrorRateRule> {
    Ok(ErrorRateRule::try_new(
        health.error_min_requests,
        health.error_unready_ratio,
        health.error_ready_ratio,
        health.error_hold.get(),
    )?)
}

/// Returns the bounds of the serving path.
pub(super) fn serving(config: &Config, cores: usize) -> ServingLimits {
    let models = &config.models;
    ServingLimits {
        workers: models.workers_for(cores),
        threads: models.threads_for(cores),
        spares: models.spares,
        isolation: isolation(config),
        queue: models.queue,
        max_batch: models.max_batch,
        batching: BatchDefaults {
            delay: models.batch_delay.get(),
            timeout: models.queue_timeout.get(),
            when_full: match models.when_full {
                WhenFull::Reject => description::WhenFull::Reject,
                WhenFull::DropOldest => description::WhenFull::DropOldest,
            },
        },
        in_flight: models.in_flight,
        retries: models.retries,
        accident_retries: models.accident_retries,
        budget: BudgetRule {
            fixed: Some(models.run_timeout.get()).filter(|fixed| !fixed.is_zero()),
            floor: models.run_timeout_floor.get(),
            ceiling: models.run_timeout_ceiling.get(),
        },
        recovery_floor: models.recovery_floor.get(),
        generation: GenerationLimits {
            slots: config.generation.slots,
            max_len: config.generation.max_len,
            prefill_chunk: config.generation.prefill_chunk,
        },
    }
}

/// Returns where workers run of which nothing else is said.
pub(super) fn isolation(config: &Config) -> description::Isolation {
    match config.models.isolation {
        Isolation::Process => description::Isolation::Process,
        Isolation::Thread => description::Isolation::Thread,
    }
}

/// Returns what the model loader goes by.
///
/// # Errors
/// The restart intensity is none.
pub(super) fn loader(
    config: &Config,
    cores: usize,
    backoff: Backoff,
) -> anyhow::Result<LoaderSettings> {
    let models = &config.models;
    Ok(LoaderSettings {
        dir: models.dir.clone(),
        mode: match models.mode {
            ModelMode::Watch => Mode::Watch,
            ModelMode::Startup => Mode::Startup,
            ModelMode::Explicit => Mode::Explicit,
        },
        load: models.load.clone(),
        // Nobody inside is waited for any longer than that.
        retire_within: config
            .http
            .request_timeout
            .get()
            .max(config.generation.timeout.get())
            + Duration::from_secs(1),
        required: models.required.clone(),
        limits: serving(config, cores),
        intensity: intensity(config)?,
        backoff,
        cool_down: config.supervision.cool_down.get(),
    })
}

/// Returns what every worker is started with.
pub(super) fn worker(config: &Config, library: PathBuf) -> WorkerSettings {
    let models = &config.models;
    WorkerSettings {
        runtime: library,
        providers: providers(config),
        load_timeout: models.load_timeout.get(),
        warm_up_timeout: models.warm_up_timeout.get(),
        self_check_every: models.self_check_every.get(),
        stop_within: models.shutdown_timeout.get(),
        link: link::Limits {
            slots: models.in_flight,
            slot_bytes: models.slot_bytes.as_usize(),
            output_cap: models.output_cap.as_usize(),
            ..link::Limits::default()
        },
    }
}

/// Returns what executes models of which nothing else is said, and how that is set up.
pub(crate) fn providers(config: &Config) -> Providers {
    let runtime = &config.runtime;
    let device = &runtime.openvino_device;
    Providers {
        order: runtime.order(),
        options: ProviderOptions {
            device: runtime.device,
            device_memory: Some(runtime.device_memory.get()).filter(|bytes| *bytes > 0),
            cache_dir: Some(&runtime.cache_dir)
                .filter(|dir| !dir.as_os_str().is_empty())
                .cloned(),
            openvino_device: Some(device).filter(|device| !device.is_empty()).cloned(),
            compute_units: match runtime.coreml_compute_units {
                CoreMlUnits::CpuOnly => ComputeUnits::CpuOnly,
                CoreMlUnits::CpuAndGpu => ComputeUnits::CpuAndGpu,
                CoreMlUnits::CpuAndNeuralEngine => ComputeUnits::CpuAndNeuralEngine,
            },
        },
    }
}

/// Returns the bounds of the memory guard.
pub(super) fn memory(config: &Config) -> MemorySettings {
    let memory = &config.memory;
    let stated = |bytes: Bytes| Some(bytes.get()).filter(|bytes| *bytes > 0);
    MemorySettings {
        limit: stated(memory.limit),
        usable_percent: memory.usable_percent,
        server_reserve: memory.server_reserve.get(),
        headroom: stated(memory.headroom),
        headroom_min: memory.headroom_min.get(),
        recycle_pause: memory.recycle_pause.get(),
    }
}

/// Returns the bounds of the quarantine.
///
/// # Errors
/// The operating system has no thread left for the archive.
pub(super) fn quarantine(config: &Config) -> io::Result<QuarantineSettings> {
    let quarantine = &config.quarantine;
    let bodies = quarantine.keep_bodies.then(|| {
        Archive::start(ArchiveSettings {
            dir: config.data.dir.join("quarantine"),
            extension: "tensors",
            max_files: quarantine.capacity,
            max_bytes: quarantine.bodies_max_bytes.get(),
        })
    });
    Ok(QuarantineSettings {
        capacity: quarantine.capacity,
        expires_after: quarantine.expires_after.get(),
        bodies: bodies.transpose()?,
    })
}

/// Returns where it is kept how workers ended, if it is.
///
/// # Errors
/// The operating system has no thread left for the archive.
pub(super) fn forensics(config: &Config) -> io::Result<Option<Archive>> {
    let forensics = &config.forensics;
    if forensics.max_files == 0 {
        return Ok(None);
    }
    Archive::start(ArchiveSettings {
        dir: config.data.dir.join("forensics"),
        extension: "json",
        max_files: forensics.max_files,
        max_bytes: forensics.max_bytes.get(),
    })
    .map(Some)
}

/// Returns the restart intensity of actors.
pub(super) fn intensity(config: &Config) -> anyhow::Result<Intensity> {
    let supervision = &config.supervision;
    Ok(Intensity::try_new(
        supervision.restarts,
        supervision.within.get(),
    )?)
}

/// Returns the backoff between the restarts of actors, or of workers with their own bounds.
pub(super) fn backoff(config: &Config, min: Duration, max: Duration) -> anyhow::Result<Backoff> {
    let supervision = &config.supervision;
    Ok(Backoff::try_new(
        min,
        max,
        supervision.jitter,
        supervision.stable_after.get(),
    )?)
}

/// Returns when memory counts as used up.
pub(super) fn memory_rule(config: &Config) -> anyhow::Result<MemoryRule> {
    let health = &config.health;
    Ok(MemoryRule::try_new(
        f64::from(health.memory_unready_percent),
        f64::from(health.memory_ready_percent),
    )?)
}

/// Returns the bounds of the prediction log.
pub(super) fn predlog(config: &Config) -> PredictionLogConfig {
    let predlog = &config.predlog;
    PredictionLogConfig {
        inbox: predlog.queue,
        commit_rows: predlog.max_rows_per_commit,
        commit_within: predlog.write_timeout.get(),
        check_every: predlog.check_every.get(),
        check_within: predlog.check_timeout.get(),
        read_within: predlog.read_timeout.get(),
        migrate_within: predlog.migrate_timeout.get(),
        flush_interval: predlog.flush_interval.get(),
        buffer_rows: predlog.buffer,
        retention: Retention {
            keep_for: unless_zero(predlog.keep_for),
            keep_bytes: Some(predlog.keep_size.get()).filter(|bytes| *bytes > 0),
        },
        sink: sink(&config.sink),
        drift: drift(&config.drift),
        ..PredictionLogConfig::in_folder(&config.data.dir)
    }
}

/// Returns how the server's own predictions are logged.
pub(super) fn recorder(config: &Config) -> RecorderSettings {
    let predlog = &config.predlog;
    RecorderSettings {
        mode: match predlog.mode {
            LogMode::Off => description::LogMode::Off,
            LogMode::Sampled => description::LogMode::Sampled,
            LogMode::On => description::LogMode::On,
        },
        sample: predlog.sample,
        durable: predlog.durable,
        within: predlog.write_timeout.get(),
        device: device(&predlog.device),
    }
}

/// Returns what this server calls itself: as it is told, or as its host is called.
fn device(told: &str) -> Label {
    let host = rustix::system::uname();
    let host = host.nodename().to_str().unwrap_or_default();
    let named = [told, host]
        .into_iter()
        .find_map(|name| Label::try_new(name).ok());
    named.unwrap_or_else(|| Label::try_new("impetus").expect("the name is short"))
}

fn sink(sink: &SinkConfig) -> Option<SinkSettings> {
    let url = Arc::<str>::from(sink.url.expose());
    let ca_file = Some(&sink.ca_file).filter(|path| !path.as_os_str().is_empty());
    let ca_file = ca_file.cloned();
    let target = match sink.kind {
        SinkKind::Sqlite => return None,
        SinkKind::Postgres => SinkTarget::Postgres(PostgresSettings {
            url,
            password_file: Some(&sink.password_file)
                .filter(|path| !path.as_os_str().is_empty())
                .cloned(),
            ca_file,
            rows: sink.rows,
        }),
        SinkKind::Impetus => SinkTarget::Impetus(ImpetusSettings {
            url,
            ca_file,
            batch: sink.batch,
            batch_timeout: sink.batch_timeout.get(),
        }),
    };
    Some(SinkSettings {
        target,
        within: sink.timeout.get(),
        retries: sink.retries,
        retry_after: sink.retry_after.get(),
        cool_down: sink.cool_down.get(),
        max_backlog: sink.max_backlog.get(),
        max_age: unless_zero(sink.max_age),
    })
}

fn drift(drift: &DriftConfig) -> Option<DriftSettings> {
    drift.enabled.then_some(DriftSettings {
        window: drift.window.get(),
        reference: drift.reference.get(),
        min_predictions: drift.min_predictions,
        every: drift.every.get(),
    })
}

fn unless_zero(period: Period) -> Option<Duration> {
    Some(period.get()).filter(|period| !period.is_zero())
}

/// Gives a child what every actor has by configuration.
pub(super) fn common(config: &Config, child: ChildSpec) -> anyhow::Result<ChildSpec> {
    let supervision = &config.supervision;
    Ok(healing(config, child)?
        .handle_deadline(supervision.handle_timeout.get())
        .capacity(supervision.mailbox))
}

/// Gives a child the restart policy that every actor has, leaving its own bounds alone.
pub(super) fn healing(config: &Config, child: ChildSpec) -> anyhow::Result<ChildSpec> {
    let supervision = &config.supervision;
    let backoff = backoff(
        config,
        supervision.backoff_min.get(),
        supervision.backoff_max.get(),
    )?;
    Ok(child
        .intensity(intensity(config)?)
        .backoff(backoff)
        .cool_down(supervision.cool_down.get())
        .status_ttl(config.health.status_ttl.get()))
}
