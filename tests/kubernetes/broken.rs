//! Manifests that somebody has broken: every check finds what it is there for.
//!
//! A case is a line, `PLACE = VALUE => SAID`: one change to a sound overlay, and a piece of what the
//! check must say then. A place is `Kind/name` and a path from there, or from a short form:
//!
//! - `pod` and `server` are the pod and the container of the first workload that runs Impetus;
//! - `env/NAME` is a variable of that container, there or not yet;
//! - an item of a list goes by its name or position; `+` adds one.
//!
//! The value is JSON; `-` takes away what is there.

use serde_json::{Value, json};

use crate::checks;
use crate::manifests::{Manifests, name_of};
use crate::render::manifests;

/// Makes each mistake in an overlay of its own and asks the check.
fn finds(check: &str, folder: &str, cases: &str) {
    let sound = manifests(folder);
    let found = checks::run(check, &sound);
    assert_eq!(found, Vec::<String>::new(), "{check}: {folder}");
    for case in cases.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (change, said) = case.split_once(" => ").expect(case);
        let (place, value) = change.split_once(" = ").expect(case);
        let mut broken = sound.clone();
        make(&mut broken, place, value.trim());
        let found = checks::run(check, &broken);
        assert!(
            found.iter().any(|one| one.contains(said)),
            "{check}: {case}: not in {found:?}"
        );
    }
}

/// Makes one change.
fn make(manifests: &mut Manifests, place: &str, value: &str) {
    let value = (value != "-").then(|| serde_json::from_str(value).expect(place));
    if place == "+" {
        return manifests.0.push(value.unwrap());
    }
    let mut steps: Vec<&str> = place.split('/').collect();
    let server = manifests.servers().first().map(|one| name_of(one.object));
    let name = match steps[0] {
        "pod" | "server" | "env" => server.expect("something runs Impetus"),
        kind => format!("{kind}/{}", steps.remove(1)),
    };
    let index = manifests.0.iter().position(|one| name_of(one) == name);
    let index = index.expect(&name);
    let path: &[&str] = match steps.remove(0) {
        "pod" => &["spec", "template", "spec"],
        "server" => &["spec", "template", "spec", "containers", "0"],
        "env" => return set_variable(&mut manifests.0[index], steps[0], value.unwrap()),
        _ if steps.is_empty() => return drop(manifests.0.remove(index)),
        _ => &[],
    };
    let target = path
        .iter()
        .fold(&mut manifests.0[index], |at, step| step_into(at, step));
    let (last, before) = steps.split_last().expect(place);
    let parent = before.iter().fold(target, |at, step| step_into(at, step));
    match (parent, value) {
        (Value::Array(items), Some(value)) if *last == "+" => items.push(value),
        (Value::Array(items), None) => drop(items.remove(position(items, last))),
        (parent, value) => *step_into(parent, last) = value.unwrap_or_default(),
    }
}

fn step_into<'a>(value: &'a mut Value, step: &str) -> &'a mut Value {
    match value {
        Value::Array(items) => {
            let position = position(items, step);
            &mut items[position]
        }
        // Made where it is missing.
        other => &mut other[step],
    }
}

fn position(items: &[Value], step: &str) -> usize {
    let by_name = items.iter().position(|item| item["name"] == step);
    by_name.or_else(|| step.parse().ok()).expect(step)
}

fn set_variable(workload: &mut Value, name: &str, value: Value) {
    let container = &mut workload["spec"]["template"]["spec"]["containers"][0];
    let env = container["env"].as_array_mut().unwrap();
    env.retain(|entry| entry["name"] != name);
    env.push(json!({"name": name, "value": value}));
}

#[test]
fn numbers_of_probes_that_cannot_be_are_found() {
    let cases = r#"
        server/livenessProbe/failureThreshold = -1 => failureThreshold must be at least 1
        server/startupProbe/periodSeconds = 0 => periodSeconds must be at least 1
        server/startupProbe/initialDelaySeconds = -5 => must not be negative
        server/readinessProbe/timeoutSeconds = 6 => longer than its period
        server/livenessProbe/successThreshold = 2 => successThreshold must be 1
        StatefulSet/impetus-postgresql/spec/template/spec/containers/0/livenessProbe/timeoutSeconds = 11 => postgresql: livenessProbe
    "#;
    finds("probe numbers", "overlays/split", cases);
}

