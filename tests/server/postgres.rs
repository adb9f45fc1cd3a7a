//! Servers that forward to a real PostgreSQL, to which everything happens that happens to
//! databases: what was acknowledged is there in the end, once, and nobody but the sink was away.

mod outages;
#[path = "../../actors/tests/postgres_server/server.rs"]
mod server;
mod states;
mod tls;

use std::collections::BTreeSet;

pub use server::Postgres;
pub use states::assert_shows_nowhere;

use crate::harness::database::ask;
use crate::harness::{Server, Setup};
use crate::survival::{assert_holds_exactly, assert_same};

/// A logging service that forwards to this database; a database that is away is soon known to be.
pub fn forwarding(setup: Setup, postgres: &Postgres) -> Setup {
    forwarding_to(setup, &postgres.url())
}

pub fn forwarding_to(setup: Setup, url: &str) -> Setup {
    setup
        .set("role", "\"logging\"")
        .set("sink.kind", "\"postgres\"")
        .set("sink.url", &format!("{url:?}"))
        .set("sink.timeout", "\"2s\"")
        // So few are written in that time also on a machine that is busy with other things.
        .set("sink.rows", "500")
        .set("sink.retries", "1")
        .set("sink.retry_after", "\"50ms\"")
        .set("sink.cool_down", "\"300ms\"")
}

/// Returns what the status says of the database.
pub fn database(server: &Server) -> serde_json::Value {
    server.status()["components"]["database"]["detail"].clone()
}

/// Waits until the server knows that its sink is away, and returns the reason.
pub fn wait_until_away(server: &Server) -> String {
    let mut reason = String::new();
    server.wait_for("the sink to be away", || {
        let database = database(server);
        reason = database["reason"].as_str().unwrap_or_default().to_owned();
        database["state"] == "sink_unavailable" && !reason.contains("not been asked yet")
    });
    reason
}

/// Waits until nothing waits any more, in memory or in the file, and nothing has been set aside.
pub fn wait_until_forwarded(server: &Server) {
    let file = server.dir.path().join("data/predictions.db");
    server.wait_for("everything to be forwarded", || {
        let database = database(server);
        // The status says what was there at the last look, the file what is.
        database["state"] == "connected"
            && database["recorded"] == 0
            && ask(&file, "SELECT count(*) FROM predictions") == 0
            && database["rows"] == 0
    });
    assert_eq!(ask(&file, "SELECT count(*) FROM refused"), 0);
}

/// Insists that everything was forwarded, and that PostgreSQL has exactly these predictions, each
/// once: as it says itself, as the server reads them, and as the server counts them.
pub fn assert_keeps_exactly(server: &Server, postgres: &Postgres, acknowledged: &BTreeSet<String>) {
    wait_until_forwarded(server);
    let images = postgres.psql("SELECT body->>'image_id' FROM predictions");
    assert_same(images.lines().map(str::to_owned).collect(), acknowledged);
    assert_holds_exactly(server, acknowledged);
    let recount = postgres.psql(
        "SELECT count(*), count(*) FILTER (WHERE defect_detected), count(DISTINCT model_name) \
         FROM predictions",
    );
    let stats = server.get("/stats").json();
    let counted = ["total", "defects", "models"].map(|name| stats[name].to_string());
    assert_eq!(counted.join("|"), recount, "{stats:#}");
}
