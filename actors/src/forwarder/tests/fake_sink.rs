//! A sink that does what a test tells it, and keeps books.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::predlog::sink::RefusedRow;
use crate::predlog::{Delivery, Landed, Sink, SinkError};

/// What the sink has and does, seen by the test.
#[derive(Default)]
pub(super) struct Books {
    /// By key, with how often each was handed over.
    pub(super) rows: BTreeMap<[u8; 16], u32>,
    /// The sizes of what was handed over.
    pub(super) batches: Vec<usize>,
    pub(super) failing: Option<&'static str>,
    pub(super) hanging: bool,
    /// Fails once after it has kept what it was handed.
    pub(super) forgetful: bool,
    pub(super) refuses: Option<&'static str>,
}

#[derive(Clone, Default)]
pub(super) struct FakeSink(Arc<Mutex<Books>>);

impl FakeSink {
    pub(super) fn books<T>(&self, look: impl FnOnce(&mut Books) -> T) -> T {
        look(&mut self.0.lock().expect("no test panics with it"))
    }

    pub(super) fn has(&self) -> usize {
        self.books(|books| books.rows.len())
    }
}

impl Sink for FakeSink {
    async fn deliver(&mut self, rows: &[Landed]) -> Result<Delivery, SinkError> {
        if self.books(|books| books.hanging) {
            std::future::pending::<()>().await;
        }
        self.books(|books| {
            if let Some(reason) = books.failing {
                return Err(SinkError::new(reason));
            }
            books.batches.push(rows.len());
            let mut delivery = Delivery::default();
            for (index, landed) in rows.iter().enumerate() {
                if books
                    .refuses
                    .is_some_and(|word| landed.row.body.contains(word))
                {
                    let reason = "will not have it".to_owned();
                    delivery.refused.push(RefusedRow { index, reason });
                } else {
                    *books.rows.entry(*landed.row.key.as_bytes()).or_default() += 1;
                }
            }
            if std::mem::take(&mut books.forgetful) {
                return Err(SinkError::new("the answer was lost"));
            }
            Ok(delivery)
        })
    }

    async fn check(&mut self) -> Result<(), SinkError> {
        match self.books(|books| books.failing) {
            Some(reason) => Err(SinkError::new(reason)),
            None => Ok(()),
        }
    }
}
