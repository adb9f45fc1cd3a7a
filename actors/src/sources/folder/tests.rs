use super::*;

fn wanted(dir: &Path) -> Vec<Wanted> {
    scan(dir).unwrap().iter().flat_map(Found::wanted).collect()
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

#[test]
fn models_are_found_by_name_and_the_highest_version_wins() {
    let dir = folder(&[
        ("plain/model.onnx", "x"),
        ("versions/2/model.onnx", "xx"),
        ("versions/10/model.onnx", "xxx"),
        ("versions/readme/model.onnx", "no"),
        ("no-model/readme.md", "no"),
        (".hidden/model.onnx", "no"),
        ("train.py", "no"),
    ]);
    let wanted = wanted(dir.path());
    let found: Vec<_> = wanted
        .iter()
        .map(|w| (w.spec.name.as_str(), w.spec.version.as_str(), w.spec.bytes))
        .collect();
    assert_eq!(found, [("plain", "1", 1), ("versions", "10", 3)]);
}

#[test]
fn a_description_that_is_not_understood_is_a_problem_of_that_model_alone() {
    let dir = folder(&[
        ("bad/model.onnx", "x"),
        ("bad/model.toml", "lables = [\"a\"]"),
        ("good/model.onnx", "x"),
        ("good/model.toml", "version = \"7\"\nlabels = [\"a\"]"),
        ("other/model.onnx", "x"),
        ("other/model.toml", "name = \"another\""),
    ]);
    let wanted = wanted(dir.path());
    assert!(wanted[0].problem.as_ref().unwrap().contains("lables"));
    assert_eq!(wanted[1].problem, None);
    assert_eq!(wanted[1].spec.version, "7");
    assert!(wanted[2].problem.as_ref().unwrap().contains("\"another\""));
}

#[test]
fn a_policy_chooses_among_the_versions_and_says_when_there_is_nothing_to_choose() {
    let dir = folder(&[
        ("all/1/model.onnx", "x"),
        ("all/3/model.onnx", "x"),
        ("all/model.toml", "versions = \"all\""),
        ("none/1/model.onnx", "x"),
        ("none/model.toml", "versions = { specific = [2] }"),
    ]);
    let wanted = wanted(dir.path());
    let versions: Vec<_> = wanted.iter().map(|w| w.spec.version.as_str()).collect();
    assert_eq!(versions, ["1", "3", "1"]);
    assert!(wanted[2].problem.as_ref().unwrap().contains("policy"));
    let found = scan(dir.path()).unwrap();
    assert_eq!(found[0].versions().collect::<Vec<_>>(), ["1", "3"]);
}

#[test]
fn a_mended_file_has_another_fingerprint_and_so_has_one_beside_it() {
    let dir = folder(&[("m/model.onnx", "x"), ("v/1/model.onnx", "x")]);
    let before = wanted(dir.path());
    assert_eq!(before, wanted(dir.path()));
    fs::write(dir.path().join("m/model.onnx"), "mended").unwrap();
    fs::write(dir.path().join("v/1/weights.data"), "more").unwrap();
    let after = wanted(dir.path());
    assert_ne!(before[0].fingerprint, after[0].fingerprint);
    assert_ne!(before[1].fingerprint, after[1].fingerprint);
}

#[test]
fn a_new_version_leaves_the_fingerprint_of_the_old_one_alone() {
    let dir = folder(&[
        ("m/1/model.onnx", "x"),
        ("m/model.toml", "versions = \"all\""),
    ]);
    let before = wanted(dir.path());
    fs::create_dir(dir.path().join("m/2")).unwrap();
    fs::write(dir.path().join("m/2/model.onnx"), "y").unwrap();
    fs::write(dir.path().join("m/README.md"), "about it").unwrap();
    assert_eq!(wanted(dir.path())[0], before[0]);
}

#[test]
fn a_model_may_have_a_file_of_another_name() {
    let dir = folder(&[
        ("own/encoder.onnx", "x"),
        ("own/model.toml", "file = \"encoder.onnx\""),
        ("triton/7/best.onnx", "x"),
        (
            "triton/config.pbtxt",
            "default_model_filename: \"best.onnx\"",
        ),
    ]);
    let wanted = wanted(dir.path());
    let file = |w: &Wanted| w.spec.path.file_name().unwrap().to_owned();
    assert_eq!(
        wanted.iter().map(file).collect::<Vec<_>>(),
        ["encoder.onnx", "best.onnx"]
    );
}

#[test]
fn a_description_that_is_not_understood_is_seen_whatever_the_models_file_is_called() {
    let dir = folder(&[
        ("m/best.onnx", "x"),
        (
            "m/config.pbtxt",
            "default_model_filename: \"best.onnx\" platform: \"ensemble\"",
        ),
    ]);
    let wanted = wanted(dir.path());
    assert!(wanted[0].problem.as_ref().unwrap().contains("ensemble"));
}

#[test]
fn a_file_that_the_description_names_is_one_of_the_models_wherever_it_lies() {
    let dir = folder(&[
        ("m/model.onnx", "x"),
        ("m/names/labels.txt", "a"),
        ("m/model.toml", "labels_file = \"names/labels.txt\""),
    ]);
    let before = wanted(dir.path());
    assert_eq!(before[0].spec.description.labels, ["a"]);
    fs::write(dir.path().join("m/names/labels.txt"), "other").unwrap();
    assert_ne!(before[0].fingerprint, wanted(dir.path())[0].fingerprint);
}

#[test]
fn a_core_ml_model_is_found_though_it_is_a_folder_and_changes_with_what_lies_in_it() {
    let dir = folder(&[
        ("packed/model.mlpackage/Manifest.json", "{}"),
        ("packed/model.mlpackage/Data/weights/weight.bin", "12345"),
        ("compiled/3/model.mlmodelc/model.mil", "x"),
        ("spec/model.mlmodel", "xyz"),
        ("named/own.mlpackage/Manifest.json", "{}"),
        ("named/model.toml", "file = \"own.mlpackage\""),
        ("onnx-first/model.onnx", "x"),
        ("onnx-first/model.mlmodel", "x"),
    ]);
    let before = wanted(dir.path());
    let found: Vec<_> = before
        .iter()
        .map(|w| {
            let file = w.spec.path.file_name().unwrap().to_str().unwrap();
            (
                w.spec.name.as_str(),
                file,
                w.spec.version.as_str(),
                w.spec.bytes,
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("compiled", "model.mlmodelc", "3", 1),
            ("named", "own.mlpackage", "1", 2),
            ("onnx-first", "model.onnx", "1", 1),
            ("packed", "model.mlpackage", "1", 7),
            ("spec", "model.mlmodel", "1", 3),
        ]
    );
    let weights = "packed/model.mlpackage/Data/weights/weight.bin";
    fs::write(dir.path().join(weights), "123456").unwrap();
    let after = wanted(dir.path());
    assert_ne!(before[3].fingerprint, after[3].fingerprint);
    assert_eq!(before[4].fingerprint, after[4].fingerprint);
}

#[test]
fn a_folder_that_is_not_there_is_an_error_that_names_it() {
    let error = scan(Path::new("/nowhere/models")).unwrap_err();
    assert!(error.to_string().contains("/nowhere/models"), "{error}");
}
