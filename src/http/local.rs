//! Whether a caller is on this machine: what may be asked of a server before there are credentials.
//!
//! The address of the peer decides, and it must be the loopback's. Two kinds of requests come from there without coming
//! from the person in front of it, and are refused: those that a proxy on this machine passes on for somebody else (a
//! sidecar makes every caller look local), and those that a page in a browser on this machine makes on behalf of
//! whoever wrote the page.

use std::net::SocketAddr;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{HOST, HeaderMap, ORIGIN};

use super::error::ApiError;

/// Headers that only a request that was passed on has.
pub(crate) const PASSED_ON: [&str; 4] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

/// Returns the peer of a request that comes from this machine.
///
/// # Errors
/// It does not; `what` begins the message, as in "faults can be injected".
pub(super) fn require(request: &HttpRequest, what: &str) -> Result<SocketAddr, ApiError> {
    let peer = request.peer_addr();
    let local = peer.filter(|peer| peer.ip().to_canonical().is_loopback());
    local
        .filter(|_| !is_passed_on(request.headers()) && !is_of_a_foreign_page(request.headers()))
        .ok_or_else(|| {
            let message = format!("{what} from this machine only");
            ApiError::new(StatusCode::FORBIDDEN, "not_local", message)
        })
}

fn is_passed_on(headers: &HeaderMap) -> bool {
    PASSED_ON.iter().any(|name| headers.contains_key(*name))
}

/// Browsers say which page a request comes from; the server's own pages are at the address that is asked.
fn is_of_a_foreign_page(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else {
        return false;
    };
    let page = origin.to_str().unwrap_or_default();
    let here = headers.get(HOST).and_then(|host| host.to_str().ok());
    here.is_none_or(|host| page.strip_prefix("http://") != Some(host))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn allowed(peer: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = TestRequest::default().peer_addr(peer.parse().unwrap());
        for header in headers {
            request = request.insert_header(*header);
        }
        require(&request.to_http_request(), "this can be done").is_ok()
    }

    #[test]
    fn only_the_loopback_is_this_machine() {
        for peer in [
            "127.0.0.1:5",
            "127.0.0.2:5",
            "[::1]:5",
            "[::ffff:127.0.0.1]:5",
        ] {
            assert!(allowed(peer, &[]), "{peer}");
        }
        for peer in [
            "10.0.0.1:5",
            "[::ffff:10.0.0.1]:5",
            "[fe80::1]:5",
            "0.0.0.0:5",
        ] {
            assert!(!allowed(peer, &[]), "{peer}");
        }
        let nobody = TestRequest::default().to_http_request();
        assert!(require(&nobody, "this can be done").is_err());
    }

    #[test]
    fn what_a_proxy_on_this_machine_passes_on_is_not_from_here() {
        for name in [
            "Forwarded",
            "X-Forwarded-For",
            "x-forwarded-host",
            "x-forwarded-proto",
        ] {
            assert!(!allowed("127.0.0.1:5", &[(name, "x")]), "{name}");
        }
    }

    #[test]
    fn a_page_of_somebody_else_is_not_from_here_and_the_servers_own_is() {
        let host = ("host", "127.0.0.1:8080");
        for foreign in ["https://example.com", "null", "http://127.0.0.1:3000"] {
            assert!(
                !allowed("127.0.0.1:5", &[host, ("origin", foreign)]),
                "{foreign}"
            );
        }
        assert!(allowed(
            "127.0.0.1:5",
            &[host, ("origin", "http://127.0.0.1:8080")]
        ));
    }
}
