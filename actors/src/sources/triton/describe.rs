//! From what is written to what it means here.
//!
//! One pass over the keys of the message, one function for each that means something. Keys that
//! mean nothing here are lines; the words for them say what happens instead.

mod scheduling;
mod tensors;
mod warm_up;

use impetus_engine::Provider;

use super::mapping::{Key, Notes};
use super::tree::Message;
use crate::serving::description::{Description, VersionPolicy};

/// Why the model is one that cannot be loaded.
const NOT_SERVED: &str = "only ONNX models that ONNX Runtime executes are served here";
/// What a key without a meaning here comes to.
const NOT_UNDERSTOOD: &str = "is not understood and does nothing";
/// What comes of asking for more of an accelerator than which it is.
const NO_GPU: &str = "does nothing: `runtime` in the server's configuration says how a GPU is used";

/// A description in the making.
pub(super) struct Describing<'n> {
    /// The name of the model's folder.
    name: &'n str,
    notes: Notes,
    description: Description,
    /// `max_batch_size`, if it is stated.
    max_batch: Option<(usize, Key<'n>)>,
    hardware: Hardware,
}

/// What it is to run on, as far as that is stated.
#[derive(Default)]
struct Hardware {
    cpu: bool,
    gpu: bool,
    accelerators: Vec<Provider>,
}

// === impl Describing ===

impl<'n> Describing<'n> {
    pub(super) fn new(stated_in: &'static str, name: &'n str) -> Self {
        let mut description = Description::default();
        description.expects.stated_in = stated_in.to_owned();
        Self {
            name,
            notes: Notes::new(stated_in),
            description,
            max_batch: None,
            hardware: Hardware::default(),
        }
    }

    pub(super) fn run(mut self, tree: &'n Message) -> Result<Description, String> {
        let keys = Key::all(tree)?;
        // What shapes mean depends on this one, wherever it stands.
        for key in &keys {
            if key.name() == "max_batch_size" {
                self.max_batch = Some((key.count()?, key.clone()));
            }
        }
        self.rows(&keys);
        for key in &keys {
            self.key(key)?;
        }
        let Self {
            notes,
            mut description,
            hardware,
            ..
        } = self;
        description.providers = hardware.providers();
        description.notes = notes.into_lines();
        match description.problem() {
            Some(problem) => Err(problem),
            None => Ok(description),
        }
    }

    fn key(&mut self, key: &Key<'_>) -> Result<(), String> {
        match key.name() {
            "name" => self.check_name(key)?,
            "platform" => runs_here(key, &["", "onnxruntime_onnx"])?,
            "backend" => runs_here(key, &["", "onnxruntime"])?,
            // Read before all others.
            "max_batch_size" => {}
            "version_policy" => self.description.versions = versions(key)?,
            "input" => self.input(key)?,
            "output" => self.output(key)?,
            "instance_group" => self.instances(key)?,
            "dynamic_batching" => self.dynamic_batching(key)?,
            "model_warmup" => self.warm_up(key)?,
            "default_model_filename" => match key.text()? {
                "" => {}
                file => self.description.file = Some(file.to_owned()),
            },
            "parameters" => self.parameter(key)?,
            "ensemble_scheduling" => {
                return key.cannot("an ensemble is no model of its own, and is not served here");
            }
            "sequence_batching" => {
                return key.cannot("requests that belong to a sequence are not served here");
            }
            "model_transaction_policy" => self.transactions(key)?,
            "optimization" => self.optimization(key)?,
            _ => self.without_meaning(key)?,
        }
        Ok(())
    }

    /// Adds the lines about a key that has no meaning here.
    fn without_meaning(&mut self, key: &Key<'_>) -> Result<(), String> {
        match key.name() {
            "response_cache" => {
                self.unless_false(key, "does nothing: no answer is kept, every request is run")?;
            }
            "model_repository_agents" => {
                self.notes
                    .unused(key, "does nothing: no agent touches the files");
            }
            "batch_input" | "batch_output" => {
                self.notes
                    .unused(key, "does nothing: inputs are what requests give");
            }
            "metric_tags" | "model_metrics" => {
                self.notes
                    .unused(key, "does nothing: metrics have labels of their own");
            }
            "cc_model_filenames" => self.notes.unused(key, NO_GPU),
            _ => self.notes.unused(key, NOT_UNDERSTOOD),
        }
        Ok(())
    }

    fn check_name(&self, key: &Key<'_>) -> Result<(), String> {
        match key.text()? {
            name if name.is_empty() || name == self.name => Ok(()),
            name => key.cannot(&format!(
                "it says {name:?}, but its folder is {:?}: make them the same",
                self.name
            )),
        }
    }

