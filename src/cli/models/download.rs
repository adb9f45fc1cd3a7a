//! `impetus models download`: models fetched by hand, here or by a server, under a bar that shows how far
//! they are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use impetus_actors::sources::fetcher::Fetcher;
use impetus_sources::{Location, Progress};
use impetus_supervision::SystemClock;
use serde_json::{Value, json};

use super::render::Standing;
use super::{Failure, Shown, Terminal, WATCH_EVERY, refused};
use crate::cli::fetch::{fetch, post};
use crate::cli::words::one_line;
use crate::cli::{DownloadArgs, ModelsOutput, answered};
use crate::config::{Config, LoadArgs, is_model_name};
use crate::exit::Exit;
use crate::serve::remote_models;

/// How long the speed that is shown looks back.
const SPEED_OVER: Duration = Duration::from_secs(2);

/// One model that is to be fetched.
struct Order {
    name: String,
    source: Location,
}

/// What was shown last, and when.
struct Bar<'a, 'b> {
    name: String,
    terminal: &'a mut Terminal<'b>,
    /// Bytes that were there at a moment not long ago.
    since: Option<(Instant, u64)>,
    speed: f64,
    drawn: bool,
}

/// Runs the command.
pub(super) fn download(
    args: &DownloadArgs,
    env: Vec<(String, String)>,
    terminal: &mut Terminal<'_>,
) -> Shown {
    match &args.url {
        Some(url) => by_server(url, args, terminal),
        None => here(args, env, terminal),
    }
}

/// Fetches into the cache of the configuration.
fn here(args: &DownloadArgs, env: Vec<(String, String)>, terminal: &mut Terminal<'_>) -> Shown {
    let loaded = Config::load(LoadArgs {
        file: args.config.clone(),
        env,
    })
    .map_err(|error| Failure::Usage(error.to_string()))?;
    let orders = orders(args, &loaded.config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::NotDone(format!("no thread can be started: {error}")))?;
    let told = |error: anyhow::Error| Failure::NotDone(format!("{error:#}"));
    let client = remote_models::client(&loaded.config).map_err(told)?;
    let fetcher = remote_models::fetcher(&loaded.config, client, Arc::new(SystemClock::new()));
    let mut done = Vec::new();
    for order in orders {
        let fetched = runtime.block_on(one(&fetcher, &order, args.timeout.get(), terminal))?;
        if args.output == ModelsOutput::Table {
            let (name, version) = (&order.name, fetched["version"].as_str().unwrap_or_default());
            let path = fetched["path"].as_str().unwrap_or_default();
            let written = writeln!(terminal.out, "{name} version {version} is in {path}");
            if written.is_err() {
                return Ok(answered(written, Exit::Clean));
            }
        }
        done.push(fetched);
    }
    let written = match args.output {
        ModelsOutput::Json => writeln!(terminal.out, "{:#}", json!({"downloaded": done})),
        ModelsOutput::Table => Ok(()),
    };
    Ok(answered(written, Exit::Clean))
}

/// Fetches one model.
async fn one(
    fetcher: &Fetcher,
    order: &Order,
    within: Duration,
    terminal: &mut Terminal<'_>,
) -> Result<Value, Failure> {
    let failed = |problem: String| Failure::NotDone(format!("{}: {problem}", order.name));
    let progress = Progress::default();
    let mut bar = Bar::new(&order.name, terminal);
    let fetching = async {
        let version = fetcher
            .look(&order.source)
            .await
            .map_err(|p| p.to_string())?;
        let fetched = fetcher
            .fetch(&order.name, &order.source, &version, &progress)
            .await;
        let good = fetched.map_err(|p| p.to_string())?;
        Ok::<_, String>((version, good))
    };
    let mut fetching = std::pin::pin!(tokio::time::timeout(within, fetching));
    let mut redraw = tokio::time::interval(WATCH_EVERY);
    let fetched = loop {
        tokio::select! {
            fetched = &mut fetching => break fetched,
            _ = redraw.tick() => bar.draw(standing(&progress)),
        }
    };
    bar.end(standing(&progress));
    let too_long = |_| {
        failed(format!(
            "it took longer than {} s; what has come is kept, and the next attempt goes on with it",
            within.as_secs()
        ))
    };
    let (version, good) = fetched.map_err(too_long)?.map_err(failed)?;
    Ok(json!({
        "name": order.name,
        "source": order.source.shown(),
        "version": version.label(),
        "path": good.path,
        "bytes": good.found.bytes(),
    }))
}

