//! Where a request goes: the model that was found for it.

use std::sync::Arc;

use super::{Inference, Request, ServeError, ServedModel};

/// The way of one request to a model.
#[derive(Debug, Clone)]
pub struct Route {
    model: Arc<ServedModel>,
}

// === impl Route ===

impl Route {
    pub(super) fn to(model: Arc<ServedModel>) -> Self {
        Self { model }
    }

    /// Returns the model it leads to, and after [`infer`](Self::infer) the one that answered.
    #[must_use]
    pub fn model(&self) -> &Arc<ServedModel> {
        &self.model
    }

    /// Has the request answered.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn infer(&mut self, request: Request) -> Result<Inference, ServeError> {
        self.model.infer(request).await
    }
}
