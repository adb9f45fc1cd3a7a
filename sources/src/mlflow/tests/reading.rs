//! Files that come in other ways than they should.

use futures_util::TryStreamExt;

use super::*;
use crate::remote::{Remote, RemoteError, RemoteFile};

const FILE: &str = "content-disposition: attachment\r\n";

fn version() -> ModelVersion {
    ModelVersion {
        name: "m".to_owned(),
        version: 7,
        stage: "None".to_owned(),
        aliases: Vec::new(),
        run_id: None,
        created: None,
    }
}

/// Returns what becomes of a version whose files are said to be there.
async fn at(address: &str) -> Result<ArtifactRoot, RegistryError> {
    let fake = Fake::start(vec![Answer::json(
        "200 OK",
        &format!("{{\"artifact_uri\":\"{address}\"}}"),
    )])
    .await;
    client(&fake.url).artifacts(&version()).await
}

/// Returns the files of a version, handed out by something that gives these answers.
async fn proxied(answers: Vec<Answer>) -> (Fake, ProxiedArtifacts) {
    let uri = Answer::json(
        "200 OK",
        "{\"artifact_uri\":\"mlflow-artifacts:/0/m 1/artifacts\"}",
    );
    let fake = Fake::start([vec![uri], answers].concat()).await;
    match client(&fake.url).artifacts(&version()).await.unwrap() {
        ArtifactRoot::Proxied(artifacts) => (fake, *artifacts),
        other => panic!("{other:?}"),
    }
}

fn file(size: Option<u64>) -> RemoteFile {
    RemoteFile {
        path: "model.onnx".to_owned(),
        size,
        etag: None,
        checksum: None,
    }
}

async fn content(
    artifacts: &ProxiedArtifacts,
    file: &RemoteFile,
    from: u64,
) -> Result<String, RemoteError> {
    let chunks: Vec<_> = artifacts.read(file, from).await?.try_collect().await?;
    Ok(String::from_utf8(chunks.concat()).unwrap())
}

#[tokio::test]
async fn only_places_that_can_be_read_are_given() {
    for store in [
        "s3://b/p",
        "gs://b/p",
        "wasbs://c@a.blob.core.windows.net/p",
        "https://h/p",
    ] {
        match at(store).await.unwrap() {
            ArtifactRoot::Store(address) => assert_eq!(address, store),
            other => panic!("{store}: {other:?}"),
        }
    }
    for (address, why) in [
        ("/srv/mlruns/0/a", "--serve-artifacts"),
        ("./mlruns/0/a", "--serve-artifacts"),
        ("file:///srv/mlruns", "--serve-artifacts"),
        ("file:/srv/mlruns", "--serve-artifacts"),
        ("dbfs:/databricks/a", "--serve-artifacts"),
        ("hdfs://h/a", "not a kind of store"),
        ("mlflow-artifacts:/0/../../etc", "parts that no folder"),
        ("mlflow-artifacts:/", "parts that no folder"),
        (
            "mlflow-artifacts://other.example/0/a",
            "another MLflow server",
        ),
    ] {
        let error = at(address).await.unwrap_err();
        assert!(
            matches!(error, RegistryError::Unreadable { .. }),
            "{address}: {error}"
        );
        assert!(error.to_string().contains(why), "{address}: {error}");
    }
}

#[tokio::test]
async fn a_listing_that_cannot_be_is_refused() {
    let entry =
        |path: &str, is_dir| format!("{{\"files\":[{{\"path\":\"{path}\",\"is_dir\":{is_dir}}}]}}");
    for path in ["../a", "a/b", "..", "", "/a", "a\\\\b"] {
        let (_fake, artifacts) = proxied(vec![Answer::json("200 OK", &entry(path, false))]).await;
        let error = artifacts.list().await.unwrap_err();
        assert!(
            matches!(error, RemoteError::Garbage { .. }),
            "{path}: {error}"
        );
    }
    // Folders that never end.
    let (_fake, artifacts) = proxied(vec![Answer::json("200 OK", &entry("a", true)); 20]).await;
    let error = artifacts.list().await.unwrap_err();
    assert!(error.to_string().contains("within each other"), "{error}");
    // A folder that is not there is answered like this.
    let (_fake, artifacts) = proxied(vec![Answer::json("200 OK", "{}")]).await;
    let error = artifacts.list().await.unwrap_err();
    assert!(matches!(error, RemoteError::NotThere { .. }), "{error}");
}

