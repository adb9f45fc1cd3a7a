//! Making room: who goes, and that nobody goes who is in use.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use impetus_sources::cache::{Cache, CacheError, Entry, Key, Staged};

use crate::caching::{NOW, add, cache, long, manifest};
use crate::support::DEADLINE;

/// Fills a cache of 1,000 bytes with three entries of 300, used in the order of their names.
async fn three(root: &Path, ttl: Duration) -> (Cache, [Key; 3]) {
    let cache = cache(root, "one", ttl).await;
    let keys = ["a", "b", "c"].map(|name| Key::new(name, "1"));
    for (number, key) in keys.iter().enumerate() {
        let entry = add(&cache, key, &[0; 300]).await;
        used_at(&entry, number as u64);
    }
    (cache, keys)
}

fn used_at(entry: &Entry, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + seconds);
    let used = File::options()
        .write(true)
        .open(entry.path.join(".impetus-used"))
        .unwrap();
    used.set_modified(time).unwrap();
}

#[tokio::test]
async fn what_was_used_least_recently_goes_first_and_no_more_than_needed() {
    let root = tempfile::tempdir().unwrap();
    let (cache, [a, b, c]) = three(root.path(), long()).await;
    assert_eq!(cache.make_room(100).await.unwrap().entries, []);
    let freed = cache.make_room(101).await.unwrap();
    assert_eq!((freed.bytes, freed.entries), (300, vec![a.clone()]));
    // Being asked for is being used.
    cache.entry(&b).await.unwrap().unwrap();
    let freed = cache.make_room(700).await.unwrap();
    assert_eq!(freed.entries, [c]);
    assert_eq!(cache.entry(&a).await.unwrap(), None);
    assert!(cache.entry(&b).await.unwrap().is_some());
}

#[tokio::test]
async fn what_any_process_has_loaded_is_never_evicted() {
    let root = tempfile::tempdir().unwrap();
    let (one, [a, b, c]) = three(root.path(), long()).await;
    let other = cache(root.path(), "two", long()).await;
    let pin = other.pin(&a).await.unwrap().unwrap();
    assert_eq!(pin.entry().key, a);
    assert_eq!(one.make_room(400).await.unwrap().entries, [b]);
    let error = one.make_room(900).await.unwrap_err();
    assert!(
        matches!(
            error,
            CacheError::Full {
                held: 300,
                needed: 900,
                ..
            }
        ),
        "{error}"
    );
    assert!(
        one.entry(&c).await.unwrap().is_some(),
        "nothing goes in vain"
    );
    assert!(!one.remove(&a).await.unwrap());
    pin.renew().await.unwrap();
    assert_eq!(one.usage().await.unwrap().pinned, 300);
    drop(pin);
    assert!(one.remove(&a).await.unwrap());
    assert!(other.pin(&a).await.unwrap().is_none());
}

#[tokio::test]
async fn a_download_under_way_is_never_evicted() {
    let root = tempfile::tempdir().unwrap();
    let (one, _) = three(root.path(), long()).await;
    let Staged::Ours(staging) = one.stage(&Key::new("d", "1"), NOW).await.unwrap() else {
        panic!("there is none yet");
    };
    std::fs::write(staging.path().join("m.onnx"), [0; 600]).unwrap();
    let error = one.make_room(500).await.unwrap_err();
    assert!(matches!(error, CacheError::Full { .. }), "{error}");
    assert_eq!(one.make_room(300).await.unwrap().entries.len(), 3);
    staging.commit(manifest(&[0; 600])).await.unwrap();
}

#[tokio::test]
async fn the_pin_of_a_process_that_gives_no_sign_of_life_counts_no_more() {
    let root = tempfile::tempdir().unwrap();
    let ttl = Duration::from_millis(200);
    let (one, [a, ..]) = three(root.path(), ttl).await;
    let dead = cache(root.path(), "dead", ttl).await;
    let pin = dead.pin(&a).await.unwrap().unwrap();
    let evicting = async {
        while !one.remove(&a).await.unwrap() {
            tokio::time::sleep(ttl / 10).await;
        }
    };
    tokio::time::timeout(DEADLINE, evicting)
        .await
        .expect("it is evicted in the end");
    let error = pin.renew().await.unwrap_err();
    assert!(matches!(error, CacheError::Lost { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_entry_is_there_however_others_press_for_room() {
    let root = tempfile::tempdir().unwrap();
    let key = Key::new("m", "1");
    let evictor = cache(root.path(), "evictor", long()).await;
    add(&evictor, &key, &[0; 600]).await;
    let done = Arc::new(AtomicBool::new(false));
    let (stop, wanted) = (Arc::clone(&done), key.clone());
    let pressing = tokio::spawn(async move {
        let mut evicted = 0;
        while !stop.load(Ordering::Relaxed) {
            // Full is what it must say while the entry is pinned.
            if evictor.make_room(900).await.is_ok() {
                evicted += 1;
                add(&evictor, &wanted, &[0; 600]).await;
            }
            tokio::task::yield_now().await;
        }
        evicted
    });
    let user = cache(root.path(), "user", long()).await;
    let mut pinned = 0;
    while pinned < 50 {
        if let Some(pin) = user.pin(&key).await.unwrap() {
            for _ in 0..20 {
                let there = std::fs::metadata(pin.entry().path.join("m.onnx"));
                assert_eq!(there.map(|meta| meta.len()).ok(), Some(600));
                tokio::task::yield_now().await;
            }
            pinned += 1;
        }
    }
    done.store(true, Ordering::Relaxed);
    let evicted = pressing.await.unwrap();
    assert!(evicted > 0, "nobody pressed");
}
