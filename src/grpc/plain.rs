//! `ModelInfer` where nothing is compressed: the tensors of the answer go out as they are.
//!
//! Generated code writes an answer into one buffer, and so copies every tensor once more. Here the
//! message is written around its large tensors instead, and each of them is a part of the body by
//! itself. To a client the bytes are the same.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use hyper::body::{Body as HttpBody, Frame, Incoming};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use tonic::Status;
use tonic::body::Body;
use tonic::codec::Streaming;
use tonic::codegen::http::header::CONTENT_TYPE;
use tonic::codegen::http::{HeaderMap, HeaderValue, Request, Response};
use tonic::metadata::GRPC_CONTENT_TYPE;
use tonic_prost::ProstDecoder;

use super::call::Call;
use super::proto::{ModelInferRequest, ModelInferResponse};
use super::service::Inference;

/// Bytes before a message: whether it is compressed, and its length.
const HEAD: usize = 5;
/// The field of the raw tensors. No other field has a higher number, so they are the end of a
/// message.
const RAW: u32 = 6;
/// A tensor below this is copied: that costs less than a part of its own.
const SMALL: usize = 16 * 1024;

/// A body whose parts are there.
struct Parts {
    parts: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
}

/// Answers a call of which no message is compressed, or larger than `most`.
pub(super) async fn infer(
    service: &Inference,
    request: Request<Incoming>,
    call: &Call,
    most: usize,
) -> Response<Body> {
    let decoder = ProstDecoder::<ModelInferRequest>::default();
    let mut messages = Streaming::new_request(decoder, request.into_body(), None, Some(most));
    let answered = async {
        let message = messages.message().await?;
        let message = message.ok_or_else(|| Status::internal("the call has no message"))?;
        parts(service.infer(message, call).await?)
    };
    match answered.await {
        Ok(parts) => response(parts),
        Err(status) => status.into_http(),
    }
}

fn response(parts: VecDeque<Bytes>) -> Response<Body> {
    let well = HeaderMap::from_iter([(Status::GRPC_STATUS, HeaderValue::from_static("0"))]);
    let mut response = Response::new(Body::new(Parts {
        parts,
        trailers: Some(well),
    }));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
    response
}

/// Writes a message, with what comes before it, as the parts of a body.
fn parts(mut answer: ModelInferResponse) -> Result<VecDeque<Bytes>, Status> {
    let bytes = answer.encoded_len();
    let length = u32::try_from(bytes).map_err(|_| {
        let most = u32::MAX;
        Status::resource_exhausted(format!(
            "the answer has {bytes} bytes, a message at most {most}"
        ))
    })?;
    let raw = std::mem::take(&mut answer.raw_output_contents);
    let large = raw.iter().map(Bytes::len).filter(|length| *length >= SMALL);
    let mut buffer = BytesMut::with_capacity(HEAD + bytes - large.sum::<usize>());
    buffer.put_u8(0);
    buffer.put_u32(length);
    answer
        .encode(&mut buffer)
        .map_err(|error| Status::internal(format!("the answer could not be written: {error}")))?;
    let mut parts = VecDeque::new();
    for tensor in raw {
        encode_key(RAW, WireType::LengthDelimited, &mut buffer);
        encode_varint(tensor.len() as u64, &mut buffer);
        if tensor.len() < SMALL {
            buffer.extend_from_slice(&tensor);
        } else {
            parts.push_back(buffer.split().freeze());
            parts.push_back(tensor);
        }
    }
    if !buffer.is_empty() {
        parts.push_back(buffer.freeze());
    }
    Ok(parts)
}

impl HttpBody for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.parts.pop_front() {
            Some(part) => Some(Frame::data(part)),
            None => self.trailers.take().map(Frame::trailers),
        };
        Poll::Ready(next.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty() && self.trailers.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_the_message_and_large_tensors_are_not_copied() {
        let tensor = |length| Bytes::from(vec![7; length]);
        for lengths in [
            vec![],
            vec![0],
            vec![3],
            vec![SMALL],
            vec![SMALL - 1, SMALL, 0, 3 * SMALL, 5],
        ] {
            let answer = ModelInferResponse {
                model_name: "m".to_owned(),
                id: "1".to_owned(),
                raw_output_contents: lengths.iter().copied().map(tensor).collect(),
                ..ModelInferResponse::default()
            };
            let expected = answer.encode_to_vec();
            let large = answer
                .raw_output_contents
                .iter()
                .filter(|t| t.len() >= SMALL);
            let large: Vec<_> = large.map(|tensor| tensor.as_ptr()).collect();
            let parts = parts(answer).unwrap();
            let handed_on = parts.iter().map(|part| part.as_ptr());
            let handed_on = handed_on.filter(|part| large.contains(part));
            assert_eq!(handed_on.count(), large.len());
            let whole = parts.iter().flatten().copied().collect::<Vec<u8>>();
            assert_eq!(whole[0], 0, "not compressed");
            assert_eq!(
                whole[1..HEAD],
                u32::try_from(expected.len()).unwrap().to_be_bytes()
            );
            assert_eq!(whole[HEAD..], expected);
        }
    }
}
