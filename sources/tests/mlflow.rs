//! The client against real MLflow servers, one of each release.

#![allow(clippy::unwrap_used)]

#[path = "mlflow_server/server.rs"]
mod mlflow_server;

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::TryStreamExt;
use impetus_sources::{
    ArtifactRoot, Location, MlModel, MlflowClient, MlflowSettings, ProxiedArtifacts, RegistryError,
    RegistryUri, Remote, RemoteError, RemoteFile, WebhookVerifier, webhook,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use self::mlflow_server::{Mlflow, Release};

const MLMODEL: &str = include_str!("mlmodel/signature-3.yaml");

/// A server that has only just begun takes long for its first answers.
fn client(server: &Mlflow) -> MlflowClient {
    let mut settings = MlflowSettings::new(server.url());
    settings.timeout = Duration::from_secs(60);
    MlflowClient::new(settings).unwrap()
}

fn uri(text: &str) -> RegistryUri {
    match text.parse() {
        Ok(Location::Registry(uri)) => uri,
        other => panic!("{text}: {other:?}"),
    }
}

/// Returns bytes that tell where in them one is.
fn bytes(count: u32) -> Vec<u8> {
    (0..count).flat_map(u32::to_le_bytes).collect()
}

async fn proxied(client: &MlflowClient, text: &str) -> ProxiedArtifacts {
    let version = client.resolve(&uri(text)).await.unwrap();
    match client.artifacts(&version).await.unwrap() {
        ArtifactRoot::Proxied(artifacts) => *artifacts,
        other => panic!("{text}: {other:?}"),
    }
}

async fn content(remote: &dyn Remote, file: &RemoteFile, from: u64) -> Vec<u8> {
    let stream = remote.read(file, from).await.unwrap();
    let chunks: Vec<_> = stream.try_collect().await.unwrap();
    chunks.concat()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn release_2_is_followed() {
    follows(&mut Mlflow::start(Release::Two));
}

#[test]
fn release_3_is_followed() {
    let mut server = Mlflow::start(Release::Three);
    #[cfg(target_os = "linux")]
    runtime().block_on(it_says_under_which_names_it_may_be_asked(&server));
    its_webhooks_are_accepted(&mut server);
    follows(&mut server);
}

/// One server for all of it: starting one takes as long as everything else together.
fn follows(server: &mut Mlflow) {
    let runtime = runtime();
    let client = client(server);
    runtime.block_on(client.ping()).unwrap();

    let weights = bytes(100_000);
    for version in 1..=3_u8 {
        let files: [(&str, &[u8]); 2] = [
            ("model.onnx", &[version]),
            ("parts/of it/w 1+é%.data", &weights),
        ];
        let number = server.register("surface ö", MLMODEL, &files);
        assert_eq!(number, u64::from(version));
    }
    server.alias("surface ö", "champion", Some(2));
    server.alias("surface ö", "also", Some(2));
    server.stage("surface ö", 1, "Production");
    let store = server.refer("elsewhere", "s3://bucket/model");

    runtime.block_on(names_are_resolved(&client));
    runtime.block_on(what_is_not_there_is_said(&client));
    runtime.block_on(surveys_say_the_same(&client));
    runtime.block_on(files_come_as_they_were_logged(&client, &weights));
    runtime.block_on(async {
        let version = client
            .resolve(&uri("models:/elsewhere/latest"))
            .await
            .unwrap();
        assert_eq!(version.version, store);
        match client.artifacts(&version).await.unwrap() {
            ArtifactRoot::Store(address) => assert_eq!(address, "s3://bucket/model"),
            other => panic!("{other:?}"),
        }
    });

    // What changes is seen.
    server.alias("surface ö", "champion", Some(3));
    server.stage("surface ö", 2, "Production");
    runtime.block_on(async {
        for text in ["models:/surface ö@champion", "models:/surface ö/3"] {
            let version = client.resolve(&uri(text)).await.unwrap();
            assert_eq!(
                (version.version, version.aliases),
                (3, vec!["champion".to_owned()])
            );
        }
        let version = client
            .resolve(&uri("models:/surface ö/production"))
            .await
            .unwrap();
        assert_eq!(
            (version.version, version.aliases),
            (2, vec!["also".to_owned()])
        );
    });

    many_are_found_in_pages(&runtime, &client, server);
    it_drops_and_recovers(&runtime, server);
}

async fn names_are_resolved(client: &MlflowClient) {
    let expected: [(&str, u64, &str, &[&str]); 5] = [
        (
            "models:/surface ö@champion",
            2,
            "None",
            &["also", "champion"],
        ),
        ("models:/surface ö/2", 2, "None", &["also", "champion"]),
        ("models:/surface ö/Production", 1, "Production", &[]),
        ("models:/surface ö/None", 3, "None", &[]),
        ("models:/surface ö/latest", 3, "None", &[]),
    ];
    for (text, number, stage, aliases) in expected {
        let version = client.resolve(&uri(text)).await.unwrap();
        assert_eq!(version.name, "surface ö");
        assert_eq!(version.version, number, "{text}");
        assert_eq!(version.stage, stage, "{text}");
        assert_eq!(version.aliases, aliases, "{text}");
        assert!(version.run_id.is_some(), "{text}");
    }
}

async fn what_is_not_there_is_said(client: &MlflowClient) {
    for text in [
        "models:/surface ö@nobody",
        "models:/surface ö/9",
        "models:/surface ö/Staging",
        "models:/surface ö/Nonsense",
        "models:/nobody@champion",
        "models:/nobody/1",
        "models:/nobody/Production",
        "models:/nobody/latest",
    ] {
        let error = client.resolve(&uri(text)).await.unwrap_err();
        assert!(
            matches!(&error, RegistryError::NotFound { what, .. } if what == text),
            "{text}: {error:?}"
        );
        assert!(!error.is_transient());
    }
}

async fn surveys_say_the_same(client: &MlflowClient) {
    let texts = [
        "models:/surface ö@champion",
        "models:/surface ö/Production",
        "models:/surface ö/latest",
        "models:/surface ö@nobody",
        "models:/nobody@champion",
    ];
    let survey = client.survey(&texts.map(uri)).await;
    assert_eq!(survey.len(), texts.len());
    for text in texts {
        let told = &survey[&uri(text)];
        match client.resolve(&uri(text)).await {
            Ok(version) => {
                let told = told.as_ref().unwrap();
                assert_eq!(told.version, version.version, "{text}");
                // It is told of the newest of each stage only.
                let details = (told.version != 2).then_some(version);
                assert_eq!(told.details, details, "{text}");
            }
            Err(error) => assert!(
                matches!(
                    (told, error),
                    (
                        Err(RegistryError::NotFound { .. }),
                        RegistryError::NotFound { .. }
                    )
                ),
                "{text}: {told:?}"
            ),
        }
    }
}

async fn files_come_as_they_were_logged(client: &MlflowClient, weights: &[u8]) {
    let artifacts = proxied(client, "models:/surface ö@champion").await;
    let listing = artifacts.list().await.unwrap();
    let files: BTreeMap<_, _> = listing
        .files
        .iter()
        .map(|file| (file.path.as_str(), file))
        .collect();
    let sizes: Vec<_> = files.values().map(|file| file.size.unwrap()).collect();
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        [&"MLmodel", &"model.onnx", &"parts/of it/w 1+é%.data"]
    );
    assert_eq!(sizes, [MLMODEL.len() as u64, 1, weights.len() as u64]);

    assert_eq!(content(&artifacts, files["model.onnx"], 0).await, [2]);
    let mlmodel = content(&artifacts, files["MLmodel"], 0).await;
    assert_eq!(mlmodel, MLMODEL.as_bytes());
    assert_eq!(
        MlModel::read(&mlmodel).unwrap().graph(&listing),
        Some("model.onnx")
    );

    // In the middle, whether or not the beginning was read by the same client.
    let file = files["parts/of it/w 1+é%.data"];
    let middle = weights.len() / 2 + 1;
    assert!(content(&artifacts, file, middle as u64).await == weights[middle..]);
    assert!(content(&artifacts, file, 0).await == weights);
    assert!(content(&artifacts, file, middle as u64).await == weights[middle..]);
    assert!(
        content(&artifacts, file, weights.len() as u64)
            .await
            .is_empty()
    );

    // What is longer than it was listed is another one.
    let longer = RemoteFile {
        size: Some(weights.len() as u64 + 1),
        ..file.clone()
    };
    for from in [0, weights.len() as u64] {
        let stream = artifacts.read(&longer, from).await;
        let error = match stream {
            Ok(stream) => stream.try_for_each(|_| async { Ok(()) }).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(error.is_transient(), "{error:?}");
    }
    let nothing = RemoteFile {
        path: "nothing.onnx".to_owned(),
        ..file.clone()
    };
    let error = artifacts.read(&nothing, 0).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, RemoteError::NotThere { .. }), "{error:?}");
}

