use serde_json::{Value, json};

use super::*;

fn prediction() -> Value {
    json!({
        "image_id": "img-1", "timestamp": "2025-01-01T12:00:00Z", "model_version": "3",
        "model_name": "surface", "inference_time_ms": 4.25,
        "detections": [{"class": "dent", "confidence": 0.9, "bbox": [1, 2, 3.5, 4],
                        "uncertain": false}],
        "defect_detected": true, "confidence_scores": {"dent": 0.9}, "processing_notes": null,
    })
}

fn batch(predictions: &[Value]) -> Value {
    json!({"predictions": predictions, "batch_size": predictions.len(),
           "timestamp": "2025-01-01T12:00:01Z", "edge_device_id": "edge-7"})
}

fn parse(batch: &Value) -> Result<LogBatch, BatchError> {
    LogBatch::parse(batch.to_string().as_bytes())
}

/// Returns what is wrong, as `field: problem`, one per prediction.
fn problems(outcome: Result<LogBatch, BatchError>) -> Vec<String> {
    match outcome {
        Err(BatchError::Invalid { problems, .. }) => {
            problems.iter().map(ToString::to_string).collect()
        }
        other => panic!("expected an invalid batch, not {other:?}"),
    }
}

/// Returns the problems of a batch with two good predictions around one that is changed.
fn problems_of(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut changed = prediction();
    change(&mut changed);
    problems(parse(&batch(&[prediction(), changed, prediction()])))
}

#[test]
fn a_batch_becomes_rows_with_the_predictions_as_they_were_sent() {
    let mut sent = prediction();
    sent["site"] = json!("hall 3");
    let parsed = parse(&batch(std::slice::from_ref(&sent))).expect("a good batch");
    assert_eq!(parsed.device().as_str(), "edge-7");
    assert_eq!(parsed.len(), 1);
    let row = &parsed.into_rows()[0];
    assert_eq!((&*row.model_name, &*row.model_version), ("surface", "3"));
    assert_eq!(row.taken_at, 1_735_732_800_000);
    assert!(row.defect_detected);
    let body: Value = serde_json::from_str(&row.body).expect("JSON");
    assert_eq!(body, sent, "fields the contract does not know are kept");
}

#[test]
fn what_the_contract_leaves_open_is_accepted() {
    let mut lenient = prediction();
    lenient["model_version"] = json!(3);
    lenient["confidence_scores"] = json!([0.1, 0.9]);
    lenient["timestamp"] = json!("2025-01-01T12:00:00.5");
    lenient["detections"][0] = json!({"class": "dent", "confidence": 1, "bbox": null});
    lenient["id"] = json!(null);
    parse(&json!({"predictions": [lenient]})).expect("a good batch");

    let minimal = json!({
        "image_id": "img-1", "timestamp": "2025-01-01T12:00:00Z", "model_version": "3",
        "model_name": "surface", "inference_time_ms": 4, "detections": [],
        "defect_detected": false,
    });
    let parsed = parse(&json!({"predictions": [minimal], "edge_device_id": null}));
    assert_eq!(parsed.expect("a good batch").device().as_str(), "unknown");
    assert!(
        parse(&json!({"predictions": []}))
            .expect("a good batch")
            .is_empty()
    );
}

#[test]
fn every_field_that_must_be_there_is_named_when_it_is_not() {
    for field in [
        "image_id",
        "timestamp",
        "model_version",
        "model_name",
        "inference_time_ms",
        "detections",
        "defect_detected",
    ] {
        let named = problems_of(|value| drop(value.as_object_mut().expect("object").remove(field)));
        assert_eq!(named, [format!("predictions[1].{field}: is missing")]);
    }
    let inner = problems_of(|value| value["detections"][0] = json!({"class": "dent"}));
    assert_eq!(
        inner,
        ["predictions[1].detections[0].confidence: is missing"]
    );
}

