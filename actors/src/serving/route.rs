//! Where a request goes: the version of a model that was found for it, or the one that has taken
//! that version's place since.

use std::sync::Arc;

use super::{Catalog, GenerateRequest, Inference, Request, ServeError, ServedModel, TokenStream};

/// How often a request is led on to a successor before it is refused: each time it has met a
/// version in the very moment of its end.
const LED_ON: usize = 8;

/// The way of one request to a model.
#[derive(Debug, Clone)]
pub struct Route {
    catalog: Arc<Catalog>,
    model: Arc<ServedModel>,
    /// The request has named the version and wants no other.
    pinned: bool,
}

// === impl Route ===

impl Route {
    pub(super) fn new(catalog: Arc<Catalog>, model: Arc<ServedModel>, pinned: bool) -> Self {
        Self {
            catalog,
            model,
            pinned,
        }
    }

    /// Returns the model it leads to, and after [`infer`](Self::infer) the one that answered.
    #[must_use]
    pub fn model(&self) -> &Arc<ServedModel> {
        &self.model
    }

    /// Has a sequence generated; returns as soon as it has been taken in. One that comes to a version
    /// which takes nothing new any more goes on to the one that does, unless it has named its version.
    ///
    /// # Errors
    /// See [`ServeError`]; what becomes of the sequence later, the stream says.
    pub fn generate(&mut self, request: GenerateRequest) -> Result<TokenStream, ServeError> {
        let mut request = request;
        for _ in 0..LED_ON {
            let (error, again) = match self.model.generate(request) {
                Ok(stream) => return Ok(stream),
                Err(bounced) => *bounced,
            };
            let Some(again) = again.filter(|_| !self.pinned) else {
                return Err(error);
            };
            let Some(successor) = self.catalog.chosen(&self.model.spec().name) else {
                return Err(error);
            };
            self.model = successor;
            request = again;
        }
        Err(ServeError::Unloaded {
            model: self.model.spec().name.clone(),
        })
    }

    /// Has the request answered. One that comes to a version which takes nothing new any more goes
    /// on to the one that does, unless it has named its version.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn infer(&mut self, request: Request) -> Result<Inference, ServeError> {
        let mut request = request;
        for _ in 0..LED_ON {
            let bounced = match self.model.infer(request).await {
                Ok(inference) => return Ok(inference),
                Err(bounced) => bounced,
            };
            let Some(again) = bounced.request.filter(|_| !self.pinned) else {
                return Err(bounced.error);
            };
            let Some(successor) = self.catalog.chosen(&self.model.spec().name) else {
                return Err(bounced.error);
            };
            self.model = successor;
            request = again;
        }
        Err(ServeError::Unloaded {
            model: self.model.spec().name.clone(),
        })
    }
}
