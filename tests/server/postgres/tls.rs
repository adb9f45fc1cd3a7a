//! PostgreSQL that speaks TLS, with a certificate of an authority of its own.

use super::{Postgres, assert_keeps_exactly, forwarding_to, wait_until_away, wait_until_forwarded};
use crate::database::batch;
use crate::harness::{Server, Setup};
use crate::tls::Authority;

/// Starts a server that trusts this authority, and logs one prediction.
fn forwarding_by_tls(postgres: &Postgres, trusted: &Authority) -> Server {
    let server = forwarding_to(Setup::without_models(), &postgres.url())
        .set("sink.ca_file", &format!("{:?}", trusted.file()))
        .start();
    server.wait_for("the file", || {
        server.get("/ready").json()["db_initialized"] == true
    });
    let logged = server.post_json("/log", &batch("line-1", &["one"]));
    assert_eq!(logged.status, 200, "{}", logged.text());
    server
}

#[test]
fn the_authority_that_signed_the_certificate_is_trusted() {
    let authority = Authority::new();
    let mut postgres = Postgres::start();
    let (certificate, key) = authority.sign();
    postgres.use_tls(&certificate, &key);
    let server = forwarding_by_tls(&postgres, &authority);
    wait_until_forwarded(&server);
    let used = "SELECT count(*) > 0 AND bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity \
                USING (pid) WHERE usename = 'impetus'";
    assert_eq!(postgres.psql(used), "t");
    assert_keeps_exactly(&server, &postgres, &["one".to_owned()].into());
}

#[test]
fn another_authority_is_not_trusted_and_the_reason_says_so() {
    let mut postgres = Postgres::start();
    let other = Authority::new();
    let (certificate, key) = other.sign();
    postgres.use_tls(&certificate, &key);
    let trusted = Authority::new();
    let server = forwarding_by_tls(&postgres, &trusted);
    let reason = wait_until_away(&server);
    assert!(reason.contains("no trusted TLS connection"), "{reason}");
    assert!(reason.contains("sink.ca_file"), "{reason}");
    assert_eq!(
        postgres.psql("SELECT to_regclass('predictions') IS NULL"),
        "t"
    );
}

#[test]
fn a_postgresql_without_tls_is_not_spoken_to_where_an_authority_is_named() {
    let postgres = Postgres::start();
    let trusted = Authority::new();
    let server = forwarding_by_tls(&postgres, &trusted);
    let reason = wait_until_away(&server);
    assert!(reason.contains("TLS"), "{reason}");
    assert_eq!(
        postgres.psql("SELECT to_regclass('predictions') IS NULL"),
        "t"
    );
}
