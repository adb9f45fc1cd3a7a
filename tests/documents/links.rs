//! Links and names on the pages that can be checked without running anything.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use crate::harness::repo;
use crate::pages::{Page, Part};

/// Returns the links of a page that lead nowhere. Those to other machines are not followed.
pub fn broken(page: &Page) -> Vec<String> {
    let file = repo().join(&page.path);
    let mut broken = Vec::new();
    for part in page.parts() {
        let Part::Line { line, text } = part else {
            continue;
        };
        for target in targets(text).filter(|target| !target.contains("://")) {
            if let Err(why) = check(&file, target) {
                broken.push(format!("{}:{line}: {target}: {why}", page.path));
            }
        }
    }
    broken
}

/// Returns the configuration keys of a page that the reference does not have.
pub fn unknown_keys(page: &Page) -> Vec<String> {
    let mut unknown = Vec::new();
    for part in page.parts() {
        let Part::Line { line, text } = part else {
            continue;
        };
        for span in text.split('`').skip(1).step_by(2) {
            let key = span.split([' ', '=']).next().unwrap_or_default();
            let section = key.split_once('.').map_or("", |(section, _)| section);
            let is_name = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
            let is_key = key.matches('.').count() == 1 && key.chars().all(is_name);
            let is_known = keys().contains(key) || keys_of_models().contains(key);
            if is_key && sections().contains(section) && !is_known {
                unknown.push(format!("{}:{line}: {key}", page.path));
            }
        }
    }
    unknown
}

/// Returns the metrics of a page that the reference does not have.
pub fn unknown_metrics(page: &Page) -> Vec<String> {
    let mut unknown = Vec::new();
    for part in page.parts() {
        let Part::Line { line, text } = part else {
            continue;
        };
        for span in text.split('`').skip(1).step_by(2) {
            let name = span.split(['{', ' ']).next().unwrap_or_default();
            if is_metric(name) && !metrics().contains(of_family(name)) {
                unknown.push(format!("{}:{line}: {name}", page.path));
            }
        }
    }
    unknown
}

/// Tells whether a word is a metric's name. Those of rules have colons, those of crates one word
/// behind the first, and a field of an answer is `inference_time_ms`.
fn is_metric(word: &str) -> bool {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let is_ours = word.starts_with("impetus_") && word.matches('_').count() > 1;
    let is_counter = |prefix| word.starts_with(prefix) && word.ends_with("_total");
    word.chars().all(is_name) && (is_ours || is_counter("inference_") || is_counter("logging_"))
}

/// Takes off what a histogram's series have behind its name.
fn of_family(name: &str) -> &str {
    let ends = ["_bucket", "_sum", "_count"];
    ends.iter()
        .find_map(|end| name.strip_suffix(end))
        .unwrap_or(name)
}

/// Returns the pages of `docs` that its map leaves out.
pub fn not_on_the_map(pages: &[Page]) -> Vec<String> {
    let map = pages.iter().find(|page| page.path == "docs/README.md");
    let map = &map.expect("docs/README.md is the map").text;
    let names = pages
        .iter()
        .filter_map(|page| page.path.strip_prefix("docs/"))
        .filter(|name| !name.contains('/') && *name != "README.md");
    names
        .filter(|name| !map.contains(&format!("]({name})")))
        .map(str::to_owned)
        .collect()
}

/// Returns what stands in `](…)`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let links = line.split("](").skip(1);
    links.filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
}

fn check(page: &Path, target: &str) -> Result<(), String> {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = match path {
        "" => page.to_owned(),
        path => page.parent().unwrap().join(path),
    };
    if !file.exists() {
        return Err("there is no such file".to_owned());
    }
    if anchor.is_empty() || file.extension().is_none_or(|kind| kind != "md") {
        return Ok(());
    }
    match anchors(&fs::read_to_string(file).unwrap()).contains(anchor) {
        true => Ok(()),
        false => Err("there is no such heading".to_owned()),
    }
}

/// Returns the anchors that GitHub makes of the headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| anchor(line.trim_start_matches('#').trim()))
        .collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter_map(|letter| match letter {
        ' ' => Some('-'),
        '-' | '_' => Some(letter),
        letter if letter.is_alphanumeric() => Some(letter.to_ascii_lowercase()),
        _ => None,
    });
    kept.collect()
}

/// The keys of the reference, which a test of its own keeps equal to the code.
fn keys() -> &'static BTreeSet<String> {
    static KEYS: OnceLock<BTreeSet<String>> = OnceLock::new();
    KEYS.get_or_init(|| headings_in_code("docs/configuration.md"))
}

/// The keys of a model's description, some of which are in sections called as the server's are: those
/// that begin the rows of its page. A test of the configuration keeps them complete.
fn keys_of_models() -> &'static BTreeSet<String> {
    static KEYS: OnceLock<BTreeSet<String>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let text = fs::read_to_string(repo().join("docs/models.md")).unwrap();
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
        let keys = rows.filter_map(|row| row.split('`').next());
        keys.map(str::to_owned).collect()
    })
}

/// The metrics of the reference, which is kept in the same way.
fn metrics() -> &'static BTreeSet<String> {
    static METRICS: OnceLock<BTreeSet<String>> = OnceLock::new();
    METRICS.get_or_init(|| headings_in_code("docs/metrics.md"))
}

/// Returns the headings of a reference that are a name alone.
fn headings_in_code(page: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(repo().join(page)).unwrap();
    let headings = text.lines().filter_map(|line| line.strip_prefix("### `"));
    headings
        .map(|name| name.trim_end_matches('`').to_owned())
        .collect()
}

fn sections() -> &'static BTreeSet<String> {
    static SECTIONS: OnceLock<BTreeSet<String>> = OnceLock::new();
    SECTIONS.get_or_init(|| {
        let sections = keys().iter().filter_map(|key| key.split_once('.'));
        sections.map(|(section, _)| section.to_owned()).collect()
    })
}

#[test]
fn a_heading_has_the_anchor_that_github_gives_it() {
    assert_eq!(anchor("Inference: `GET /ready`"), "inference-get-ready");
    assert_eq!(anchor("When it gives itself up"), "when-it-gives-itself-up");
}
