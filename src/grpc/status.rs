//! From a refusal to the status that a client parses.

use std::time::Duration;

use impetus_actors::serving::AnswerClass;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::oip::{Kind, Refusal};

/// Tells a client with a retry policy when to ask again, in milliseconds.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal.kind() {
            Kind::Invalid => Code::InvalidArgument,
            Kind::NotFound => Code::NotFound,
            Kind::Unsupported => Code::Unimplemented,
            Kind::Quarantined => Code::FailedPrecondition,
            Kind::TooLarge | Kind::Exhausted => Code::ResourceExhausted,
            Kind::Unavailable => Code::Unavailable,
            Kind::TimedOut => Code::DeadlineExceeded,
            Kind::Failed => Code::Internal,
        };
        let mut status = Self::new(code, refusal.message());
        if let Some(after) = refusal.retry_after() {
            let millis = MetadataValue::from(millis(after));
            status.metadata_mut().insert(PUSHBACK, millis);
        }
        status
    }
}

/// Returns whose doing it is that a call ended so.
pub(super) fn class(code: Code) -> AnswerClass {
    match code {
        Code::Ok => AnswerClass::Success,
        Code::Unknown
        | Code::DeadlineExceeded
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => AnswerClass::ServerFault,
        Code::Cancelled
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unauthenticated => AnswerClass::ClientFault,
    }
}

/// Says in our words, and with the code that other servers use, that a message was too large. Nothing
/// else here has the code that generated code gives it.
pub(super) fn too_large(most: usize) -> Status {
    Status::resource_exhausted(format!(
        "the message is larger than {most} bytes, which is the limit (grpc.max_message)"
    ))
}

/// The server is ending and takes no new work.
pub(super) fn ending() -> Status {
    Status::unavailable("the server is ending and takes no new work; another one does")
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use impetus_actors::serving::ServeError;

    use super::*;

    #[test]
    fn every_kind_of_refusal_has_its_code_and_fault_and_keeps_its_words() {
        let codes = Kind::ALL.map(|kind| Status::from(Refusal::new(kind, "why")).code());
        let expected = [
            Code::InvalidArgument,
            Code::NotFound,
            Code::Unimplemented,
            Code::ResourceExhausted,
            Code::FailedPrecondition,
            Code::ResourceExhausted,
            Code::Unavailable,
            Code::DeadlineExceeded,
            Code::Internal,
        ];
        assert_eq!(codes, expected);
        assert_eq!(Status::from(Refusal::invalid("why")).message(), "why");
        assert_eq!(class(Code::Internal), AnswerClass::ServerFault);
        assert_eq!(class(Code::NotFound), AnswerClass::ClientFault);
    }

    #[test]
    fn who_may_ask_again_is_told_when() {
        let full = ServeError::QueueFull {
            model: "m".to_owned(),
            waiting: 1,
            retry_after: Duration::from_millis(1500),
        };
        let status = Status::from(Refusal::from(full));
        assert_eq!(status.metadata().get(PUSHBACK).unwrap(), "1500");
        let invalid = Status::from(Refusal::invalid("no"));
        assert!(invalid.metadata().get(PUSHBACK).is_none());
    }
}
