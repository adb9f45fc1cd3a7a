//! What happens to every request: its id, its place among those in flight, its line in the log.

use std::rc::Rc;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, web};
use uuid::Uuid;

use super::connection::Client;
use super::measuring::About;
use super::sending::Sending;
use super::{AppState, Port};
use crate::health::Phase;

/// The header that carries a request's id, in and out.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Ids longer than this are not taken over.
const LONGEST_ID: usize = 128;

/// Gives every answer an `x-request-id`, keeps count of what is in flight, and, once the server is
/// ending, closes each connection after its answer.
pub(super) async fn every(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let id = request_id(request.headers().get(&REQUEST_ID));
    request.extensions_mut().insert(About::new(id.clone()));
    let state = request.app_data::<web::Data<AppState>>().cloned();
    // Who is late is refused, and holds up nothing.
    let in_flight = state
        .as_ref()
        .filter(|_| !is_late(&request))
        .map(|state| state.traffic.enter(Port::Http));
    let (client, answered) = answer(request, next, id).await;
    let mut response = answered?;
    if state.is_some_and(|state| state.lifecycle.phase() != Phase::Serving) {
        let head = response.response_mut().head_mut();
        head.set_connection_type(ConnectionType::Close);
    }
    Ok(response.map_body(move |_, body| Sending::new(body, client, in_flight)))
}

/// Gives every answer of the health port its `x-request-id`. What is in flight there does not keep
/// the server from ending.
pub(super) async fn probe(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let id = request_id(request.headers().get(&REQUEST_ID));
    let (client, answered) = answer(request, next, id).await;
    Ok(answered?.map_body(move |_, body| Sending::new(body, client, None)))
}

/// Has a request answered, under its id, and keeps its client's record.
async fn answer<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
    id: HeaderValue,
) -> (Option<Rc<Client>>, Result<ServiceResponse<B>, Error>) {
    let client = Client::of(request.request());
    if let Some(client) = &client {
        client.has_asked(request.chunked().unwrap_or(true));
    }
    let answered = match next.call(request).await {
        Ok(mut response) => {
            response.headers_mut().insert(REQUEST_ID, id);
            if client.as_ref().is_some_and(|client| client.is_to_leave()) {
                let head = response.response_mut().head_mut();
                head.set_connection_type(ConnectionType::Close);
            }
            Ok(response)
        }
        // A handler's error becomes an answer here, so that it too carries the id.
        Err(error) => {
            if let Some(client) = &client {
                client.was_answered();
            }
            Err(with_id(error, id))
        }
    };
    (client, answered)
}

/// Tells whether a request came on a connection that was made only when the server took no new work
/// any more. One that comes on an older connection is answered: its client could not know.
pub(super) fn is_late(request: &ServiceRequest) -> bool {
    Client::of(request.request()).is_some_and(|client| client.is_late())
}

/// Takes the caller's id over when it is well-formed, and makes one up otherwise.
fn request_id(given: Option<&HeaderValue>) -> HeaderValue {
    let well_formed = given.filter(|id| is_well_formed_id(id.as_bytes()));
    well_formed.cloned().unwrap_or_else(|| {
        HeaderValue::from_str(&Uuid::new_v4().to_string()).expect("a uuid is ascii")
    })
}

/// Tells whether an id may be taken over: it goes into logs and answers as it is.
pub(crate) fn is_well_formed_id(id: &[u8]) -> bool {
    let harmless = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:/+=".contains(b);
    (1..=LONGEST_ID).contains(&id.len()) && id.iter().all(harmless)
}

fn with_id(error: Error, id: HeaderValue) -> Error {
    let mut response = error.error_response();
    response.headers_mut().insert(REQUEST_ID, id);
    actix_web::error::InternalError::from_response(error, response).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_well_formed_id_is_taken_over_and_any_other_replaced() {
        let given = HeaderValue::from_static("req-1:a.b/c");
        assert_eq!(request_id(Some(&given)), given);
        for bad in ["", "a b", "<script>"] {
            let bad = HeaderValue::from_str(bad).unwrap();
            assert_ne!(request_id(Some(&bad)), bad);
        }
        let long = HeaderValue::from_str(&"x".repeat(LONGEST_ID + 1)).unwrap();
        assert_eq!(request_id(Some(&long)).len(), 36);
        assert_ne!(request_id(None), request_id(None));
    }
}
