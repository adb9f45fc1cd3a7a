use super::*;
use crate::predlog::query::Query;

fn one() -> Vec<Landed> {
    landed("edge", &[prediction("a", "2025-01-15T10:00:00Z", true)])
}

/// Returns the address of another database of the server.
fn elsewhere(fixture: &Fixture, database: &str) -> String {
    let url = fixture.server.url();
    let (server, _) = url.rsplit_once('/').expect("it names a database");
    format!("{server}/{database}")
}

async fn reason(fixture: &Fixture, settings: PostgresSettings) -> String {
    let mut sink = PostgresSink::new(&fixture.config, &settings, PATIENCE, Arc::new(At(NOW)));
    let reason = sink
        .deliver(&one())
        .await
        .expect_err("it cannot")
        .to_string();
    let checked = sink.check().await.expect_err("it cannot").to_string();
    assert_eq!(checked, reason);
    assert!(
        !reason.contains(Postgres::PASSWORD) && !reason.contains("wrong"),
        "{reason}"
    );
    reason
}

/// Each tells who said what, and what can be done about it; none has a password in it.
#[tokio::test]
async fn what_keeps_a_connection_from_being_made_is_said() {
    let fixture = Fixture::new();
    let at = format!("PostgreSQL at 127.0.0.1:{}", fixture.server.port());
    let with = |url: String| PostgresSettings {
        url: url.into(),
        ..fixture.settings.clone()
    };
    let wrong = with(fixture.server.url_with("impetus:wrong", "impetus"));
    let said = reason(&fixture, wrong).await;
    let expected =
        format!("{at} refuses the password of user impetus: password authentication failed");
    assert!(said.starts_with(&expected), "{said}");
    let missing = with(elsewhere(&fixture, "elsewhere"));
    let said = reason(&fixture, missing).await;
    let expected = format!("{at} has no database elsewhere: ");
    assert!(
        said.starts_with(&expected) && said.ends_with("; create it"),
        "{said}"
    );
    let nobody = with("postgres://impetus:wrong@127.0.0.1:1/impetus".into());
    let said = reason(&fixture, nobody).await;
    let expected =
        "PostgreSQL at 127.0.0.1:1 cannot be reached while connecting: Connection refused";
    assert!(said.starts_with(expected), "{said}");
    let no_url = with("postgres://impetus:wrong@[".into());
    let said = reason(&fixture, no_url).await;
    assert!(said.starts_with("sink.url cannot be read: "), "{said}");
    let no_file = PostgresSettings {
        password_file: Some("/nowhere/password".into()),
        ..fixture.settings.clone()
    };
    let said = reason(&fixture, no_file).await;
    assert!(
        said.starts_with("sink.password_file /nowhere/password cannot be read: "),
        "{said}"
    );
}

#[tokio::test]
async fn a_database_that_cannot_hold_every_text_is_refused() {
    let fixture = Fixture::new();
    fixture.server.psql_in(
        "postgres",
        "CREATE DATABASE latin OWNER impetus ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'",
    );
    let latin = PostgresSettings {
        url: elsewhere(&fixture, "latin").into(),
        ..fixture.settings.clone()
    };
    let said = reason(&fixture, latin).await;
    assert!(
        said.contains("stores LATIN1, which is not every text"),
        "{said}"
    );
}

#[tokio::test]
async fn a_right_that_is_missing_is_said_and_costs_no_prediction() {
    let fixture = Fixture::new();
    let mut sink = fixture.sink();
    deliver(&mut sink, &one()).await;
    fixture
        .server
        .psql("ALTER TABLE predictions OWNER TO postgres");
    let more = landed("edge", &[prediction("b", "2025-01-15T10:00:00Z", true)]);
    let said = sink.deliver(&more).await.expect_err("no right").to_string();
    assert!(
        said.contains("does not let user impetus do that: permission denied"),
        "{said}"
    );
    fixture
        .server
        .psql("ALTER TABLE predictions OWNER TO impetus");
    deliver(&mut sink, &more).await;
    assert_eq!(fixture.count("predictions"), 2);
}

#[tokio::test]
async fn the_password_is_read_from_its_file_at_each_connection() {
    let mut fixture = Fixture::new();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    std::fs::write(&file, "wrong\n").expect("writes");
    fixture.settings = PostgresSettings {
        url: fixture
            .server
            .url_with(Postgres::USER, Postgres::DATABASE)
            .into(),
        password_file: Some(file.clone()),
        ..fixture.settings
    };
    let mut sink = fixture.sink();
    sink.check().await.expect_err("it is wrong");
    std::fs::write(&file, format!("{}\n", Postgres::PASSWORD)).expect("writes");
    deliver(&mut sink, &one()).await;
    assert_eq!(fixture.count("predictions"), 1);
}

