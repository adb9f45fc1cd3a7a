//! The inputs of a prediction, as KServe's first protocol writes them.
//!
//! By rows: `{"instances": [row, …]}`, where a row is what the model's only input takes, or an object
//! with one such for each input. By columns: `{"inputs": …}`, where each input comes as a whole. The
//! protocol says neither types nor shapes: the types are the model's, the shapes are those of the
//! lists. A row whose dimensions are fixed may come as a flat list.

use impetus_actors::serving::signature::Signature;
use impetus_engine::{Dim, Tensor, TensorSpec};

use crate::oip::Refusal;
use crate::oip::json::{Bad, DEEPEST, Form, Scanner, Trouble, read_tensor};

/// Reads the inputs.
///
/// # Errors
/// There are none that the model takes.
pub(super) fn read(text: &[u8], signature: &Signature) -> Result<Vec<Tensor>, Refusal> {
    let mut scanner = Scanner::new(text);
    let found = find(&mut scanner).map_err(|bad| bad.explain(&scanner))?;
    let mut table = Table::of(signature);
    let (mut at, by_rows) = match found {
        (Some(rows), None) => (rows, true),
        (None, Some(columns)) => (columns, false),
        _ => {
            return Err(Refusal::invalid(
                "send either \"instances\" or \"inputs\", as {\"instances\": [row, …]}",
            ));
        }
    };
    let read = if by_rows {
        table.rows(&mut at)
    } else {
        table.columns(&mut at)
    };
    read.map_err(|bad| bad.explain(&at))?;
    table.inputs()
}

type Place<'a> = Option<Scanner<'a>>;

/// Returns where the rows and the columns are.
fn find<'a>(scanner: &mut Scanner<'a>) -> Result<(Place<'a>, Place<'a>), Bad> {
    let (mut rows, mut columns) = (None, None);
    let mut first = true;
    scanner.object()?;
    while let Some(key) = scanner.key(&mut first)? {
        let _ = scanner.ahead();
        match &*key {
            "instances" => rows = Some(scanner.clone()),
            "inputs" => columns = Some(scanner.clone()),
            _ => {}
        }
        scanner.pass()?;
    }
    scanner.end()?;
    Ok((rows, columns))
}

/// The inputs of a model as far as they have been read.
struct Table<'a> {
    columns: Vec<Column<'a>>,
}

/// One input.
struct Column<'a> {
    spec: &'a TensorSpec,
    /// The shape of a row, once there has been one.
    row: Option<Vec<usize>>,
    /// How many rows there were; `None` for an input that came as a whole.
    rows: Option<usize>,
    data: Vec<u8>,
}

// === impl Table ===

impl<'a> Table<'a> {
    fn of(signature: &'a Signature) -> Self {
        let columns = signature.inputs.iter().map(|spec| Column {
            spec,
            row: None,
            rows: Some(0),
            data: Vec::new(),
        });
        Self {
            columns: columns.collect(),
        }
    }

    fn rows(&mut self, scanner: &mut Scanner<'_>) -> Result<(), Bad> {
        let mut ahead = scanner.clone();
        ahead.array()?;
        if ahead.ahead() != Some(b'{') {
            return self.only()?.whole(scanner);
        }
        let mut first = true;
        scanner.array()?;
        while scanner.item(&mut first)? {
            self.object(scanner, Column::next)?;
        }
        Ok(())
    }

    fn columns(&mut self, scanner: &mut Scanner<'_>) -> Result<(), Bad> {
        if scanner.ahead() == Some(b'{') {
            return self.object(scanner, Column::whole);
        }
        self.only()?.whole(scanner)
    }

    /// Reads an object with something for each input.
    fn object(
        &mut self,
        scanner: &mut Scanner<'_>,
        read: impl Fn(&mut Column<'a>, &mut Scanner<'_>) -> Result<(), Bad>,
    ) -> Result<(), Bad> {
        let mut first = true;
        scanner.object()?;
        while let Some(name) = scanner.key(&mut first)? {
            let column = self.columns.iter_mut().find(|c| c.spec.name == name);
            let Some(column) = column else {
                return Err(self.unknown(&name).into());
            };
            read(column, scanner)?;
        }
        Ok(())
    }

