//! What is wrong with a request, in words that say which tensor and where in it.

use impetus_engine::TensorError;

use super::tensor::{self, Form, Malformed, Wrong};
use super::{Scanner, Trouble};
use crate::oip::{Refusal, datatype};

/// What is wrong with a request.
#[derive(Debug)]
pub enum Bad {
    /// Something with the JSON at the place where the scanner stands.
    Json(Trouble),
    /// Something that has been put into words already.
    Said(Refusal),
}

/// Reads the data of a tensor, which messages call so.
///
/// # Errors
/// They are none of that form.
pub fn read_tensor(
    scanner: &mut Scanner<'_>,
    form: Form<'_>,
    called: &str,
) -> Result<Vec<u8>, Bad> {
    tensor::read(scanner, form).map_err(|malformed| {
        match (
            explain(scanner, &malformed, form, called),
            malformed.trouble,
        ) {
            (Some(said), _) => Bad::Said(Refusal::invalid(said)),
            (None, Wrong::Piece(trouble)) => Bad::Json(trouble),
            (None, _) => Bad::Json(Trouble::Expected("data")),
        }
    })
}

/// Says what is wrong with a tensor's data; `None` when it is no JSON, whatever it is to be.
fn explain(
    scanner: &Scanner<'_>,
    malformed: &Malformed,
    form: Form<'_>,
    called: &str,
) -> Option<String> {
    let Malformed { trouble, index, at } = malformed;
    let (Form { dtype, shape }, index) = (form, *index);
    let datatype = datatype::name(dtype);
    Some(match trouble {
        Wrong::Piece(Trouble::Unfit) => {
            let number = excerpt(&scanner.text()[*at..]);
            format!("{called}: data[{index}] is {number}, which {datatype} cannot hold")
        }
        Wrong::Piece(Trouble::Kind(expected)) => {
            let found = excerpt(&scanner.text()[*at..]);
            format!("{called}: data[{index}] is {found}, {datatype} takes {expected}")
        }
        Wrong::Count {
            expected: usize::MAX,
        } => {
            let shape = shape.to_vec();
            format!("{called}: {}", TensorError::TooLarge(shape))
        }
        Wrong::Count { expected } if index == *expected => {
            format!("{called}: data has more than the {expected} elements of shape {shape:?}")
        }
        Wrong::Count { expected } => {
            format!("{called}: data has {index} elements, shape {shape:?} has {expected}")
        }
        Wrong::Length { depth, expected } => format!(
            "{called}: the list that ends before data[{index}] is not {expected} long, which is \
             dimension {depth} of shape {shape:?}"
        ),
        Wrong::Nesting => {
            format!("{called}: the lists around data[{index}] are not nested as shape {shape:?} is")
        }
        Wrong::NoJson => format!(
            "{called}: {datatype} has no form in JSON; send it in binary (binary_data_size)"
        ),
        Wrong::Piece(_) => return None,
    })
}

/// Returns the beginning of a piece of text, for a message.
#[must_use]
pub fn excerpt(text: &[u8]) -> String {
    const MOST: usize = 32;
    let end = text
        .iter()
        .position(|byte| b",] \n\r\t".contains(byte))
        .unwrap_or(text.len());
    let shown = String::from_utf8_lossy(&text[..end.min(MOST)]).into_owned();
    if end > MOST { shown + "…" } else { shown }
}

// === impl Bad ===

impl Bad {
    /// Returns it in words; the scanner stands where it was found.
    #[must_use]
    pub fn explain(self, scanner: &Scanner<'_>) -> Refusal {
        let trouble = match self {
            Self::Said(refusal) => return refusal,
            Self::Json(trouble) => trouble,
        };
        let at = scanner.at();
        Refusal::invalid(match trouble {
            Trouble::Expected(_) => {
                format!("the request is not valid JSON: {trouble} at byte {at}")
            }
            _ => format!("the request is not understood: {trouble} at byte {at}"),
        })
    }
}

impl From<Trouble> for Bad {
    fn from(trouble: Trouble) -> Self {
        Self::Json(trouble)
    }
}

impl From<Refusal> for Bad {
    fn from(refusal: Refusal) -> Self {
        Self::Said(refusal)
    }
}