#[test]
fn every_field_of_the_wrong_kind_is_named() {
    let cases = [
        (
            "timestamp",
            json!("yesterday"),
            "timestamp: `yesterday` is no RFC 3339 time",
        ),
        (
            "timestamp",
            json!(12),
            "timestamp: invalid type: integer `12`, expected an RFC 3339 time",
        ),
        ("image_id", json!(""), "image_id: must not be empty"),
        (
            "image_id",
            json!(true),
            "image_id: invalid type: boolean `true`, expected text",
        ),
        (
            "model_name",
            json!("m".repeat(513)),
            "model_name: has 513 bytes, at most 512 are allowed",
        ),
        (
            "id",
            json!(1.5),
            "id: invalid type: floating point `1.5`, expected text",
        ),
        (
            "inference_time_ms",
            json!("fast"),
            "inference_time_ms: invalid type: string \"fast\", expected f64",
        ),
        (
            "defect_detected",
            json!(1),
            "defect_detected: invalid type: integer `1`, expected a boolean",
        ),
        (
            "confidence_scores",
            json!("high"),
            "confidence_scores: invalid type: string \"high\", expected a map, a list or null",
        ),
        (
            "processing_notes",
            json!([1]),
            "processing_notes: invalid type: sequence, expected a string",
        ),
        (
            "detections",
            json!({}),
            "detections: invalid type: map, expected a sequence",
        ),
    ];
    for (field, value, expected) in cases {
        let named = problems_of(|prediction| prediction[field] = value);
        assert_eq!(named, [format!("predictions[1].{expected}")]);
    }
    let short_box = problems_of(|value| value["detections"][0]["bbox"] = json!([1, 2, 3]));
    assert!(
        short_box[0].starts_with("predictions[1].detections[0].bbox: "),
        "{short_box:?}"
    );
    let text_in_box = problems_of(|value| value["detections"][0]["bbox"][2] = json!("x"));
    assert!(
        text_in_box[0].starts_with("predictions[1].detections[0].bbox[2]: "),
        "{text_in_box:?}"
    );
}

#[test]
fn all_bad_predictions_are_named_up_to_a_bound() {
    let bad = json!("no prediction");
    let named = problems(parse(&batch(&[bad.clone(), prediction(), bad.clone()])));
    let expected = "invalid type: string \"no prediction\", expected struct Prediction";
    assert_eq!(
        named,
        [
            format!("predictions[0]: {expected}"),
            format!("predictions[2]: {expected}")
        ]
    );

    let error = parse(&batch(&vec![bad; 25])).expect_err("nothing is good");
    let BatchError::Invalid { problems, omitted } = &error else {
        panic!("{error}")
    };
    assert_eq!((problems.len(), *omitted), (20, 5));
    assert!(error.to_string().ends_with("; and 5 more predictions"));
}

#[test]
fn the_batch_s_own_fields_are_named_too() {
    let cases = [
        (json!({}), "predictions: is missing"),
        (
            json!({"predictions": 7}),
            "predictions: invalid type: integer `7`, expected a list of predictions",
        ),
        (
            json!({"predictions": [], "batch_size": -1}),
            "batch_size: invalid value: integer `-1`, expected u64",
        ),
        (
            json!({"predictions": [], "timestamp": "now"}),
            "timestamp: `now` is no RFC 3339 time",
        ),
        (
            json!({"predictions": [], "edge_device_id": ""}),
            "edge_device_id: must not be empty",
        ),
    ];
    for (batch, expected) in cases {
        assert_eq!(problems(parse(&batch)), [expected]);
    }
    assert!(matches!(
        parse(&json!([1])),
        Err(BatchError::Invalid { .. })
    ));
}

#[test]
fn bytes_that_are_no_json_are_told_apart() {
    let truncated = batch(&[prediction()]).to_string();
    let utf16: Vec<u8> = truncated
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let latin1 = b"{\"predictions\": [{\"image_id\": \"caf\xe9\"}]}";
    let cases: [&[u8]; 5] = [
        b"",
        b"hello",
        &truncated.as_bytes()[..truncated.len() - 1],
        &utf16,
        latin1,
    ];
    for bytes in cases {
        let outcome = LogBatch::parse(bytes);
        assert!(
            matches!(outcome, Err(BatchError::NotJson { .. })),
            "{outcome:?}"
        );
    }
}

#[test]
fn depth_and_number_are_bounded() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let with_extra = |extra: &str| {
        let text = prediction().to_string();
        format!(
            "{{\"predictions\": [{{\"extra\": {extra}, {}]}}",
            &text[1..]
        )
    };
    assert!(LogBatch::parse(with_extra(&nested(63)).as_bytes()).is_ok());
    let deep = problems(LogBatch::parse(with_extra(&nested(64)).as_bytes()));
    assert_eq!(deep, ["predictions[0]: is nested deeper than 64"]);
    assert!(LogBatch::parse(with_extra(&nested(1_000_000)).as_bytes()).is_err());
    let quoted = format!("\"{}\\\"[\"", "[".repeat(100));
    assert!(
        LogBatch::parse(with_extra(&quoted).as_bytes()).is_ok(),
        "brackets in text nest nothing"
    );

    let many = format!(
        "{{\"predictions\": [0{}]}}",
        ",0".repeat(LogBatch::MAX_PREDICTIONS)
    );
    let named = problems(LogBatch::parse(many.as_bytes()));
    assert_eq!(named, ["predictions: more than 10000 predictions"]);
}

