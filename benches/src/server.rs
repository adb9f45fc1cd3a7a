//! The servers that are measured: Impetus as it is shipped, and the bare one beside it.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::http::{self, Connection};
use crate::process::{Cpu, children, pause, stands_still};

/// How long a server may take to come up before something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Where everything lies that is measured.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The repository.
    pub(crate) root: PathBuf,
    /// The server.
    pub(crate) impetus: PathBuf,
    /// The server it is compared with.
    pub(crate) bare: PathBuf,
    /// The ONNX Runtime library.
    pub(crate) library: PathBuf,
    /// The model folder, with `surface` in it.
    pub(crate) models: PathBuf,
    /// The folder of models that are dangerous by their input.
    pub(crate) killers: PathBuf,
    /// The folder of models that are there for a benchmark.
    pub(crate) wide: PathBuf,
    /// The folder of models of language with random weights.
    pub(crate) shapes: PathBuf,
}

/// A server that runs; dropping it kills it.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    /// The health port; the bare server has none and says 0.
    pub(crate) health_port: u16,
    _folder: TempDir,
}

/// A model as `/api/models/list` shows it.
#[derive(Debug, Clone)]
pub(crate) struct ModelStatus {
    pub(crate) name: String,
    pub(crate) ready: bool,
    pub(crate) workers: Vec<Worker>,
    pub(crate) last_load_ms: f64,
    pub(crate) predictions: u64,
    /// Workers that hung.
    pub(crate) hangs: u64,
}

/// One of its workers that has a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Worker {
    pub(crate) pid: u32,
    pub(crate) ready: bool,
    /// Whether it waits for another one to fail.
    pub(crate) standby: bool,
}

// === impl Places ===

