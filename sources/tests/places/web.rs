//! What is found on web servers.

use impetus_sources::fetch::Progress;
use impetus_sources::{Checksum, RemoteError, StoreRule, StoreSettings};

use crate::fetching::sha;
use crate::support::{Manners, Server, bring, limits};

#[tokio::test]
async fn a_folder_is_what_its_digests_name() {
    let server = Server::start(Manners::default()).await;
    server.put("/m/MLmodel", b"flavors");
    server.put("/m/data/w%20x.bin", b"weights");
    server.put("/m/unnamed", b"x");
    let sums = format!(
        "{}  MLmodel\n{} *./data/w x.bin\n",
        sha(b"flavors"),
        sha(b"weights")
    );
    server.put("/m/SHA256SUMS", sums.as_bytes());
    server.redirect("/m", "/m/");
    for path in ["/m/", "/m"] {
        let remote = server.remote(path);
        let listing = remote.list().await.unwrap();
        let paths: Vec<&str> = listing.files.iter().map(|file| &*file.path).collect();
        assert_eq!(paths, ["MLmodel", "data/w x.bin"], "{path}");
        assert_eq!(listing.size(), Some(14));
        assert_eq!(
            listing.files[1].checksum,
            Some(Checksum::Sha256(sha(b"weights")))
        );
        let into = tempfile::tempdir().unwrap();
        bring(&*remote, into.path(), &limits(), &Progress::default())
            .await
            .unwrap();
        assert_eq!(
            std::fs::read(into.path().join("data/w x.bin")).unwrap(),
            b"weights"
        );
    }
}

#[tokio::test]
async fn a_folder_without_digests_is_what_the_server_lists_by_webdav() {
    let manners = Manners {
        dav: true,
        ..Manners::default()
    };
    let server = Server::start(manners).await;
    server.put("/m/a.onnx", b"model");
    server.put("/m/d/w.bin", b"weights");
    let remote = server.remote("/m/");
    let into = tempfile::tempdir().unwrap();
    let progress = Progress::default();
    bring(&*remote, into.path(), &limits(), &progress)
        .await
        .unwrap();
    assert_eq!(std::fs::read(into.path().join("a.onnx")).unwrap(), b"model");
    assert_eq!(
        std::fs::read(into.path().join("d/w.bin")).unwrap(),
        b"weights"
    );
}

#[tokio::test]
async fn a_folder_without_digests_says_what_is_lacking() {
    let server = Server::start(Manners::default()).await;
    server.put("/m/a", b"a");
    let error = server.remote("/m/").list().await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, RemoteError::Unsupported { .. }), "{text}");
    assert!(
        text.contains("SHA256SUMS") && text.contains("WebDAV"),
        "{text}"
    );
}

#[tokio::test]
async fn a_single_file_is_found_with_and_without_head_and_through_redirects() {
    for head in [true, false] {
        let manners = Manners {
            head,
            ..Manners::default()
        };
        let server = Server::start(manners).await;
        server.put("/v1/m.onnx", b"model");
        server.put("/v1/m.onnx.sha256", sha(b"model").as_bytes());
        server.redirect("/latest.onnx", "/v1/m.onnx");
        let file = server
            .remote("/v1/m.onnx")
            .list()
            .await
            .unwrap()
            .files
            .remove(0);
        assert_eq!(
            (&*file.path, file.size),
            ("m.onnx", Some(5)),
            "{:?}",
            server.requests()
        );
        assert_eq!(file.checksum, Some(Checksum::Sha256(sha(b"model"))));
        assert!(file.etag.is_some());
        let into = tempfile::tempdir().unwrap();
        let remote = server.remote("/latest.onnx");
        bring(&*remote, into.path(), &limits(), &Progress::default())
            .await
            .unwrap();
        assert_eq!(
            std::fs::read(into.path().join("latest.onnx")).unwrap(),
            b"model"
        );
    }
}

#[tokio::test]
async fn what_is_not_there_and_who_does_not_answer_are_told_apart() {
    let server = Server::start(Manners::default()).await;
    let error = server.remote("/none").list().await.unwrap_err();
    assert!(matches!(error, RemoteError::NotThere { .. }), "{error}");
    let settings = StoreSettings::default();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let gone = settings
        .open(&format!("http://127.0.0.1:{port}/m?token=hush"))
        .unwrap();
    let error = gone.list().await.unwrap_err();
    assert!(matches!(error, RemoteError::Unreachable { .. }), "{error}");
    assert!(!format!("{error} {error:?} {gone:?}").contains("hush"));
}

#[tokio::test]
async fn garbage_for_digests_is_refused() {
    let server = Server::start(Manners::default()).await;
    server.put("/m.onnx", b"model");
    server.put("/m.onnx.sha256", b"<html>");
    let error = server.remote("/m.onnx").list().await.unwrap_err();
    assert!(matches!(error, RemoteError::Garbage { .. }), "{error}");
}

#[tokio::test]
async fn options_that_are_not_known_are_named() {
    let rule = StoreRule {
        prefix: "http://h".to_owned(),
        options: [("tokn".to_owned(), "hush".into())].into(),
        ..StoreRule::default()
    };
    let settings = StoreSettings {
        rules: vec![rule],
        ..StoreSettings::default()
    };
    let error = settings.open("http://h/m").unwrap_err().to_string();
    assert!(error.contains("tokn") && !error.contains("hush"), "{error}");
}
