//! A request to infer, read from JSON.

use std::borrow::Cow;

use impetus_engine::DType;

use super::Scanner;
use super::explain::{Bad, read_tensor};
use super::tensor::{Form, MOST_DIMENSIONS};
use crate::oip::{Parameters, Refusal, RequestedOutput, datatype, priority, queue_timeout};

/// Inputs, and outputs, that a request has at most.
const MOST_TENSORS: usize = 4096;

/// A request as its JSON says it; what it sends in binary is still to be added.
#[derive(Debug, Default)]
pub struct Head {
    /// The id that the client gave it.
    pub id: Option<String>,
    /// What is asked beside the tensors.
    pub parameters: Parameters,
    /// The inputs.
    pub inputs: Vec<Input>,
    /// The outputs that are asked for.
    pub outputs: Vec<RequestedOutput>,
}

/// An input.
#[derive(Debug)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What it holds.
    pub data: Data,
}

/// What an input holds.
#[derive(Debug)]
pub enum Data {
    /// Its elements.
    Here(Vec<u8>),
    /// So many bytes that come behind the JSON.
    Binary(usize),
}

/// Reads a request.
///
/// # Errors
/// It is none: says what is wrong and where.
pub fn read(text: &[u8]) -> Result<Head, Refusal> {
    let mut scanner = Scanner::new(text);
    head(&mut scanner).map_err(|bad| bad.explain(&scanner))
}

fn head(scanner: &mut Scanner<'_>) -> Result<Head, Bad> {
    let mut head = Head::default();
    let mut first = true;
    scanner.object()?;
    while let Some(key) = scanner.key(&mut first)? {
        match &*key {
            "id" => head.id = Some(scanner.string()?.into_owned()),
            "parameters" => head.parameters = parameters(scanner)?,
            "inputs" => head.inputs = list(scanner, "inputs", input)?,
            "outputs" => head.outputs = list(scanner, "outputs", output)?,
            _ => scanner.skip()?,
        }
    }
    scanner.end()?;
    Ok(head)
}

fn list<T>(
    scanner: &mut Scanner<'_>,
    what: &str,
    read: impl Fn(&mut Scanner<'_>, usize) -> Result<T, Bad>,
) -> Result<Vec<T>, Bad> {
    let mut list = Vec::new();
    let mut first = true;
    scanner.array()?;
    while scanner.item(&mut first)? {
        if list.len() == MOST_TENSORS {
            return refuse(format!("there are more than {MOST_TENSORS} {what}"));
        }
        list.push(read(scanner, list.len())?);
    }
    Ok(list)
}

fn parameters(scanner: &mut Scanner<'_>) -> Result<Parameters, Bad> {
    let mut parameters = Parameters::default();
    let mut first = true;
    scanner.object()?;
    while let Some(key) = scanner.key(&mut first)? {
        match &*key {
            "priority" => parameters.priority = priority(count(scanner, "priority")?),
            "timeout" => parameters.queue_timeout = queue_timeout(count(scanner, "timeout")?),
            "binary_data_output" => parameters.binary_data_output = scanner.bool()?,
            _ => scanner.skip()?,
        }
    }
    Ok(parameters)
}

/// What has been read of an input so far.
#[derive(Default)]
struct Partial<'a> {
    name: Option<Cow<'a, str>>,
    dtype: Option<DType>,
    shape: Option<Vec<usize>>,
    binary: Option<usize>,
    data: Option<Vec<u8>>,
    /// Where the data lie, when they came before type and shape.
    later: Option<usize>,
}

fn input(scanner: &mut Scanner<'_>, index: usize) -> Result<Input, Bad> {
    let mut partial = Partial::default();
    let mut first = true;
    scanner.object()?;
    while let Some(key) = scanner.key(&mut first)? {
        match &*key {
            "name" => partial.name = Some(scanner.string()?),
            "datatype" => partial.dtype = Some(dtype(scanner, index)?),
            "shape" => partial.shape = Some(shape(scanner, index)?),
            "parameters" => partial.binary = input_parameters(scanner)?,
            "data" => partial.take_data(scanner, index)?,
            _ => scanner.skip()?,
        }
    }
    partial.complete(scanner, index)
}

// === impl Partial ===

