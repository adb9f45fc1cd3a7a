//! What goes wrong while files are downloaded, and what becomes of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use impetus_sources::fetch::{FetchError, FetchLimits, Progress, WORK_FOLDER};
use impetus_sources::{Checksum, RemoteError};

use crate::support::{Fault, Manners, Server, bring, content, limits, until};

const SIZE: usize = 3 << 20;
const NEVER: FetchLimits = FetchLimits {
    parallel: 4,
    files: 100,
    bytes: 1 << 30,
    stall: Duration::from_secs(10),
    retries: 0,
    first_pause: Duration::ZERO,
    longest_pause: Duration::ZERO,
    within: Duration::from_secs(30),
};

async fn one_file(manners: Manners) -> (Server, Vec<u8>, tempfile::TempDir) {
    let server = Server::start(manners).await;
    let model = content(SIZE);
    server.put("/m.onnx", &model);
    (server, model, tempfile::tempdir().unwrap())
}

fn part(into: &Path) -> PathBuf {
    let mut parts = fs::read_dir(into.join(WORK_FOLDER)).unwrap();
    parts
        .find_map(|entry| {
            let path = entry.unwrap().path();
            path.extension()
                .is_some_and(|end| end == "part")
                .then_some(path)
        })
        .expect("there is a part")
}

#[tokio::test]
async fn a_download_cut_in_the_middle_goes_on_where_it_was_cut() {
    let (server, model, into) = one_file(Manners::default()).await;
    server.fail([Fault::Cut(1_000_000), Fault::Cut(1_000_001)]);
    let progress = Progress::default();
    let remote = server.remote("/m.onnx");
    let manifest = bring(&*remote, into.path(), &limits(), &progress)
        .await
        .unwrap();
    assert_eq!(fs::read(into.path().join("m.onnx")).unwrap(), model);
    assert_eq!(server.served(), SIZE);
    let now = progress.now();
    assert_eq!(
        (now.bytes_done, now.bytes_in_all),
        (SIZE as u64, Some(SIZE as u64))
    );
    assert_eq!((now.retries, now.files_done, now.files_in_all), (2, 1, 1));
    assert_eq!(manifest.size(), SIZE as u64);
    assert!(!into.path().join(WORK_FOLDER).exists());
}

#[tokio::test]
async fn another_call_goes_on_with_what_an_earlier_one_has_left() {
    let (server, model, into) = one_file(Manners::default()).await;
    server.fail([Fault::Cut(2_000_000)]);
    let progress = Progress::default();
    let remote = server.remote("/m.onnx");
    let error = bring(&*remote, into.path(), &NEVER, &progress)
        .await
        .unwrap_err();
    assert!(
        matches!(error, FetchError::Remote(RemoteError::Unreachable { .. })),
        "{error}"
    );
    assert!(!into.path().join("m.onnx").exists());
    bring(&*remote, into.path(), &NEVER, &progress)
        .await
        .unwrap();
    assert_eq!(fs::read(into.path().join("m.onnx")).unwrap(), model);
    assert_eq!(server.served(), SIZE);
    assert_eq!(progress.now().resumed, 2_000_000);
}

#[tokio::test]
async fn a_download_that_is_dropped_leaves_what_has_come() {
    let (server, model, into) = one_file(Manners::default()).await;
    server.fail([Fault::Stall(2_500_000)]);
    let progress = Progress::default();
    let remote = server.remote("/m.onnx");
    {
        let bringing = bring(&*remote, into.path(), &NEVER, &progress);
        tokio::select! {
            result = bringing => panic!("it ended by itself: {result:?}"),
            () = until("it has come", || progress.now().bytes_done == 2_500_000) => {}
        }
    }
    let path = part(into.path());
    until("it is written", || {
        fs::metadata(&path).unwrap().len() > 1_000_000
    })
    .await;
    bring(&*remote, into.path(), &NEVER, &progress)
        .await
        .unwrap();
    assert_eq!(fs::read(into.path().join("m.onnx")).unwrap(), model);
    assert!(progress.now().resumed > 1_000_000);
}

