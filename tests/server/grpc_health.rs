//! `grpc.health.v1` by a real client: what it says of the server and of each model, and when.

use rustix::process::Signal;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::harness::corrupt::{mend, with_a_corrupt_model};
use crate::harness::{PATIENCE, Server, Setup, copy_folder, repo};

const ALL: [&str; 3] = ["", "readiness", "liveness"];

/// A client, and the runtime it needs.
struct Client {
    runtime: Runtime,
    client: HealthClient<Channel>,
}

/// A stream of changes.
struct Watch<'a> {
    of: &'a Runtime,
    changes: Streaming<HealthCheckResponse>,
}

// === impl Client ===

impl Client {
    fn of(server: &Server) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let address = format!("http://127.0.0.1:{}", server.grpc_port);
        let endpoint = Endpoint::from_shared(address).unwrap().timeout(PATIENCE);
        let channel = runtime.block_on(async { endpoint.connect_lazy() });
        Self {
            runtime,
            client: HealthClient::new(channel),
        }
    }

    fn check(&self, service: &str) -> Result<ServingStatus, Status> {
        let mut client = self.client.clone();
        let answer = self.runtime.block_on(client.check(request(service)))?;
        Ok(answer.into_inner().status())
    }

    /// Waits until a service has that status.
    fn wait_for(&self, server: &Server, service: &str, expected: ServingStatus) {
        server.wait_for(&format!("{service:?} to be {expected:?}"), || {
            self.check(service).is_ok_and(|status| status == expected)
        });
    }

    fn watch(&self, service: &str) -> Watch<'_> {
        let mut client = self.client.clone();
        let stream = self.runtime.block_on(client.watch(request(service)));
        Watch {
            of: &self.runtime,
            changes: stream.unwrap().into_inner(),
        }
    }
}

// === impl Watch ===

impl Watch<'_> {
    /// Waits for the next status that is not `last`.
    fn next_after(&mut self, last: Option<ServingStatus>) -> ServingStatus {
        let changes = &mut self.changes;
        let change = async {
            loop {
                let next = changes
                    .message()
                    .await
                    .unwrap()
                    .expect("the stream goes on");
                if Some(next.status()) != last {
                    return next.status();
                }
            }
        };
        let change = async { timeout(PATIENCE, change).await };
        self.of.block_on(change).expect("a change in time")
    }
}

