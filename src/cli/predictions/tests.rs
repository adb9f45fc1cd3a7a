//! What the tables look like, and that a strange answer costs only what is strange in it.

use serde_json::{Value, json};

use super::{listing, stats};

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn prediction(image: u32) -> Value {
    json!({
        "id": null, "image_id": format!("image {image}"), "timestamp": "2025-01-01T12:00:07.25Z",
        "edge_device_id": "line-1", "model_name": "surface", "model_version": "3",
        "inference_time_ms": 4.256, "defect_detected": true,
        "detections": [
            {"class": "dent", "confidence": 0.4, "bbox": null, "uncertain": true},
            {"class": "scratch", "confidence": 0.973, "bbox": [1, 2, 3, 4], "uncertain": false},
        ],
        "confidence_scores": null, "processing_notes": null, "logged_at": "2025-01-01T12:00:08Z",
    })
}

fn predictions() -> Vec<Value> {
    let mut sound = prediction(2);
    sound["timestamp"] = json!("2025-01-01T12:00:05Z");
    sound["edge_device_id"] = json!("a-device-with-a-rather-long-name/17");
    sound["inference_time_ms"] = json!(123.4);
    sound["defect_detected"] = json!(false);
    sound["detections"] = json!([]);
    vec![prediction(1), sound]
}

#[test]
fn predictions_are_one_a_line_the_surest_finding_first() {
    insta::assert_snapshot!(plain(&listing::render(&predictions(), true, None)), @r"
    TIME                 DEVICE                               MODEL        MS  DEFECT  FOUND
    2025-01-01 12:00:07  line-1                               surface 3  4.26  ✖ yes   scratch 0.97, dent 0.40
    2025-01-01 12:00:05  a-device-with-a-rather-long-name/17  surface 3   123  ● no
    ");
}

#[test]
fn a_narrow_terminal_gets_the_time_of_day_and_short_names() {
    insta::assert_snapshot!(plain(&listing::render(&predictions(), false, Some(80))), @r"
    TIME      DEVICE                            MODEL        MS  DEFECT  FOUND
    12:00:07  line-1                            surface 3  4.26  ✖ yes   scratch 0.97, d…
    12:00:05  a-device-with-a-rather-long-nam…  surface 3   123  ● no
    there are more: --limit, --from and --to say which
    ");
}

#[test]
fn no_predictions_are_said_in_words() {
    assert_eq!(listing::render(&[], true, Some(80)), "no predictions\n");
}

#[test]
fn colours_go_by_defect() {
    let text = listing::render(&predictions(), true, None);
    assert!(text.contains("\u{1b}[31m✖ yes"), "{text}");
    assert!(text.contains("\u{1b}[32m● no"), "{text}");
}

#[test]
fn what_is_strange_in_a_prediction_costs_only_itself() {
    let strange = json!({
        "timestamp": "yesterday\u{1b}[2J", "edge_device_id": ["x"], "model_name": "m\r\nforged",
        "detections": [{"class": 7}, "no detection"], "defect_detected": "maybe",
    });
    let text = listing::render(&[strange, json!(7)], true, None);
    assert!(plain(&text).contains("m forged"), "{text}");
    assert!(!plain(&text).contains('\u{1b}'), "{text:?}");
}

fn counted() -> Value {
    let hour = |hour: u32, total: u32, defects: u32| {
        json!({"hour": format!("2025-01-01T{hour:02}:00:00Z"), "total": total, "defects": defects,
               "defect_rate": f64::from(defects) / f64::from(total)})
    };
    let latency = json!({"p50": 4.0, "p90": 12.25, "p95": 20.0, "p99": 140.5});
    json!({
        "total": 1500, "defects": 150, "defect_rate": 0.1, "latency_ms": latency,
        "by_model": {
            "small": {"total": 500, "defects": 0, "defect_rate": 0.0, "latency_ms": null},
            "surface": {"total": 1000, "defects": 150, "defect_rate": 0.15, "latency_ms": latency},
        },
        "models": 2,
        "by_device": {"line-1": {"total": 1500, "defects": 150, "defect_rate": 0.1}},
        "devices": 1,
        "by_hour": [hour(12, 1000, 100), hour(11, 450, 45), hour(9, 50, 5)],
        "first_timestamp": "2025-01-01T09:00:00Z", "last_timestamp": "2025-01-01T12:30:00Z",
        "drift": {"surface": {"classes": 0.02, "confidence": 0.31, "window_predictions": 500,
                  "reference_predictions": 900, "at": "2025-01-01T12:30:00Z"}},
    })
}

#[test]
fn statistics_end_with_the_totals() {
    insta::assert_snapshot!(plain(&stats::render(&counted(), Some(100))), @r"
    HOUR              PREDICTIONS  DEFECTS
    2025-01-01 09:00           50    10.0%  ██
    2025-01-01 11:00          450    10.0%  ██████████████
    2025-01-01 12:00         1000    10.0%  ██████████████████████████████

    DEVICE  PREDICTIONS  DEFECTS
    line-1         1500    10.0%

    MODEL    PREDICTIONS  DEFECTS  P50 MS   P90  P99  DRIFT
    surface         1000    15.0%    4.00  12.2  140  classes 0.02, confidence 0.31
    small            500     0.0%

    1500 predictions · 150 with a defect (10.0%) · from 2025-01-01T09:00:00Z to 2025-01-01T12:30:00Z
    ");
    let text = stats::render(&counted(), None);
    assert!(text.contains("\u{1b}[31m, confidence 0.31"), "{text}");
}

#[test]
fn of_many_devices_the_largest_are_shown() {
    let mut many = counted();
    let device = |index: u32| {
        let group = json!({"total": index, "defects": 0, "defect_rate": 0.0});
        (format!("device {index}"), group)
    };
    many["by_device"] = Value::Object((1..=1_000).map(device).collect());
    many["devices"] = json!(3_000);
    let text = plain(&stats::render(&many, None));
    assert!(
        text.contains("device 981 ") && !text.contains("device 980 "),
        "{text}"
    );
    assert!(text.contains("and 2980 more\n"), "{text}");
}

#[test]
fn statistics_of_another_version_cost_only_what_is_not_understood() {
    let text = plain(&stats::render(
        &json!({"total": 3, "by_hour": 1, "by_model": []}),
        None,
    ));
    assert_eq!(text, "3 predictions\n");
}