#[tokio::test]
async fn a_file_that_ends_early_is_no_file() {
    let short = Answer::Raw(
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\ncontent-disposition: a\r\n\r\n0123".to_vec(),
    );
    let silent = Answer::Silence(
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\ncontent-disposition: a\r\n\r\n0123".to_vec(),
    );
    let cases = [
        short,
        silent,
        Answer::Silence(Vec::new()),
        Answer::chunks(&["0123"], false),
        Answer::chunks(&["0123"], true),
        Answer::chunks(&["0123456789a"], true),
        Answer::of("503 Later", "", ""),
    ];
    for answer in cases {
        let (_fake, artifacts) = proxied(vec![answer.clone()]).await;
        let error = content(&artifacts, &file(Some(10)), 0).await.unwrap_err();
        assert!(error.is_transient(), "{answer:?}: {error}");
    }
    let (_fake, artifacts) = proxied(vec![Answer::chunks(&["01234", "56789"], true)]).await;
    assert_eq!(
        content(&artifacts, &file(Some(10)), 0).await.unwrap(),
        "0123456789"
    );
}

#[tokio::test]
async fn a_page_in_the_place_of_a_file_is_garbage() {
    let page = Answer::of("200 OK", "content-type: text/html\r\n", "0123456789");
    let (_fake, artifacts) = proxied(vec![page]).await;
    let error = content(&artifacts, &file(Some(10)), 0).await.unwrap_err();
    assert!(matches!(error, RemoteError::Garbage { .. }), "{error}");
}

#[tokio::test]
async fn a_file_is_read_on_only_if_it_is_still_the_same() {
    let begin = |etag: &str| Answer::of("200 OK", &format!("{FILE}etag: {etag}\r\n"), "0123456789");
    let part = |etag: &str, range: &str| {
        let headers = format!("{FILE}etag: {etag}\r\ncontent-range: bytes {range}\r\n");
        Answer::of("206 Partial Content", &headers, "456789")
    };
    let cases = [
        (part("\"a\"", "4-9/10"), Ok("456789")),
        (part("\"b\"", "4-9/10"), Err("has changed")),
        (part("\"a\"", "4-9/11"), Err("has changed")),
        (part("\"a\"", "3-8/10"), Err("not asked for")),
        // The whole file: another one, and one from a server that knows no ranges.
        (begin("\"b\""), Err("has changed")),
        (begin("\"a\""), Ok("456789")),
        (Answer::chunks(&["012", "3456", "789"], true), Ok("456789")),
        (
            Answer::of("416 No", "content-range: bytes */3\r\n", ""),
            Err("has changed"),
        ),
    ];
    for (answer, expected) in cases {
        let (fake, artifacts) = proxied(vec![begin("\"a\""), answer.clone()]).await;
        let file = file(Some(10));
        assert_eq!(content(&artifacts, &file, 0).await.unwrap(), "0123456789");
        let rest = content(&artifacts, &file, 4).await;
        match (&rest, expected) {
            (Ok(rest), Ok(expected)) => assert_eq!(rest, expected, "{answer:?}"),
            (Err(error), Err(said)) => assert!(error.to_string().contains(said), "{error}"),
            _ => panic!("{answer:?}: {rest:?}"),
        }
        let heads = fake.heads();
        let path = "get /api/2.0/mlflow-artifacts/artifacts/0/m%201/artifacts/model.onnx http";
        assert!(heads[2].starts_with(path), "{}", heads[2]);
        assert!(heads[2].contains("range: bytes=4-\r\n"), "{}", heads[2]);
        assert!(heads[2].contains("if-range: \"a\"\r\n"), "{}", heads[2]);
    }
}
