//! Frames: how messages and the bytes of tensors lie in the byte stream.
//!
//! ```text
//! u32 LE length │ postcard message │ zeros │ payload │ zeros
//! └──────────────── multiple of 64 ────────┴─ multiple of 64 ┘
//! ```
//!
//! The length counts what follows it. Everything is padded to [`ALIGNMENT`], the payload's start
//! included, so a receive buffer whose beginning is aligned has every tensor aligned: the worker
//! hands it to the runtime where it arrived, without another copy.
//!
//! A length is compared with the cap before anything is allocated for it.

use std::ops::Range;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ProtocolError;

/// Frames, payloads and the tensors in them begin at multiples of this many bytes, which is a
/// cache line and enough for every vector instruction.
pub const ALIGNMENT: usize = 64;

/// The shortest frame: a length and a message that fit one block.
pub const MIN_FRAME: usize = ALIGNMENT;

const LENGTH_BYTES: usize = size_of::<u32>();

/// Returns the next multiple of [`ALIGNMENT`].
pub const fn aligned(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT)
}

/// Appends a frame to `buffer`: the message, and `payload_len` bytes that `write_payload` appends.
///
/// On an error the buffer is as it was.
pub fn encode<M: Serialize>(
    buffer: &mut Vec<u8>,
    cap: usize,
    message: &M,
    payload_len: usize,
    write_payload: impl FnOnce(&mut Vec<u8>),
) -> Result<(), ProtocolError> {
    let start = buffer.len();
    let result = encode_head(buffer, cap, message, payload_len);
    let Ok(frame_len) = result else {
        buffer.truncate(start);
        return result.map(|_| ());
    };
    write_payload(buffer);
    debug_assert!(
        buffer.len() <= start + frame_len,
        "payload exceeds its announced length"
    );
    buffer.resize(start + frame_len, 0);
    Ok(())
}

/// Appends length and message, padded; returns the length of the whole frame.
fn encode_head<M: Serialize>(
    buffer: &mut Vec<u8>,
    cap: usize,
    message: &M,
    payload_len: usize,
) -> Result<usize, ProtocolError> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; LENGTH_BYTES]);
    postcard::to_io(message, &mut *buffer)
        .map_err(|error| ProtocolError::Malformed(error.to_string()))?;
    let head_len = aligned(buffer.len() - start);
    let frame_len =
        head_len.saturating_add(payload_len.saturating_add(ALIGNMENT - 1)) / ALIGNMENT * ALIGNMENT;
    let length = u32::try_from(frame_len - LENGTH_BYTES);
    let (true, Ok(length)) = (frame_len <= cap, length) else {
        return Err(ProtocolError::Oversized {
            bytes: frame_len,
            cap,
        });
    };
    buffer.resize(start + head_len, 0);
    buffer[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    buffer.reserve(frame_len - head_len);
    Ok(frame_len)
}

/// Returns the length of the frame at the start of `bytes`, `None` while that is not known yet.
pub fn frame_len(bytes: &[u8], cap: usize) -> Result<Option<usize>, ProtocolError> {
    let Some((length, _)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let announced = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let frame_len = announced.saturating_add(LENGTH_BYTES);
    if frame_len > cap {
        return Err(ProtocolError::Oversized {
            bytes: frame_len,
            cap,
        });
    }
    if !frame_len.is_multiple_of(ALIGNMENT) {
        return Err(ProtocolError::Misaligned(frame_len));
    }
    Ok(Some(frame_len))
}

/// Returns message and payload of one whole frame.
pub fn decode<M: DeserializeOwned>(frame: &[u8]) -> Result<(M, &[u8]), ProtocolError> {
    let body = frame.get(LENGTH_BYTES..).ok_or(ProtocolError::Truncated)?;
    let (message, rest) = postcard::take_from_bytes(body)
        .map_err(|error| ProtocolError::Malformed(error.to_string()))?;
    let head_len = aligned(frame.len() - rest.len());
    let payload = frame.get(head_len..).ok_or(ProtocolError::Truncated)?;
    Ok((message, payload))
}

/// Returns where the pieces of the given lengths begin when each is aligned, and the total.
pub fn layout(lengths: impl IntoIterator<Item = usize>) -> Option<(Vec<usize>, usize)> {
    let mut offsets = Vec::new();
    let mut end = 0usize;
    for length in lengths {
        let offset = end.checked_next_multiple_of(ALIGNMENT)?;
        offsets.push(offset);
        end = offset.checked_add(length)?;
    }
    Some((offsets, end))
}

/// Returns the range of a piece, if it is aligned and lies within `available` bytes.
pub fn piece(offset: usize, len: usize, available: usize) -> Result<Range<usize>, String> {
    if !offset.is_multiple_of(ALIGNMENT) {
        return Err(format!("offset {offset} is not aligned"));
    }
    match offset.checked_add(len) {
        Some(end) if end <= available => Ok(offset..end),
        _ => Err(format!(
            "{len} bytes at {offset}, {available} are available"
        )),
    }
}

#[cfg(test)]
mod tests;
