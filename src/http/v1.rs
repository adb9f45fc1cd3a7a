//! `/v1`.
pub(super) fn routes(_config: &mut actix_web::web::ServiceConfig) {}
