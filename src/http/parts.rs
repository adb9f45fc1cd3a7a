//! An answer's body in several parts, which are handed out as they are.
//!
//! Large tensors are not copied to lie behind the text that describes them; small ones are, because
//! one part costs less than two.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::web::Bytes;

/// Bytes up to which everything is put together.
const SMALL: usize = 32 * 1024;

/// The parts that have not been handed out yet.
pub(super) struct Parts {
    parts: VecDeque<Bytes>,
    left: usize,
}

// === impl Parts ===

impl Parts {
    /// Makes a body of one part and those behind it.
    pub(super) fn of(mut first: Vec<u8>, behind: Vec<Bytes>) -> Self {
        let left = first.len() + behind.iter().map(Bytes::len).sum::<usize>();
        let mut parts = VecDeque::new();
        if left <= SMALL {
            first.reserve_exact(left - first.len());
            for part in &behind {
                first.extend_from_slice(part);
            }
            parts.push_back(first.into());
        } else {
            parts.push_back(first.into());
            parts.extend(behind.into_iter().filter(|part| !part.is_empty()));
        }
        Self { parts, left }
    }
}

impl MessageBody for Parts {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.left as u64)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let part = self.parts.pop_front();
        self.left -= part.as_ref().map_or(0, Bytes::len);
        Poll::Ready(part.map(Ok))
    }

    fn try_into_bytes(mut self) -> Result<Bytes, Self> {
        if self.parts.len() > 1 {
            return Err(self);
        }
        Ok(self.parts.pop_front().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use actix_web::rt::System;

    use super::*;

    #[test]
    fn all_parts_come_in_their_order_and_are_as_long_as_was_said() {
        for size in [0, 5, SMALL, 3 * SMALL] {
            let parts = Parts::of(
                b"head".to_vec(),
                vec![vec![1; size].into(), Bytes::new(), vec![2; 3].into()],
            );
            assert_eq!(parts.size(), BodySize::Sized(size as u64 + 7));
            let whole = System::new().block_on(to_bytes(parts)).unwrap();
            let expected = [b"head".to_vec(), vec![1; size], vec![2; 3]].concat();
            assert_eq!(whole, expected);
        }
    }

    #[test]
    fn a_large_tensor_is_handed_on_as_it_is() {
        let tensor = Bytes::from(vec![7; 2 * SMALL]);
        let mut parts = Parts::of(Vec::new(), vec![tensor.clone()]).parts;
        assert_eq!(parts.pop_back().unwrap().as_ptr(), tensor.as_ptr());
    }
}