#[tokio::test]
async fn files_that_are_whole_are_not_downloaded_again() {
    let (server, model, into) = one_file(Manners::default()).await;
    server.put("/d/a", &model);
    server.put("/d/b", b"short");
    server.put(
        "/d/SHA256SUMS",
        format!("{}  a\n{}  b\n", sha(&model), sha(b"short")).as_bytes(),
    );
    let one = FetchLimits {
        parallel: 1,
        ..NEVER
    };
    let remote = server.remote("/d/");
    server.fail([Fault::Cut(usize::MAX), Fault::Status(503)]);
    bring(&*remote, into.path(), &one, &Progress::default())
        .await
        .unwrap_err();
    let progress = Progress::default();
    bring(&*remote, into.path(), &one, &progress).await.unwrap();
    assert_eq!(server.served(), SIZE + 5);
    assert_eq!(progress.now().resumed, SIZE as u64);
    assert_eq!(progress.now().files_done, 2);
}

#[tokio::test]
async fn a_silent_connection_is_given_up_and_tried_again() {
    let (server, model, into) = one_file(Manners::default()).await;
    server.fail([Fault::Stall(1_500_000)]);
    let stall = Duration::from_millis(300);
    let limits = FetchLimits { stall, ..limits() };
    let progress = Progress::default();
    let remote = server.remote("/m.onnx");
    bring(&*remote, into.path(), &limits, &progress)
        .await
        .unwrap();
    assert_eq!(fs::read(into.path().join("m.onnx")).unwrap(), model);
    assert_eq!(progress.now().retries, 1);

    server.fail([Fault::Stall(0), Fault::Stall(0)]);
    let limits = FetchLimits {
        retries: 1,
        ..limits
    };
    let error = bring(&*remote, &into.path().join("2"), &limits, &progress)
        .await
        .unwrap_err();
    assert!(matches!(error, FetchError::Stalled { .. }), "{error}");
}

#[tokio::test]
async fn a_file_that_changes_half_way_is_to_be_listed_again() {
    let (server, model, into) = one_file(Manners::default()).await;
    server.fail([Fault::Change(2_000_000)]);
    let progress = Progress::default();
    let remote = server.remote("/m.onnx");
    let error = bring(&*remote, into.path(), &limits(), &progress)
        .await
        .unwrap_err();
    assert!(error.is_changed() && error.is_transient(), "{error}");
    assert!(!into.path().join("m.onnx").exists());
    bring(&*remote, into.path(), &limits(), &progress)
        .await
        .unwrap();
    let other: Vec<u8> = model.iter().map(|byte| byte.wrapping_add(1)).collect();
    assert_eq!(fs::read(into.path().join("m.onnx")).unwrap(), other);
    assert_eq!(progress.now().resumed, 0);
}