    fn only(&mut self) -> Result<&mut Column<'a>, Refusal> {
        let count = self.columns.len();
        match self.columns.as_mut_slice() {
            [only] => Ok(only),
            _ => Err(Refusal::invalid(format!(
                "the model has {count} inputs; send an object with each of them by its name"
            ))),
        }
    }

    fn unknown(&self, name: &str) -> Refusal {
        let known: Vec<&str> = self.columns.iter().map(|c| &*c.spec.name).collect();
        Refusal::invalid(format!(
            "the model has no input {name:?}; its inputs are {}",
            known.join(", ")
        ))
    }

    /// Returns the inputs that came; the model says which are missing.
    fn inputs(self) -> Result<Vec<Tensor>, Refusal> {
        let came = self.columns.into_iter().filter(|c| c.row.is_some());
        came.map(Column::tensor).collect()
    }
}

// === impl Column ===

impl Column<'_> {
    /// Reads the input as a whole.
    fn whole(&mut self, scanner: &mut Scanner<'_>) -> Result<(), Bad> {
        let shape = measure(scanner.clone())?;
        self.data = self.read(scanner, &shape)?;
        self.row = Some(self.unfolded(shape));
        self.rows = None;
        Ok(())
    }

    /// Reads the next row of the input.
    fn next(&mut self, scanner: &mut Scanner<'_>) -> Result<(), Bad> {
        let shape = measure(scanner.clone())?;
        if self.row.as_ref().is_some_and(|row| *row != shape) {
            return Err(Refusal::invalid(format!(
                "input {:?}: a row has shape {shape:?}, the first has {:?}",
                self.spec.name,
                self.row.as_deref().unwrap_or_default()
            ))
            .into());
        }
        let row = self.read(scanner, &shape)?;
        self.data.extend_from_slice(&row);
        self.row = Some(shape);
        self.rows = self.rows.map(|rows| rows + 1);
        Ok(())
    }

    fn read(&self, scanner: &mut Scanner<'_>, shape: &[usize]) -> Result<Vec<u8>, Bad> {
        let form = Form {
            dtype: self.spec.dtype,
            shape,
        };
        read_tensor(scanner, form, &format!("input {:?}", self.spec.name))
    }

    /// Returns the shape that rows have when each came as a flat list.
    fn unfolded(&self, shape: Vec<usize>) -> Vec<usize> {
        let [rows, width] = shape[..] else {
            return shape;
        };
        let dims = self.spec.shape.iter().skip(1);
        let fixed: Option<Vec<usize>> = dims
            .map(|dim| match dim {
                Dim::Fixed(extent) => Some(*extent),
                Dim::Free(_) => None,
            })
            .collect();
        match fixed {
            Some(fixed) if fixed.iter().product::<usize>() == width => {
                std::iter::once(rows).chain(fixed).collect()
            }
            _ => shape,
        }
    }

    fn tensor(self) -> Result<Tensor, Refusal> {
        let row = self.row.clone().unwrap_or_default();
        let shape = match self.rows {
            None => row,
            // The only row of a model that knows no rows is all there is.
            Some(1) if row.len() == self.spec.shape.len() => row,
            Some(rows) => self.unfolded(std::iter::once(rows).chain(row).collect()),
        };
        Tensor::try_new(&*self.spec.name, self.spec.dtype, shape, self.data)
            .map_err(|error| Refusal::malformed(&self.spec.name, &error))
    }
}

/// Returns how long lists in lists are, going by the first of each.
fn measure(mut scanner: Scanner<'_>) -> Result<Vec<usize>, Trouble> {
    let mut shape = Vec::new();
    while scanner.ahead() == Some(b'[') {
        if shape.len() == DEEPEST {
            return Err(Trouble::TooDeep);
        }
        let mut list = scanner.clone();
        let (mut first, mut length, mut inside) = (true, 0, None);
        list.array()?;
        while list.item(&mut first)? {
            let _ = list.ahead();
            inside.get_or_insert_with(|| list.clone());
            list.pass()?;
            length += 1;
        }
        shape.push(length);
        match inside {
            Some(inside) => scanner = inside,
            None => break,
        }
    }
    Ok(shape)
}