impl Places {
    /// Finds everything in this repository; `impetus` may be another binary than the one beside
    /// this program, and `shapes` another folder than the usual one.
    pub(crate) fn find(impetus: Option<PathBuf>, shapes: Option<PathBuf>) -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let root = root.canonicalize().context("the repository has moved")?;
        let here = std::env::current_exe()?;
        let here = here.parent().context("a program without a folder")?;
        let name = format!("libonnxruntime{}", std::env::consts::DLL_SUFFIX);
        let places = Self {
            impetus: impetus.unwrap_or_else(|| here.join("impetus")),
            bare: here.join("impetus-bare"),
            library: root.join(".onnxruntime").join(name),
            models: root.join("models"),
            killers: root.join("tests").join("models"),
            wide: root.join("benches").join("models"),
            shapes: shapes.unwrap_or_else(|| root.join("target").join("bench").join("shapes")),
            root,
        };
        for path in [&places.impetus, &places.bare, &places.library] {
            ensure!(
                path.exists(),
                "{} is not there: run `make bench`",
                path.display()
            );
        }
        Ok(places)
    }

    pub(crate) fn surface(&self) -> PathBuf {
        self.models.join("surface")
    }

    /// Returns the same places with another folder of models.
    pub(crate) fn with_models(&self, models: PathBuf) -> Self {
        Self {
            models,
            ..self.clone()
        }
    }

    /// Returns the same places with a folder that holds copies of these models only; it is there as
    /// long as the second value.
    pub(crate) fn with_only(&self, models: &[PathBuf]) -> anyhow::Result<(Self, TempDir)> {
        let folder = tempfile::tempdir()?;
        for model in models {
            let name = model.file_name().context("a model without a name")?;
            let copy = folder.path().join(name);
            fs::create_dir(&copy)?;
            for file in ["model.onnx", "model.toml"] {
                fs::copy(model.join(file), copy.join(file))?;
            }
        }
        Ok((self.with_models(folder.path().to_owned()), folder))
    }

    /// Returns the command of a bare program.
    pub(crate) fn bare(&self, command: &str) -> Command {
        let mut bare = Command::new(&self.bare);
        bare.arg(command)
            .arg("--library")
            .arg(&self.library)
            .arg("--model")
            .arg(self.surface())
            .env_clear()
            // As little as a program can do: the library's usage reports to its maker take 3 ms of
            // each start.
            .env("ORT_DISABLE_TELEMETRY", "1")
            .stdin(Stdio::null());
        bare
    }

    /// Starts Impetus with its defaults and these settings beside or instead; waits for nothing.
    pub(crate) fn spawn_impetus(&self, settings: &[(&str, &str)]) -> anyhow::Result<Server> {
        let folder = tempfile::tempdir()?;
        let [port, health_port] = free_ports()?;
        let quoted = |path: &Path| format!("{:?}", path.display().to_string());
        let own = [
            ("port", port.to_string()),
            ("health.port", health_port.to_string()),
            ("grpc.port", "0".to_owned()),
            ("host", "\"127.0.0.1\"".to_owned()),
            ("models.dir", quoted(&self.models)),
            ("data.dir", quoted(&folder.path().join("data"))),
            ("runtime.library", quoted(&self.library)),
        ];
        let mut config = String::new();
        let is_given = |key: &str| settings.iter().any(|(given, _)| *given == key);
        for (key, value) in own.iter().filter(|(key, _)| !is_given(key)) {
            config.push_str(&format!("{key} = {value}\n"));
        }
        for (key, value) in settings {
            config.push_str(&format!("{key} = {value}\n"));
        }
        let path = folder.path().join("impetus.toml");
        fs::write(&path, config)?;
        let child = Command::new(&self.impetus)
            .arg("serve")
            .arg("--config")
            .arg(&path)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(fs::File::create(folder.path().join("log"))?))
            .spawn()
            .context("impetus could not be started")?;
        Ok(Server {
            child,
            port,
            health_port,
            _folder: folder,
        })
    }

    /// Starts Impetus and waits until it is ready.
    pub(crate) fn start_impetus(&self, settings: &[(&str, &str)]) -> anyhow::Result<Server> {
        let server = self.spawn_impetus(settings)?;
        server.wait_for(server.health_port, "/api/health/ready")?;
        server.wait_until_all("all its workers", |models| {
            models.iter().all(|model| model.ready)
        })?;
        Ok(server)
    }

    /// Starts the bare logging service with one HTTP worker for each of Impetus's.
    pub(crate) fn start_bare_log(&self) -> anyhow::Result<Server> {
        let [port, _] = free_ports()?;
        let folder = tempfile::tempdir()?;
        let child = Command::new(&self.bare)
            .arg("log")
            .args(["--port", &port.to_string()])
            .args(["--workers", &crate::process::cores().to_string()])
            .arg("--folder")
            .arg(folder.path())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let server = Server {
            child,
            port,
            health_port: 0,
            _folder: folder,
        };
        server.wait_for(port, "/ready")?;
        Ok(server)
    }

    /// Starts Impetus as a logging service alone and waits until it is ready.
    pub(crate) fn start_log(&self, settings: &[(&str, &str)]) -> anyhow::Result<Server> {
        let server = self.spawn_log(settings)?;
        server.wait_for(server.port, "/ready")?;
        Ok(server)
    }

    /// The same, and waits only until it listens: its sink may be away.
    pub(crate) fn start_log_without_sink(
        &self,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Server> {
        let server = self.spawn_log(settings)?;
        server.wait_for(server.health_port, "/api/health/live")?;
        Ok(server)
    }

    fn spawn_log(&self, settings: &[(&str, &str)]) -> anyhow::Result<Server> {
        let mut all = vec![("role", "\"logging\""), ("health.require_model", "false")];
        all.extend_from_slice(settings);
        self.spawn_impetus(&all)
    }

    /// Starts the bare server with one HTTP worker for each of Impetus's.
    pub(crate) fn start_bare(&self) -> anyhow::Result<Server> {
        let [port, _] = free_ports()?;
        let child = self
            .bare("serve")
            .args(["--port", &port.to_string()])
            .args(["--workers", &crate::process::cores().to_string()])
            .stdout(Stdio::null())
            .spawn()?;
        let server = Server {
            child,
            port,
            health_port: 0,
            _folder: tempfile::tempdir()?,
        };
        server.wait_for(port, "/ready")?;
        Ok(server)
    }
}