fn request(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[test]
fn a_ready_server_serves_and_so_does_its_model_and_nobody_else() {
    let server = Setup::new().start_ready();
    let client = Client::of(&server);
    for service in ALL.into_iter().chain(["surface"]) {
        client.wait_for(&server, service, ServingStatus::Serving);
    }
    for unknown in ["nobody", "Surface", "readiness "] {
        let refused = client.check(unknown).unwrap_err();
        assert_eq!(refused.code(), Code::NotFound, "{unknown:?}: {refused}");
    }
}

#[test]
fn a_server_without_a_usable_model_lives_and_does_not_serve_until_it_is_mended() {
    let server = with_a_corrupt_model("\"1h\"").start();
    let client = Client::of(&server);
    server.wait_for("the model to fail", || {
        server.status()["models"][0]["state"] == "failed"
    });
    client.wait_for(&server, "surface", ServingStatus::NotServing);
    for (service, expected) in [
        ("", ServingStatus::NotServing),
        ("readiness", ServingStatus::NotServing),
        ("liveness", ServingStatus::Serving),
    ] {
        assert_eq!(client.check(service).unwrap(), expected, "{service:?}");
    }
    let mut readiness = client.watch("readiness");
    let mut model = client.watch("surface");
    assert_eq!(readiness.next_after(None), ServingStatus::NotServing);
    assert_eq!(model.next_after(None), ServingStatus::NotServing);
    mend(&server);
    let last = Some(ServingStatus::NotServing);
    assert_eq!(readiness.next_after(last), ServingStatus::Serving);
    assert_eq!(model.next_after(last), ServingStatus::Serving);
}

#[test]
fn a_model_that_is_taken_away_is_no_service_any_more() {
    let server = Setup::new().start_ready();
    let client = Client::of(&server);
    client.wait_for(&server, "surface", ServingStatus::Serving);
    std::fs::remove_dir_all(server.dir.path().join("models/surface")).unwrap();
    server.wait_for("the model to be no service", || {
        client
            .check("surface")
            .is_err_and(|refused| refused.code() == Code::NotFound)
    });
    client.wait_for(&server, "", ServingStatus::NotServing);
}

#[test]
fn a_lame_duck_does_not_serve_any_more_and_lives() {
    let server = Setup::new()
        .set("lifecycle.lame_duck", "\"1h\"")
        .start_ready();
    let client = Client::of(&server);
    let mut watch = client.watch("");
    client.wait_for(&server, "", ServingStatus::Serving);
    server.signal(Signal::TERM);
    let last = match watch.next_after(None) {
        ServingStatus::Serving => watch.next_after(Some(ServingStatus::Serving)),
        // The very first look was before the model had been loaded.
        early => {
            assert_eq!(watch.next_after(Some(early)), ServingStatus::Serving);
            watch.next_after(Some(ServingStatus::Serving))
        }
    };
    assert_eq!(last, ServingStatus::NotServing);
    client.wait_for(&server, "readiness", ServingStatus::NotServing);
    assert_eq!(client.check("liveness").unwrap(), ServingStatus::Serving);
    // Its models can still be used, which is what the lame-duck time is for.
    assert_eq!(client.check("surface").unwrap(), ServingStatus::Serving);
    server.assert_predicts();
}

#[test]
fn a_server_that_was_given_up_is_told_by_liveness() {
    let setup = Setup::new().set("supervision.restarts", "1");
    let server = setup
        .set("supervision.backoff_max", "\"100ms\"")
        .start_ready();
    let client = Client::of(&server);
    client.wait_for(&server, "liveness", ServingStatus::Serving);
    server.fault("heartbeat", "panic", 1000, None);
    for service in ALL {
        client.wait_for(&server, service, ServingStatus::NotServing);
    }
}

#[test]
fn a_watch_is_told_of_changes_and_of_nothing_else() {
    let server = Setup::new()
        .set("lifecycle.lame_duck", "\"1h\"")
        .start_ready();
    let client = Client::of(&server);
    client.wait_for(&server, "", ServingStatus::Serving);
    let mut watch = client.watch("");
    let mut seen = vec![watch.next_after(None)];
    // The statuses are looked through at least twice in this time, and none of ours changes.
    let other = server.dir.path().join("models/other");
    copy_folder(&repo().join("models/surface"), &other);
    std::fs::remove_file(other.join("model.toml")).unwrap();
    client.wait_for(&server, "other", ServingStatus::Serving);
    std::fs::remove_dir_all(other).unwrap();
    server.wait_for("the other model to be no service", || {
        client
            .check("other")
            .is_err_and(|refused| refused.code() == Code::NotFound)
    });
    server.signal(Signal::TERM);
    while seen.last() != Some(&ServingStatus::NotServing) {
        seen.push(watch.next_after(None));
    }
    assert_eq!(seen, [ServingStatus::Serving, ServingStatus::NotServing]);
}

#[test]
fn a_model_cannot_take_the_name_of_what_the_server_says_of_itself() {
    let setup = Setup::without_models();
    let folder = setup.path().join("models/liveness");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("model.onnx"), b"this is no model").unwrap();
    let server = setup.start();
    let client = Client::of(&server);
    server.wait_for("the model to fail", || {
        server.status()["models"][0]["state"] == "failed"
    });
    client.wait_for(&server, "readiness", ServingStatus::NotServing);
    assert_eq!(client.check("liveness").unwrap(), ServingStatus::Serving);
}

/// Streams of a client that has gone are no burden that lasts: the next client is served.
#[test]
fn many_watchers_that_come_and_go_do_no_harm() {
    let server = Setup::new().start_ready();
    for _ in 0..20 {
        let client = Client::of(&server);
        let mut watches: Vec<Watch<'_>> = (0..20).map(|_| client.watch("liveness")).collect();
        for watch in &mut watches {
            assert_eq!(watch.next_after(None), ServingStatus::Serving);
        }
    }
    let client = Client::of(&server);
    assert_eq!(client.check("liveness").unwrap(), ServingStatus::Serving);
}
