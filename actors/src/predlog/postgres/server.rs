//! How PostgreSQL is reached.
//!
//! Nothing is read before it is needed: the file with the password, at each connection, so that a
//! password can be changed without a restart. What a session must be like is asked for in one
//! question that also finds out what would go wrong later: a database that cannot store every text,
//! or one that can only be read.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, PgConnection};
use tokio::time::timeout;

use super::super::config::PostgresSettings;
use super::super::sink::SinkError;
use super::failure::ServerName;

/// A server and how to connect to it.
#[derive(Clone, Debug)]
pub(super) struct Server {
    settings: PostgresSettings,
    /// How long a connection may take, and the longest that a statement may.
    within: Duration,
    pub(super) name: ServerName,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Purpose {
    Write,
    Read,
}

/// What was found out about the server: its encoding, whether it can only be read, and what it was
/// told about commits, if anything.
type Facts = (String, bool, Option<String>);

// === impl Server ===

impl Server {
    pub(super) fn new(settings: &PostgresSettings, within: Duration) -> Self {
        let name = match PgConnectOptions::from_str(&settings.url) {
            Ok(options) => ServerName {
                address: format!("{}:{}", options.get_host(), options.get_port()),
                user: options.get_username().to_owned(),
                // PostgreSQL's own default.
                database: options
                    .get_database()
                    .unwrap_or(options.get_username())
                    .to_owned(),
            },
            Err(_) => ServerName {
                address: "an address that cannot be read".into(),
                user: String::new(),
                database: String::new(),
            },
        };
        Self {
            settings: settings.clone(),
            within,
            name,
        }
    }

    /// Connects, and makes the session one for this purpose.
    pub(super) async fn connect(&self, purpose: Purpose) -> Result<PgConnection, SinkError> {
        let connecting = async {
            let options = self.options().await?;
            let mut connection = options
                .connect()
                .await
                .map_err(|error| self.name.error("connecting", &error))?;
            self.settle(&mut connection, purpose).await?;
            Ok(connection)
        };
        timeout(self.within, connecting).await.unwrap_or_else(|_| {
            Err(SinkError::new(format!(
                "PostgreSQL at {} cannot be reached: no connection within {:?}; see whether it \
                 runs and whether a firewall is between",
                self.name.address, self.within
            )))
        })
    }

    async fn options(&self) -> Result<PgConnectOptions, SinkError> {
        // What cannot be read is not repeated: it may have a password in it.
        let mut options = PgConnectOptions::from_str(&self.settings.url)
            .map_err(|error| SinkError::new(format!("sink.url cannot be read: {error}")))?
            .application_name("impetus")
            .disable_statement_logging();
        if let Some(file) = &self.settings.password_file {
            let password = tokio::fs::read_to_string(file).await.map_err(|error| {
                SinkError::new(format!(
                    "sink.password_file {} cannot be read: {error}",
                    file.display()
                ))
            })?;
            options = options.password(password.trim_end_matches(['\r', '\n']));
        }
        if let Some(file) = &self.settings.ca_file {
            // The driver would say that the server cannot be reached.
            tokio::fs::read(file).await.map_err(|error| {
                SinkError::new(format!(
                    "sink.ca_file {} cannot be read: {error}",
                    file.display()
                ))
            })?;
            options = options.ssl_root_cert(file);
            // Whoever names an authority wants it asked; the driver's default would not ask it.
            if !self.settings.url.contains("sslmode=") && !self.settings.url.contains("ssl-mode=") {
                options = options.ssl_mode(PgSslMode::VerifyFull);
            }
        }
        Ok(options)
    }

    async fn settle(
        &self,
        connection: &mut PgConnection,
        purpose: Purpose,
    ) -> Result<(), SinkError> {
        let failed = |error| self.name.error("preparing the session", &error);
        let millis = self.within.as_millis().max(1).to_string();
        // A lock is reported as a lock and not as a silence.
        let lock = (self.within.as_millis() / 2).max(1).to_string();
        let settings = [
            ("client_min_messages", "warning"),
            ("timezone", "UTC"),
            ("statement_timeout", &millis),
            ("lock_timeout", &lock),
            // A client that is gone without a word must not keep others from writing.
            ("idle_in_transaction_session_timeout", &millis),
            ("tcp_keepalives_idle", "30"),
            ("tcp_keepalives_interval", "10"),
            ("tcp_keepalives_count", "3"),
        ];
        let of_purpose: &[_] = match purpose {
            Purpose::Write => &[],
            // A plan for any time would look into the partitions of all times.
            Purpose::Read => &[
                ("default_transaction_read_only", "on"),
                ("plan_cache_mode", "force_custom_plan"),
            ],
        };
        let (names, values): (Vec<&str>, Vec<&str>) =
            settings.iter().chain(of_purpose).copied().unzip();
        sqlx::query(
            "SELECT set_config(name, value, false) \
             FROM unnest($1::text[], $2::text[]) AS setting(name, value)",
        )
        .bind(names)
        .bind(values)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
        // What a commit says has happened must have: where the server would answer before, it waits.
        let (encoding, only_read, _): Facts = sqlx::query_as(
            "SELECT current_setting('server_encoding'), pg_is_in_recovery(), \
             CASE WHEN current_setting('synchronous_commit') = 'off' \
             THEN set_config('synchronous_commit', 'on', false) END",
        )
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
        let Self { name, .. } = self;
        if encoding != "UTF8" {
            return Err(SinkError::new(format!(
                "database {} of PostgreSQL at {} stores {encoding}, which is not every text; \
                 create it with ENCODING 'UTF8'",
                name.database, name.address
            )));
        }
        if only_read && purpose == Purpose::Write {
            return Err(SinkError::new(format!(
                "PostgreSQL at {} can only be read, it is a standby; sink.url must name the primary",
                name.address
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_is_missing_is_named_and_not_taken_for_a_server_that_is() {
        let missing = |password_file: Option<&str>, ca_file: Option<&str>| {
            let settings = PostgresSettings {
                url: "postgres://user@127.0.0.1:9/x".into(),
                password_file: password_file.map(Into::into),
                ca_file: ca_file.map(Into::into),
                rows: 1,
            };
            Server::new(&settings, Duration::from_secs(30))
        };
        for (server, start) in [
            (
                missing(Some("/nowhere/a"), None),
                "sink.password_file /nowhere/a cannot be read",
            ),
            (
                missing(None, Some("/nowhere/b")),
                "sink.ca_file /nowhere/b cannot be read",
            ),
        ] {
            let error = server.connect(Purpose::Read).await.expect_err("no file");
            assert!(error.reason.starts_with(start), "{}", error.reason);
        }
    }
}
