//! A registry that speaks as MLflow does, as far as a server asks, and errs when it is told to.

use serde_json::{Value, json};

use super::fake::{Fake, Manner};
use super::{MLMODEL, description};

/// Where its interface lies.
const API: &str = "/api/2.0/mlflow";
const ARTIFACTS: &str = "/api/2.0/mlflow-artifacts/artifacts";
/// What is asked for every registered model.
pub const ABOUT: &str = "/api/2.0/mlflow/registered-models/get";
/// What is asked to see whether it is there.
pub const SEARCH: &str = "/api/2.0/mlflow/registered-models/search";

/// The registry, with one model of the name `surface`.
pub struct Registry {
    pub fake: Fake,
}

// === impl Registry ===

impl Registry {
    pub fn start() -> Self {
        let registry = Self {
            fake: Fake::start(),
        };
        registry.say(SEARCH, &json!({"registered_models": []}));
        registry
    }

    /// Registers a version with this graph and points `champion` to it; returns the graph's path.
    pub fn publish(&self, version: u64, graph: &[u8]) -> String {
        let path = self.prepare(version, graph);
        self.point(version);
        path
    }

    /// Registers a version to which nothing points yet.
    pub fn prepare(&self, version: u64, graph: &[u8]) -> String {
        let description = description();
        let files = [
            ("MLmodel", MLMODEL.as_bytes()),
            ("model.onnx", graph),
            ("model.toml", &description),
        ];
        let listed = files.map(|(name, content)| {
            let path = format!("{ARTIFACTS}/1/{version}/{name}");
            self.fake.put(&path, content, &format!("{version}-{name}"));
            json!({"path": name, "is_dir": false, "file_size": content.len()})
        });
        self.say(ARTIFACTS, &json!({ "files": listed }));
        let place = format!("mlflow-artifacts:/1/{version}");
        let download = format!("{API}/model-versions/get-download-uri");
        self.say(&download, &json!({ "artifact_uri": place }));
        format!("{ARTIFACTS}/1/{version}/model.onnx")
    }

    /// Points `champion` to a version.
    pub fn point(&self, version: u64) {
        let of_version = json!({
            "name": "surface", "version": version.to_string(), "current_stage": "None",
            "status": "READY", "run_id": format!("run-{version}"), "creation_timestamp": version,
        });
        self.say(
            ABOUT,
            &json!({"registered_model": {
                "name": "surface",
                "latest_versions": [of_version],
                "aliases": [{"alias": "champion", "version": version.to_string()}],
            }}),
        );
    }

    fn say(&self, path: &str, answer: &Value) {
        self.fake.put(path, answer.to_string().as_bytes(), "said");
    }

    /// Has it answer everything that is asked of the registry itself in this manner.
    pub fn answer(&self, manner: &Manner) {
        for path in [ABOUT, SEARCH] {
            self.fake.handle(path, manner.clone());
        }
    }
}
