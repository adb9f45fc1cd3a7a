//! Several processes and one cache: who downloads, who waits, who takes over.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use impetus_sources::cache::{Cache, CacheError, CacheSettings, Entry, Key, Staged, Staging};
use impetus_sources::{Manifest, ManifestFile};

use crate::fetching::sha;
use crate::support::{DEADLINE, until};

/// Which folder the process that is to be killed shares with the test.
const SHARED: &str = "IMPETUS_TEST_CACHE";
pub(crate) const NOW: Duration = Duration::ZERO;

pub(crate) async fn cache(root: &Path, owner: &str, ttl: Duration) -> Cache {
    let settings = CacheSettings {
        root: root.to_owned(),
        bytes: 1_000,
        owner: owner.to_owned(),
        ttl,
        abandoned: Duration::from_secs(24 * 60 * 60),
    };
    Cache::open(settings).await.unwrap()
}

pub(crate) fn long() -> Duration {
    DEADLINE * 10
}

fn short() -> Duration {
    Duration::from_millis(400)
}

pub(crate) fn manifest(content: &[u8]) -> Manifest {
    Manifest {
        from: "here".to_owned(),
        at: 1,
        files: vec![ManifestFile {
            path: "m.onnx".to_owned(),
            size: content.len() as u64,
            sha256: sha(content),
        }],
    }
}

pub(crate) async fn ours(cache: &Cache, key: &Key, within: Duration) -> Staging {
    match cache.stage(key, within).await.unwrap() {
        Staged::Ours(staging) => staging,
        Staged::There(entry) => panic!("there is {entry:?}"),
    }
}

pub(crate) async fn add(cache: &Cache, key: &Key, content: &[u8]) -> Entry {
    let staging = ours(cache, key, NOW).await;
    fs::write(staging.path().join("m.onnx"), content).unwrap();
    staging.commit(manifest(content)).await.unwrap()
}

#[tokio::test]
async fn what_was_brought_is_found_by_everybody() {
    let root = tempfile::tempdir().unwrap();
    let [one, other] = [
        cache(root.path(), "one", long()).await,
        cache(root.path(), "two", long()).await,
    ];
    let key = Key::new("Surface: 1/2", "3");
    assert_eq!(one.entry(&key).await.unwrap(), None);
    let entry = add(&one, &key, b"model").await;
    assert_eq!(fs::read(entry.path.join("m.onnx")).unwrap(), b"model");
    let found = other.entry(&key).await.unwrap().unwrap();
    assert_eq!(
        (&found, &found.key, found.manifest.size()),
        (&entry, &key, 5)
    );
    assert!(
        matches!(other.stage(&key, NOW).await.unwrap(), Staged::There(there) if there == entry)
    );
    assert_eq!(other.entries().await.unwrap(), [entry]);
    let left = fs::read_dir(root.path().join(".staging")).unwrap();
    assert!(
        left.flatten()
            .all(|shelf| fs::read_dir(shelf.path()).unwrap().count() == 0)
    );
}

#[tokio::test]
async fn who_comes_second_waits_and_gets_what_the_first_has_brought() {
    let root = tempfile::tempdir().unwrap();
    let [one, other] = [
        cache(root.path(), "one", long()).await,
        cache(root.path(), "two", long()).await,
    ];
    let key = Key::new("m", "1");
    let staging = ours(&one, &key, NOW).await;
    let error = other.stage(&key, NOW).await.unwrap_err();
    assert!(
        matches!(&error, CacheError::Busy { holder, .. } if holder == "one.0"),
        "{error}"
    );
    let wanted = key.clone();
    let waiting = tokio::spawn(async move { other.stage(&wanted, DEADLINE).await });
    fs::write(staging.path().join("m.onnx"), b"model").unwrap();
    let entry = staging.commit(manifest(b"model")).await.unwrap();
    let got = waiting.await.unwrap().unwrap();
    assert!(matches!(got, Staged::There(there) if there == entry));
}

#[tokio::test]
async fn what_was_given_back_is_gone_on_with() {
    let root = tempfile::tempdir().unwrap();
    let [one, other] = [
        cache(root.path(), "one", long()).await,
        cache(root.path(), "two", long()).await,
    ];
    let key = Key::new("m", "1");
    let staging = ours(&one, &key, NOW).await;
    fs::write(staging.path().join("half"), b"mo").unwrap();
    drop(staging);
    let staging = ours(&other, &key, NOW).await;
    assert_eq!(fs::read(staging.path().join("half")).unwrap(), b"mo");
    staging.discard().await.unwrap();
    assert!(!ours(&one, &key, NOW).await.path().join("half").exists());
}

