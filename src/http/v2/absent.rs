//! What Triton offers and this server does not, each with what to do instead.
//!
//! Clients ask for these by functions of their own, and are to be told more than that nothing is
//! there.

use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, web};

use crate::http::Endpoint;
use crate::http::error::ApiError;
use crate::http::measuring::measure;

const SHARED_MEMORY: &str = "shared memory between client and server is not supported; send tensors in the request, in \
     binary where they are large";
const TRACING: &str =
    "the settings of tracing cannot be asked for or changed while the server runs";
const LOGGING: &str = "the settings of the log cannot be asked for or changed while the server runs; start it with \
     log.level";

/// Where it is refused, and why.
pub(in crate::http) const PLACES: [(&str, &str); 5] = [
    ("/v2/systemsharedmemory/{what:.*}", SHARED_MEMORY),
    ("/v2/cudasharedmemory/{what:.*}", SHARED_MEMORY),
    ("/v2/trace/setting", TRACING),
    ("/v2/models/{model}/trace/setting", TRACING),
    ("/v2/logging", LOGGING),
];

pub(super) fn routes(config: &mut web::ServiceConfig) {
    for (path, why) in PLACES {
        let resource = web::resource(path)
            .wrap(from_fn(|request, next| {
                measure(Endpoint::V2, request, next)
            }))
            .to(move || absent(why));
        config.service(resource);
    }
}

async fn absent(why: &'static str) -> Result<HttpResponse, ApiError> {
    Err(ApiError::bad_request("unsupported", why))
}