// === impl Server ===

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns what it and its workers have used so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Cpu> {
        Cpu::of_tree(self.pid())
    }

    /// Ends it at once and returns what its workers had used. The server's own share goes to the
    /// account of this process, which waits for it; the workers' is lost with them.
    pub(crate) fn end(mut self) -> anyhow::Result<Cpu> {
        let count = children(self.pid()).len();
        let workers = self.cpu()?.minus(Cpu::of_process(self.pid())?);
        let workers = workers.with_cut_ticks(count);
        self.child.kill()?;
        self.child.wait()?;
        Ok(workers)
    }

    /// Returns what is known of its models.
    pub(crate) fn models(&self) -> anyhow::Result<Vec<ModelStatus>> {
        let mut connection = Connection::open(self.port)?;
        let list = connection.exchange(&http::get("/api/models/list"))?;
        let list: Value = serde_json::from_slice(&list.body)?;
        let models = list["models"].as_array().context("no list of models")?;
        Ok(models.iter().map(ModelStatus::read).collect())
    }

    /// Returns what is known of its model, or of the first one.
    pub(crate) fn model(&self) -> anyhow::Result<ModelStatus> {
        let first = self.models()?.into_iter().next();
        first.context("a server without a model")
    }

    /// Waits for something to be true of its model, or of the first one.
    pub(crate) fn wait_until(
        &self,
        what: &str,
        holds: impl Fn(&ModelStatus) -> bool,
    ) -> anyhow::Result<ModelStatus> {
        let models = self.wait_until_all(what, |models| models.first().is_some_and(&holds))?;
        let first = models.into_iter().next();
        first.context("a server without a model")
    }

    /// Waits for something to be true of its models.
    pub(crate) fn wait_until_all(
        &self,
        what: &str,
        holds: impl Fn(&[ModelStatus]) -> bool,
    ) -> anyhow::Result<Vec<ModelStatus>> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Ok(models) = self.models()
                && holds(&models)
            {
                return Ok(models);
            }
            pause(LOOK_EVERY);
        }
        bail!("waited in vain for {what}; the log says:\n{}", self.log())
    }

    /// Waits for a 200.
    fn wait_for(&self, port: u16, path: &str) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        let request = http::get_once(path);
        while Instant::now() < end {
            let answer = Connection::open(port).and_then(|mut c| c.exchange(&request));
            if answer.is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            pause(LOOK_EVERY);
        }
        bail!("no 200 from {path}; the log says:\n{}", self.log())
    }

    /// Returns the last lines of its log.
    fn log(&self) -> String {
        let log = fs::read_to_string(self._folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Has ended already, or ends now; its workers end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === impl ModelStatus ===

impl ModelStatus {
    /// Tells whether it has all its workers and one that takes requests: a new worker is ready a
    /// moment before it does.
    pub(crate) fn is_served(&self) -> bool {
        self.ready && !self.serving().is_empty()
    }

    /// Returns the processes of those that serve.
    pub(crate) fn serving(&self) -> Vec<u32> {
        let serving = |worker: &&Worker| worker.ready && !worker.standby;
        let workers = self.workers.iter().filter(serving);
        workers.map(|worker| worker.pid).collect()
    }

    /// Returns the processes of those that stand by.
    pub(crate) fn standing_by(&self) -> Vec<u32> {
        let waiting = |worker: &&Worker| worker.ready && worker.standby;
        let workers = self.workers.iter().filter(waiting);
        workers.map(|worker| worker.pid).collect()
    }

    fn read(model: &Value) -> Self {
        let workers = model["workers"].as_array().cloned().unwrap_or_default();
        Self {
            name: model["name"].as_str().unwrap_or_default().to_owned(),
            ready: model["state"] == "ready",
            workers: workers.iter().filter_map(Worker::read).collect(),
            last_load_ms: model["last_load_ms"].as_f64().unwrap_or_default(),
            predictions: model["predictions"].as_u64().unwrap_or_default(),
            hangs: model["losses"]["hang"].as_u64().unwrap_or_default(),
        }
    }
}

// === impl Worker ===

impl Worker {
    fn read(worker: &Value) -> Option<Self> {
        Some(Self {
            pid: u32::try_from(worker["pid"].as_u64()?).ok()?,
            ready: worker["state"] == "ready",
            standby: worker["standby"] == true,
        })
    }
}

/// Kills a process from outside, as the kernel's memory killer does.
pub(crate) fn kill(pid: u32) -> anyhow::Result<()> {
    signal(pid, Signal::KILL)
}

/// Stops a process and returns when each of its threads stands still.
pub(crate) fn freeze(pid: u32) -> anyhow::Result<()> {
    signal(pid, Signal::STOP)?;
    let end = Instant::now() + PATIENCE;
    while !stands_still(pid) {
        ensure!(Instant::now() < end, "process {pid} does not stand still");
        pause(LOOK_EVERY);
    }
    Ok(())
}

fn signal(pid: u32, signal: Signal) -> anyhow::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    kill_process(pid.context("no such process id")?, signal)?;
    Ok(())
}

/// Returns ports that were free a moment ago.
fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    let listeners: Vec<TcpListener> = (0..N)
        .map(|_| TcpListener::bind(http::local(0)))
        .collect::<Result<_, _>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}
