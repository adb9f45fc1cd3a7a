//! Versions that take over, and versions that go: what the loader does about them when they are ready, or
//! empty.

use std::sync::Arc;
use std::time::Duration;

use impetus_supervision::{ActorRef, Context};
use tracing::info;

use super::change::{Turn, by_name};
use super::{LoaderMsg, ModelLoader, ORDER_WITHIN};
use crate::serving::{ModelState, ServedModel, Standing};

// === impl ModelLoader ===

impl ModelLoader {
    /// Lets versions that are ready take over, and takes out those that nobody is inside of any more.
    pub(super) async fn turn(&mut self, ctx: &Context<Self>) {
        let catalog = Arc::clone(&self.shared.shop.catalog);
        for entry in catalog.entries().values() {
            let turn = Turn::of(entry);
            for model in turn.taken_over {
                let (name, version) = (&model.spec().name, &model.spec().version);
                info!(model = %name, %version, "version has taken over");
            }
            for model in turn.retired {
                let (name, version) = (&model.spec().name, &model.spec().version);
                info!(model = %name, %version, "version takes no new requests any more");
            }
        }
        let done = |model: &Arc<ServedModel>| {
            let late = model.retired_for() > Some(self.shared.settings.retire_within);
            !model.is_offered() && (late || model.is_empty())
        };
        let entries = catalog.entries();
        let all = entries.values().flat_map(|entry| entry.versions());
        let (out, staying): (Vec<_>, Vec<_>) = all.cloned().partition(done);
        if !out.is_empty() && ctx.fence().is_current() {
            catalog.publish(by_name(staying));
            for model in out {
                ctx.progress("take a model out", ORDER_WITHIN + self.stop_within());
                self.take_out(&model).await;
            }
        }
        self.watch(ctx);
    }

    /// Has it told when a version that is to take over is ready, and when one that is to go is empty.
    fn watch(&mut self, ctx: &Context<Self>) {
        for entry in self.shared.shop.catalog.entries().values() {
            for model in entry.versions() {
                let awaited = match model.standing() {
                    Standing::Incoming => !matches!(
                        model.state(),
                        ModelState::Ready | ModelState::Failed | ModelState::Unloading
                    ),
                    Standing::Retiring => true,
                    Standing::Serving => false,
                };
                let label = model.spec().label();
                if awaited && model.is_here() && self.watched.insert(label.clone()) {
                    let within = self.shared.settings.retire_within;
                    ctx.spawn(tell(Arc::clone(model), label, within, ctx.myself()));
                }
            }
        }
    }
}

/// Tells the loader of the next thing that becomes of a version. One that cannot be told now is
/// found at the next tick.
async fn tell(
    model: Arc<ServedModel>,
    label: String,
    within: Duration,
    loader: ActorRef<LoaderMsg>,
) {
    if model.is_offered() {
        model.settled().await;
    } else {
        model.emptied(within).await;
    }
    let _ = loader.try_send_priority(LoaderMsg::Changed { label });
}
