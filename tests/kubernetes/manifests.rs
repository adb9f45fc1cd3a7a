//! What was rendered, as the checks ask about it.

use std::collections::BTreeMap;

use impetus::config::{Config, LoadArgs, Loaded};
use serde_json::Value;

/// All objects of one kustomization.
#[derive(Clone, Debug)]
pub struct Manifests(pub Vec<Value>);

/// Something that runs pods.
#[derive(Clone, Copy, Debug)]
pub struct Workload<'a> {
    pub object: &'a Value,
}

/// The image of the server, without its tag.
const IMAGE: &str = "gerdsenai/impetus-llm-server";

// === impl Manifests ===

impl Manifests {
    /// Returns the objects of a kind.
    pub fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(move |object| object["kind"] == kind)
    }

    /// Returns everything that runs pods.
    pub fn workloads(&self) -> Vec<Workload<'_>> {
        let runs_pods = |object: &&Value| object.pointer("/spec/template/spec").is_some();
        self.0
            .iter()
            .filter(runs_pods)
            .map(|object| Workload { object })
            .collect()
    }

    /// Returns what runs Impetus.
    pub fn servers(&self) -> Vec<Workload<'_>> {
        let all = self.workloads().into_iter();
        all.filter(|workload| workload.server().is_some()).collect()
    }

    /// Returns the workloads whose pods a label selector means.
    pub fn selected<'a>(&'a self, selector: &Value) -> Vec<Workload<'a>> {
        let all = self.workloads().into_iter();
        all.filter(|workload| selects(selector, &workload.labels()))
            .collect()
    }

    /// Returns whether there is an object of this kind and name.
    pub fn has(&self, kind: &str, name: &str) -> bool {
        self.of(kind)
            .any(|object| object["metadata"]["name"] == name)
    }
}

// === impl Workload ===

impl<'a> Workload<'a> {
    /// Returns what to call it: `StatefulSet/impetus-llm-server`.
    pub fn name(&self) -> String {
        name_of(self.object)
    }

    pub fn pod(&self) -> &'a Value {
        &self.object["spec"]["template"]["spec"]
    }

    /// Returns the labels of its pods.
    pub fn labels(&self) -> BTreeMap<String, String> {
        pairs(&self.object["spec"]["template"]["metadata"]["labels"])
    }

    pub fn containers(&self) -> Vec<&'a Value> {
        let pod = self.pod();
        list(&pod["initContainers"])
            .iter()
            .chain(list(&pod["containers"]))
            .collect()
    }

    /// Returns the container that runs Impetus.
    pub fn server(&self) -> Option<&'a Value> {
        self.containers().into_iter().find(|container| {
            let image = text(&container["image"]);
            image == IMAGE
                || image
                    .strip_prefix(IMAGE)
                    .is_some_and(|rest| rest.starts_with(':'))
        })
    }

    /// Returns the names of the claims that each pod gets for itself.
    pub fn claim_templates(&self) -> Vec<&'a str> {
        list(&self.object["spec"]["volumeClaimTemplates"])
            .iter()
            .map(|claim| text(&claim["metadata"]["name"]))
            .collect()
    }

    /// Loads the configuration that Impetus has in this pod.
    pub fn loaded(&self) -> Result<Loaded, String> {
        let env = self.server().map(variables).unwrap_or_default();
        Config::load(LoadArgs { file: None, env }).map_err(|error| error.to_string())
    }

    /// Returns that configuration if it is sound; that it is one is a check of its own.
    pub fn config(&self) -> Option<Config> {
        self.server()?;
        self.loaded().ok().map(|loaded| loaded.config)
    }
}

/// Returns what to call an object: `Service/impetus-llm-service`.
pub fn name_of(object: &Value) -> String {
    format!(
        "{}/{}",
        text(&object["kind"]),
        text(&object["metadata"]["name"])
    )
}

/// Returns a container's variables. A value from elsewhere counts as empty.
pub fn variables(container: &Value) -> Vec<(String, String)> {
    list(&container["env"])
        .iter()
        .map(|entry| {
            let value = text(&entry["value"]);
            (text(&entry["name"]).to_owned(), value.to_owned())
        })
        .collect()
}

/// Returns the items of a list; none where there is no list.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Returns a text; an empty one where there is none.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Returns a table of texts.
pub fn pairs(value: &Value) -> BTreeMap<String, String> {
    let entries = value.as_object().into_iter().flatten();
    entries
        .map(|(key, value)| (key.clone(), text(value).to_owned()))
        .collect()
}

/// Returns whether a label selector means these labels. One that asks nothing means all.
pub fn selects(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    let by_label = pairs(&selector["matchLabels"])
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value));
    let by_expression = list(&selector["matchExpressions"])
        .iter()
        .all(|expression| {
            let value = labels.get(text(&expression["key"]));
            let listed = value.is_some_and(|value| {
                list(&expression["values"])
                    .iter()
                    .any(|one| one == value.as_str())
            });
            match text(&expression["operator"]) {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                other => panic!("{other} is no operator of a label selector"),
            }
        });
    by_label && by_expression
}

/// Returns the number of a container's port by its name or number, if the container has it.
pub fn port_of(container: &Value, wanted: &Value) -> Option<u64> {
    list(&container["ports"])
        .iter()
        .find(|port| match wanted {
            Value::String(name) => port["name"] == name.as_str(),
            number => &port["containerPort"] == number,
        })
        .and_then(|port| port["containerPort"].as_u64())
}

/// Returns the least number of pods that a workload keeps: its replicas, or its autoscaler's minimum.
pub fn least_replicas(manifests: &Manifests, workload: &Workload<'_>) -> u64 {
    let own = workload.object["spec"]["replicas"].as_u64();
    let scaled = manifests
        .of("HorizontalPodAutoscaler")
        .find(|scaler| name_of(&target(scaler)) == workload.name());
    match scaled {
        Some(scaler) => scaler["spec"]["minReplicas"].as_u64().unwrap_or(1),
        None => own.unwrap_or(1),
    }
}

/// Returns what an autoscaler scales, in the form of an object.
pub fn target(scaler: &Value) -> Value {
    let reference = &scaler["spec"]["scaleTargetRef"];
    serde_json::json!({
        "apiVersion": reference["apiVersion"],
        "kind": reference["kind"],
        "metadata": {"name": reference["name"]},
    })
}