#[cfg(test)]
mod tests {
    use impetus_engine::DType;

    use super::*;

    fn signature(inputs: &[(&str, DType, &[Option<usize>])]) -> Signature {
        let inputs = inputs.iter().map(|(name, dtype, shape)| TensorSpec {
            name: (*name).to_owned(),
            dtype: *dtype,
            shape: shape
                .iter()
                .map(|dim| dim.map_or(Dim::Free(None), Dim::Fixed))
                .collect(),
        });
        Signature {
            inputs: inputs.collect(),
            outputs: Vec::new(),
            batches: true,
        }
    }

    fn one() -> Signature {
        signature(&[("x", DType::F32, &[None, Some(2), Some(2)])])
    }

    fn two() -> Signature {
        signature(&[
            ("a", DType::F32, &[None, Some(2)]),
            ("b", DType::Bytes, &[None]),
        ])
    }

    #[test]
    fn rows_are_stacked_whether_they_are_nested_or_flat() {
        for body in [
            r#"{"instances": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]}"#,
            r#"{"signature_name": "x", "instances": [[1, 2, 3, 4], [5, 6, 7, 8]]}"#,
            r#"{"inputs": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]}"#,
            r#"{"inputs": {"x": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]}}"#,
            r#"{"instances": [{"x": [[1, 2], [3, 4]]}, {"x": [[5, 6], [7, 8]]}]}"#,
        ] {
            let inputs = read(body.as_bytes(), &one()).unwrap();
            assert_eq!(inputs.len(), 1, "{body}");
            assert_eq!(inputs[0].shape(), [2, 2, 2], "{body}");
            let expected: Vec<f32> = (1..=8).map(|n| n as f32).collect();
            assert_eq!(inputs[0].to_f32().unwrap(), expected, "{body}");
        }
    }

    #[test]
    fn several_inputs_come_by_their_names() {
        for body in [
            r#"{"instances": [{"a": [1, 2], "b": "x"}, {"b": "y", "a": [3, 4]}]}"#,
            r#"{"inputs": {"a": [[1, 2], [3, 4]], "b": ["x", "y"]}}"#,
        ] {
            let inputs = read(body.as_bytes(), &two()).unwrap();
            assert_eq!(inputs[0].shape(), [2, 2], "{body}");
            assert_eq!(inputs[1].shape(), [2], "{body}");
            assert_eq!(inputs[1].data(), b"\x01\0\0\0x\x01\0\0\0y", "{body}");
        }
    }

    #[test]
    fn what_is_no_table_of_the_model_is_refused_with_the_reason() {
        for (body, signature, words) in [
            ("{}", one(), "either"),
            (r#"{"instances": [], "inputs": []}"#, one(), "either"),
            (r#"{"instances": 5}"#, one(), "an array"),
            (r#"{"instances": [[[1, 2], [3]]]}"#, one(), "dimension 2"),
            (r#"{"instances": [[["1", 2], [3, 4]]]}"#, one(), "data[0]"),
            (r#"{"instances": [1, 2]}"#, two(), "2 inputs"),
            (r#"{"instances": [{"c": 1}]}"#, two(), "no input \"c\""),
            (
                r#"{"instances": [{"b": "x"}, {"b": ["y"]}]}"#,
                two(),
                "the first has",
            ),
            (r#"{"instances": [[1, 2]"#, one(), "not valid JSON"),
        ] {
            let refusal = read(body.as_bytes(), &signature).unwrap_err();
            assert!(refusal.message().contains(words), "{body}: {refusal}");
        }
        let deep = format!(r#"{{"instances": {}"#, "[".repeat(100_000));
        assert!(read(deep.as_bytes(), &one()).is_err());
    }
}
