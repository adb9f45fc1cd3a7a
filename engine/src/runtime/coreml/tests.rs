//! A fake of what coreml-rs offers: it says what it is told to say and gives each row back doubled.

use std::path::Path;

use super::*;

/// A model `x` to `y` that doubles.
struct Fake {
    inputs: Vec<&'static str>,
    outputs: Vec<&'static str>,
    given: Vec<(String, Array)>,
    runs: usize,
    /// What a run does instead.
    fails: Option<&'static str>,
    /// How many numbers an output has too many.
    surplus: usize,
}

impl Fake {
    fn new(inputs: &[&'static str], outputs: &[&'static str]) -> Self {
        Self {
            inputs: inputs.to_vec(),
            outputs: outputs.to_vec(),
            given: Vec::new(),
            runs: 0,
            fails: None,
            surplus: 0,
        }
    }
}

fn strings(texts: &[&str]) -> Result<Vec<String>, String> {
    Ok(texts.iter().map(|text| (*text).to_owned()).collect())
}

impl Surface for Fake {
    fn inputs(&self) -> Result<Vec<String>, String> {
        strings(&self.inputs)
    }

    fn outputs(&self) -> Result<Vec<String>, String> {
        strings(&self.outputs)
    }

    fn add_input(&mut self, name: &str, array: Array) -> Result<(), String> {
        self.given.retain(|(other, _)| other != name);
        self.given.push((name.to_owned(), array));
        Ok(())
    }

    fn predict(&mut self) -> Result<Vec<(String, Vec<f32>)>, String> {
        if let Some(reason) = self.fails {
            return Err(reason.to_owned());
        }
        self.runs += 1;
        let (_, x) = self
            .given
            .iter()
            .find(|(name, _)| name == "x")
            .ok_or("no x")?;
        let mut doubled: Vec<f32> = match &x.numbers {
            Numbers::F32(numbers) => numbers.iter().map(|n| n * 2.0).collect(),
            Numbers::F16(numbers) => numbers.iter().map(|n| n.to_f32() * 2.0).collect(),
            Numbers::I32(numbers) => numbers.iter().map(|n| (*n * 2) as f32).collect(),
        };
        doubled.extend(vec![0.0; self.surplus]);
        Ok(vec![("y".to_owned(), doubled)])
    }
}

const ROW_IN: &str = "x : MultiArray (Float32, 1 × 2)";
const ROW_OUT: &str = "y : MultiArray (Float32, 1 × 2)";

fn model(fake: Fake) -> Result<CoreMlModel<Fake>, EngineError> {
    CoreMlModel::try_new(Path::new("m/model.mlpackage"), fake)
}

fn run(
    model: &mut CoreMlModel<Fake>,
    dtype: DType,
    shape: &[usize],
    data: &[u8],
) -> Result<(Vec<usize>, Vec<f32>), EngineError> {
    let view = TensorView::try_new("x", dtype, shape, data).unwrap();
    let mut answer = None;
    model.run(&[view], &mut |outputs| {
        let [y] = outputs else {
            panic!("{} outputs", outputs.len())
        };
        answer = Some((y.shape().to_vec(), y.to_f32().unwrap()));
        Ok(())
    })?;
    Ok(answer.unwrap())
}

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