#[tokio::test]
async fn a_wrong_checksum_is_refused_and_nothing_is_left() {
    let (server, model, into) = one_file(Manners::default()).await;
    server.put(
        "/m.onnx.sha256",
        format!("{}  m.onnx\n", "0".repeat(64)).as_bytes(),
    );
    let remote = server.remote("/m.onnx");
    let error = bring(&*remote, into.path(), &limits(), &Progress::default())
        .await
        .unwrap_err();
    let FetchError::Checksum {
        path,
        expected,
        found,
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!((&**path, expected), ("m.onnx", &"0".repeat(64)));
    assert_eq!(*found, sha(&model));
    assert!(!error.is_transient());
    let left = fs::read_dir(into.path().join(WORK_FOLDER)).unwrap().count();
    assert_eq!((left, into.path().join("m.onnx").exists()), (0, false));
}

#[tokio::test]
async fn a_part_that_was_harmed_is_begun_anew() {
    let (server, model, into) = one_file(Manners::default()).await;
    server.put("/m.onnx.sha256", sha(&model).as_bytes());
    server.fail([Fault::Cut(2_000_000)]);
    let remote = server.remote("/m.onnx");
    let progress = Progress::default();
    bring(&*remote, into.path(), &NEVER, &progress)
        .await
        .unwrap_err();
    fs::write(part(into.path()), vec![0; 2_000_000]).unwrap();
    bring(&*remote, into.path(), &NEVER, &progress)
        .await
        .unwrap();
    assert_eq!(fs::read(into.path().join("m.onnx")).unwrap(), model);
    assert_eq!(progress.now().bytes_done, SIZE as u64);
}

#[tokio::test]
async fn what_cannot_be_told_from_another_file_is_begun_anew() {
    let manners = Manners {
        etags: false,
        ..Manners::default()
    };
    let (server, model, into) = one_file(manners).await;
    server.fail([Fault::Cut(2_000_000)]);
    let remote = server.remote("/m.onnx");
    bring(&*remote, into.path(), &limits(), &Progress::default())
        .await
        .unwrap();
    assert_eq!(fs::read(into.path().join("m.onnx")).unwrap(), model);
    assert_eq!(server.served(), 2_000_000 + SIZE);
}

#[tokio::test]
async fn a_server_without_ranges_is_read_from_the_beginning() {
    let manners = Manners {
        ranges: false,
        ..Manners::default()
    };
    let (server, model, into) = one_file(manners).await;
    server.fail([Fault::Cut(2_000_000)]);
    let remote = server.remote("/m.onnx");
    bring(&*remote, into.path(), &limits(), &Progress::default())
        .await
        .unwrap();
    assert_eq!(fs::read(into.path().join("m.onnx")).unwrap(), model);
}

#[tokio::test]
async fn bodies_of_another_length_are_tried_again_and_refused_at_last() {
    let (server, model, into) = one_file(Manners::default()).await;
    let remote = server.remote("/m.onnx");
    server.fail([Fault::Short(1_000), Fault::Long(9)]);
    bring(&*remote, into.path(), &limits(), &Progress::default())
        .await
        .unwrap();
    assert_eq!(fs::read(into.path().join("m.onnx")).unwrap(), model);

    for fault in [Fault::Short(1_000), Fault::Long(9)] {
        let into = tempfile::tempdir().unwrap();
        server.fail([fault]);
        let error = bring(&*remote, into.path(), &NEVER, &Progress::default())
            .await
            .unwrap_err();
        assert!(
            matches!(error, FetchError::Length { .. }),
            "{fault:?}: {error}"
        );
    }
}

#[tokio::test]
async fn refusals_are_not_tried_again_and_overload_is() {
    let (server, _, into) = one_file(Manners::default()).await;
    let remote = server.remote("/m.onnx");
    server.fail([Fault::Status(403)]);
    let progress = Progress::default();
    let error = bring(&*remote, into.path(), &limits(), &progress)
        .await
        .unwrap_err();
    let is_refused = matches!(
        error,
        FetchError::Remote(RemoteError::Refused { status: 403, .. })
    );
    assert!(is_refused, "{error}");
    assert_eq!(progress.now().retries, 0);
    server.fail([Fault::Status(503), Fault::Status(429)]);
    bring(&*remote, into.path(), &limits(), &progress)
        .await
        .unwrap();
    assert_eq!(progress.now().retries, 2);
}

#[tokio::test]
async fn a_full_disk_is_named_with_what_was_needed_and_the_part_is_kept() {
    let (server, _, into) = one_file(Manners::default()).await;
    server.fail([Fault::Cut(1_000)]);
    let remote = server.remote("/m.onnx");
    bring(&*remote, into.path(), &NEVER, &Progress::default())
        .await
        .unwrap_err();
    // The device on which every write ends with ENOSPC.
    let part = part(into.path());
    fs::remove_file(&part).unwrap();
    std::os::unix::fs::symlink("/dev/full", &part).unwrap();
    let error = bring(&*remote, into.path(), &limits(), &Progress::default())
        .await
        .unwrap_err();
    let FetchError::DiskFull {
        at,
        needed: Some(needed),
        ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(at, &part);
    assert!(*needed <= SIZE as u64);
    assert!(fs::symlink_metadata(&part).is_ok());
}

#[tokio::test]
async fn what_certainly_does_not_fit_is_not_begun() {
    let (server, _, into) = one_file(Manners::default()).await;
    let remote = server.remote("/m.onnx");
    let mut listing = remote.list().await.unwrap();
    listing.files[0].size = Some(1 << 60);
    let order = impetus_sources::FetchOrder {
        listing,
        into: into.path().to_owned(),
        from: String::new(),
        at: 0,
    };
    let limits = FetchLimits {
        bytes: u64::MAX,
        ..NEVER
    };
    let progress = Progress::default();
    let fetching = impetus_sources::fetch(&*remote, &order, &limits, &progress);
    let error = fetching.await.unwrap_err();
    let is_full = matches!(
        error,
        FetchError::DiskFull {
            needed: Some(_),
            free: Some(_),
            ..
        }
    );
    assert!(is_full, "{error}");
    assert_eq!(server.served(), 0);
}

#[tokio::test]
async fn more_than_the_limits_allow_is_refused() {
    let (server, _, into) = one_file(Manners::default()).await;
    let remote = server.remote("/m.onnx");
    for limits in [
        FetchLimits {
            bytes: 1_000,
            ..NEVER
        },
        FetchLimits { files: 0, ..NEVER },
    ] {
        let error = bring(&*remote, into.path(), &limits, &Progress::default())
            .await
            .unwrap_err();
        assert!(matches!(error, FetchError::TooMuch { .. }), "{error}");
    }
    assert_eq!(server.served(), 0);
}

#[tokio::test]
async fn a_listing_that_reaches_out_of_its_folder_is_refused() {
    let (server, _, into) = one_file(Manners::default()).await;
    let remote = server.remote("/m.onnx");
    for path in ["../m", ".impetus-manifest.json", ".impetus-fetch/x"] {
        let mut listing = remote.list().await.unwrap();
        path.clone_into(&mut listing.files[0].path);
        let order = impetus_sources::FetchOrder {
            listing,
            into: into.path().to_owned(),
            from: String::new(),
            at: 0,
        };
        let progress = Progress::default();
        let fetching = impetus_sources::fetch(&*remote, &order, &NEVER, &progress);
        let error = fetching.await.unwrap_err();
        assert!(matches!(error, FetchError::Path { .. }), "{error}");
    }
}

#[tokio::test]
async fn what_is_listed_no_more_is_removed_from_what_was_left() {
    let (server, model, into) = one_file(Manners::default()).await;
    server.put("/d/a", b"a");
    server.put("/d/z", &model);
    server.put(
        "/d/SHA256SUMS",
        format!("{}  a\n{}  z\n", sha(b"a"), sha(&model)).as_bytes(),
    );
    let remote = server.remote("/d/");
    let one = FetchLimits {
        parallel: 1,
        ..NEVER
    };
    server.fail([Fault::Cut(usize::MAX), Fault::Cut(5)]);
    bring(&*remote, into.path(), &one, &Progress::default())
        .await
        .unwrap_err();
    assert!(into.path().join("a").exists());
    server.put("/d/a/b", b"b");
    server.put("/d/SHA256SUMS", format!("{}  a/b\n", sha(b"b")).as_bytes());
    let manifest = bring(&*remote, into.path(), &one, &Progress::default())
        .await
        .unwrap();
    assert_eq!(manifest.files[0].path, "a/b");
    assert_eq!(fs::read(into.path().join("a/b")).unwrap(), b"b");
    assert_eq!(fs::read_dir(into.path()).unwrap().count(), 1);
}

pub(crate) fn sha(bytes: &[u8]) -> String {
    let mut hasher = impetus_sources::fetch::Hasher::for_checksum(None::<&Checksum>);
    hasher.update(bytes);
    hasher.finish().sha256
}
