use std::path::PathBuf;

use proptest::prelude::*;

use super::tree::{Field, Place, Value};
use super::*;

/// Texts as teams have them in their model folders, each with the name of its folder.
const FIXTURES: [(&str, &str); 4] = [
    ("defaults", include_str!("tests/fixtures/defaults.pbtxt")),
    (
        "photo_labels",
        include_str!("tests/fixtures/photo_labels.pbtxt"),
    ),
    (
        "busy_detector",
        include_str!("tests/fixtures/busy_detector.pbtxt"),
    ),
    ("warm_text", include_str!("tests/fixtures/warm_text.pbtxt")),
];

fn folder(name: &str) -> PathBuf {
    Path::new("/models").join(name)
}

fn describe(text: &str) -> Result<Description, String> {
    let config = read_pbtxt(text).map_err(|problem| problem.to_string())?;
    config.describe(&folder("m"))
}

#[track_caller]
fn refused(text: &str) -> String {
    describe(text).unwrap_err()
}

#[track_caller]
fn notes(text: &str) -> Vec<String> {
    describe(text).unwrap().notes
}

/// Everything that a description says, also what `model.toml` cannot.
fn told(description: &Description) -> String {
    let Description { expects, notes, .. } = description;
    let mut told = toml::to_string(description).unwrap();
    for (what, tensors) in [("input", &expects.inputs), ("output", &expects.outputs)] {
        for tensor in tensors {
            let front = if expects.rows_in_front {
                "rows of "
            } else {
                ""
            };
            told += &format!("\nexpects {what}: {front}{tensor:?}");
        }
    }
    for (index, sample) in description.warm_up.iter().enumerate() {
        told += &format!("\nruns {:?}", sample.sample(index));
    }
    for note in notes {
        told += &format!("\nnote: {note}");
    }
    told + "\n"
}

#[test]
fn what_teams_have_in_their_folders_is_understood() {
    for (name, text) in FIXTURES {
        let config = read_pbtxt(text).unwrap();
        let description = config.describe(&folder(name)).unwrap();
        insta::assert_snapshot!(name, told(&description));
    }
}

#[test]
fn the_json_form_says_the_same() {
    let json = r#"{
        "name": "m", "backend": "onnxruntime", "maxBatchSize": 8, "runtime": null,
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": ["-1", 3]}],
        "versionPolicy": {"specific": {"versions": ["1", "3"]}},
        "instance_group": [{"count": 2, "kind": "KIND_CPU"}],
        "dynamicBatching": {"maxQueueDelayMicroseconds": "100", "preserve_ordering": false},
        "parameters": {"intra_op_thread_count": {"string_value": "2"}},
        "model_warmup": [{"batch_size": 2, "inputs": {"x": {"dims": [4, 3], "zero_data": true}}}]
    }"#;
    let text = r#"
        name: "m" backend: "onnxruntime" max_batch_size: 8
        input { name: "x" data_type: TYPE_FP32 dims: [-1, 3] }
        version_policy { specific { versions: [1, 3] } }
        instance_group { count: 2 kind: KIND_CPU }
        dynamic_batching { max_queue_delay_microseconds: 100 preserve_ordering: false }
        parameters { key: "intra_op_thread_count" value { string_value: "2" } }
        model_warmup { batch_size: 2 inputs { key: "x" value { dims: [4, 3] zero_data: true } } }
    "#;
    let mut from_text = describe(text).unwrap();
    from_text.expects.stated_in = "the config parameter".to_owned();
    let from_json = from_json(json).unwrap().describe(&folder("m")).unwrap();
    assert_eq!(from_json, from_text);
    assert_eq!(from_json.threads, Some(2));
    assert_eq!(from_json.notes, Vec::<String>::new());
}

#[test]
fn json_that_is_no_message_is_refused_where_it_is_wrong() {
    let refused = |text: &str| from_json(text).unwrap_err().to_string();
    assert!(refused("{\n  \"name\": }").starts_with("line 2, column 11"));
    assert!(refused("[]").contains("an object"));
    assert!(refused("{\"dims\": [[1]]}").contains("a list within a list"));
    let deep = format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100));
    assert!(refused(&deep).contains("deep"));
}

