//! Versions that come and go, with workers that are only said to be ready.

use std::fs;
use std::time::Instant;

use futures_util::FutureExt;
use impetus_engine::Tensor;

use super::*;
use crate::serving::testing::{ROW, commons, fail, limits, load};
use crate::serving::{Catalog, Protocol, Request, ServeError};
use crate::sources::folder::{Found, scan};

/// A folder with one model, and what stands of it.
struct World {
    dir: tempfile::TempDir,
    catalog: Arc<Catalog>,
}

// === impl World ===

impl World {
    fn new(files: &[(&str, &str)]) -> Self {
        let world = Self {
            dir: tempfile::tempdir().unwrap(),
            catalog: Arc::default(),
        };
        for (path, content) in files {
            world.put(path, content);
        }
        world
    }

    fn put(&self, path: &str, content: &str) {
        let path = self.dir.path().join("m").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn remove(&self, path: &str) {
        fs::remove_dir_all(self.dir.path().join("m").join(path)).unwrap();
    }

    /// Looks at the folder, as the loader does; returns what ends at once.
    fn look(&self) -> Vec<String> {
        let found = scan(self.dir.path()).unwrap();
        let wanted: Vec<Wanted> = found.iter().flat_map(Found::wanted).collect();
        let entries = self.catalog.entries();
        let existing = entries.get("m").map(Arc::as_ref);
        let change = Change::between(existing, wanted, |wanted, other| match other {
            Some(other) => ServedModel::beside(wanted, limits(), other),
            None => ServedModel::new(wanted, limits(), commons()),
        });
        self.catalog.publish(ModelEntry::of(change.standing));
        labels(&change.ended)
    }

    /// Lets whoever is ready take over; returns who retires.
    fn turn(&self) -> Vec<String> {
        let entries = self.catalog.entries();
        labels(&Turn::of(&entries["m"]).retired)
    }

    fn model(&self, label: &str) -> Arc<ServedModel> {
        let entries = self.catalog.entries();
        let mut versions = entries["m"].versions().iter();
        let is = |model: &&Arc<ServedModel>| model.spec().label() == label;
        Arc::clone(versions.find(is).unwrap_or_else(|| panic!("no {label}")))
    }

    fn chosen(&self) -> String {
        let route = self.catalog.route(Some("m"), None).unwrap();
        route.model().spec().label()
    }

    fn standing(&self) -> Vec<String> {
        labels(self.catalog.entries()["m"].versions())
    }
}

fn labels(models: &[Arc<ServedModel>]) -> Vec<String> {
    models.iter().map(|model| model.spec().label()).collect()
}

fn request() -> Request {
    let inputs = vec![Tensor::from_f32("x", vec![1, ROW], &[1.0; ROW]).unwrap()];
    let deadline = Instant::now() + std::time::Duration::from_secs(3600);
    Request::new(inputs, deadline, Protocol::Predict)
}

#[test]
fn a_new_version_is_loaded_beside_the_old_one_and_takes_over_when_it_is_ready() {
    let world = World::new(&[("1/model.onnx", "x")]);
    world.look();
    load(&world.model("m@1"));
    world.put("2/model.onnx", "xx");
    assert!(world.look().is_empty());
    assert_eq!(world.standing(), ["m@1", "m@2"]);
    assert_eq!(world.model("m@2").standing(), Standing::Incoming);
    assert!(world.turn().is_empty());
    assert_eq!(world.chosen(), "m@1");
    load(&world.model("m@2"));
    assert_eq!(world.turn(), ["m@1"]);
    assert_eq!(world.chosen(), "m@2");
    assert!(matches!(
        world.catalog.route(Some("m"), Some("1")),
        Err(ServeError::UnknownVersion { there_are, .. }) if there_are == ["2"]
    ));
}

#[test]
fn a_new_version_that_fails_leaves_the_old_one_serving_until_it_is_mended() {
    let world = World::new(&[("1/model.onnx", "x")]);
    world.look();
    load(&world.model("m@1"));
    world.put("2/model.onnx", "broken");
    world.look();
    fail(&world.model("m@2"), 0, 1);
    assert!(world.turn().is_empty());
    world.look();
    assert_eq!(world.chosen(), "m@1");
    world.put("2/model.onnx", "mended now");
    assert_eq!(world.look(), ["m@2"]);
    load(&world.model("m@2#2"));
    assert_eq!(world.turn(), ["m@1"]);
    assert_eq!(world.chosen(), "m@2#2");
}

#[test]
fn a_file_that_changes_is_loaded_anew_beside_itself() {
    let world = World::new(&[("model.onnx", "x")]);
    world.look();
    load(&world.model("m"));
    world.put("model.onnx", "other weights");
    world.look();
    assert_eq!(world.standing(), ["m", "m#2"]);
    assert_eq!(world.chosen(), "m");
    load(&world.model("m#2"));
    assert_eq!(world.turn(), ["m"]);
    assert_eq!(world.chosen(), "m#2");
}

#[test]
fn what_does_not_serve_is_replaced_at_once() {
    let world = World::new(&[("model.onnx", "broken")]);
    world.look();
    fail(&world.model("m"), 0, 1);
    world.put("model.onnx", "mended");
    assert_eq!(world.look(), ["m"]);
    assert_eq!(world.standing(), ["m#2"]);
    assert_eq!(world.model("m#2").standing(), Standing::Serving);
}

#[test]
fn a_version_whose_folder_is_gone_serves_until_another_one_does() {
    let world = World::new(&[("1/model.onnx", "x")]);
    world.look();
    load(&world.model("m@1"));
    world.put("2/model.onnx", "xx");
    world.remove("1");
    world.look();
    assert!(world.turn().is_empty());
    assert_eq!(world.chosen(), "m@1");
    load(&world.model("m@2"));
    assert_eq!(world.turn(), ["m@1"]);
}

#[test]
fn a_lower_version_can_take_the_place_of_a_higher_one() {
    let world = World::new(&[("1/model.onnx", "x"), ("2/model.onnx", "x")]);
    world.look();
    load(&world.model("m@2"));
    world.put("model.toml", "versions = { specific = [1] }");
    world.look();
    assert_eq!(world.chosen(), "m@2");
    load(&world.model("m@1"));
    assert_eq!(world.turn(), ["m@2"]);
    assert_eq!(world.chosen(), "m@1");
}

#[test]
fn all_versions_are_served_where_all_are_wanted_and_the_newest_that_can_answers() {
    let world = World::new(&[
        ("1/model.onnx", "x"),
        ("2/model.onnx", "x"),
        ("model.toml", "versions = \"all\""),
    ]);
    world.look();
    load(&world.model("m@1"));
    assert!(world.turn().is_empty());
    assert_eq!(world.chosen(), "m@1");
    load(&world.model("m@2"));
    assert!(world.turn().is_empty());
    assert_eq!(world.chosen(), "m@2");
    let pinned = world.catalog.route(Some("m"), Some("1")).unwrap();
    assert_eq!(pinned.model().spec().version, "1");
}

#[test]
fn a_model_that_is_gone_answers_those_inside_and_takes_nobody_else() {
    let world = World::new(&[("1/model.onnx", "x")]);
    world.look();
    let model = world.model("m@1");
    load(&model);
    let inside = model.submit(request()).unwrap();
    world.remove("1");
    assert!(world.look().is_empty());
    assert_eq!(model.standing(), Standing::Retiring);
    assert!(model.submit(request()).is_err());
    assert!(!model.is_empty());
    model.close();
    assert!(inside.now_or_never().unwrap().unwrap().is_err());
    assert!(model.is_empty());
}

#[tokio::test]
async fn a_request_that_comes_to_a_version_at_its_end_is_led_on_unless_it_named_it() {
    let world = World::new(&[("1/model.onnx", "x")]);
    world.look();
    load(&world.model("m@1"));
    let mut free = world.catalog.route(Some("m"), None).unwrap();
    let mut pinned = world.catalog.route(Some("m"), Some("1")).unwrap();
    world.put("2/model.onnx", "xx");
    world.look();
    load(&world.model("m@2"));
    assert_eq!(world.turn(), ["m@1"]);
    let refused = pinned.infer(request()).await.unwrap_err();
    assert!(matches!(refused, ServeError::Unloaded { .. }), "{refused}");
    let led_on = free.infer(request());
    let mut led_on = std::pin::pin!(led_on);
    assert!(led_on.as_mut().now_or_never().is_none());
    assert_eq!(world.model("m@1").queued(), 0);
    assert_eq!(world.model("m@2").queued(), 1);
}
