//! What is refused, for how long, and what is known of it.

use impetus_engine::Tensor;
use impetus_supervision::SystemClock;

use super::*;

fn quarantine(capacity: usize, expires_after: Duration) -> Quarantine {
    let settings = QuarantineSettings {
        capacity,
        expires_after,
        bodies: None,
    };
    Quarantine::new(settings, Arc::new(SystemClock::new()))
}

fn inputs(value: f32) -> Vec<Tensor> {
    vec![Tensor::from_f32("x", vec![1, 1], &[value]).unwrap()]
}

fn suspect<'a>(version: &'a str, inputs: &'a [Tensor]) -> Suspect<'a> {
    Suspect {
        model: "m",
        version,
        inputs,
        request_id: Some("r-1"),
    }
}

fn loss() -> Loss {
    Loss::Crash("was ended by signal 11".to_owned())
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn only_the_same_content_for_the_same_version_is_refused() {
    let list = quarantine(8, HOUR);
    let (bad, good) = (inputs(1.0), inputs(2.0));
    list.enter(&suspect("1", &bad), &loss());
    let entry = list.refuses(&suspect("1", &bad)).unwrap();
    assert_eq!((entry.cause, entry.refused), ("crash", 1));
    assert!(list.refuses(&suspect("1", &good)).is_none());
    assert!(list.refuses(&suspect("2", &bad)).is_none());
    assert_eq!((list.len(), list.added(), list.refused()), (1, 1, 1));
}

#[test]
fn the_list_is_bounded_and_the_oldest_makes_room() {
    let list = quarantine(3, HOUR);
    for value in 0..5 {
        list.enter(&suspect("1", &inputs(value as f32)), &loss());
    }
    assert_eq!(list.len(), 3);
    assert!(list.refuses(&suspect("1", &inputs(1.0))).is_none());
    assert!(list.refuses(&suspect("1", &inputs(2.0))).is_some());
}

#[test]
fn an_entry_expires() {
    let list = quarantine(3, Duration::ZERO);
    let bad = inputs(1.0);
    list.enter(&suspect("1", &bad), &loss());
    assert!(list.refuses(&suspect("1", &bad)).is_none());
    assert!(list.is_empty());
}

#[test]
fn one_or_all_can_be_cleared() {
    let list = quarantine(8, HOUR);
    let first = list.enter(&suspect("1", &inputs(1.0)), &loss());
    list.enter(&suspect("1", &inputs(2.0)), &loss());
    assert!(list.clear(&first.to_string()));
    assert!(!list.clear(&first.to_string()));
    assert!(list.refuses(&suspect("1", &inputs(1.0))).is_none());
    assert_eq!(list.clear_all(), 1);
    assert!(list.refuses(&suspect("1", &inputs(2.0))).is_none());
}

#[test]
fn entering_it_again_makes_no_second_entry() {
    let list = quarantine(8, HOUR);
    list.enter(&suspect("1", &inputs(1.0)), &loss());
    list.enter(&suspect("1", &inputs(1.0)), &loss());
    assert_eq!(list.list().len(), 1);
}

#[test]
fn the_parts_of_a_fingerprint_cannot_run_together() {
    let ab = [Tensor::from_f32("ab", vec![1], &[0.0]).unwrap()];
    let a = [Tensor::from_f32("a", vec![1], &[0.0]).unwrap()];
    let print = |version, inputs| Fingerprint::of(&suspect(version, inputs));
    assert_ne!(print("1", &ab[..]), print("1a", &a[..]));
    let flat = [Tensor::from_f32("x", vec![4], &[0.0; 4]).unwrap()];
    let square = [Tensor::from_f32("x", vec![2, 2], &[0.0; 4]).unwrap()];
    assert_ne!(print("1", &flat[..]), print("1", &square[..]));
}

#[test]
fn the_content_is_kept_as_a_line_of_json_and_the_bytes() {
    let inputs = inputs(1.0);
    let body = fingerprint::body_of(&suspect("1", &inputs));
    let end = body.iter().position(|byte| *byte == b'\n').unwrap();
    let head: serde_json::Value = serde_json::from_slice(&body[..end]).unwrap();
    assert_eq!(head["inputs"][0]["bytes"], 4);
    assert_eq!(head["request_id"], "r-1");
    assert_eq!(body[end + 1..], 1.0_f32.to_le_bytes());
}
