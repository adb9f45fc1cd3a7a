//! JSON Lines: each prediction as `/predictions` has it, on a line of its own.

use serde_json::{Map, Value};

use super::encoder::{Encode, EncodeError};

#[derive(Default)]
pub(super) struct JsonLines(Vec<u8>);

impl Encode for JsonLines {
    fn add(&mut self, predictions: &[Map<String, Value>]) -> Result<(), EncodeError> {
        for prediction in predictions {
            serde_json::to_writer(&mut self.0, prediction)?;
            self.0.push(b'\n');
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), EncodeError> {
        Ok(())
    }

    fn take(&mut self) -> Result<Vec<u8>, EncodeError> {
        Ok(std::mem::take(&mut self.0))
    }
}