#[test]
fn probes_that_ask_for_something_else_than_they_decide_are_found() {
    let cases = r#"
        server/livenessProbe/httpGet/path = "/ready" => livenessProbe asks "/ready"
        server/readinessProbe/httpGet/path = "/health" => readinessProbe asks "/health"
        server/startupProbe = - => startupProbe asks ""
    "#;
    finds("probe purposes", "overlays/split", cases);
}

#[test]
fn probes_that_act_too_early_or_too_late_are_found() {
    let cases = r#"
        server/livenessProbe/failureThreshold = 1 => before the server has found out why
        env/IMPETUS_HEALTH__HEARTBEAT_STALE_AFTER = "1m" => before the server has found out why
        env/IMPETUS_HEALTH__ROOT_STALE_AFTER = "1m" => before the server has found out why
        server/livenessProbe/periodSeconds = 60 => ends itself before liveness does
        server/readinessProbe/failureThreshold = 6 => no later than readiness
        server/startupProbe/failureThreshold = 2 => shorter than liveness would be
    "#;
    finds("probe patience", "overlays/split", cases);
    let cases = "server/startupProbe/failureThreshold = 17 => gives up before a load does";
    finds("probe patience", "base", cases);
}

#[test]
fn pods_that_are_killed_before_their_orderly_end_are_found() {
    let cases = r#"
        pod/terminationGracePeriodSeconds = 60 => 60 s is not longer than the longest end, 60s
        pod/terminationGracePeriodSeconds = - => a grace period of 30 s
        env/IMPETUS_LIFECYCLE__DRAIN_TIMEOUT = "2m" => not longer than the longest end, 150s
        server/lifecycle = {"preStop": {"sleep": {"seconds": 10}}} => preStop
    "#;
    finds("grace period", "overlays/production", cases);
}

#[test]
fn resources_that_contradict_each_other_are_found() {
    let cases = r#"
        server/resources/requests/memory = "17Gi" => memory: requests more than its limit
        server/resources/limits/cpu = "900m" => cpu: requests more than its limit
        server/resources/limits = - => memory: needs a request and a limit
        server/resources/limits/cpu = "2400m" => is never exceeded
    "#;
    finds("resources", "overlays/production", cases);
}

#[test]
fn selectors_that_select_nothing_or_others_are_found() {
    let cases = r#"
        Service/logging-service/spec/selector/app = "log" => Service/logging-service: selects no pods
        Service/logging-service/spec/selector = {} => selects the pods of several
        Deployment/logging-service/spec/selector/matchLabels/app = "log" => does not select its own pods
        Deployment/logging-service/spec/selector = {} => selects the pods of another
        NetworkPolicy/impetus-postgresql/spec/podSelector/matchLabels/app = "log" => selects no pods
        StatefulSet/impetus-postgresql/spec/serviceName = "postgresql" => names no headless Service
    "#;
    finds("selectors", "overlays/split", cases);
    let cases = r#"
        PodDisruptionBudget/impetus-llm-server/spec/selector/matchLabels/app = "x" => selects no pods
        HorizontalPodAutoscaler/impetus-llm-server/spec/scaleTargetRef/kind = "Deployment" => does not exist
        HorizontalPodAutoscaler/impetus-llm-server/spec/scaleTargetRef/apiVersion = "v1" => does not exist
        pod/topologySpreadConstraints/0/labelSelector/matchLabels/app = "x" => does not spread its own pods
        Service/impetus-llm-headless/spec/clusterIP = - => names no headless Service
    "#;
    finds("selectors", "overlays/production", cases);
}

#[test]
fn ports_on_which_nobody_listens_are_found() {
    let cases = r#"
        server/livenessProbe/httpGet/port = "helth" => which is not declared
        server/readinessProbe/httpGet/port = 8082 => asks on 8082
        server/livenessProbe/httpGet/port = "grpc" => by HTTP on the port of gRPC
        Service/impetus-llm-service/spec/ports/http/targetPort = 8000 => has no port 8000
        env/IMPETUS_PORT = "8000" => port http is 8080, and the server listens on 8000
        env/IMPETUS_HEALTH__PORT = "0" => port health is 8081, and the server listens on none
        server/ports/grpc = - => port grpc is none, and the server listens on 9000
        server/ports/health/containerPort = 8080 => declared twice
        env/IMPETUS_HOST = "127.0.0.1" => listens on 127.0.0.1 alone
    "#;
    finds("ports", "overlays/production", cases);
}

