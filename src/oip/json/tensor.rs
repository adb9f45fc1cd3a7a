//! A tensor's data: a list of its elements in row-major order, or lists in lists as its shape has
//! them.
//!
//! How many elements there are is known before the first is read, so a list with more is refused at
//! the first that is too many. Where lists are nested, each must be as long as the shape says: a
//! table with its rows and columns exchanged has the right number of elements and is not the tensor
//! that was meant.

use impetus_engine::DType;
use impetus_engine::tensor::elements;

use super::element::{Bool, Double, Element, Half, Single, Text, Whole};
use super::{Scanner, Trouble};

/// Dimensions that a nested tensor has at most.
pub(super) const MOST_DIMENSIONS: usize = 32;

/// What is wrong with a tensor's data.
#[derive(Debug)]
pub(super) struct Malformed {
    pub(super) trouble: Wrong,
    /// Elements that had been read before.
    pub(super) index: usize,
    /// Where the element or list begins.
    pub(super) at: usize,
}

/// What is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// With an element or the text around it.
    Piece(Trouble),
    /// The number of elements.
    Count { expected: usize },
    /// Lists are nested in another way than the shape has it.
    Nesting,
    /// The length of a nested list.
    Length { depth: usize, expected: usize },
    /// There is no way to write elements of the type in JSON.
    NoJson,
}

/// What a tensor is, beside its data.
#[derive(Debug, Clone, Copy)]
pub struct Form<'a> {
    /// Its element type.
    pub dtype: DType,
    /// Its shape.
    pub shape: &'a [usize],
}

/// Reads the data of a tensor.
pub(super) fn read(scanner: &mut Scanner<'_>, form: Form<'_>) -> Result<Vec<u8>, Malformed> {
    match form.dtype {
        DType::Bool => read_as::<Bool>(scanner, form.shape),
        DType::U8 => read_as::<Whole<u8>>(scanner, form.shape),
        DType::U16 => read_as::<Whole<u16>>(scanner, form.shape),
        DType::U32 => read_as::<Whole<u32>>(scanner, form.shape),
        DType::U64 => read_as::<Whole<u64>>(scanner, form.shape),
        DType::I8 => read_as::<Whole<i8>>(scanner, form.shape),
        DType::I16 => read_as::<Whole<i16>>(scanner, form.shape),
        DType::I32 => read_as::<Whole<i32>>(scanner, form.shape),
        DType::I64 => read_as::<Whole<i64>>(scanner, form.shape),
        DType::F16 => read_as::<Half>(scanner, form.shape),
        DType::F32 => read_as::<Single>(scanner, form.shape),
        DType::F64 => read_as::<Double>(scanner, form.shape),
        DType::Bytes => read_as::<Text>(scanner, form.shape),
        DType::BF16 => Err(Malformed {
            trouble: Wrong::NoJson,
            index: 0,
            at: scanner.at(),
        }),
    }
}

fn read_as<E: Element>(scanner: &mut Scanner<'_>, shape: &[usize]) -> Result<Vec<u8>, Malformed> {
    // One that cannot be addressed has more elements than any text, and is refused for that.
    let expected = elements(shape).unwrap_or(usize::MAX);
    // An element is one byte of text at least, and another one separates it from the next.
    let possible = scanner.left() / 2 + 1;
    let mut reading = Reading {
        shape,
        expected,
        data: Vec::with_capacity(expected.min(possible) * E::SIZE),
        count: 0,
        begin: scanner.at(),
    };
    let read = reading.whole::<E>(scanner);
    let at = match &read {
        Err(Wrong::Piece(Trouble::Expected(_))) => scanner.at(),
        _ => reading.begin,
    };
    match read {
        Ok(()) if reading.count == expected => Ok(reading.data),
        Ok(()) => Err(Wrong::Count { expected }),
        Err(trouble) => Err(trouble),
    }
    .map_err(|trouble| Malformed {
        trouble,
        index: reading.count,
        at,
    })
}

