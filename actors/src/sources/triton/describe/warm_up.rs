//! Samples for a model's first runs.

use std::path::Path;

use impetus_engine::Fill;

use super::super::mapping::Key;
use super::tensors::dtype;
use super::{Describing, Entry, NOT_UNDERSTOOD, entry};
use crate::serving::description::{SampleInput, WarmUp};

/// Where the files of samples lie, below the model's folder.
const FOLDER: &str = "warmup";

// === impl Describing ===

impl Describing<'_> {
    pub(super) fn warm_up(&mut self, key: &Key<'_>) -> Result<(), String> {
        let mut sample = WarmUp {
            key: format!("model_warmup[{}]", self.description.warm_up.len()),
            ..WarmUp::default()
        };
        let rows = self.rows_of_sample(key)?;
        for key in key.keys()? {
            match key.name() {
                "name" => sample.key = format!("{} {:?}", sample.key, key.text()?),
                // Read before all others.
                "batch_size" => {}
                "inputs" => {
                    let Entry { key: name, value } = entry(&key)?;
                    let Some(value) = value else {
                        return key.cannot("it has no value");
                    };
                    let input = self.sample_input(&value, rows)?;
                    if sample.inputs.insert(name, input).is_some() {
                        return key.cannot("an input is there twice");
                    }
                }
                "count" if key.count::<u64>()? <= 1 => {}
                "count" => self
                    .notes
                    .add(&key, "does nothing: each sample is run once"),
                _ => self.notes.unused(&key, NOT_UNDERSTOOD),
            }
        }
        self.description.warm_up.push(sample);
        Ok(())
    }

    /// Returns how many rows a sample has, where its shapes do not say so themselves.
    fn rows_of_sample(&self, key: &Key<'_>) -> Result<Option<usize>, String> {
        let stacks = self.description.expects.rows_in_front;
        let keys = key.keys()?;
        let Some(size) = keys.iter().find(|key| key.name() == "batch_size") else {
            return Ok(stacks.then_some(1));
        };
        match (size.count()?, stacks) {
            (0, _) => size.must("be 1 or more"),
            (rows, true) => Ok(Some(rows)),
            (1, false) => Ok(None),
            (_, false) => size.must("be 1 for a model without max_batch_size"),
        }
    }

    fn sample_input(&mut self, key: &Key<'_>, rows: Option<usize>) -> Result<SampleInput, String> {
        let mut shape: Vec<usize> = rows.into_iter().collect();
        let mut fill = None;
        let mut stated = None;
        for key in key.keys()? {
            match key.name() {
                "data_type" => stated = dtype(&key)?,
                "dims" => shape.push(key.count()?),
                "zero_data" => fill = Some(Fill::Zeros),
                "random_data" => fill = Some(Fill::Random),
                "input_data_file" => {
                    fill = Some(Fill::File {
                        path: Path::new(FOLDER).join(key.text()?),
                        // The file is one row; every row is the same.
                        times: rows.unwrap_or(1),
                    });
                }
                _ => self.notes.unused(&key, NOT_UNDERSTOOD),
            }
        }
        match fill {
            Some(fill) => Ok(SampleInput {
                dtype: stated,
                shape,
                fill,
            }),
            None => key.cannot("it needs zero_data, random_data or input_data_file"),
        }
    }
}