#[test]
fn volumes_without_a_use_and_mounts_without_a_volume_are_found() {
    let cases = r#"
        pod/volumes/tmp = - => mounts tmp, which is no volume
        server/volumeMounts/tmp = - => volume tmp is mounted nowhere
        server/volumeMounts/tmp/mountPath = "/data" => two volumes at one path
        pod/volumes/+ = {"name": "data-storage", "emptyDir": {}} => hides the claim of each pod
    "#;
    finds("volumes", "overlays/production", cases);
}

#[test]
fn claims_that_do_not_exist_or_cannot_be_shared_are_found() {
    let cases = r#"
        pod/volumes/models-storage/persistentVolumeClaim/claimName = "models" => claim models does not exist
        PersistentVolumeClaim/logging-data-pvc/metadata/name = "log" => claim log is used by nobody
        pod/volumes/data-storage/persistentVolumeClaim/claimName = "logging-data-pvc" => shared by several
        Deployment/inference-service/spec/strategy/type = "RollingUpdate" => is for one pod at a time
        Deployment/inference-service/spec/replicas = 2 => is for one pod at a time
        StatefulSet/impetus-postgresql/spec/template/spec/volumes/password/secret/secretName = "x" => secret x does not exist
    "#;
    finds("claims", "overlays/split", cases);
    let cases = r#"PersistentVolumeClaim/impetus-models-pvc/spec/accessModes = ["ReadWriteOnce"] => is for one pod at a time"#;
    finds("claims", "overlays/production", cases);
}

#[test]
fn folders_that_lie_in_the_wrong_place_are_found() {
    let cases = r#"
        env/IMPETUS_DATA__DIR = "/models" => data.dir is on no writable claim
        env/IMPETUS_DATA__DIR = "/var/lib/impetus" => data.dir is on no writable claim
        env/IMPETUS_DATA__DIR = "/tmp" => data.dir is on no writable claim
        server/volumeMounts/data-storage/readOnly = true => data.dir is on no writable claim
        env/IMPETUS_MODELS__DIR = "/modells" => models.dir is on no volume
        server/volumeMounts/tmp/mountPath = "/temp" => no folder for temporary files
    "#;
    finds("folders", "overlays/production", cases);
    let cases =
        "Deployment/inference-service/spec/replicas = 2 => data.dir is on no writable claim";
    finds("folders", "overlays/split", cases);
}

#[test]
fn environments_that_the_server_refuses_or_ignores_are_found() {
    let cases = r#"
        env/IMPETUS_PREDLOG__READYNESS = "degraded" => predlog.readyness
        env/IMPETUS_LIFECYCLE__LAME_DUCK = "10" => lifecycle.lame_duck
        env/IMPETUS_MODELS_DIR = "/models" => IMPETUS_MODELS_DIR
        server/env/+ = {"name": "IMPETUS_PORT", "value": "8000"} => IMPETUS_PORT is set twice
        pod/enableServiceLinks = - => service links
        server/envFrom = [{"configMapRef": {"name": "more"}}] => envFrom
        server/args = ["serve", "--config=/etc/impetus.toml"] => a configuration file
    "#;
    finds("configuration", "overlays/split", cases);
}

#[test]
fn images_that_may_be_any_version_or_are_another_one_are_found() {
    let cases = r#"
        server/image = "gerdsenai/impetus-llm-server" => may be any version
        server/image = "gerdsenai/impetus-llm-server:latest" => may be any version
        server/image = "gerdsenai/impetus-llm-server:0.0.9" => 0.0.9 is not
        StatefulSet/impetus-postgresql/spec/template/spec/containers/0/image = "localhost:5000/postgres" => may be any version
    "#;
    finds("images", "overlays/split", cases);
}

#[test]
fn budgets_and_autoscalers_that_get_in_the_way_are_found() {
    let cases = r#"
        PodDisruptionBudget/impetus-llm-server/spec/maxUnavailable = 0 => no pod can ever be evicted
        PodDisruptionBudget/impetus-llm-server/spec/minAvailable = 3 => no pod can ever be evicted
        PodDisruptionBudget/impetus-llm-server = - => several pods and no budget
        + = {"kind": "PodDisruptionBudget", "metadata": {"name": "x"}, "spec": {"selector": {}}} => several budgets
        HorizontalPodAutoscaler/impetus-llm-server/spec/minReplicas = 11 => above its maximum
        StatefulSet/impetus-llm-server/spec/replicas = 3 => undo the autoscaler's work
    "#;
    finds("disruption", "overlays/production", cases);
}