#[test]
fn a_model_that_is_not_served_here_is_refused_with_the_reason() {
    for (text, why) in [
        (
            "platform: \"tensorrt_plan\"",
            "platform (line 1): it is \"tensorrt_plan\", and only ONNX",
        ),
        (
            "\nbackend: \"python\"",
            "backend (line 2): it is \"python\", and only ONNX",
        ),
        ("platform: \"ensemble\"", "ensemble"),
        (
            "ensemble_scheduling { step [ ] }",
            "ensemble_scheduling (line 1): an ensemble",
        ),
        (
            "sequence_batching { }",
            "sequence_batching (line 1): requests that belong",
        ),
        (
            "model_transaction_policy { decoupled: True }",
            "exactly one answer",
        ),
        (
            "name: \"other\"",
            "name (line 1): it says \"other\", but its folder is \"m\"",
        ),
    ] {
        let refused = refused(text);
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn a_value_that_is_none_of_its_key_is_refused_by_name_and_line() {
    for (text, why) in [
        (
            "max_batch_size: -1",
            "max_batch_size (line 1) must not be negative, nor larger than its type, and is -1",
        ),
        (
            "max_batch_size: \"many\"",
            "must be a whole number, and is \"many\"",
        ),
        (
            "max_batch_size: 1\nmax_batch_size: 2",
            "max_batch_size (line 2): it is there twice",
        ),
        ("input { dims: 1 }", "input (line 1): it has no name"),
        ("input: 3", "input (line 1) must be a message, and is 3"),
        (
            "input { name: \"x\" data_type: TYPE_FP8 }",
            "input.data_type (line 1) must be an element type",
        ),
        (
            "input { name: \"x\" dims: -2 }",
            "input.dims (line 1) must not be negative",
        ),
        (
            "version_policy { }",
            "must be one of latest, all and specific",
        ),
        ("version_policy { specific { } }", "must name a version"),
        ("version_policy { all { } latest { } }", "must be one of"),
        (
            "dynamic_batching { preserve_ordering: maybe priority_levels: x }",
            "priority_levels (line 1) must be a whole number",
        ),
        (
            "max_batch_size: 4 dynamic_batching { preferred_batch_size: 8 }",
            "preferred_batch_size (line 1) must be 1 to 4",
        ),
        (
            "dynamic_batching { default_queue_policy { timeout_action: WAIT } }",
            "must be REJECT or DELAY",
        ),
        ("instance_group { count: 300 }", "workers must be 1 to 256"),
        (
            "model_warmup { batch_size: 2 }",
            "batch_size (line 1) must be 1 for a model without",
        ),
        (
            "max_batch_size: 2 model_warmup { batch_size: 0 }",
            "must be 1 or more",
        ),
        (
            "model_warmup { inputs { key: \"x\" value { dims: 1 } } }",
            "it needs zero_data, random_data or input_data_file",
        ),
        (
            "parameters { key: \"intra_op_thread_count\" value { string_value: \"all\" } }",
            "parameters.intra_op_thread_count (line 1) must be a whole number",
        ),
    ] {
        let refused = refused(text);
        assert!(refused.contains(why), "{text}: {refused}");
    }
}

#[test]
fn what_it_is_to_run_on_is_an_order_of_execution_providers() {
    use impetus_engine::Provider::{Cpu, Cuda, OpenVino, TensorRt};
    let order = |text: &str| describe(text).unwrap().providers;
    assert_eq!(order("instance_group { count: 2 }"), None);
    assert_eq!(order("instance_group { kind: KIND_AUTO }"), None);
    assert_eq!(order("instance_group { kind: KIND_CPU }"), Some(vec![Cpu]));
    let gpu = "instance_group [ { kind: KIND_GPU }, { kind: KIND_CPU } ]";
    assert_eq!(order(gpu), Some(vec![Cuda, Cpu]));
    let accelerated =
        |list: &str| format!("optimization {{ execution_accelerators {{ {list} }} }}");
    let cpu = accelerated("cpu_execution_accelerator [ { name: \"openvino\" } ]");
    assert_eq!(order(&cpu), Some(vec![OpenVino, Cpu]));
    let gpu = accelerated("gpu_execution_accelerator [ { name: \"tensorrt\" } ]");
    let text = format!("instance_group {{ kind: KIND_GPU }} {gpu}");
    assert_eq!(order(&text), Some(vec![TensorRt, Cuda, Cpu]));
    let unknown = accelerated("gpu_execution_accelerator [ { name: \"abacus\" } ]");
    assert_eq!(order(&unknown), None);
    assert!(notes(&unknown)[0].contains("gpu_execution_accelerator.name"));
}

#[test]
fn every_key_without_a_meaning_is_one_line_with_its_path_and_place() {
    let text = "optimization {\n cuda { graphs: true\n busy_wait_events: true }\n}\n\
                optimisation { level: 3 }\nmetric_tags { key: \"a\" value: \"b\" }\n\
                metric_tags { key: \"c\" value: \"d\" }\noptimisation { level: 4 }";
    let lines = notes(text);
    assert_eq!(
        lines,
        [
            "config.pbtxt: optimization.cuda.graphs (line 2) does nothing: `runtime` in the server's configuration says how a GPU is used",
            "config.pbtxt: optimization.cuda.busy_wait_events (line 3) does nothing: `runtime` in the server's configuration says how a GPU is used",
            "config.pbtxt: optimisation.level (line 5) is not understood and does nothing",
            "config.pbtxt: metric_tags.a (line 6) does nothing: metrics have labels of their own",
            "config.pbtxt: metric_tags.c (line 7) does nothing: metrics have labels of their own",
        ]
    );
}

#[test]
fn what_is_switched_off_needs_no_line() {
    let text = "response_cache { enable: false } model_transaction_policy { decoupled: false }
        input { name: \"x\" is_shape_tensor: false allow_ragged_batch: false optional: false
                format: FORMAT_NONE }
        dynamic_batching { preserve_ordering: false priority_levels: 2 }
        max_batch_size: 2 instance_group { kind: KIND_CPU passive: false }
        optimization { eager_batching: false }";
    assert_eq!(notes(text), Vec::<String>::new());
}

#[test]
fn rows_are_stacked_only_where_a_batch_size_says_so() {
    let rows = |text: &str| {
        let description = describe(text).unwrap();
        let front = description.expects.rows_in_front;
        (description.batching.max_rows, description.stackable, front)
    };
    let x = "input { name: \"x\" dims: [1, 2] }";
    assert_eq!(rows("max_batch_size: 0"), (Some(1), Some(false), false));
    assert_eq!(rows(x), (Some(1), Some(false), false));
    assert_eq!(
        rows(&format!("{x} max_batch_size: 7")),
        (Some(7), Some(true), true)
    );
    assert_eq!(rows("name: \"m\""), (None, None, false));
    assert_eq!(
        rows("max_batch_size: 100000"),
        (Some(4096), Some(true), true)
    );
}

#[test]
fn a_queue_policy_forbids_what_it_does_not_allow() {
    let policy = |text: &str| describe(text).unwrap().batching.allow_timeout_override;
    assert_eq!(policy("dynamic_batching { }"), None);
    assert_eq!(
        policy("dynamic_batching { default_queue_policy { } }"),
        Some(false)
    );
}

/// Keys that mean something, so that what is generated gets past the first of them.
const KEYS: [&str; 40] = [
    "name",
    "platform",
    "backend",
    "max_batch_size",
    "version_policy",
    "all",
    "latest",
    "specific",
    "versions",
    "num_versions",
    "input",
    "output",
    "data_type",
    "dims",
    "reshape",
    "format",
    "optional",
    "label_filename",
    "instance_group",
    "count",
    "kind",
    "gpus",
    "dynamic_batching",
    "preferred_batch_size",
    "max_queue_delay_microseconds",
    "priority_levels",
    "default_priority_level",
    "default_queue_policy",
    "priority_queue_policy",
    "timeout_action",
    "max_queue_size",
    "parameters",
    "key",
    "value",
    "string_value",
    "model_warmup",
    "inputs",
    "batch_size",
    "zero_data",
    "optimization",
];

fn message_of(value: BoxedStrategy<Value>) -> impl Strategy<Value = Message> {
    let field = (proptest::sample::select(&KEYS), value).prop_map(|(name, value)| Field {
        name: name.to_owned(),
        place: Place::default(),
        value,
    });
    proptest::collection::vec(field, 0..5).prop_map(|fields| Message { fields })
}

fn any_config() -> impl Strategy<Value = Message> {
    let words = proptest::sample::select(&["true", "false", "KIND_GPU", "TYPE_FP32", "DELAY"]);
    let texts = proptest::sample::select(&["", "m", "7", "intra_op_thread_count", "../x"]);
    let value = prop_oneof![
        (-2i128..10).prop_map(Value::Integer),
        any::<u64>().prop_map(|number| Value::Integer(number.into())),
        any::<f64>().prop_map(Value::Float),
        words.prop_map(|word| Value::Word(word.to_owned())),
        texts.prop_map(|text| Value::Text(text.to_owned())),
    ];
    let value = value.prop_recursive(4, 48, 5, |inner| message_of(inner).prop_map(Value::Message));
    message_of(value.boxed())
}

proptest! {
    #[test]
    fn no_configuration_makes_the_mapping_panic(tree in any_config()) {
        let config = TritonConfig { tree, stated_in: "config.pbtxt" };
        if let Ok(description) = config.describe(&folder("m")) {
            prop_assert_eq!(description.problem(), None);
        }
    }

    #[test]
    fn no_json_makes_it_panic(text in "[\\[\\]{}:,\"a1-]{0,64}") {
        let _ = from_json(&text).map(|config| config.describe(&folder("m")));
    }
}