    /// Takes the graph's first dimension for rows, or not. Whoever states neither inputs nor a size
    /// leaves that to the server, there as here.
    fn rows(&mut self, keys: &[Key<'_>]) {
        let states_tensors = || {
            keys.iter()
                .any(|key| matches!(key.name(), "input" | "output"))
        };
        match &self.max_batch {
            Some((0, _)) => self.one_by_one(),
            Some((rows, key)) => {
                if *rows > scheduling::MOST_ROWS {
                    let most = scheduling::MOST_ROWS;
                    self.notes.add(
                        key,
                        &format!("is taken for {most}, the most rows of a batch"),
                    );
                }
                let rows = (*rows).min(scheduling::MOST_ROWS);
                self.description.batching.max_rows = Some(rows);
                self.description.stackable = Some(true);
                self.description.expects.rows_in_front = true;
            }
            None if states_tensors() => self.one_by_one(),
            None => {}
        }
    }

    fn one_by_one(&mut self) {
        self.description.batching.max_rows = Some(1);
        self.description.stackable = Some(false);
    }

    fn transactions(&mut self, key: &Key<'_>) -> Result<(), String> {
        for key in key.keys()? {
            match key.name() {
                "decoupled" if key.truth()? => {
                    return key.cannot("a request has exactly one answer here");
                }
                "decoupled" => {}
                _ => self.notes.unused(&key, NOT_UNDERSTOOD),
            }
        }
        Ok(())
    }

    fn optimization(&mut self, key: &Key<'_>) -> Result<(), String> {
        for key in key.keys()? {
            match key.name() {
                "graph" => self.notes.unused(
                    &key,
                    "does nothing: every graph is optimized as far as it can be",
                ),
                "priority" => self
                    .notes
                    .unused(&key, "does nothing: see `share` in model.toml"),
                "execution_accelerators" => self.accelerators(&key)?,
                "cuda"
                | "input_pinned_memory"
                | "output_pinned_memory"
                | "gather_kernel_buffer_threshold" => self.notes.unused(&key, NO_GPU),
                "eager_batching" => self.unless_false(
                    &key,
                    "does nothing: a batch is put together when a worker takes it",
                )?,
                _ => self.notes.unused(&key, NOT_UNDERSTOOD),
            }
        }
        Ok(())
    }

    /// Providers that are to be tried before others.
    fn accelerators(&mut self, key: &Key<'_>) -> Result<(), String> {
        for accelerator in key.keys()? {
            for key in accelerator.keys()? {
                let known = match (key.name(), key.text()) {
                    ("name", Ok(name)) => name.parse().ok().filter(|one| *one != Provider::Cpu),
                    _ => None,
                };
                match known {
                    Some(provider) if !self.hardware.accelerators.contains(&provider) => {
                        self.hardware.accelerators.push(provider);
                    }
                    Some(_) => {}
                    None => self.notes.unused(&key, NO_GPU),
                }
            }
        }
        Ok(())
    }

    /// Threads of a run; what else is set there belongs to another program.
    fn parameter(&mut self, key: &Key<'_>) -> Result<(), String> {
        let Entry { key: name, value } = entry(key)?;
        let mut values = match &value {
            Some(value) => value.keys()?,
            None => Vec::new(),
        };
        values.retain(|value| value.name() == "string_value");
        let path = format!("parameters.{name}");
        let (Some(value), "intra_op_thread_count") = (values.pop(), name.as_str()) else {
            let key = Key {
                path,
                ..key.clone()
            };
            self.notes
                .add(&key, "does nothing: this server has no such parameter");
            return Ok(());
        };
        let value = Key { path, ..value };
        match value.count()? {
            // There it leaves the number to the runtime, here to the configuration.
            0 => {}
            threads => self.description.threads = Some(threads),
        }
        Ok(())
    }

    /// Adds a line unless the key, or every one in it, says no.
    fn unless_false(&mut self, key: &Key<'_>, means: &str) -> Result<(), String> {
        if let super::tree::Value::Message(_) = key.field.value {
            for key in key.keys()? {
                self.unless_false(&key, means)?;
            }
        } else if key.truth().unwrap_or(true) {
            self.notes.unused(key, means);
        }
        Ok(())
    }
}

// === impl Hardware ===

impl Hardware {
    /// Returns the order in which providers are tried: what is asked for, and the CPU behind it, where
    /// operators run that an accelerator lacks. `None` where nothing is said.
    fn providers(self) -> Option<Vec<Provider>> {
        let Self {
            cpu,
            gpu,
            accelerators: mut order,
        } = self;
        if gpu && !order.contains(&Provider::Cuda) {
            order.push(Provider::Cuda);
        }
        if !cpu && order.is_empty() {
            return None;
        }
        order.push(Provider::Cpu);
        Some(order)
    }
}

/// An entry of a map.
struct Entry<'a> {
    key: String,
    value: Option<Key<'a>>,
}

fn entry<'a>(key: &Key<'a>) -> Result<Entry<'a>, String> {
    let mut entry = Entry {
        key: String::new(),
        value: None,
    };
    for part in key.keys()? {
        match part.name() {
            "key" => {
                entry.key = match part.text() {
                    Ok(text) => text.to_owned(),
                    Err(_) => part.whole()?.to_string(),
                }
            }
            "value" => entry.value = Some(part),
            _ => return part.cannot("an entry of a map has a key and a value"),
        }
    }
    Ok(entry)
}

fn runs_here(key: &Key<'_>, known: &[&str]) -> Result<(), String> {
    match known.contains(&key.text()?) {
        true => Ok(()),
        false => key.cannot(&format!("it is {:?}, and {NOT_SERVED}", key.text()?)),
    }
}

fn versions(key: &Key<'_>) -> Result<VersionPolicy, String> {
    let choices = key.keys()?;
    let [choice] = choices.as_slice() else {
        return key.must("be one of latest, all and specific");
    };
    match choice.name() {
        "all" => Ok(VersionPolicy::All),
        "latest" => {
            let keys = choice.keys()?;
            let number = keys.iter().find(|key| key.name() == "num_versions");
            // Nothing and 0 are the same on the wire, and stand for 1.
            let count: u32 = number.map_or(Ok(1), Key::count)?;
            Ok(VersionPolicy::Latest(count.max(1)))
        }
        "specific" => {
            let keys = choice.keys()?;
            let versions = keys.iter().filter(|key| key.name() == "versions");
            let versions: Vec<u64> = versions.map(Key::count).collect::<Result<_, _>>()?;
            match versions.is_empty() {
                true => choice.must("name a version"),
                false => Ok(VersionPolicy::Specific(versions)),
            }
        }
        _ => key.must("be one of latest, all and specific"),
    }
}
