//! Opening the database, looking after it, and what is done when it fails.

use std::sync::Arc;
use std::time::Duration;

use impetus_supervision::{Context, Timestamp};
use tracing::{debug, error, info, warn};

use super::{DbMsg, DbWriter, GRACE, bounded};
use crate::predlog::{DatabaseState, PredictionTime, Store, StoreError, set_aside};

/// Why a database of an older version cannot be written yet.
const MIGRATING: &str = "it is being brought up to date from an older version";

// === impl DbWriter ===

impl DbWriter {
    /// Opens the database or checks it, and publishes what came of it.
    pub(super) async fn look_after(&mut self, ctx: &mut Context<Self>) {
        let outcome = if self.store.is_some() {
            self.check(ctx).await
        } else {
            self.open(ctx).await
        };
        match outcome {
            Ok(()) => self.recovered(ctx),
            Err(error) => self.failed(&error, ctx).await,
        }
    }

    pub(super) async fn open(&mut self, ctx: &mut Context<Self>) -> Result<(), StoreError> {
        let config = &self.shared.config;
        ctx.progress("open the database", config.open_within + GRACE);
        let fence = ctx.fence();
        let may_commit = Box::new(move || fence.is_current());
        let opening = Store::open(config, &self.threads, may_commit);
        let opened = bounded("opening", config.open_within, opening).await;
        let is_in_doubt = matches!(&opened, Err(error) if !error.connection_is_sound);
        if is_in_doubt && ctx.fence().is_current() {
            ctx.progress(
                "close the readers' connections",
                config.check_within + GRACE,
            );
            self.shared.reader.renew(config, config.check_within).await;
        }
        let mut store = opened?;
        if store.is_old() {
            let within = config.migrate_within;
            info!(file = %config.file().display(), "bringing an older prediction log up to date");
            ctx.progress("bring the database up to date", within + GRACE);
            if ctx.fence().is_current() {
                self.publish_unavailable(MIGRATING, ctx);
            }
            bounded("migrating", within, store.migrate()).await?;
        }
        let extent = bounded("measuring", config.check_within, store.extent()).await?;
        if ctx.fence().is_current() {
            self.shared.status.extends(extent, store.free_bytes());
        }
        let file = store.identity();
        self.store = Some(store);
        self.last_write = ctx.clock().now();
        if ctx.fence().is_current() {
            let was_another = self.shared.was_another(file);
            let status = &self.shared.status;
            // On both sides of the change: whoever reads a page and then sees the same generation has
            // none of the new file, and whoever sees it first and then reads rows has none of the old
            // one under the new number, by which rows of the new file would be removed for them.
            if was_another {
                status.file_replaced();
            }
            self.shared.reader.reopen(config);
            if was_another {
                status.file_replaced();
            }
        }
        self.store.as_mut().map_or(Ok(()), Store::had_room)
    }

    pub(super) async fn check(&mut self, ctx: &mut Context<Self>) -> Result<(), StoreError> {
        let config = &self.shared.config;
        ctx.progress("check the database", config.check_within + GRACE);
        let Some(store) = &mut self.store else {
            return Ok(());
        };
        let now = ctx.clock().now();
        let write_is_due =
            self.failures > 0 || now.saturating_sub(self.last_write) >= config.write_probe_after;
        let checking = async {
            store.check().await?;
            if write_is_due {
                store.probe_write().await
            } else {
                Ok(())
            }
        };
        bounded("checking", config.check_within, checking).await?;
        let extent = bounded("measuring", config.check_within, store.extent()).await?;
        self.shared.status.extends(extent, store.free_bytes());
        if write_is_due {
            self.last_write = now;
        }
        Ok(())
    }

    pub(super) fn recovered(&mut self, ctx: &Context<Self>) {
        self.failures = 0;
        if ctx.fence().is_current() {
            self.shared.status.removes(true);
        }
        self.see_to_buffer(ctx);
        let status = &self.shared.status;
        if let Some(store) = self.store.as_ref().filter(|_| ctx.fence().is_current()) {
            status.takes_room(store.size_bytes());
        }
        if *status.database() != DatabaseState::Connected && ctx.fence().is_current() {
            info!(file = %self.shared.config.file().display(), "prediction log connected");
            status.publish(DatabaseState::Connected);
        }
    }

    pub(super) async fn failed(&mut self, error: &StoreError, ctx: &mut Context<Self>) {
        self.failures = self.failures.saturating_add(1);
        self.lacks_room_only = error.lacks_room;
        if error.file_is_damaged && ctx.fence().is_current() {
            self.set_aside(error, ctx).await;
        }
        if !error.connection_is_sound {
            self.store = None;
        }
        if !self.retry_is_due {
            self.retry_is_due = true;
            ctx.send_after(self.pause(), DbMsg::Check);
        }
        if ctx.fence().is_current() {
            self.shared.status.removes(self.lacks_room_only);
            self.publish_unavailable(&error.reason, ctx);
        }
    }

    /// Publishes why the database cannot be written, with the time since when.
    pub(super) fn publish_unavailable(&self, reason: &str, ctx: &Context<Self>) {
        let status = &self.shared.status;
        let before = match &*status.database() {
            DatabaseState::Unavailable { reason, since } => Some((Arc::clone(reason), *since)),
            DatabaseState::Starting | DatabaseState::Connected => None,
        };
        if before
            .as_ref()
            .is_none_or(|(before, _)| **before != *reason)
        {
            warn!(
                reason,
                failures = self.failures,
                "prediction log unavailable"
            );
        }
        let since = before.map_or_else(|| Timestamp::from(ctx.clock().wall()), |(_, since)| since);
        status.publish(DatabaseState::Unavailable {
            reason: reason.into(),
            since,
        });
    }

    /// Sets a damaged file aside, so that the next attempt begins a new one.
    ///
    /// Every connection to it is closed first: the last one that closes removes the write-ahead log
    /// by its name, which would be that of the new file's.
    pub(super) async fn set_aside(&mut self, error: &StoreError, ctx: &mut Context<Self>) {
        let config = &self.shared.config;
        let within = config.check_within;
        ctx.progress("set a damaged database aside", 4 * within + GRACE);
        if let Some(store) = self.store.take() {
            let closing = bounded("closing", within, store.close()).await;
            debug!(?closing, "closed a damaged database");
        }
        self.shared.reader.renew(config, within).await;
        let file = config.file();
        let at = PredictionTime::from(ctx.clock().wall());
        let threads = self.threads.clone();
        let moving = async {
            threads.all_back().await;
            let moved = move || set_aside(&file, &at.file_stamp());
            threads.run("setting it aside", moved).await
        };
        match bounded("setting it aside", within, moving).await {
            Ok(kept_as) => {
                let kept_as = kept_as.display();
                error!(reason = %error.reason, %kept_as, "prediction log damaged: set aside, and a new one begun");
                self.shared.status.file_replaced();
                self.shared
                    .status
                    .set_aside(&kept_as.to_string(), &error.reason);
            }
            Err(problem) => warn!(%problem, "damaged prediction log not set aside"),
        }
    }

    /// Returns the pause before the next attempt: doubled with each failure, up to the pace of the
    /// regular check.
    pub(super) fn pause(&self) -> Duration {
        let config = &self.shared.config;
        let doublings = self.failures.saturating_sub(1).min(16);
        config
            .retry_after
            .saturating_mul(1 << doublings)
            .min(config.check_every)
    }
}
