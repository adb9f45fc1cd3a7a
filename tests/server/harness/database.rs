//! Somebody else who has the prediction log's database open.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::PATIENCE;

/// Somebody else's lock on the database.
pub struct Lock {
    runtime: tokio::runtime::Runtime,
    connection: SqliteConnection,
}

/// Runs statements on a database that a server has open.
pub fn change(database: &Path, statements: &[&'static str]) {
    let runtime = runtime();
    let options = SqliteConnectOptions::new().filename(database);
    let options = options.busy_timeout(PATIENCE);
    runtime.block_on(async {
        let mut connection = options.connect().await.unwrap();
        for statement in statements {
            sqlx::query(*statement)
                .execute(&mut connection)
                .await
                .unwrap();
        }
        connection.close().await.unwrap();
    });
}

/// Returns the number with which a database that a server has open answers a question.
pub fn ask(database: &Path, question: &'static str) -> i64 {
    let options = SqliteConnectOptions::new().filename(database);
    let options = options.busy_timeout(PATIENCE);
    runtime().block_on(async {
        let mut connection = options.connect().await.unwrap();
        let number = sqlx::query_scalar(question);
        let number = number.fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        number
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

// === impl Lock ===

impl Lock {
    pub fn take(database: &Path) -> Self {
        let runtime = runtime();
        let options = SqliteConnectOptions::new().filename(database);
        let options = options.busy_timeout(PATIENCE);
        let connection = runtime.block_on(async {
            let mut connection = options.connect().await.unwrap();
            sqlx::query("BEGIN EXCLUSIVE")
                .execute(&mut connection)
                .await
                .unwrap();
            connection
        });
        Self {
            runtime,
            connection,
        }
    }

    pub fn release(mut self) {
        self.runtime.block_on(async {
            sqlx::query("ROLLBACK")
                .execute(&mut self.connection)
                .await
                .unwrap();
            self.connection.close().await.unwrap();
        });
    }
}
