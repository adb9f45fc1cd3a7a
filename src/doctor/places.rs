//! Configuration, limits, folders, ports: what the server itself needs.

use std::net::TcpListener;
use std::path::Path;

use impetus_actors::metrics::Allowance;
use impetus_actors::sources::folder;
use rustix::fs::{Access, access};

use super::{Finding, State, Subject};
use crate::data_disk::DataDisk;

/// Less room than this for the prediction log does not last.
const LITTLE_ROOM: u64 = 1 << 30;

pub(super) fn configuration(subject: &Subject<'_>) -> Vec<Finding> {
    let set = subject.loaded.sources.iter().count();
    let from = match &subject.file {
        Some(file) => file.display().to_string(),
        None => "no file".to_owned(),
    };
    let found = format!("{from}, {set} keys set");
    let warnings = subject.loaded.warnings.iter();
    let warnings = warnings.map(|warning| {
        Finding::new("configuration", State::Warning, warning.to_string())
            .advise("correct or remove the variable")
    });
    std::iter::once(Finding::new("configuration", State::Ok, found))
        .chain(warnings)
        .collect()
}

pub(super) fn limits(_subject: &Subject<'_>) -> Vec<Finding> {
    match Allowance::read() {
        Ok(found) => vec![
            Finding::new(
                "cores",
                State::Ok,
                format!("{:.1} ({})", found.cores, found.cpu_source),
            ),
            Finding::new(
                "memory",
                State::Ok,
                format!("{} MiB ({})", found.memory_bytes >> 20, found.memory_source),
            ),
        ],
        Err(error) => vec![
            Finding::new("limits", State::Warning, error.to_string())
                .advise("the server goes by the processors; set memory.limit and models.workers"),
        ],
    }
}

pub(super) fn models(subject: &Subject<'_>) -> Vec<Finding> {
    let config = subject.config();
    let comes_from_elsewhere = !config.models.remote.is_empty() && !config.models.dir.exists();
    if !config.role.infers() || comes_from_elsewhere {
        return Vec::new();
    }
    let found = match folder::scan(&config.models.dir) {
        Ok(found) => found,
        Err(error) => {
            return vec![
                Finding::new("models folder", State::Failed, error.to_string())
                    .advise("make the folder readable, or set models.dir"),
            ];
        }
    };
    let dir = config.models.dir.display();
    let state = match found.is_empty() {
        true => State::Warning,
        false => State::Ok,
    };
    let mut findings = vec![Finding::new(
        "models folder",
        state,
        format!("{dir}, {} models", found.len()),
    )];
    if found.is_empty() {
        let advice = format!("put a model there, as {dir}/NAME/model.onnx");
        findings[0].advice = advice;
    }
    findings.extend(found.iter().filter_map(|model| {
        let problem = model.problem.as_ref()?;
        let finding = Finding::new(format!("model {}", model.name), State::Failed, problem);
        Some(finding.advise("correct its description, or take its folder away"))
    }));
    findings
}

pub(super) fn data(subject: &Subject<'_>) -> Vec<Finding> {
    let dir = &subject.config().data.dir;
    let shown = dir.display();
    let there = dir
        .ancestors()
        .map(|one| match one.as_os_str().is_empty() {
            true => Path::new("."),
            false => one,
        })
        .find(|one| one.exists());
    let Some(there) = there else {
        return vec![
            Finding::new(
                "data folder",
                State::Failed,
                format!("{shown} leads nowhere"),
            )
            .advise("set data.dir to a folder that can be made"),
        ];
    };
    let writable = access(there, Access::WRITE_OK | Access::EXEC_OK);
    let folder = match (writable, there.is_dir()) {
        (Ok(()), true) if there == dir.as_path() => {
            Finding::new("data folder", State::Ok, format!("{shown}, writable"))
        }
        (Ok(()), true) => Finding::new("data folder", State::Ok, format!("{shown}, to be made")),
        (Ok(()), false) => Finding::new(
            "data folder",
            State::Failed,
            format!("{} is no folder", there.display()),
        )
        .advise("set data.dir to a folder"),
        (Err(error), _) => Finding::new(
            "data folder",
            State::Failed,
            format!("{} cannot be written: {error}", there.display()),
        )
        .advise("let the user that runs the server write there, or set data.dir"),
    };
    let disk = DataDisk::default();
    disk.look(there);
    let room = disk.room().map(|room| {
        let found = format!("{} MiB free of {} MiB", room.free >> 20, room.size >> 20);
        match room.free < LITTLE_ROOM {
            true => Finding::new("disk", State::Warning, found)
                .advise("make room, or set predlog.keep_size"),
            false => Finding::new("disk", State::Ok, found),
        }
    });
    std::iter::once(folder).chain(room).collect()
}

pub(super) fn ports(subject: &Subject<'_>) -> Vec<Finding> {
    let config = subject.config();
    let listens = [
        ("port", config.host.as_str(), config.port),
        ("health.port", config.health_host(), config.health.port),
        ("grpc.port", config.host.as_str(), config.grpc.port),
    ];
    let listens = listens.into_iter().filter(|(_, _, port)| *port != 0);
    listens
        .map(|(key, host, port)| match TcpListener::bind((host, port)) {
            Ok(_) => Finding::new(key, State::Ok, format!("{host}:{port} is free")),
            Err(error) => Finding::new(key, State::Failed, format!("{host}:{port}: {error}"))
                .advise(format!(
                    "set {key}, or end what listens there; if that is this server, all is well"
                )),
        })
        .collect()
}
