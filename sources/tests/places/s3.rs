//! A real S3 server, which checks signatures and conditions, with a wire before it that can be cut.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use impetus_sources::fetch::Progress;
use impetus_sources::{Checksum, Remote, RemoteError, StoreRule, StoreSettings};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fetching::sha;
use crate::support::{bring, content, limits};

const SIZE: usize = 3 << 20;

struct Store {
    root: tempfile::TempDir,
    endpoint: String,
    /// How many bytes of answers may still pass before the wire is cut, once; negative: all.
    fuse: Arc<AtomicI64>,
}

impl Store {
    async fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("models")).unwrap();
        let files = s3s_fs::FileSystem::new(root.path()).unwrap();
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single("someone", "their-secret"));
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let behind = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone());
                tokio::spawn(async move {
                    // A client that goes away is no failure of the server's.
                    let _ = connection.await;
                });
            }
        });
        let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", front.local_addr().unwrap());
        let fuse = Arc::new(AtomicI64::new(-1));
        let burning = Arc::clone(&fuse);
        tokio::spawn(async move {
            while let Ok((client, _)) = front.accept().await {
                let server = TcpStream::connect(behind).await.unwrap();
                tokio::spawn(pass(client, server, Arc::clone(&burning)));
            }
        });
        Self {
            root,
            endpoint,
            fuse,
        }
    }

    fn put(&self, path: &str, content: &[u8]) {
        let path = self.root.path().join("models").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn settings(&self, secret: &str) -> StoreSettings {
        let options = [
            ("endpoint", &*self.endpoint),
            ("allow_http", "true"),
            ("region", "here"),
            ("access_key_id", "someone"),
            ("secret_access_key", secret),
        ];
        let options = options.map(|(key, value)| (key.to_owned(), value.into()));
        let rule = StoreRule {
            prefix: "s3://models".to_owned(),
            options: options.into(),
            ..StoreRule::default()
        };
        StoreSettings {
            rules: vec![rule],
            ..StoreSettings::default()
        }
    }

    fn remote(&self, address: &str) -> Box<dyn Remote> {
        self.settings("their-secret").open(address).unwrap()
    }
}

/// Carries bytes both ways until the fuse is burnt.
async fn pass(client: TcpStream, server: TcpStream, fuse: Arc<AtomicI64>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move {
        // Ends with the connection, however that ends.
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    });
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
        let left = fuse.load(Ordering::SeqCst);
        if left >= 0 && left < read as i64 {
            fuse.store(-1, Ordering::SeqCst);
            return;
        }
        if left >= 0 {
            fuse.store(left - read as i64, Ordering::SeqCst);
        }
        if to_client.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

fn read(into: &Path, path: &str) -> Vec<u8> {
    std::fs::read(into.join(path)).unwrap()
}

#[tokio::test]
async fn a_folder_is_listed_and_downloaded_with_its_digests() {
    let store = Store::start().await;
    let model = content(SIZE);
    store.put("surface/3/MLmodel", b"flavors");
    store.put("surface/3/data/model.onnx", &model);
    store.put("surface/30/other", b"x");
    store.put(
        "surface/3/SHA256SUMS",
        format!("{}  data/model.onnx\n", sha(&model)).as_bytes(),
    );
    let into = tempfile::tempdir().unwrap();
    let remote = store.remote("s3://models/surface/3");
    let listing = remote.list().await.unwrap();
    let paths: Vec<&str> = listing.files.iter().map(|file| &*file.path).collect();
    assert_eq!(paths, ["MLmodel", "SHA256SUMS", "data/model.onnx"]);
    assert_eq!(
        listing.files[2].checksum,
        Some(Checksum::Sha256(sha(&model)))
    );
    bring(&*remote, into.path(), &limits(), &Progress::default())
        .await
        .unwrap();
    assert_eq!(read(into.path(), "data/model.onnx"), model);
    assert_eq!(read(into.path(), "MLmodel"), b"flavors");
}

#[tokio::test]
async fn a_single_object_is_one_file_and_its_digest_lies_beside_it() {
    let store = Store::start().await;
    store.put("m.onnx", b"model");
    store.put(
        "m.onnx.sha256",
        format!("{}  m.onnx", "0".repeat(64)).as_bytes(),
    );
    let remote = store.remote("s3://models/m.onnx");
    let into = tempfile::tempdir().unwrap();
    let error = bring(&*remote, into.path(), &limits(), &Progress::default())
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("m.onnx does not have the content"),
        "{error}"
    );
    store.put(
        "m.onnx.sha256",
        format!("{}  m.onnx", sha(b"model")).as_bytes(),
    );
    bring(&*remote, into.path(), &limits(), &Progress::default())
        .await
        .unwrap();
    assert_eq!(read(into.path(), "m.onnx"), b"model");
}

#[tokio::test]
async fn a_wire_that_is_cut_costs_no_byte_twice() {
    let store = Store::start().await;
    let model = content(SIZE);
    store.put("m.onnx", &model);
    let remote = store.remote("s3://models/m.onnx");
    let listing = remote.list().await.unwrap();
    store.fuse.store(2_000_000, Ordering::SeqCst);
    let into = tempfile::tempdir().unwrap();
    let order = impetus_sources::FetchOrder {
        listing,
        into: into.path().to_owned(),
        from: String::new(),
        at: 0,
    };
    let progress = Progress::default();
    impetus_sources::fetch(&*remote, &order, &limits(), &progress)
        .await
        .unwrap();
    assert_eq!(store.fuse.load(Ordering::SeqCst), -1, "it was cut");
    assert_eq!(read(into.path(), "m.onnx"), model);
    assert_eq!(progress.now().bytes_done, SIZE as u64);
}

#[tokio::test]
async fn an_object_that_has_changed_since_it_was_listed_is_not_read() {
    let store = Store::start().await;
    store.put("m.onnx", b"model");
    let remote = store.remote("s3://models/m.onnx");
    let listing = remote.list().await.unwrap();
    store.put("m.onnx", b"other");
    let error = remote
        .read(&listing.files[0], 0)
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(error, RemoteError::Changed { .. }), "{error}");
}

#[tokio::test]
async fn refusals_and_absence_are_told_apart_and_no_secret_is_told() {
    let store = Store::start().await;
    store.put("m.onnx", b"model");
    let error = store.remote("s3://models/none").list().await.unwrap_err();
    assert!(matches!(error, RemoteError::NotThere { .. }), "{error}");
    let settings = store.settings("a-wrong-secret");
    let remote = settings.open("s3://models/m.onnx").unwrap();
    let error = remote.list().await.unwrap_err();
    assert!(
        matches!(error, RemoteError::Refused { status: 403, .. }),
        "{error}"
    );
    let shown = format!("{error} {error:?} {remote:?} {settings:?}");
    assert!(!shown.contains("a-wrong-secret"), "{shown}");
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_unreachable() {
    let store = Store::start().await;
    let mut settings = store.settings("their-secret");
    let options = &mut settings.rules[0].options;
    options.insert("endpoint".to_owned(), "http://127.0.0.1:1".into());
    let error = settings
        .open("s3://models/m")
        .unwrap()
        .list()
        .await
        .unwrap_err();
    assert!(matches!(error, RemoteError::Unreachable { .. }), "{error}");
}
