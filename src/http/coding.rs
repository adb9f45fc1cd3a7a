//! Compressed bodies: requests that come so, and answers that are asked for so.
//!
//! `deflate` is what HTTP means by it, a zlib stream. An answer is compressed only for a client that
//! says it takes that, and only when it is long enough to gain by it.
//!
//! **Invariant:** a request is never larger than `http.max_body`, before and after: decompressing
//! stops at the first byte that is too many, so a small body that stands for an enormous one costs
//! no more than the largest that is allowed.

use std::io::{Read, Write};

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap};
use actix_web::web::Bytes;
use flate2::Compression;
use flate2::read::{GzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};

use super::error::ApiError;

/// Bytes of an answer from which on compressing it is worth its while.
const LEAST: usize = 1024;
/// Bytes for which room is made at first, whatever the body will turn out to be.
const ROOM: usize = 64 * 1024;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Deflate,
}

// === impl Coding ===

impl Coding {
    /// Returns how the body of a request is compressed, if it is.
    ///
    /// # Errors
    /// In a way that is not known here.
    pub(super) fn of_request(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let Some(given) = headers.get(CONTENT_ENCODING) else {
            return Ok(None);
        };
        let given = given.to_str().unwrap_or("?").trim();
        if given.is_empty() || given.eq_ignore_ascii_case("identity") {
            return Ok(None);
        }
        Self::named(given).map(Some).ok_or_else(|| {
            let message =
                format!("content encoding {given:?} is not understood; send gzip, deflate or none");
            ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_encoding",
                message,
            )
        })
    }

    /// Returns how an answer of so many bytes is to be compressed, if the client asks for that.
    pub(super) fn of_answer(headers: &HeaderMap, bytes: usize) -> Option<Self> {
        if bytes < LEAST {
            return None;
        }
        let accepted = headers.get(ACCEPT_ENCODING)?.to_str().ok()?;
        let taken = |wanted: Self| {
            let mut offers = accepted
                .split(',')
                .map(|offer| match offer.split_once(';') {
                    Some((name, quality)) => (name.trim(), is_zero(quality)),
                    None => (offer.trim(), false),
                });
            offers.any(|(name, refused)| !refused && Self::named(name) == Some(wanted))
        };
        [Self::Gzip, Self::Deflate].into_iter().find(|c| taken(*c))
    }

    /// Returns the coding as headers name it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    fn named(name: &str) -> Option<Self> {
        match name {
            name if name.eq_ignore_ascii_case("gzip") => Some(Self::Gzip),
            name if name.eq_ignore_ascii_case("x-gzip") => Some(Self::Gzip),
            name if name.eq_ignore_ascii_case("deflate") => Some(Self::Deflate),
            _ => None,
        }
    }

    /// Returns what a compressed body stands for.
    ///
    /// # Errors
    /// It is malformed, or stands for more than `most` bytes.
    pub(super) fn decompress(self, body: &[u8], most: usize) -> Result<Bytes, ApiError> {
        // One more than is allowed shows that there are more.
        let limit = most as u64 + 1;
        let mut whole = Vec::with_capacity(most.min(ROOM));
        let read = match self {
            Self::Gzip => GzDecoder::new(body).take(limit).read_to_end(&mut whole),
            Self::Deflate => ZlibDecoder::new(body).take(limit).read_to_end(&mut whole),
        };
        read.map_err(|error| {
            let message = format!("the body is not {}: {error}", self.as_str());
            ApiError::bad_request("bad_body", message)
        })?;
        if whole.len() > most {
            let message =
                format!("the body is larger than {most} bytes when decompressed (http.max_body)");
            return Err(ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                message,
            ));
        }
        Ok(whole.into())
    }

    /// Compresses the parts of a body.
    pub(super) fn compress<'a>(self, parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let level = Compression::fast();
        let compressed = match self {
            Self::Gzip => write(GzEncoder::new(Vec::new(), level), parts, GzEncoder::finish),
            Self::Deflate => write(
                ZlibEncoder::new(Vec::new(), level),
                parts,
                ZlibEncoder::finish,
            ),
        };
        compressed.expect("memory takes whatever is written")
    }
}

fn write<'a, W: Write>(
    mut encoder: W,
    parts: impl IntoIterator<Item = &'a [u8]>,
    finish: impl FnOnce(W) -> std::io::Result<Vec<u8>>,
) -> std::io::Result<Vec<u8>> {
    for part in parts {
        encoder.write_all(part)?;
    }
    finish(encoder)
}

/// Tells whether a quality says that something is not taken.
fn is_zero(quality: &str) -> bool {
    let value = quality.trim().strip_prefix("q=");
    value.is_some_and(|value| value.trim().parse() == Ok(0.0))
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError;
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        headers
    }

    #[test]
    fn what_is_compressed_is_the_same_again_and_never_more_than_is_allowed() {
        let body = b"again and again ".repeat(1000);
        for coding in [Coding::Gzip, Coding::Deflate] {
            let small = coding.compress([&body[..100], &body[100..]]);
            assert!(small.len() < body.len() / 10);
            assert_eq!(coding.decompress(&small, body.len()).unwrap(), body);
            let error = coding.decompress(&small, body.len() - 1).unwrap_err();
            assert_eq!(error.status_code(), 413);
            let cut = coding.decompress(&small[..small.len() / 2], body.len());
            assert_eq!(cut.unwrap_err().status_code(), 400);
            let garbage = coding.decompress(b"garbage", 1000).unwrap_err();
            assert_eq!(garbage.status_code(), 400);
        }
    }

    #[test]
    fn deflate_is_a_zlib_stream() {
        let small = Coding::Deflate.compress([&b"x"[..]]);
        assert_eq!(small[0] & 0x0f, 8);
        assert_eq!(u16::from_be_bytes([small[0], small[1]]) % 31, 0);
    }

    #[test]
    fn a_request_says_how_it_is_compressed() {
        let of = |value| Coding::of_request(&headers(CONTENT_ENCODING, value));
        assert_eq!(of("gzip").unwrap(), Some(Coding::Gzip));
        assert_eq!(of("Deflate").unwrap(), Some(Coding::Deflate));
        assert_eq!(of("identity").unwrap(), None);
        assert_eq!(Coding::of_request(&HeaderMap::new()).unwrap(), None);
        assert_eq!(of("br").unwrap_err().status_code(), 415);
        assert_eq!(of("gzip, deflate").unwrap_err().status_code(), 415);
    }

    #[test]
    fn an_answer_is_compressed_only_when_that_is_asked_for_and_pays() {
        let of = |value, bytes| Coding::of_answer(&headers(ACCEPT_ENCODING, value), bytes);
        assert_eq!(of("gzip", LEAST), Some(Coding::Gzip));
        assert_eq!(of("deflate", LEAST), Some(Coding::Deflate));
        assert_eq!(of("br, deflate;q=0.5, gzip;q=1", LEAST), Some(Coding::Gzip));
        assert_eq!(of("gzip;q=0, deflate", LEAST), Some(Coding::Deflate));
        assert_eq!(of("gzip", LEAST - 1), None);
        assert_eq!(of("br, identity", LEAST), None);
        assert_eq!(Coding::of_answer(&HeaderMap::new(), LEAST), None);
    }
}