#[test]
fn a_model_with_one_in_front_takes_rows_and_runs_each_on_its_own() {
    let mut model = model(Fake::new(&[ROW_IN], &[ROW_OUT])).unwrap();
    assert!(model.inputs()[0].is_batchable() && model.outputs()[0].is_batchable());
    let data = bytes(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let (shape, y) = run(&mut model, DType::F32, &[3, 2], &data).unwrap();
    assert_eq!(
        (shape, y),
        (vec![3, 2], vec![2.0, 4.0, 6.0, 8.0, 10.0, 12.0])
    );
    assert_eq!(model.surface.runs, 3);
    assert_eq!(model.surface.given[0].1.shape, [1, 2]);
    assert_eq!(model.execution().provider, Provider::CoreMl);
}

#[test]
fn a_model_without_rows_keeps_its_shape_and_runs_once() {
    let mut model = model(Fake::new(
        &["x : MultiArray (Float32, 2 × 2)"],
        &["y : MultiArray (Float32, 4)"],
    ))
    .unwrap();
    assert!(!model.inputs()[0].is_batchable());
    let data = bytes(&[1.0, 2.0, 3.0, 4.0]);
    let (shape, y) = run(&mut model, DType::F32, &[2, 2], &data).unwrap();
    assert_eq!((shape, y), (vec![4], vec![2.0, 4.0, 6.0, 8.0]));
    assert_eq!(model.surface.runs, 1);
}

#[test]
fn halves_and_integers_reach_the_model_as_what_they_are() {
    let half: Vec<u8> = [1.5, -2.0]
        .iter()
        .flat_map(|n| f16::from_f32(*n).to_le_bytes())
        .collect();
    let whole: Vec<u8> = [7_i32, -8].iter().flat_map(|n| n.to_le_bytes()).collect();
    for (stated, dtype, data, doubled) in [
        (
            "x : MultiArray (Float16, 1 × 2)",
            DType::F16,
            half,
            [3.0, -4.0],
        ),
        (
            "x : MultiArray (Int32, 1 × 2)",
            DType::I32,
            whole,
            [14.0, -16.0],
        ),
    ] {
        let mut model = model(Fake::new(&[stated], &[ROW_OUT])).unwrap();
        let (_, y) = run(&mut model, dtype, &[1, 2], &data).unwrap();
        assert_eq!(y, doubled, "{stated}");
    }
}

#[test]
fn what_the_crate_cannot_pass_on_is_refused_when_the_model_is_loaded() {
    for (input, output, named) in [
        (ROW_IN, "classLabel : String", "classLabel"),
        (ROW_IN, "y : MultiArray (Float16, 1 × 2)", "output y is f16"),
        (ROW_IN, "y : MultiArray (Double, 1 × 2)", "output y is f64"),
        ("x : MultiArray (Double, 1 × 2)", ROW_OUT, "input x is f64"),
        ("x : Image (Color, 2 x 2)", ROW_OUT, "no array"),
    ] {
        let error = model(Fake::new(&[input], &[output]))
            .map(|_| ())
            .unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, EngineError::ModelUnsupported { .. }),
            "{text}"
        );
        assert!(
            text.contains(named) && text.contains("model.mlpackage"),
            "{text}"
        );
    }
}

#[test]
fn a_failed_run_and_an_output_that_is_none_are_errors_of_that_run() {
    let failing = Fake {
        fails: Some("out of paper"),
        ..Fake::new(&[ROW_IN], &[ROW_OUT])
    };
    let lying = Fake {
        surplus: 1,
        ..Fake::new(&[ROW_IN], &[ROW_OUT])
    };
    let silent = Fake::new(&[ROW_IN], &["z : MultiArray (Float32, 1 × 2)"]);
    for (fake, named) in [
        (failing, "out of paper"),
        (lying, "y has 3 numbers"),
        (silent, "output z is missing"),
    ] {
        let mut model = model(fake).unwrap();
        let error = run(&mut model, DType::F32, &[1, 2], &bytes(&[1.0, 2.0])).unwrap_err();
        assert!(matches!(error, EngineError::RunFailed { .. }), "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[test]
fn inputs_of_unequal_rows_are_refused() {
    let other = "w : MultiArray (Float32, 1 × 2)";
    let mut model = model(Fake::new(&[ROW_IN, other], &[ROW_OUT])).unwrap();
    let (two, one) = (bytes(&[1.0, 2.0, 3.0, 4.0]), bytes(&[1.0, 2.0]));
    let x = TensorView::try_new("x", DType::F32, &[2, 2], &two).unwrap();
    let w = TensorView::try_new("w", DType::F32, &[1, 2], &one).unwrap();
    let error = model.run(&[x, w], &mut |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("2 rows"), "{error}");
}