fn many_are_found_in_pages(
    runtime: &tokio::runtime::Runtime,
    client: &MlflowClient,
    server: &mut Mlflow,
) {
    server.names("a", 210);
    let mut uris: Vec<_> = (0..210)
        .map(|number| uri(&format!("models:/a{number}/latest")))
        .collect();
    uris.push(uri("models:/surface ö@champion"));
    uris.push(uri("models:/nobody@champion"));
    let survey = runtime.block_on(client.survey(&uris));
    assert_eq!(survey.len(), 212);
    let found: Vec<_> = survey.values().flatten().collect();
    assert_eq!(
        found.iter().map(|told| told.version).collect::<Vec<_>>(),
        [3]
    );
    let is_missing = |told: &&Result<_, _>| matches!(told, Err(RegistryError::NotFound { .. }));
    assert_eq!(survey.values().filter(is_missing).count(), 211);
}

fn it_drops_and_recovers(runtime: &tokio::runtime::Runtime, server: &mut Mlflow) {
    let mut settings = MlflowSettings::new(server.url());
    settings.timeout = Duration::from_secs(1);
    let hasty = MlflowClient::new(settings).unwrap();
    server.freeze();
    let frozen = runtime.block_on(hasty.ping()).unwrap_err();
    assert!(
        matches!(&frozen, RegistryError::Unreachable { why, .. } if why.contains("in time")),
        "{frozen}"
    );
    server.thaw();
    server.end();
    let ended = runtime.block_on(hasty.ping()).unwrap_err();
    assert!(
        matches!(&ended, RegistryError::Unreachable { .. }),
        "{ended}"
    );
    assert!(ended.is_transient());
    server.again();
    let client = self::client(server);
    let version = runtime.block_on(client.resolve(&uri("models:/surface ö@champion")));
    assert_eq!(version.unwrap().version, 3);
}

