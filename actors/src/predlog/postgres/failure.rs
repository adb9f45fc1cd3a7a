//! What PostgreSQL said, and whose matter that is.
//!
//! An error either is about the rows, and then one of them will never be taken, or about anything
//! else, and then the same rows may be tried again. Whoever reads the reason learns which server
//! said what, and what can be done; no reason has a password in it.

use std::fmt::Display;
use std::io::ErrorKind;

use sqlx::error::DatabaseError;

use super::super::sink::SinkError;

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// A row cannot be stored.
    Row(String),
    /// Anything else.
    Sink(SinkError),
}

/// The server, in words.
#[derive(Clone, Debug)]
pub(super) struct ServerName {
    /// Host and port.
    pub(super) address: String,
    pub(super) user: String,
    pub(super) database: String,
}

// === impl Failure ===

impl From<SinkError> for Failure {
    fn from(error: SinkError) -> Self {
        Self::Sink(error)
    }
}

// === impl ServerName ===

impl ServerName {
    /// Tells a row that cannot be stored from everything else.
    pub(super) fn failure(&self, doing: &str, error: &sqlx::Error) -> Failure {
        match error.as_database_error() {
            Some(database) if is_about_rows(database) => {
                Failure::Row(format!("PostgreSQL cannot store it: {}", said(database)))
            }
            _ => Failure::Sink(self.error(doing, error)),
        }
    }

    /// Returns the error in words that tell what to do.
    pub(super) fn error(&self, doing: &str, error: &sqlx::Error) -> SinkError {
        let at = format!("PostgreSQL at {}", self.address);
        SinkError::new(match error {
            sqlx::Error::Database(database) => self.refusal(&at, doing, &**database),
            // What the other side says is no TLS that can be trusted; the driver passes it on as it
            // comes from the socket.
            sqlx::Error::Io(error) if error.kind() == ErrorKind::InvalidData => {
                no_trust(&at, error)
            }
            sqlx::Error::Io(error) => format!(
                "{at} cannot be reached while {doing}: {error}; see whether it runs and whether \
                 sink.url names it"
            ),
            sqlx::Error::Tls(error) => no_trust(&at, error),
            error => format!("{at}: {doing}: {error}"),
        })
    }

    fn refusal(&self, at: &str, doing: &str, error: &dyn DatabaseError) -> String {
        let said = said(error);
        let Self { user, database, .. } = self;
        match error.code().as_deref().unwrap_or_default() {
            "28P01" => format!(
                "{at} refuses the password of user {user}: {said}; see to sink.password_file or \
                 to the password in sink.url"
            ),
            "28000" => {
                format!("{at} refuses user {user}: {said}; see to its role and to pg_hba.conf")
            }
            "3D000" => format!("{at} has no database {database}: {said}; create it"),
            "42501" => format!("{at} does not let user {user} do that: {said}; grant it"),
            "25006" => format!("{at} can only be read: {said}; sink.url must name the primary"),
            code if code.starts_with("53") => {
                format!("{at} has no room while {doing}: {said}")
            }
            code => format!("{at}: {doing}: {said} (SQLSTATE {code})"),
        }
    }
}

/// Returns whether the error is one of waiting in vain, so that the same may be done at another time.
pub(super) fn is_about_waiting(error: &sqlx::Error) -> bool {
    const LOCK_NOT_AVAILABLE: &str = "55P03";
    const QUERY_CANCELED: &str = "57014";
    const DEADLOCK_DETECTED: &str = "40P01";
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| {
        [LOCK_NOT_AVAILABLE, QUERY_CANCELED, DEADLOCK_DETECTED].contains(&&*code)
    })
}

/// Data exceptions, violated constraints, and values beyond a limit of the program. Source:
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn is_about_rows(error: &dyn DatabaseError) -> bool {
    let code = error.code();
    let class = code.as_deref().and_then(|code| code.get(..2));
    matches!(class, Some("22" | "23" | "54"))
}

fn no_trust(at: &str, error: impl Display) -> String {
    format!(
        "{at}: no trusted TLS connection: {error}; see to sslmode in sink.url and to sink.ca_file"
    )
}

fn said(error: &dyn DatabaseError) -> String {
    error.message().to_owned()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_certificate_that_is_not_trusted_is_not_taken_for_a_server_that_is_away() {
        let name = ServerName {
            address: "db:5432".into(),
            user: "user".into(),
            database: "x".into(),
        };
        let reason = |kind, said: &str| {
            let error = sqlx::Error::Io(io::Error::new(kind, said));
            name.error("connecting", &error).reason.to_string()
        };
        let untrusted = reason(ErrorKind::InvalidData, "invalid peer certificate");
        assert_eq!(
            untrusted,
            "PostgreSQL at db:5432: no trusted TLS connection: invalid peer certificate; see to \
             sslmode in sink.url and to sink.ca_file"
        );
        let away = reason(ErrorKind::ConnectionRefused, "refused");
        assert!(away.contains("cannot be reached"), "{away}");
    }
}