#[test]
fn predictions_made_here_are_read_like_those_that_are_sent() {
    let made: Prediction = serde_json::from_value(prediction()).expect("a prediction");
    let device = Label::try_new("edge-7").expect("a name");
    let provenance = Provenance {
        protocol: "predict",
        request_id: Some("r-1"),
    };
    let made = LogBatch::new(device, std::slice::from_ref(&made), &provenance).into_rows();
    let sent = parse(&batch(&[prediction()]))
        .expect("a good batch")
        .into_rows();
    assert_eq!(made[0].key, sent[0].key);
    let made: Value = serde_json::from_str(&made[0].body).expect("JSON");
    let sent: Value = serde_json::from_str(&sent[0].body).expect("JSON");
    assert_eq!(
        made["detections"][0]["confidence"],
        sent["detections"][0]["confidence"]
    );
    assert_eq!(
        made.as_object().map(|m| m.len()),
        sent.as_object().map(|m| m.len() + 2),
        "the origin stands beside what the contract knows"
    );
    assert_eq!(
        (&made["protocol"], &made["request_id"]),
        (&json!("predict"), &json!("r-1"))
    );
}

#[test]
fn a_prediction_that_is_forwarded_keeps_its_key_and_its_device() {
    let first = parse(&batch(&[prediction(), prediction(), prediction()])).expect("a good batch");
    let first = first.into_rows();
    let origin = |row: &Row| json!({"key": row.key.to_string(), "edge_device_id": &*row.device});
    let mut other = batch(&[prediction(), prediction()]);
    other["edge_device_id"] = json!("relay");
    other["origins"] = json!([origin(&first[2]), origin(&first[1])]);
    let rows = parse(&other).expect("a good batch").into_rows();
    assert_eq!(rows, [first[2].clone(), first[1].clone()]);

    other["origins"][0]["edge_device_id"] = json!("edge-8");
    let rows = parse(&other).expect("a good batch").into_rows();
    assert_eq!(&*rows[0].device, "edge-8", "devices may be mixed");
    assert_eq!(&*rows[1].device, "edge-7");
}

#[test]
fn origins_that_fit_no_predictions_are_named() {
    let key = "48aab1d82afa6e39378e839bb48a65f1";
    let good = json!({"key": key, "edge_device_id": "edge-7"});
    for (origins, expected) in [
        (json!([]), "origins: has 0 entries for 1 predictions"),
        (
            json!([good, good]),
            "origins: has 2 entries for 1 predictions",
        ),
        (
            json!([{"key": "+8aab1d82afa6e39378e839bb48a65f1", "edge_device_id": "e"}]),
            "origins[0].key: invalid value: string \"+8aab1d82afa6e39378e839bb48a65f1\", expected 32 hexadecimal digits",
        ),
        (
            json!([{"key": key}]),
            "origins[0].edge_device_id: is missing",
        ),
        (
            json!([{"key": key, "edge_device_id": ""}]),
            "origins[0].edge_device_id: must not be empty",
        ),
    ] {
        let mut sent = batch(&[prediction()]);
        sent["origins"] = origins;
        assert_eq!(problems(parse(&sent)), [expected]);
    }
    let mut sent = batch(&[prediction()]);
    sent["origins"] = json!(null);
    parse(&sent).expect("a batch that is not forwarded");
}

#[test]
fn what_could_not_be_read_back_is_refused_also_where_the_contract_does_not_know_it() {
    let text = batch(&[prediction(), prediction()]).to_string();
    for (value, field) in [
        (r#""\ud800""#, "predictions[0].note"),
        (r#"[1, "\udfff"]"#, "predictions[0].note[1]"),
        ("1e999", "predictions[0].note"),
        (r#"{"deep": -1e999}"#, "predictions[0].note.deep"),
        (r#"{"\ud800": 1}"#, "predictions[0].note"),
    ] {
        let with = format!(r#""image_id":"img-1","note":{value}"#);
        let text = text.replacen(r#""image_id":"img-1""#, &with, 1);
        let problems = problems(LogBatch::parse(text.as_bytes()));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(field), "{value}: {problems:?}");
    }
    let good = r#""image_id":"img-1","note":["\u0000","\ud83d\ude00",1e308,-5,null,{"a":true}]"#;
    let text = text.replacen(r#""image_id":"img-1""#, good, 1);
    assert_eq!(LogBatch::parse(text.as_bytes()).expect("good").len(), 2);
}