/// Release 3 answers only under the names that it has been told of.
#[cfg(target_os = "linux")]
async fn it_says_under_which_names_it_may_be_asked(server: &Mlflow) {
    // Linux has all of 127.0.0.0/8 on the loopback interface.
    let front = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
    let host = front.local_addr().unwrap().to_string();
    let behind = server.url().trim_start_matches("http://").to_owned();
    let carried = tokio::spawn(async move {
        let (mut caller, _) = front.accept().await.unwrap();
        let mut registry = tokio::net::TcpStream::connect(behind).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut caller, &mut registry).await;
    });
    let client = MlflowClient::new(MlflowSettings::new(format!("http://{host}"))).unwrap();
    let error = client.ping().await.unwrap_err();
    assert!(
        matches!(&error, RegistryError::WrongHost { .. }),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .contains(&format!("--allowed-hosts {host}")),
        "{error}"
    );
    drop(client);
    carried.await.unwrap();
}

/// Release 3 signs what it tells, and sends it again when it is answered 503.
fn its_webhooks_are_accepted(server: &mut Mlflow) {
    let runtime = runtime();
    let receiver = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let url = format!("http://{}/webhook/mlflow", receiver.local_addr().unwrap());
    let version = server.register("hooked", MLMODEL, &[("model.onnx", b"1")]);
    server.webhook(&url, "s3cret", &["model_version_alias.created"]);
    server.alias("hooked", "champion", Some(version));
    let both = async {
        let first = delivery(&receiver, "503 Service Unavailable").await;
        (first, delivery(&receiver, "200 OK").await)
    };
    let both =
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), both).await });
    let (first, again) = both.unwrap();
    assert_eq!(first, again);

    let (head, body) = first;
    let header = |name: &str| {
        let line = head.lines().find_map(|line| {
            line.split_once(": ")
                .filter(|(it, _)| it.eq_ignore_ascii_case(name))
        });
        line.map(|(_, value)| value)
    };
    let headers = webhook::Headers {
        signature: header(webhook::SIGNATURE),
        timestamp: header(webhook::TIMESTAMP),
        delivery_id: header(webhook::DELIVERY_ID),
    };
    let sent: u64 = header(webhook::TIMESTAMP).unwrap().parse().unwrap();
    let now = UNIX_EPOCH + Duration::from_secs(sent + 1);
    let verifier = WebhookVerifier::new(&["s3cret"]);
    let event = verifier.verify(headers, &body, now).unwrap().event;
    assert_eq!(
        (event.entity.as_str(), event.action.as_str()),
        ("model_version_alias", "created")
    );
    assert_eq!(
        (event.model.as_deref(), event.version),
        (Some("hooked"), Some(version))
    );
    assert_eq!(
        verifier.verify(headers, &body, now),
        Err(webhook::Refusal::Replayed)
    );
}

/// Takes a request and answers it.
async fn delivery(receiver: &tokio::net::TcpListener, status: &str) -> (String, Vec<u8>) {
    let (mut stream, _) = receiver.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
    (head, body)
}
