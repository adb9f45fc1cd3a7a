use std::fs;
use std::path::Path;

use super::*;
use crate::serving::ModelState;
use crate::sources::folder::look_into;

fn source(text: &str) -> Location {
    text.parse().unwrap()
}

fn registered(number: u64, stage: &str) -> Version {
    Version {
        owner: "surface".to_owned(),
        key: number.to_string(),
        number: Some(number),
        stage: Some(stage.to_owned()),
        listing: None,
    }
}

fn good(dir: &Path, version: &Version) -> Good {
    let path = dir.join(&version.key);
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("model.onnx"), &version.key).unwrap();
    let found = look_into("surface", &path).unwrap();
    Good {
        version: version.clone(),
        found: match version.number {
            Some(number) => found.numbered(number),
            None => found,
        },
        path,
    }
}

/// What is to be served: the version of each, and the state of those that are not here.
fn served(shelf: &Shelf) -> Vec<(String, Option<ModelState>)> {
    let wanted = shelf.wanted(Found::wanted);
    let one = |wanted: Wanted| {
        (
            wanted.spec.version,
            wanted.arrival.map(|arrival| arrival.state()),
        )
    };
    wanted.into_iter().map(one).collect()
}

fn here(version: &str) -> (String, Option<ModelState>) {
    (version.to_owned(), None)
}

fn awaited(version: &str, state: ModelState) -> (String, Option<ModelState>) {
    (version.to_owned(), Some(state))
}

#[test]
fn a_version_serves_until_the_next_one_is_here_whatever_becomes_of_its_download() {
    let dir = tempfile::tempdir().unwrap();
    let champion = source("models:/surface@champion");
    let shelf = Shelf::new([("surface".to_owned(), champion.clone())]);
    assert_eq!(served(&shelf), [awaited("unknown", ModelState::Absent)]);

    let three = registered(3, "champion");
    assert_eq!(shelf.means(&champion, Ok(three.clone())), ["surface"]);
    assert_eq!(served(&shelf), [awaited("3", ModelState::Absent)]);
    shelf.missing()[0].arrival.set(ArrivalStage::Fetching);
    assert_eq!(served(&shelf), [awaited("3", ModelState::Downloading)]);
    shelf.arrived("surface", good(dir.path(), &three));
    assert_eq!(served(&shelf), [here("3")]);

    let four = registered(4, "champion");
    assert_eq!(shelf.means(&champion, Ok(four.clone())), ["surface"]);
    assert!(shelf.means(&champion, Ok(four.clone())).is_empty());
    shelf.missing()[0]
        .arrival
        .set(ArrivalStage::Failed("no".to_owned()));
    assert_eq!(
        served(&shelf),
        [here("3"), awaited("4", ModelState::Failed)]
    );
    shelf.arrived("surface", good(dir.path(), &four));
    assert_eq!(served(&shelf), [here("4")]);
    assert!(shelf.missing().is_empty());
}

#[test]
fn a_source_that_says_nothing_takes_nothing_away() {
    let dir = tempfile::tempdir().unwrap();
    let champion = source("models:/surface@champion");
    let shelf = Shelf::new([("surface".to_owned(), champion.clone())]);
    let no = |why: &str| Err::<Version, _>(why.to_owned());
    assert!(shelf.means(&champion, no("it is down")).is_empty());
    assert_eq!(shelf.awaited("surface").unwrap().reason(), "it is down");
    let three = registered(3, "champion");
    shelf.means(&champion, Ok(three.clone()));
    shelf.arrived("surface", good(dir.path(), &three));
    assert!(shelf.means(&champion, no("it is down again")).is_empty());
    assert_eq!(served(&shelf), [here("3")]);
    assert_eq!(shelf.stage_of("surface").as_deref(), Some("champion"));
}

#[test]
fn a_download_that_comes_too_late_is_not_served_for_the_version_that_is_meant() {
    let dir = tempfile::tempdir().unwrap();
    let champion = source("models:/surface@champion");
    let shelf = Shelf::new([("surface".to_owned(), champion.clone())]);
    let (three, four) = (registered(3, "champion"), registered(4, "champion"));
    shelf.means(&champion, Ok(three.clone()));
    shelf.arrived("surface", good(dir.path(), &three));
    shelf.means(&champion, Ok(four.clone()));
    shelf.means(&champion, Ok(three.clone()));
    shelf.arrived("surface", good(dir.path(), &four));
    assert_eq!(served(&shelf), [here("3")]);
}

#[test]
fn a_version_that_is_promoted_changes_its_stage_and_is_not_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let newest = source("models:/surface/latest");
    let shelf = Shelf::new([("surface".to_owned(), newest.clone())]);
    let staging = registered(3, "Staging");
    shelf.means(&newest, Ok(staging.clone()));
    shelf.arrived("surface", good(dir.path(), &staging));
    let before = shelf.wanted(Found::wanted);
    assert!(
        shelf
            .means(&newest, Ok(registered(3, "Production")))
            .is_empty()
    );
    assert_eq!(shelf.stage_of("surface").as_deref(), Some("Production"));
    assert_eq!(shelf.wanted(Found::wanted), before);
    assert_eq!(
        shelf.to_remember()["surface"].version.stage.as_deref(),
        Some("Production")
    );
}

#[test]
fn another_source_of_a_name_takes_over_when_it_is_here() {
    let dir = tempfile::tempdir().unwrap();
    let champion = source("models:/surface@champion");
    let shelf = Shelf::new([("surface".to_owned(), champion.clone())]);
    let three = registered(3, "champion");
    shelf.means(&champion, Ok(three.clone()));
    shelf.arrived("surface", good(dir.path(), &three));
    let bucket = source("s3://bucket/surface");
    shelf.ask("surface", bucket.clone());
    assert_eq!(served(&shelf), [here("3")]);
    let digest = Version {
        owner: "surface".to_owned(),
        key: "0123456789abcdef".to_owned(),
        number: None,
        stage: None,
        listing: None,
    };
    shelf.means(&bucket, Ok(digest.clone()));
    let awaits = awaited("0123456789ab", ModelState::Absent);
    assert_eq!(served(&shelf), [here("3"), awaits]);
    shelf.arrived("surface", good(dir.path(), &digest));
    assert_eq!(served(&shelf), [here("1")]);
}