/// Reads a flat list of however many binary32 and appends their bytes; what was read before something
/// was wrong is there then.
///
/// # Errors
/// The scanner stands at the element that is none.
pub fn read_floats(scanner: &mut Scanner<'_>, data: &mut Vec<u8>) -> Result<(), Trouble> {
    scanner.array()?;
    if scanner.eat(b']') {
        return Ok(());
    }
    loop {
        let _ = scanner.ahead();
        Single::run(scanner, data, usize::MAX);
        let element = scanner.clone();
        let number = scanner.number()?.to_f32();
        if number.is_infinite() {
            *scanner = element;
            return Err(Trouble::Unfit);
        }
        data.extend_from_slice(&number.to_le_bytes());
        match scanner.ahead() {
            Some(b',') => scanner.advance(1),
            Some(b']') => {
                scanner.advance(1);
                return Ok(());
            }
            _ => return Err(Trouble::Expected("`,` or `]`")),
        }
        let _ = scanner.ahead();
    }
}

/// The data so far.
struct Reading<'a> {
    shape: &'a [usize],
    expected: usize,
    data: Vec<u8>,
    count: usize,
    /// Where the last element that was begun begins.
    begin: usize,
}

// === impl Reading ===

impl Reading<'_> {
    fn whole<E: Element>(&mut self, scanner: &mut Scanner<'_>) -> Result<(), Wrong> {
        if self.shape.is_empty() && scanner.ahead() != Some(b'[') {
            return self.element::<E>(scanner);
        }
        self.begin = scanner.at();
        scanner.array().map_err(Wrong::Piece)?;
        if scanner.ahead() == Some(b'[') {
            return self.nested::<E>(scanner);
        }
        self.row::<E>(scanner)
    }

    /// Reads elements up to the end of a list that has been entered.
    #[inline]
    fn row<E: Element>(&mut self, scanner: &mut Scanner<'_>) -> Result<(), Wrong> {
        if scanner.eat(b']') {
            return Ok(());
        }
        loop {
            let _ = scanner.ahead();
            self.count += E::run(scanner, &mut self.data, self.expected - self.count);
            if self.count == self.expected {
                return Err(Wrong::Count {
                    expected: self.expected,
                });
            }
            self.element::<E>(scanner)?;
            match scanner.ahead() {
                Some(b',') => scanner.advance(1),
                Some(b']') => {
                    scanner.advance(1);
                    return Ok(());
                }
                _ => return Err(Wrong::Piece(Trouble::Expected("`,` or `]`"))),
            }
        }
    }

    #[inline]
    fn element<E: Element>(&mut self, scanner: &mut Scanner<'_>) -> Result<(), Wrong> {
        let _ = scanner.ahead();
        self.begin = scanner.at();
        E::read(scanner, &mut self.data).map_err(Wrong::Piece)?;
        self.count += 1;
        Ok(())
    }

    /// Reads lists in lists; the outermost has been entered.
    fn nested<E: Element>(&mut self, scanner: &mut Scanner<'_>) -> Result<(), Wrong> {
        let rank = self.shape.len();
        if !(2..=MOST_DIMENSIONS).contains(&rank) {
            return Err(Wrong::Nesting);
        }
        // How many lists each open list has had; the innermost ones hold elements.
        let mut lists = [0usize; MOST_DIMENSIONS];
        let mut depth = 1;
        loop {
            let _ = scanner.ahead();
            self.begin = scanner.at();
            if depth == rank {
                let before = self.count;
                self.row::<E>(scanner)?;
                self.check(rank - 1, self.count - before)?;
            } else if scanner.eat(b']') {
                self.check(depth - 1, lists[depth - 1])?;
            } else {
                if lists[depth - 1] > 0 {
                    scanner.expect(b',', "`,` or `]`").map_err(Wrong::Piece)?;
                }
                scanner.array().map_err(|trouble| match trouble {
                    Trouble::Kind(_) => Wrong::Nesting,
                    trouble => Wrong::Piece(trouble),
                })?;
                lists[depth - 1] += 1;
                lists[depth] = 0;
                depth += 1;
                continue;
            }
            depth -= 1;
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// Checks that a list has the length that the shape has at this depth.
    fn check(&self, depth: usize, length: usize) -> Result<(), Wrong> {
        let expected = self.shape[depth];
        if length == expected {
            return Ok(());
        }
        Err(Wrong::Length { depth, expected })
    }
}
