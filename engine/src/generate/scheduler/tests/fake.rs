//! A decoder whose scores depend on everything that lies in a slot, and on nothing else.

use std::cell::RefCell;
use std::rc::Rc;

use super::super::super::{Decoder, DecoderShape, Row};
use crate::error::EngineError;
use crate::tensor::TensorSpec;

pub(super) const VOCABULARY: usize = 16;
pub(super) const MAX_LEN: usize = 24;

/// What was asked of the decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Call {
    Prefill {
        slot: usize,
        past: usize,
        len: usize,
    },
    Decode {
        first: usize,
        rows: usize,
    },
}

pub(super) type Calls = Rc<RefCell<Vec<Call>>>;

/// Remembers tokens instead of keys and values.
pub(super) struct Fake {
    shape: DecoderShape,
    slots: Vec<Vec<u32>>,
    logits: Vec<Vec<f32>>,
    calls: Calls,
    /// Runs that succeed before one fails.
    pub(super) fails_after: Option<usize>,
}

impl Fake {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            shape: DecoderShape {
                slots,
                max_len: MAX_LEN,
                vocabulary: VOCABULARY,
                layers: 1,
                cache_bytes: 0,
                whole_prompts: false,
            },
            // What nobody has written is no token.
            slots: vec![vec![u32::MAX; MAX_LEN]; slots],
            logits: Vec::new(),
            calls: Calls::default(),
            fails_after: None,
        }
    }

    /// Takes no tokens behind others but one.
    pub(super) fn with_whole_prompts(mut self, whole_prompts: bool) -> Self {
        self.shape.whole_prompts = whole_prompts;
        self
    }

    pub(super) fn calls(&self) -> Calls {
        Rc::clone(&self.calls)
    }

    fn write(&mut self, slot: usize, position: usize, token: u32) {
        assert!((token as usize) < VOCABULARY);
        self.slots[slot][position] = token;
        self.logits.push(scores(&self.slots[slot][..=position]));
    }

    fn begin(&mut self, call: Call) -> Result<(), EngineError> {
        self.calls.borrow_mut().push(call);
        self.logits.clear();
        if let Some(left) = &mut self.fails_after {
            if *left == 0 {
                return Err(EngineError::run_failed("as it was told"));
            }
            *left -= 1;
        }
        Ok(())
    }
}

/// Returns scores that another token anywhere, or another order, changes.
fn scores(tokens: &[u32]) -> Vec<f32> {
    let mix = |hash: u64, word: u64| {
        let mixed = (hash ^ word).wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^ mixed >> 27
    };
    let hash = tokens
        .iter()
        .fold(1, |hash, token| mix(hash, u64::from(*token)));
    (0..VOCABULARY as u64)
        .map(|token| (mix(hash, token) % 1000) as f32 / 200.0)
        .collect()
}

impl Decoder for Fake {
    fn shape(&self) -> &DecoderShape {
        &self.shape
    }

    fn inputs(&self) -> &[TensorSpec] {
        &[]
    }

    fn outputs(&self) -> &[TensorSpec] {
        &[]
    }

    fn prefill(&mut self, slot: usize, past: usize, tokens: &[u32]) -> Result<(), EngineError> {
        assert!(!tokens.is_empty());
        assert!(!self.shape.whole_prompts || past == 0);
        self.begin(Call::Prefill {
            slot,
            past,
            len: tokens.len(),
        })?;
        for (index, token) in tokens.iter().enumerate() {
            self.write(slot, past + index, *token);
        }
        Ok(())
    }

    fn decode(&mut self, first: usize, rows: &[Row]) -> Result<(), EngineError> {
        assert!(!rows.is_empty());
        self.begin(Call::Decode {
            first,
            rows: rows.len(),
        })?;
        for (index, row) in rows.iter().enumerate() {
            self.write(first + index, row.past, row.token);
        }
        Ok(())
    }

    fn logits(&mut self, row: usize) -> Result<&[f32], EngineError> {
        Ok(&self.logits[row])
    }

    fn copy(&mut self, from: usize, to: usize, len: usize) {
        let copied = self.slots[from][..len].to_vec();
        self.slots[to][..len].copy_from_slice(&copied);
    }

    fn exchange(&mut self, a: usize, b: usize, len: usize) {
        for position in 0..len {
            let kept = self.slots[a][position];
            self.slots[a][position] = self.slots[b][position];
            self.slots[b][position] = kept;
        }
    }
}
