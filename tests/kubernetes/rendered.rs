//! Every kustomization as it stands: it renders, is valid, and has nothing that a check finds.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::checks::{self, ALL};
use crate::manifests::{Manifests, list, text, variables};
use crate::render::{self, kustomizations, manifests, read, repo, validate};

/// Kinds of the Prometheus operator, whose schemas are not Kubernetes' own.
const OPERATOR: [&str; 2] = ["PodMonitor", "PrometheusRule"];

#[test]
fn every_kustomization_is_known_and_every_component_is_used() {
    let expected = [
        "base",
        "monitoring",
        "overlays/production",
        "overlays/split",
    ];
    assert_eq!(kustomizations("Kustomization"), expected);
    let files = kustomizations("Kustomization").into_iter().map(|folder| {
        fs::read_to_string(repo().join("k8s").join(folder).join("kustomization.yaml")).unwrap()
    });
    let all: String = files.collect();
    for component in kustomizations("Component") {
        assert!(
            all.contains(&component),
            "nobody uses {component}, so nobody tests it"
        );
    }
}

#[test]
fn every_kustomization_is_valid_by_the_strict_schemas() {
    for folder in kustomizations("Kustomization") {
        let read = validate(&render::yaml(&folder));
        assert!(!read.documents.is_empty(), "{folder} renders nothing");
        assert_eq!(read.problems, Vec::<String>::new(), "{folder}");
        for kind in read.unknown {
            assert!(
                OPERATOR.contains(&kind.as_str()),
                "{folder}: {kind} has no schema"
            );
        }
    }
}

#[test]
fn a_field_that_kubernetes_does_not_know_is_found() {
    let slip = render::yaml("base").replace("failureThreshold", "failureTreshold");
    let found = validate(&slip).problems.join("\n");
    assert!(found.contains("failureTreshold"), "{found}");
}

/// Runs every check over a kustomization.
fn sound(folder: &str, exempt: &[&str]) {
    let manifests = manifests(folder);
    for (name, check) in ALL {
        if !exempt.contains(&name) {
            assert_eq!(check(&manifests), Vec::<String>::new(), "{folder}: {name}");
        }
    }
}