#[tokio::test]
async fn a_process_that_is_killed_with_a_download_in_hand_is_replaced() {
    #[expect(
        clippy::disallowed_methods,
        reason = "how the test tells its child apart from itself"
    )]
    let shared = std::env::var_os(SHARED);
    if let Some(root) = shared {
        return hold_until_killed(Path::new(&root)).await;
    }
    let root = tempfile::tempdir().unwrap();
    let name = "caching::a_process_that_is_killed_with_a_download_in_hand_is_replaced";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(SHARED, root.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let holds = lines
        .map_while(Result::ok)
        .any(|line| line.contains("held"));
    assert!(holds, "the child has ended without holding anything");
    let cache = cache(root.path(), "parent", short()).await;
    let key = Key::new("m", "1");
    // It lives, and so it is waited for: through more than a lease's time, since it renews.
    let error = cache.stage(&key, short() * 3).await.unwrap_err();
    assert!(matches!(error, CacheError::Busy { .. }), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    let staging = ours(&cache, &key, DEADLINE).await;
    assert_eq!(fs::read(staging.path().join("half")).unwrap(), b"mo");
    fs::write(staging.path().join("m.onnx"), b"model").unwrap();
    staging.commit(manifest(b"model")).await.unwrap();
    assert_eq!(cache.entries().await.unwrap().len(), 1);
}

/// What the child does: it takes the download and renews it.
async fn hold_until_killed(root: &Path) {
    let cache = cache(root, "child", short()).await;
    let staging = ours(&cache, &Key::new("m", "1"), NOW).await;
    fs::write(staging.path().join("half"), b"mo").unwrap();
    std::io::stdout().write_all(b"held\n").unwrap();
    loop {
        staging.renew().await.unwrap();
        tokio::time::sleep(short() / 20).await;
    }
}

#[tokio::test]
async fn who_was_taken_for_dead_can_neither_go_on_nor_finish() {
    let root = tempfile::tempdir().unwrap();
    let one = cache(root.path(), "one", short()).await;
    let other = cache(root.path(), "two", short()).await;
    let key = Key::new("m", "1");
    let paused = ours(&one, &key, NOW).await;
    fs::write(paused.path().join("m.onnx"), b"model").unwrap();
    let staging = ours(&other, &key, DEADLINE).await;
    let error = paused.renew().await.unwrap_err();
    assert!(matches!(error, CacheError::Lost { .. }), "{error}");
    let error = paused.commit(manifest(b"model")).await.unwrap_err();
    assert!(matches!(error, CacheError::Lost { .. }), "{error}");
    assert_eq!(other.entries().await.unwrap(), []);
    staging.renew().await.unwrap();
    staging.commit(manifest(b"model")).await.unwrap();
    assert!(one.entry(&key).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_exactly_one_downloads() {
    let root = tempfile::tempdir().unwrap();
    let key = Key::new("m", "1");
    let mut contenders = tokio::task::JoinSet::new();
    for number in 0..8 {
        let (root, key) = (root.path().to_owned(), key.clone());
        contenders.spawn(async move {
            let cache = cache(&root, &format!("owner-{number}"), long()).await;
            match cache.stage(&key, DEADLINE).await.unwrap() {
                Staged::Ours(staging) => {
                    // No second one may be in it: this fails if the file is there.
                    File::create_new(root.join(".downloading")).unwrap();
                    fs::write(staging.path().join("m.onnx"), b"model").unwrap();
                    staging.commit(manifest(b"model")).await.unwrap();
                    1
                }
                Staged::There(entry) => {
                    assert_eq!(fs::read(entry.path.join("m.onnx")).unwrap(), b"model");
                    0
                }
            }
        });
    }
    let downloads: Vec<i32> = contenders.join_all().await;
    assert_eq!(downloads.iter().sum::<i32>(), 1);
}

#[tokio::test]
async fn an_entry_without_all_its_files_is_not_made_and_one_that_was_harmed_is_replaced() {
    let root = tempfile::tempdir().unwrap();
    let cache = cache(root.path(), "one", long()).await;
    let key = Key::new("m", "1");
    let staging = ours(&cache, &key, NOW).await;
    fs::write(staging.path().join("m.onnx"), b"mod").unwrap();
    let error = staging.commit(manifest(b"model")).await.unwrap_err();
    assert!(matches!(error, CacheError::Incomplete { .. }), "{error}");
    let entry = add(&cache, &key, b"model").await;
    fs::write(entry.path.join("m.onnx"), b"mod").unwrap();
    assert_eq!(cache.entry(&key).await.unwrap(), None);
    add(&cache, &key, b"model").await;
    assert!(cache.entry(&key).await.unwrap().is_some());
}

#[tokio::test]
async fn abandoned_downloads_are_deleted_and_others_are_not() {
    let root = tempfile::tempdir().unwrap();
    let cache = cache(root.path(), "one", long()).await;
    let old = ours(&cache, &Key::new("old", "1"), NOW).await;
    let new = ours(&cache, &Key::new("new", "1"), NOW).await;
    let back = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let lease = File::open(old.path().join(".impetus-lease")).unwrap();
    lease.set_modified(back).unwrap();
    cache.sweep().await.unwrap();
    until("it is deleted", || !old.path().exists()).await;
    new.renew().await.unwrap();
    let error = old.renew().await.unwrap_err();
    assert!(matches!(error, CacheError::Lost { .. }), "{error}");
}
