//! Which of the models that lie in the folder are to be served: by the mode, and by what people have
//! asked for since.
//!
//! Orders outlive the incarnations of the loader. They end with the process: what is served after a
//! start follows from the configuration and the folder alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::serving::description::Description;
use crate::sources::folder::{Found, Wanted};
use crate::sources::shelf::Shelf;

/// When the folder decides what is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Always: what changes there is followed.
    #[default]
    Watch,
    /// At the start; later only for a model that is asked for.
    Startup,
    /// Never: only what is asked for is served.
    Explicit,
}

/// A description that came with an order to load, instead of the one in the folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// What it says.
    pub description: Description,
    /// The words in which it came.
    pub text: Arc<str>,
}

/// What has been asked for.
#[derive(Debug)]
pub(super) struct Orders {
    mode: Mode,
    /// Models that are not to be served although they lie there.
    held_out: BTreeSet<String>,
    /// Models that are to be served whether or not they lie there yet.
    asked: BTreeSet<String>,
    /// What was found of those, as it was when they were asked for.
    taken: BTreeMap<String, Vec<Wanted>>,
    given: BTreeMap<String, Given>,
    looked: bool,
}

// === impl Orders ===

impl Orders {
    /// Begins with the models that the configuration asks for.
    pub(super) fn new(mode: Mode, asked: impl IntoIterator<Item = String>) -> Self {
        Self {
            mode,
            held_out: BTreeSet::new(),
            asked: asked.into_iter().collect(),
            taken: BTreeMap::new(),
            given: BTreeMap::new(),
            looked: false,
        }
    }

    /// Asks for a model, as it lies there when it is next looked for.
    pub(super) fn load(&mut self, name: &str, given: Option<Box<Given>>) {
        self.held_out.remove(name);
        self.taken.remove(name);
        self.asked.insert(name.to_owned());
        match given {
            Some(given) => self.given.insert(name.to_owned(), *given),
            None => self.given.remove(name),
        };
    }

    /// Asks for a model to be gone.
    pub(super) fn unload(&mut self, name: &str) {
        self.held_out.insert(name.to_owned());
        self.taken.remove(name);
        self.asked.remove(name);
        self.given.remove(name);
    }

    /// Returns what is to be served of what lies in the folder `dir`.
    pub(super) fn wanted(&mut self, found: &[Found], dir: &Path) -> Vec<Wanted> {
        let first_look = !std::mem::replace(&mut self.looked, true);
        if self.mode == Mode::Watch {
            let found = found.iter().filter(|f| !self.held_out.contains(&f.name));
            return found.flat_map(|found| self.of(found)).collect();
        }
        if first_look && self.mode == Mode::Startup {
            self.asked.extend(found.iter().map(|f| f.name.clone()));
        }
        for found in found.iter().filter(|f| self.asked.contains(&f.name)) {
            if !self.taken.contains_key(&found.name) {
                let wanted = self.of(found);
                self.taken.insert(found.name.clone(), wanted);
            }
        }
        let missing = self.asked.iter().filter(|a| !self.taken.contains_key(*a));
        let missing = missing.map(|name| Wanted::not_there(name, dir));
        self.taken
            .values()
            .flatten()
            .cloned()
            .chain(missing)
            .collect()
    }

    /// Returns what is to be served of the models that come from elsewhere. They were asked for by name, so
    /// the mode has no part in it.
    pub(super) fn shelved(&self, shelf: &Shelf) -> Vec<Wanted> {
        let mut wanted = shelf.wanted(|found| self.of(found));
        wanted.retain(|wanted| !self.held_out.contains(&wanted.spec.name));
        wanted
    }

    fn of(&self, found: &Found) -> Vec<Wanted> {
        match self.given.get(&found.name) {
            Some(Given { description, text }) => {
                let described = found.clone().described(description.clone(), text);
                described.wanted()
            }
            None => found.wanted(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::sources::folder::scan;

    fn put(dir: &Path, path: &str) {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }

    fn names(orders: &mut Orders, dir: &Path) -> Vec<String> {
        let wanted = orders.wanted(&scan(dir).unwrap(), dir);
        let name = |w: &Wanted| format!("{}/{}", w.spec.name, w.spec.version);
        wanted.iter().map(name).collect()
    }

    #[test]
    fn a_folder_that_is_watched_is_followed_but_for_what_was_taken_out_by_hand() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let mut orders = Orders::new(Mode::Watch, []);
        put(dir, "a/1/model.onnx");
        assert_eq!(names(&mut orders, dir), ["a/1"]);
        put(dir, "a/2/model.onnx");
        put(dir, "b/model.onnx");
        assert_eq!(names(&mut orders, dir), ["a/2", "b/1"]);
        orders.unload("a");
        assert_eq!(names(&mut orders, dir), ["b/1"]);
        orders.load("a", None);
        assert_eq!(names(&mut orders, dir), ["a/2", "b/1"]);
    }

    #[test]
    fn after_the_start_nothing_changes_unless_it_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        put(dir, "a/1/model.onnx");
        let mut orders = Orders::new(Mode::Startup, []);
        assert_eq!(names(&mut orders, dir), ["a/1"]);
        put(dir, "a/2/model.onnx");
        put(dir, "b/model.onnx");
        assert_eq!(names(&mut orders, dir), ["a/1"]);
        orders.load("a", None);
        assert_eq!(names(&mut orders, dir), ["a/2"]);
        orders.unload("a");
        assert!(names(&mut orders, dir).is_empty());
    }

    #[test]
    fn only_what_is_asked_for_is_served_where_everything_is_explicit() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        put(dir, "a/model.onnx");
        put(dir, "b/model.onnx");
        let mut orders = Orders::new(Mode::Explicit, ["later".to_owned()]);
        let wanted = orders.wanted(&scan(dir).unwrap(), dir);
        assert_eq!(wanted.len(), 1);
        let problem = wanted[0].problem.as_ref().unwrap();
        assert!(problem.contains("later"), "{problem}");
        put(dir, "later/7/model.onnx");
        orders.load("b", None);
        assert_eq!(names(&mut orders, dir), ["b/1", "later/7"]);
    }

    #[test]
    fn a_description_given_by_hand_holds_until_the_model_is_loaded_without_one() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        put(dir, "a/1/model.onnx");
        put(dir, "a/2/model.onnx");
        let mut orders = Orders::new(Mode::Watch, []);
        let as_it_lies = orders.wanted(&scan(dir).unwrap(), dir);
        let text = "versions = \"all\"";
        let given = Given {
            description: toml::from_str(text).unwrap(),
            text: text.into(),
        };
        orders.load("a", Some(Box::new(given)));
        let by_hand = orders.wanted(&scan(dir).unwrap(), dir);
        assert_eq!(by_hand.len(), 2);
        assert_ne!(by_hand[1].fingerprint, as_it_lies[0].fingerprint);
        orders.load("a", None);
        assert_eq!(orders.wanted(&scan(dir).unwrap(), dir), as_it_lies);
    }
}