#[test]
fn the_base_passes_every_check_but_the_one_on_its_imposed_tag() {
    sound("base", &["images"]);
    let found = checks::run("images", &manifests("base"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("gerdsenai/impetus-llm-server:latest"));
}

#[test]
fn the_split_overlay_passes_every_check() {
    sound("overlays/split", &[]);
}

#[test]
fn the_production_overlay_passes_every_check() {
    sound("overlays/production", &[]);
}

#[test]
fn the_monitoring_passes_every_check() {
    sound("monitoring", &[]);
}

#[test]
fn the_base_has_every_field_that_was_asked_for() {
    let asked =
        fs::read_to_string(repo().join("tests/kubernetes/fixtures/asked-for.yaml")).unwrap();
    let base = manifests("base");
    let Manifests(asked) = read(&asked);
    assert_eq!(asked.len(), 3);
    for object in &asked {
        let kind = text(&object["kind"]);
        let name = &object["metadata"]["name"];
        let own = base.of(kind).find(|own| own["metadata"]["name"] == *name);
        let mut missing = Vec::new();
        compare(kind, object, own.unwrap_or(&Value::Null), &mut missing);
        assert_eq!(missing, Vec::<String>::new());
    }
}

/// Notes where one value lacks what another has. Items of lists are told apart by their names.
fn compare(place: &str, asked: &Value, own: &Value, missing: &mut Vec<String>) {
    match asked {
        Value::Object(fields) => {
            for (field, asked) in fields {
                compare(&format!("{place}.{field}"), asked, &own[field], missing);
            }
        }
        Value::Array(items) => {
            for (position, asked) in items.iter().enumerate() {
                let same = |one: &&Value| match &asked["name"] {
                    Value::Null => *one == asked,
                    name => one["name"] == *name,
                };
                let own = list(own).iter().find(same).unwrap_or(&Value::Null);
                compare(&format!("{place}[{position}]"), asked, own, missing);
            }
        }
        scalar if scalar == own => {}
        scalar => missing.push(format!("{place} is {own} instead of {scalar}")),
    }
}

#[test]
fn the_committed_production_deployment_is_the_rendered_split_overlay() {
    let committed = fs::read_to_string(repo().join("k8s/deployment-production.yaml")).unwrap();
    let rendered: String = committed
        .lines()
        .skip_while(|line| line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(
        rendered == render::yaml("overlays/split"),
        "k8s/deployment-production.yaml is stale: run `make manifests`"
    );
    let namespaces: BTreeSet<String> = read(&rendered)
        .0
        .iter()
        .filter(|object| object["kind"] != "Namespace")
        .map(|object| text(&object["metadata"]["namespace"]).to_owned())
        .collect();
    assert_eq!(namespaces, BTreeSet::from(["mlops".to_owned()]));
}

#[test]
fn the_two_services_are_set_as_their_bundled_files_set_them() {
    let split = manifests("overlays/split");
    for (service, file) in [
        ("inference-service", "inference"),
        ("logging-service", "logging"),
    ] {
        let servers = split.servers();
        let workload = servers
            .iter()
            .find(|one| one.object["metadata"]["name"] == service)
            .expect(service);
        let own = workload.config().unwrap();
        let path = Some(repo().join("config").join(format!("{file}.toml")));
        let bundled = impetus::config::Config::load(impetus::config::LoadArgs {
            file: path,
            env: Vec::new(),
        });
        let bundled = bundled.unwrap().config;
        assert_eq!(
            (own.role, own.port),
            (bundled.role, bundled.port),
            "{service}"
        );
        assert_eq!(
            own.health.require_model, bundled.health.require_model,
            "{service}"
        );
        let port = &json!(bundled.port);
        let mut services = split.of("Service");
        assert!(
            services.any(|one| &one["spec"]["ports"][0]["port"] == port),
            "{service}"
        );
    }
}

#[test]
fn production_is_ready_by_policy_without_its_database() {
    let production = manifests("overlays/production");
    let servers = production.servers();
    let config = servers[0].config().unwrap();
    assert_eq!(
        config.predlog.readiness,
        impetus::config::Readiness::Degraded
    );
    let env = variables(servers[0].server().unwrap());
    assert!(
        env.iter()
            .any(|(name, _)| name == "IMPETUS_PREDLOG__READINESS")
    );
}

#[test]
fn production_asks_all_its_probes_on_the_thread_that_nothing_blocks() {
    let production = manifests("overlays/production");
    let servers = production.servers();
    let server = servers[0].server().unwrap();
    for (probe, path) in [
        ("startupProbe", "/api/health/startup"),
        ("livenessProbe", "/api/health/live"),
        ("readinessProbe", "/api/health/ready"),
    ] {
        assert_eq!(
            server[probe]["httpGet"],
            json!({"path": path, "port": "health"})
        );
    }
}

#[test]
fn every_readme_states_how_long_a_start_may_take() {
    for folder in ["base", "overlays/split", "overlays/production"] {
        let readme = fs::read_to_string(repo().join("k8s").join(folder).join("README.md")).unwrap();
        for workload in manifests(folder).servers() {
            let startup = &workload.server().unwrap()["startupProbe"];
            let stated = format!("{} s", checks::startup_window(startup).as_secs());
            assert!(
                readme.contains(&stated),
                "{folder}: the README does not say {stated}"
            );
        }
    }
}

#[test]
fn the_rendered_base_is_the_one_that_was_looked_at() {
    insta::assert_snapshot!("base", without_operator("base"));
}

#[test]
fn the_rendered_split_overlay_is_the_one_that_was_looked_at() {
    insta::assert_snapshot!("split", without_operator("overlays/split"));
}

#[test]
fn the_rendered_production_overlay_is_the_one_that_was_looked_at() {
    insta::assert_snapshot!("production", without_operator("overlays/production"));
}

/// Returns what a folder renders but for rules and monitors, which are committed as they are.
fn without_operator(folder: &str) -> String {
    let yaml = render::yaml(folder);
    let documents = yaml.split("\n---\n").filter(|document| {
        let kind = |kind: &&str| document.contains(&format!("\nkind: {kind}\n"));
        !OPERATOR.iter().any(kind)
    });
    documents.collect::<Vec<_>>().join("\n---\n")
}

#[test]
fn an_object_is_there_once() {
    for folder in kustomizations("Kustomization") {
        let Manifests(objects) = manifests(&folder);
        let names: BTreeSet<String> = objects.iter().map(crate::manifests::name_of).collect();
        assert_eq!(names.len(), objects.len(), "{folder}");
    }
}