#[test]
fn policies_that_close_what_is_needed_are_found() {
    let cases = r#"
        NetworkPolicy/impetus-llm-server/spec/ingress/0/ports/0 = - => closes "http"
        NetworkPolicy/impetus-llm-server/spec/ingress/0/ports/1 = - => closes "grpc"
        NetworkPolicy/impetus-llm-server/spec/ingress/1 = - => closes "health"
        NetworkPolicy/impetus-llm-server/spec/ingress/1/ports/0/port = 9090 => opens a port that
        NetworkPolicy/impetus-llm-server/spec/egress = [] => closes port 53
        NetworkPolicy/impetus-llm-server/spec/egress/0/ports/0 = - => closes port 53
    "#;
    finds("network", "overlays/production", cases);
    let cases = r#"NetworkPolicy/impetus-postgresql/spec/ingress = [] => closes "postgresql""#;
    finds("network", "overlays/split", cases);
}

#[test]
fn pods_that_may_more_than_they_need_are_found() {
    let cases = r#"
        pod/securityContext/runAsNonRoot = - => may run as root
        server/securityContext/runAsUser = 0 => names no user
        pod/securityContext/runAsGroup = - => names no group
        pod/securityContext/seccompProfile = {"type": "Unconfined"} => no seccomp profile
        pod/securityContext/fsGroup = - => without fsGroup
        server/securityContext/allowPrivilegeEscalation = - => may gain privileges
        server/securityContext/capabilities/drop = ["NET_RAW"] => keeps capabilities
        server/securityContext/capabilities/add = ["SYS_PTRACE"] => adds capabilities
        server/securityContext/readOnlyRootFilesystem = false => may write to its root
        server/securityContext/privileged = true => is privileged
        server/ports/http/hostPort = 80 => takes a port of its node
        pod/hostPID = true => hostPID is on
        pod/automountServiceAccountToken = - => a token of the API
        pod/volumes/+ = {"name": "x", "hostPath": {"path": "/tmp"}} => a volume is a hostPath
        pod/initContainers = [{"name": "x", "image": "x:1"}] => keeps capabilities
        Namespace/mlops/metadata/labels = {"pod-security.kubernetes.io/enforce": "baseline"} => does not enforce
    "#;
    finds("security", "overlays/split", cases);
}

#[test]
fn monitors_and_rules_that_the_operator_would_refuse_are_found() {
    let cases = r#"
        PodMonitor/impetus/spec/selector = {"matchLabels": {"app": "x"}} => does not scrape StatefulSet/impetus-llm-server
        PodMonitor/impetus/spec/podMetricsEndpoints/0/port = "http" => on port health
        PodMonitor/impetus/spec/podMetricsEndpoints/0/intervall = "15s" => intervall is no field
        PodMonitor/impetus/spec/podMetricsEndpoints = [] => needs podMetricsEndpoints
        server/ports/health/name = "status" => has no port health
        PrometheusRule/impetus/apiVersion = "v1" => another API
        PrometheusRule/impetus/spec/groups = [] => has no groups
        PrometheusRule/impetus/spec/groups/+ = {"name": ""} => has no name of its own
        PrometheusRule/impetus/spec/groups/0/rule = [] => rule is no field
    "#;
    finds("monitoring", "overlays/production", cases);
}

#[test]
fn alerts_that_say_too_little_are_found() {
    let complete = json!({
        "alert": "A", "expr": "up == 0", "for": "1m", "labels": {"severity": "info"},
        "annotations": {"summary": "down", "runbook_url": "https://example.org"},
    });
    let cases = [
        ("expression", json!("up"), "expression is no field"),
        ("record", json!("a:b"), "either an alert or a record"),
        ("expr", json!(" "), "has no expression"),
        ("for", Value::Null, "has no for"),
        ("labels", json!({}), "has no severity"),
        (
            "annotations",
            json!({"summary": "down"}),
            "has no runbook_url",
        ),
    ]
    .map(|(field, value, said)| {
        let mut rule = complete.clone();
        rule[field] = value;
        let group = json!({"name": "g", "rules": [rule]});
        format!("PrometheusRule/impetus/spec/groups = [{group}] => {said}\n")
    });
    finds("monitoring", "monitoring", &cases.concat());
}
