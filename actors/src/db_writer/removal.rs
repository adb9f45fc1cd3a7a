//! Removing what is kept no longer, and what a sink has.

use impetus_supervision::{ActorError, Context};

use super::{DbMsg, DbWriter, GRACE, HandOver, bounded};
use crate::predlog::{LogError, PredictionTime, retention};

// === impl DbWriter ===

impl DbWriter {
    /// Returns whether rows can be removed: while all is well, and while all that is wrong is that
    /// there is no room, for which nothing is better than removing rows.
    fn may_remove(&self) -> bool {
        self.failures == 0 || self.lacks_room_only
    }

    /// Removes what a sink has. Until that is done the sink gets the same rows again, and has them.
    pub(super) async fn hand_over(
        &mut self,
        request: HandOver,
        ctx: &mut Context<Self>,
    ) -> Result<(), ActorError> {
        let may_remove = self.may_remove();
        let Some(store) = self.store.as_mut().filter(|_| may_remove) else {
            request.reply.send(Err(self.unavailable()));
            return Ok(());
        };
        if request.file != self.shared.status.file_generation() {
            // The rows of those numbers are others now.
            request.reply.send(Err(LogError::Interrupted));
            return Ok(());
        }
        ctx.fence().check().map_err(ActorError::failed)?;
        let within = self.shared.config.commit_within;
        ctx.progress("remove what was forwarded", within + GRACE);
        let at = PredictionTime::from(ctx.clock().wall()).unix_millis();
        let removing = store.hand_over(request.through, &request.refused, at);
        match bounded("removing", within, removing).await {
            Ok(removed) => {
                self.last_write = ctx.clock().now();
                let refused = request.refused.len() as u64;
                self.shared
                    .status
                    .forwarded(removed.rows.saturating_sub(refused), refused);
                request.reply.send(Ok(()));
            }
            Err(error) => {
                ctx.fence().check().map_err(ActorError::failed)?;
                self.failed(&error, ctx).await;
                request.reply.send(Err(self.unavailable()));
            }
        }
        Ok(())
    }

    /// Removes a piece of what is kept no longer, and comes back while there is more.
    pub(super) async fn prune(&mut self, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        self.prune_is_due = false;
        let may_remove = self.may_remove();
        let Some(store) = self.store.as_mut().filter(|_| may_remove) else {
            return Ok(());
        };
        let config = &self.shared.config;
        let now = PredictionTime::from(ctx.clock().wall()).unix_millis();
        let used = self.shared.status.used_bytes();
        let Some(removal) = retention::due(config, used, now) else {
            return Ok(());
        };
        ctx.fence().check().map_err(ActorError::failed)?;
        let within = config.commit_within;
        ctx.progress("remove what is kept no longer", within + GRACE);
        let removing = async {
            let removed = store.remove(removal).await?;
            if let Some(drift) = &config.drift {
                store.forget_drift(drift.oldest_slot(now)).await?;
            }
            let extent = store.extent().await?;
            Ok((removed, extent))
        };
        match bounded("removing", within, removing).await {
            Ok((removed, extent)) => {
                self.shared.status.extends(extent, store.free_bytes());
                self.shared
                    .status
                    .removed(removed.rows, config.sink.is_some());
                if removed.rows >= u64::from(removal.limit) {
                    self.prune_soon(ctx);
                }
            }
            Err(error) => {
                ctx.fence().check().map_err(ActorError::failed)?;
                self.failed(&error, ctx).await;
            }
        }
        Ok(())
    }

    pub(super) fn prune_soon(&mut self, ctx: &Context<Self>) {
        // Behind the batches that wait: a removal may wait, and comes again with the next tick.
        if !self.prune_is_due && ctx.myself().try_send(DbMsg::Prune).is_ok() {
            self.prune_is_due = true;
        }
    }
}
