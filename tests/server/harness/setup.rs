//! How a server is started: its folder, its configuration, its environment.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::{Server, binary, copy_folder, new_agent, processes, repo, runtime_library};

/// How a server is to be started.
pub struct Setup {
    dir: Arc<TempDir>,
    settings: BTreeMap<String, String>,
    env: Vec<(String, String)>,
    prelude: Option<String>,
    wrapper: Vec<String>,
    ports: Option<[u16; 3]>,
}

// === impl Setup ===

impl Setup {
    /// A server with the demo model and a data folder of its own.
    pub fn new() -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let models = dir.path().join("models");
        fs::create_dir(&models).unwrap();
        copy_folder(&repo().join("models/surface"), &models.join("surface"));
        Self::in_dir(dir)
    }

    /// A server whose model folder is empty.
    pub fn without_models() -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        fs::create_dir(dir.path().join("models")).unwrap();
        Self::in_dir(dir)
    }

    /// Adds the chat model, which answers in a few milliseconds a token.
    pub fn with_chat_model(self) -> Self {
        let target = self.dir.path().join("models/tiny-chat");
        copy_folder(&repo().join("models/tiny-chat"), &target);
        self
    }

    /// Replaces the graph of the chat model by the one that never comes back from one of its tokens.
    pub fn with_endless_chat_model(self) -> Self {
        let graph = repo().join("tests/models/endless_chat/model.onnx");
        fs::copy(graph, self.dir.path().join("models/tiny-chat/model.onnx")).unwrap();
        self
    }

    /// Adds one of the models in `tests/models`, with more lines for its description.
    pub fn with_killer(self, name: &str, description: &str) -> Self {
        let target = self.dir.path().join("models").join(name);
        copy_folder(&repo().join("tests/models").join(name), &target);
        let file = target.join("model.toml");
        let own = fs::read_to_string(&file).unwrap();
        // Keys before tables: what is added may be either.
        fs::write(&file, format!("{description}\n{own}")).unwrap();
        self
    }

    /// A server on a folder that another one has used.
    pub fn in_dir(dir: Arc<TempDir>) -> Self {
        let mut setup = Self {
            dir,
            settings: BTreeMap::new(),
            env: Vec::new(),
            prelude: None,
            wrapper: Vec::new(),
            ports: None,
        };
        setup = setup
            .set("faults.enabled", "true")
            .set("lifecycle.lame_duck", "\"100ms\"")
            .set("models.poll_every", "\"200ms\"")
            .set("log_level", "\"info\"")
            // The default is outside the test's folder.
            .set("lifecycle.termination_log", "\"\"");
        setup
    }

    /// Sets a key; the value is TOML.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Sets a variable in the server's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Has a shell run `line` and then become the server.
    pub fn after(mut self, line: &str) -> Self {
        self.prelude = Some(line.to_owned());
        self
    }

    /// Has another program start what would be started.
    pub fn under(mut self, program: &[&str]) -> Self {
        self.wrapper = program.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Has it listen where another one has.
    pub fn on_ports(mut self, ports: [u16; 3]) -> Self {
        self.ports = Some(ports);
        self
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Starts the server and waits until it answers. A port that somebody else has taken since it
    /// was found free is no failure of the server; then others are tried.
    pub fn start(self) -> Server {
        let attempt = |_| {
            let server = self.spawn();
            // Its own word counts: on a port that was taken, somebody else answers.
            let runs = || server.log().contains("server runs");
            server.wait_for("the start or the end", || {
                runs() || processes::has_ended(server.pid())
            });
            if runs() {
                server.wait_for("the first answer", || {
                    server.try_get("/api/health/live").is_some()
                });
                return Some(server);
            }
            server.wait_for_log("impetus: ");
            let log = server.log();
            assert!(log.contains("in use"), "the server has ended:\n{log}");
            None
        };
        (0..5).find_map(attempt).expect("free ports")
    }

    /// Starts the server and waits until it is ready.
    pub fn start_ready(self) -> Server {
        let server = self.start();
        server.wait_ready();
        server
    }

    /// Starts the server and waits for nothing.
    pub fn spawn(&self) -> Server {
        let [port, health_port, grpc_port] = self.ports.unwrap_or_else(free_ports);
        let data = self.dir.path().join("data");
        let models = self.dir.path().join("models");
        let defaults = [
            ("port", port.to_string()),
            ("health.port", health_port.to_string()),
            ("grpc.port", grpc_port.to_string()),
            ("data.dir", toml_text(&data)),
            ("models.dir", toml_text(&models)),
            ("runtime.library", toml_text(&runtime_library())),
            ("log.format", "\"json\"".to_owned()),
        ];
        let mut settings = self.settings.clone();
        for (key, value) in defaults {
            settings.entry(key.to_owned()).or_insert(value);
        }
        let config = self.dir.path().join(format!("config-{port}.toml"));
        fs::write(&config, toml_of(&settings)).unwrap();
        let mut child = self.run(&config);
        let log = Arc::new(Mutex::new(Vec::new()));
        keep_log(child.stderr.take().unwrap(), Arc::clone(&log));
        Server {
            child,
            dir: Arc::clone(&self.dir),
            port,
            health_port,
            grpc_port,
            log,
            agent: new_agent(),
        }
    }

    fn run(&self, config: &Path) -> Child {
        let mut words = self.wrapper.clone();
        if let Some(line) = &self.prelude {
            let script = format!("{line}; exec \"$0\" \"$@\"");
            words.extend(["sh".to_owned(), "-c".to_owned(), script]);
        }
        words.push(binary().to_owned());
        Command::new(&words[0])
            .args(&words[1..])
            .arg("serve")
            .arg("--config")
            .arg(config)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

/// Returns three ports that were free a moment ago, and that no other test of this process gets.
/// They lie below those that the kernel takes for outgoing connections, of which the clients of
/// other tests make many.
pub fn free_ports() -> [u16; 3] {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let bind = |_| {
        // Test runners give each test a process of its own, or all of them one.
        let mine = std::process::id() * 31 + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + u16::try_from(mine % 22_000).unwrap();
        TcpListener::bind(("127.0.0.1", port)).ok()
    };
    let listeners: [TcpListener; 3] =
        std::array::from_fn(|_| (0..1000).find_map(bind).expect("a free port"));
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

fn keep_log(stderr: std::process::ChildStderr, log: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            log.lock().unwrap().push(line);
        }
    });
}

fn toml_text(path: &Path) -> String {
    format!("{:?}", path.to_str().unwrap())
}

/// Writes dotted keys, which TOML takes as they are.
fn toml_of(settings: &BTreeMap<String, String>) -> String {
    settings
        .iter()
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect()
}