/// Has a server fetch, and watches.
fn by_server(url: &str, args: &DownloadArgs, terminal: &mut Terminal<'_>) -> Shown {
    let [source] = args.sources.as_slice() else {
        let reason = "name the one source that the server is to fetch";
        return Err(Failure::Usage(reason.to_owned()));
    };
    let until = Instant::now() + args.timeout.get();
    let left = || {
        until
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1))
    };
    let order = json!({"source": source, "name": args.name});
    let answer = post(url, "/api/models/download", &order, left())?;
    let begun = answer.body.as_ref().filter(|_| answer.code == 202);
    let Some(id) = begun.and_then(|download| download["id"].as_u64()) else {
        return Err(refused(answer, "downloads"));
    };
    let name = one_line(begun.and_then(|d| d["name"].as_str()).unwrap_or_default());
    let mut bar = Bar::new(&name, terminal);
    let ended = loop {
        let answer = fetch(url, "/api/models/downloads", &[], left())?;
        let all = answer
            .body
            .as_ref()
            .and_then(|list| list["downloads"].as_array());
        let Some(now) = all
            .and_then(|all| all.iter().find(|d| d["id"] == id))
            .cloned()
        else {
            return Err(refused(answer, "downloads"));
        };
        if !now["ended"].is_null() {
            break now;
        }
        if Instant::now() >= until {
            bar.end(told(&now));
            let reason = format!(
                "{name} is not here yet; it goes on, and `impetus models list` says how far it is"
            );
            return Err(Failure::NotDone(reason));
        }
        bar.draw(told(&now));
        pause(WATCH_EVERY);
    };
    bar.end(told(&ended));
    if ended["state"] != "done" {
        let reason = ended["reason"].as_str().unwrap_or_default();
        return Err(Failure::NotDone(format!("{name}: {}", one_line(reason))));
    }
    let written = match args.output {
        ModelsOutput::Json => writeln!(terminal.out, "{ended:#}"),
        ModelsOutput::Table => {
            let version = one_line(ended["version"].as_str().unwrap_or_default());
            writeln!(terminal.out, "{name} version {version} has been fetched")
        }
    };
    Ok(answered(written, Exit::Clean))
}

/// Waits until the server is to be asked again.
#[expect(
    clippy::disallowed_methods,
    reason = "a command has one thread, and nothing else to do"
)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Returns what is to be fetched: what the command line names, or what the configuration does.
fn orders(args: &DownloadArgs, config: &Config) -> Result<Vec<Order>, Failure> {
    let usage = |reason: String| Err(Failure::Usage(reason));
    if args.name.is_some() && args.sources.len() != 1 {
        return usage("--name is for one source".to_owned());
    }
    let named: Vec<(Option<String>, &String)> = match args.sources.is_empty() {
        false => args
            .sources
            .iter()
            .map(|s| (args.name.clone(), s))
            .collect(),
        true => {
            let remote = config.models.remote.iter();
            remote
                .map(|(name, source)| (Some(name.clone()), source))
                .collect()
        }
    };
    if named.is_empty() {
        return usage(
            "there is nothing to fetch: name a source, or set models.remote in the configuration"
                .to_owned(),
        );
    }
    let mut orders = Vec::new();
    for (name, source) in named {
        let source: Location = match source.parse() {
            Ok(source) => source,
            Err(error) => return usage(format!("{error}")),
        };
        if matches!(source, Location::Registry(_)) && config.registry.url.is_empty() {
            return usage(format!(
                "{source} is a model of a registry: set registry.url"
            ));
        }
        let name = name.unwrap_or_else(|| source.usual_name());
        if !is_model_name(&name) {
            return usage(format!(
                "{name:?} is not a name for a model: give one with --name"
            ));
        }
        orders.push(Order { name, source });
    }
    Ok(orders)
}

fn standing(progress: &Progress) -> Standing {
    let now = progress.now();
    Standing {
        bytes_done: now.bytes_done,
        bytes_total: now.bytes_in_all.unwrap_or_default(),
        speed: 0.0,
        note: match now.retries {
            0 => String::new(),
            retries => format!("tried again {retries} times"),
        },
    }
}

fn told(download: &Value) -> Standing {
    Standing {
        bytes_done: download["bytes_done"].as_u64().unwrap_or_default(),
        bytes_total: download["bytes_total"].as_u64().unwrap_or_default(),
        speed: 0.0,
        note: one_line(download["reason"].as_str().unwrap_or_default()),
    }
}

// === impl Bar ===

impl<'a, 'b> Bar<'a, 'b> {
    fn new(name: &str, terminal: &'a mut Terminal<'b>) -> Self {
        Self {
            name: name.to_owned(),
            terminal,
            since: None,
            speed: 0.0,
            drawn: false,
        }
    }

    /// Shows how far it is, over what was shown before; nothing where nobody sits in front of it.
    fn draw(&mut self, mut standing: Standing) {
        if !self.terminal.is_terminal {
            return;
        }
        let now = Instant::now();
        let (since, before) = *self.since.get_or_insert((now, standing.bytes_done));
        let passed = now - since;
        if passed >= WATCH_EVERY {
            let came = standing.bytes_done.saturating_sub(before);
            self.speed = came as f64 / passed.as_secs_f64();
        }
        if passed >= SPEED_OVER {
            self.since = Some((now, standing.bytes_done));
        }
        standing.speed = self.speed;
        let line = standing.line(&self.name, self.terminal.width);
        // The command goes on without its bar.
        let _ = write!(self.terminal.err, "\r\x1b[2K{line}");
        let _ = self.terminal.err.flush();
        self.drawn = true;
    }

    fn end(&mut self, standing: Standing) {
        if self.drawn {
            self.draw(standing);
            let _ = writeln!(self.terminal.err);
        }
    }
}