impl Partial<'_> {
    /// Reads the data, or notes where they are when it cannot be known yet what they are.
    fn take_data(&mut self, scanner: &mut Scanner<'_>, index: usize) -> Result<(), Bad> {
        if scanner.ahead() == Some(b'n') {
            // What one client says of an input whose data follow in binary.
            return Ok(scanner.skip()?);
        }
        if self.dtype.is_some() && self.shape.is_some() {
            self.data = Some(self.read(scanner, index)?);
            self.later = None;
        } else {
            self.later = Some(scanner.at());
            scanner.pass()?;
        }
        Ok(())
    }

    fn read(&self, scanner: &mut Scanner<'_>, index: usize) -> Result<Vec<u8>, Bad> {
        let (Some(dtype), Some(shape)) = (self.dtype, &self.shape) else {
            return refuse(format!(
                "{} needs a \"datatype\" and a \"shape\"",
                self.called(index)
            ));
        };
        let form = Form { dtype, shape };
        read_tensor(scanner, form, &self.called(index))
    }

    fn complete(mut self, scanner: &Scanner<'_>, index: usize) -> Result<Input, Bad> {
        if let Some(at) = self.later {
            let mut scanner = Scanner::resumed(scanner.text(), at);
            let data = self.read(&mut scanner, index);
            // The place that goes into words is the data's own.
            self.data = Some(data.map_err(|bad| bad.explain(&scanner))?);
        }
        let called = self.called(index);
        let Some(name) = self.name else {
            return refuse(format!("inputs[{index}] has no \"name\""));
        };
        let (Some(dtype), Some(shape)) = (self.dtype, self.shape) else {
            return refuse(format!("{called} needs a \"datatype\" and a \"shape\""));
        };
        let data = match (self.data, self.binary) {
            (Some(data), None) => Data::Here(data),
            (None, Some(bytes)) => Data::Binary(bytes),
            (Some(_), Some(_)) => {
                return refuse(format!(
                    "{called} has both \"data\" and \"binary_data_size\"; send one of them"
                ));
            }
            (None, None) => {
                return refuse(format!(
                    "{called} has no data: send \"data\", or the bytes behind the JSON and \
                     \"binary_data_size\" among its parameters"
                ));
            }
        };
        Ok(Input {
            name: name.into_owned(),
            dtype,
            shape,
            data,
        })
    }

    fn called(&self, index: usize) -> String {
        match &self.name {
            Some(name) => format!("input {name:?}"),
            None => format!("inputs[{index}]"),
        }
    }
}

fn dtype(scanner: &mut Scanner<'_>, index: usize) -> Result<DType, Bad> {
    let name = scanner.string()?;
    match datatype::parse(&name) {
        Some(dtype) => Ok(dtype),
        None => refuse(format!(
            "inputs[{index}] has datatype {name:?}, which is none of {}",
            datatype::all()
        )),
    }
}

fn shape(scanner: &mut Scanner<'_>, index: usize) -> Result<Vec<usize>, Bad> {
    let mut shape = Vec::new();
    let mut first = true;
    scanner.array()?;
    while scanner.item(&mut first)? {
        let _ = scanner.ahead();
        let number = scanner.number()?;
        let extent = number.to_whole().and_then(|n| usize::try_from(n).ok());
        let Some(extent) = extent else {
            let extent = number.as_str();
            return refuse(format!("inputs[{index}] has {extent} in its shape"));
        };
        if shape.len() == MOST_DIMENSIONS {
            return refuse(format!(
                "inputs[{index}] has more than {MOST_DIMENSIONS} dimensions"
            ));
        }
        shape.push(extent);
    }
    Ok(shape)
}

/// Returns the size of an input's binary data, if it says one.
fn input_parameters(scanner: &mut Scanner<'_>) -> Result<Option<usize>, Bad> {
    let mut size = None;
    let mut first = true;
    scanner.object()?;
    while let Some(key) = scanner.key(&mut first)? {
        match &*key {
            "binary_data_size" => {
                let bytes = count(scanner, "binary_data_size")?;
                // One that cannot be addressed is more than any body has.
                size = Some(usize::try_from(bytes).unwrap_or(usize::MAX));
            }
            key if key.starts_with(SHARED_MEMORY) => return no_shared_memory(),
            _ => scanner.skip()?,
        }
    }
    Ok(size)
}

fn output(scanner: &mut Scanner<'_>, index: usize) -> Result<RequestedOutput, Bad> {
    let mut output = RequestedOutput::default();
    let mut name = None;
    let mut first = true;
    scanner.object()?;
    while let Some(key) = scanner.key(&mut first)? {
        match &*key {
            "name" => name = Some(scanner.string()?.into_owned()),
            "parameters" => output_parameters(scanner, &mut output)?,
            _ => scanner.skip()?,
        }
    }
    let Some(name) = name else {
        return refuse(format!("outputs[{index}] has no \"name\""));
    };
    Ok(RequestedOutput { name, ..output })
}

fn output_parameters(scanner: &mut Scanner<'_>, output: &mut RequestedOutput) -> Result<(), Bad> {
    let mut first = true;
    scanner.object()?;
    while let Some(key) = scanner.key(&mut first)? {
        match &*key {
            "classification" => {
                let most = count(scanner, "classification")?;
                output.classification = usize::try_from(most).unwrap_or(usize::MAX);
            }
            "binary_data" => output.binary_data = Some(scanner.bool()?),
            key if key.starts_with(SHARED_MEMORY) => return no_shared_memory(),
            _ => scanner.skip()?,
        }
    }
    Ok(())
}

/// How all parameters of the shared memory extension begin.
const SHARED_MEMORY: &str = "shared_memory_";

fn no_shared_memory<T>() -> Result<T, Bad> {
    Err(Bad::Said(Refusal::unsupported(
        "shared memory between client and server is not supported; send tensors in the request, \
         in binary where they are large",
    )))
}

/// Reads a whole number that is not negative.
fn count(scanner: &mut Scanner<'_>, what: &str) -> Result<u64, Bad> {
    let _ = scanner.ahead();
    let number = scanner.number()?;
    let whole = number.to_whole().and_then(|n| u64::try_from(n).ok());
    match whole {
        Some(count) => Ok(count),
        None => refuse(format!(
            "{what} is {}, it must be a whole number of 0 or more",
            number.as_str()
        )),
    }
}

fn refuse<T>(message: String) -> Result<T, Bad> {
    Err(Bad::Said(Refusal::invalid(message)))
}
