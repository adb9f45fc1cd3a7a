use super::*;
use serde_json::json;

/// Written by `mlflow.onnx.log_model`.
const SIGNATURES: [&str; 2] = [
    include_str!("../../tests/mlmodel/signature-2.yaml"),
    include_str!("../../tests/mlmodel/signature-3.yaml"),
];
const WISHES: [&str; 2] = [
    include_str!("../../tests/mlmodel/wishes-2.yaml"),
    include_str!("../../tests/mlmodel/wishes-3.yaml"),
];

fn listing(paths: &[&str]) -> Listing {
    let file = |path: &&str| RemoteFile {
        path: (*path).to_owned(),
        size: None,
        etag: None,
        checksum: None,
    };
    Listing {
        files: paths.iter().map(file).collect(),
    }
}

fn with_data(data: &str) -> Result<MlModel, MlModelError> {
    MlModel::read(format!("flavors:\n  onnx:\n    data: {data}\n").as_bytes())
}

#[test]
fn both_releases_write_what_is_read() {
    for (text, release) in SIGNATURES.into_iter().zip(["2.22.5", "3.17.2"]) {
        let model = MlModel::read(text.as_bytes()).unwrap();
        let tensor = |name: Option<&str>| SignatureTensor {
            name: name.map(str::to_owned),
            dtype: "float32".to_owned(),
            shape: Some(vec![None, Some(3)]),
        };
        assert_eq!(model.file, "model.onnx");
        assert_eq!(model.inputs, [tensor(Some("x"))]);
        assert_eq!(model.outputs, [tensor(None)]);
        assert_eq!(model.mlflow_version.as_deref(), Some(release));
        assert_eq!(model.onnx_version.as_deref(), Some("1.23.2"));
        assert_eq!(model.flavors, ["onnx", "python_function"]);
        assert_eq!(model.size, Some(71));
        assert!(model.uuid.is_some() && model.session_options.is_empty());
        assert_eq!(
            model.providers,
            ["CUDAExecutionProvider", "CPUExecutionProvider"]
        );
    }
    for text in WISHES {
        let model = MlModel::read(text.as_bytes()).unwrap();
        assert_eq!(model.providers, ["CPUExecutionProvider"]);
        assert_eq!(model.session_options["intra_op_num_threads"], json!(2));
        assert!(model.inputs.is_empty() && model.outputs.is_empty());
    }
}

#[test]
fn columns_and_tensors_of_any_form_are_read() {
    let text = r#"
flavors: {onnx: {data: model.onnx, providers: [[CUDAExecutionProvider, {device_id: 1}], CPUExecutionProvider]}}
signature:
  inputs: '[{"name": 0, "type": "double", "required": true}, {"type": "tensor", "tensor-spec": {"dtype": "str", "shape": []}}]'
  outputs: null
"#;
    let model = MlModel::read(text.as_bytes()).unwrap();
    let column = SignatureTensor {
        name: Some("0".to_owned()),
        dtype: "double".to_owned(),
        shape: None,
    };
    let scalar = SignatureTensor {
        name: None,
        dtype: "str".to_owned(),
        shape: Some(Vec::new()),
    };
    assert_eq!(model.inputs, [column, scalar]);
    assert_eq!(
        model.providers,
        ["CUDAExecutionProvider", "CPUExecutionProvider"]
    );
}

#[test]
fn a_model_without_onnx_says_what_it_has_and_what_to_do() {
    let error = MlModel::read(b"flavors: {sklearn: {}, python_function: {}}").unwrap_err();
    let said = error.to_string();
    assert!(said.contains("only python_function, sklearn"), "{said}");
    assert!(said.contains("mlflow.onnx.log_model"), "{said}");
    let none = MlModel::read(b"flavors: {}").unwrap_err();
    assert!(none.to_string().contains("only none at all"), "{none}");
}

#[test]
fn the_model_file_stays_in_the_folder() {
    for data in [
        "",
        "..",
        "../model.onnx",
        "/etc/passwd",
        "a/../b",
        "'C:\\x'",
        "null",
    ] {
        let error = with_data(data).unwrap_err();
        assert!(matches!(error, MlModelError::NoFile(_)), "{data}: {error}");
    }
    assert_eq!(with_data("./model.onnx").unwrap().file, "model.onnx");
}

#[test]
fn the_graph_is_the_named_file_or_the_only_one_in_the_named_folder() {
    let inside = listing(&[
        "MLmodel",
        "net/model.onnx",
        "net/weights.data",
        "other.onnx",
    ]);
    assert_eq!(
        with_data("net/model.onnx").unwrap().graph(&inside),
        Some("net/model.onnx")
    );
    assert_eq!(
        with_data("net/").unwrap().graph(&inside),
        Some("net/model.onnx")
    );
    assert_eq!(with_data("nothing.onnx").unwrap().graph(&inside), None);
    let two = listing(&["net/a.onnx", "net/b.onnx"]);
    assert_eq!(with_data("net").unwrap().graph(&two), None);
}

#[test]
fn what_would_take_too_much_is_refused() {
    let long = "# ".to_owned() + &"x".repeat(MAX_BYTES);
    assert_eq!(
        MlModel::read(long.as_bytes()),
        Err(MlModelError::TooLong(MAX_BYTES + 2))
    );
    let deep = format!("flavors: {}{}", "[".repeat(200), "]".repeat(200));
    let wide = format!("flavors: [{}]", "1,".repeat(60_000));
    let laughs = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned()
        + &(1..9)
            .map(|level| {
                let before = char::from(b'a' + level - 1);
                let this = char::from(b'a' + level);
                let many = format!("*{before},").repeat(9);
                format!("{this}: &{this} [{many}]\n")
            })
            .collect::<String>();
    for text in [
        &deep,
        &wide,
        &laughs,
        "flavors: 7",
        "a: [",
        "\u{0}",
        "--- {}\n--- {}\n",
    ] {
        let error = MlModel::read(text.as_bytes()).unwrap_err();
        assert!(matches!(error, MlModelError::Unreadable(_)), "{error}");
        assert!(error.to_string().len() < 500, "{error}");
    }
}

#[test]
fn a_signature_that_is_none_is_named() {
    for (inputs, why) in [
        ("no", "expected"),
        (
            "[{\"type\":\"tensor\",\"tensor-spec\":{\"dtype\":\"int64\",\"shape\":[-2]}}]",
            "-2",
        ),
        ("[{}]", "missing field"),
    ] {
        let text =
            format!("flavors: {{onnx: {{data: m.onnx}}}}\nsignature: {{inputs: '{inputs}'}}\n");
        let error = MlModel::read(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("inputs") && error.contains(why), "{error}");
    }
    let dimensions = "1,".repeat(33);
    let many = format!(
        "[{{\"type\":\"tensor\",\"tensor-spec\":{{\"dtype\":\"int8\",\"shape\":[{}]}}}}]",
        dimensions.trim_end_matches(',')
    );
    assert!(
        tensors("outputs", Some(many))
            .unwrap_err()
            .to_string()
            .contains("33 dimensions")
    );
}