/// The connection is cut in the middle of a transaction: rows are in, counts are not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_lost_in_a_transaction_doubles_nothing() {
    let fixture = Fixture::new();
    let mut sink = fixture.sink();
    deliver(&mut sink, &one()).await;
    let mut stranger = fixture
        .sink()
        .server
        .connect(Purpose::Read)
        .await
        .expect("connects");
    let mut held = sqlx::Connection::begin(&mut stranger)
        .await
        .expect("begins");
    rollups::lock(&mut held).await.expect("locks");
    let batch = landed(
        "edge",
        &[
            prediction("b", "2025-01-15T10:00:00Z", true),
            named("p-1", "2025-01-15T10:00:00Z", false),
        ],
    );
    let rows = batch.clone();
    let delivering = tokio::spawn(async move {
        let error = sink.deliver(&rows).await.expect_err("it was cut");
        (sink, error)
    });
    // The condition is looked at where the waiting shows.
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE application_name = 'impetus' AND wait_event = 'advisory'";
    let mut looks = 0;
    while fixture.server.psql(cut) == "0" {
        looks += 1;
        assert!(looks < 2_000, "it never waits for the counts");
    }
    let (mut sink, error) = delivering.await.expect("it does not panic");
    assert!(
        error.to_string().contains("terminating connection"),
        "{error}"
    );
    held.rollback().await.expect("lets go");
    assert_eq!(fixture.count("predictions"), 1);
    deliver(&mut sink, &batch).await;
    deliver(&mut sink, &batch).await;
    assert_eq!(fixture.count("predictions"), 3);
    fixture.assert_counted();
}

/// What the forwarder's deadline does to a server that hangs: the future is dropped wherever it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_was_given_up_is_delivered_again() {
    let mut fixture = Fixture::new();
    let mut sink = fixture.sink();
    deliver(&mut sink, &one()).await;
    fixture.server.stop();
    let batch = landed("edge", &[prediction("b", "2025-01-15T10:00:00Z", true)]);
    let given_up = tokio::time::timeout(Duration::from_millis(50), sink.deliver(&batch)).await;
    assert!(given_up.is_err(), "nobody answers");
    fixture.server.cont();
    deliver(&mut sink, &batch).await;
    fixture.server.kill();
    sink.deliver(&batch).await.expect_err("it is gone");
    let error = sink
        .deliver(&batch)
        .await
        .expect_err("it is gone")
        .to_string();
    assert!(error.contains("cannot be reached"), "{error}");
    fixture.server.start_again();
    deliver(&mut sink, &batch).await;
    assert_eq!(fixture.count("predictions"), 2);
    fixture.assert_counted();
}

#[tokio::test]
async fn programs_that_start_at_once_make_the_tables_once() {
    let fixture = Fixture::new();
    let mut programs: Vec<_> = (0..6).map(|_| fixture.sink()).collect();
    let checks = programs.iter_mut().map(PostgresSink::check);
    let checked: Vec<_> = futures_util::future::join_all(checks).await;
    assert!(checked.iter().all(Result::is_ok), "{checked:?}");
    assert_eq!(fixture.count("impetus_migrations"), 1);
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_left_alone() {
    let fixture = Fixture::new();
    fixture.sink().check().await.expect("makes the tables");
    fixture.server.psql(
        "INSERT INTO impetus_migrations SELECT 999, 'later', now(), true, checksum, 0 \
         FROM impetus_migrations LIMIT 1",
    );
    let error = fixture
        .sink()
        .deliver(&one())
        .await
        .expect_err("it is newer");
    assert!(
        error.to_string().contains("written by a newer version"),
        "{error}"
    );
}

#[tokio::test]
async fn commits_wait_for_the_disk_where_the_server_would_not() {
    let fixture = Fixture::new();
    fixture
        .server
        .psql("ALTER ROLE impetus SET synchronous_commit = off");
    let mut sink = fixture.sink();
    let mut connection = sink.take_connection().await.expect("connects");
    let waits: String = sqlx::query_scalar("SHOW synchronous_commit")
        .fetch_one(&mut connection)
        .await
        .expect("says");
    assert_eq!(waits, "on");
}

#[tokio::test]
async fn a_reader_tells_a_server_that_hangs_and_comes_back_with_it() {
    let mut fixture = Fixture::new();
    deliver(&mut fixture.sink(), &one()).await;
    let reader = fixture.reader();
    reader.stats().await.expect("stats");
    fixture.config.read_within = Duration::from_millis(100);
    let hasty = fixture.reader();
    fixture.server.stop();
    let error = hasty
        .predictions(&Query::default())
        .await
        .expect_err("it hangs");
    assert!(
        error.to_string().contains("gave no answer")
            || error.to_string().contains("no connection within"),
        "{error}"
    );
    fixture.server.cont();
    fixture.server.kill();
    let error = reader.stats().await.expect_err("it is gone").to_string();
    assert!(error.contains("cannot be reached"), "{error}");
    fixture.server.start_again();
    assert_eq!(reader.stats().await.expect("it is back").total, 1);
}
